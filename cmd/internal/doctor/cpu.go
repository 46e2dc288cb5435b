package doctor

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
)

// processor tells what the CPU gives to crypto and to the generator.
func processor(h Host) []Finding {
	found := []Finding{model(h), aesInstructions(h), vectors(h), threads(h)}
	found = append(found, mitigations(h)...)
	return append(found, governor(h))
}

// cpuinfo is what the kernel says of the first core.
func (h Host) cpuinfo() string { return h.text("proc/cpuinfo") }

// cpuFlags are the CPU's features: of x86 under "flags", of arm64 under "Features".
func (h Host) cpuFlags() []string {
	info := h.cpuinfo()
	return strings.Fields(cmp.Or(field(info, "flags"), field(info, "Features")))
}

// hasAES says whether the CPU has instructions for both halves of AES-GCM: x86's
// aes and pclmulqdq, arm64's aes and pmull.
func (h Host) hasAES() bool {
	flags := h.cpuFlags()
	return slices.Contains(flags, "aes") && (slices.Contains(flags, "pclmulqdq") || slices.Contains(flags, "pmull"))
}

func (h Host) cores() int {
	cores := 0
	for line := range strings.Lines(h.cpuinfo()) {
		if key, _, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == "processor" {
			cores++
		}
	}
	return cores
}

func model(h Host) Finding {
	cores := h.cores()
	if cores == 0 {
		return unknown("model")
	}
	f := Finding{Subject: "model", State: OK, Figure: fmt.Sprintf("%s, %s", cmp.Or(field(h.cpuinfo(), "model name"), "model not told"), count(cores, "core"))}
	if cores == 1 {
		f.State = Warning
		f.Cost = "generator, tunnel and network stack share one core: the ceiling may be this machine's"
		f.Remedy = "give the machine two cores or more"
	}
	return f
}

func aesInstructions(h Host) Finding {
	switch {
	case len(h.cpuFlags()) == 0:
		return unknown("AES instructions")
	case h.hasAES():
		return Finding{Subject: "AES instructions", State: OK, Figure: "yes"}
	}
	return Finding{
		Subject: "AES instructions", State: Warning, Figure: "no",
		Cost:   "AES-GCM runs in plain code, up to ten times slower",
		Remedy: "use --suite chacha20-poly1305; in a virtual machine: give it the host's CPU (QEMU: -cpu host)",
	}
}

// vectors speed ChaCha20-Poly1305 up, and newer kernels' AES-GCM.
func vectors(h Host) Finding {
	var have []string
	flags := h.cpuFlags()
	for _, flag := range []string{"avx2", "avx512f", "vaes", "vpclmulqdq", "asimd", "sve"} {
		if slices.Contains(flags, flag) {
			have = append(have, flag)
		}
	}
	switch {
	case len(flags) == 0:
		return unknown("vector instructions")
	case len(have) > 0:
		return Finding{Subject: "vector instructions", State: OK, Figure: strings.Join(have, ", ")}
	}
	return Finding{
		Subject: "vector instructions", State: Note, Figure: "none",
		Cost: "ChaCha20-Poly1305, and with it WireGuard, runs below what this clock could do",
	}
}

func threads(h Host) Finding {
	switch h.text("sys/devices/system/cpu/smt/active") {
	case "":
		return unknown("hyper-threading")
	case "0":
		return Finding{Subject: "hyper-threading", State: OK, Figure: "off"}
	}
	return Finding{
		Subject: "hyper-threading", State: Note, Figure: "on",
		Cost:   "two of the cores share one unit for AES: two busy ones do not encrypt twice as much",
		Remedy: "to compare with it off: echo off > /sys/devices/system/cpu/smt/control",
	}
}

// mitigations are summed up in one finding; what is open is the owner's to know,
// it costs no throughput.
func mitigations(h Host) []Finding {
	const dir = "sys/devices/system/cpu/vulnerabilities"
	var on, open []string
	for _, file := range h.list(dir) {
		state := h.text(path.Join(dir, file))
		switch {
		case strings.Contains(state, "Mitigation:"):
			on = append(on, file)
		case strings.HasPrefix(state, "Vulnerable"):
			open = append(open, file)
		}
	}
	if len(on)+len(open) == 0 {
		return nil
	}
	f := Finding{Subject: "mitigations", State: OK, Figure: fmt.Sprintf("%d in force, %d open", len(on), len(open))}
	if len(on) > 0 {
		f.State = Note
		f.Figure += ": " + strings.Join(on, ", ")
		f.Cost = "system calls and indirect calls take longer; tunnels in user space make more of them than the kernel's"
	}
	return []Finding{f}
}

func governor(h Host) Finding {
	const dir = "sys/devices/system/cpu"
	name := oneLine(h.text(dir + "/cpu0/cpufreq/scaling_governor"))
	if !h.has(dir) {
		return unknown("frequency governor")
	}
	f := Finding{Subject: "frequency governor", State: OK, Figure: cmp.Or(name, "none of this machine's own")}
	if name != "" && name != "performance" {
		f.State = Note
		f.Cost = "the clock follows the load: short trials and low rates meet a slower core"
		f.Remedy = "cpupower frequency-set -g performance"
	}
	return f
}

// count writes "1 core", "2 cores".
func count(n int, thing string) string {
	return fmt.Sprintf("%d %s%s", n, thing, choose(n == 1, "", "s"))
}
