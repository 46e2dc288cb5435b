package doctor

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// machine tells who else shares the CPU and the memory, and how much this process
// may take of them.
func machine(h Host) []Finding {
	return []Finding{virtualisation(h), stolen(h), quota(h), affinity(h), memory(h)}
}

func virtualisation(h Host) Finding {
	product := oneLine(h.text("sys/class/dmi/id/sys_vendor") + " " + h.text("sys/class/dmi/id/product_name"))
	if h.cores() == 0 {
		return unknown("virtualisation")
	}
	if !slices.Contains(h.cpuFlags(), "hypervisor") && !h.has("sys/hypervisor/type") {
		return Finding{Subject: "virtualisation", State: OK, Figure: "none seen; " + cmp.Or(product, "the machine does not name itself")}
	}
	return Finding{
		Subject: "virtualisation", State: Note, Figure: cmp.Or(product, "a virtual machine"),
		Cost:   "other guests share CPU and network: one ceiling is one sample",
		Remedy: "measure more than once, at different hours",
	}
}

// stolen tells how much time other guests took, of all that there was since the
// start (proc_stat(5): user nice system idle iowait irq softirq steal).
func stolen(h Host) Finding {
	const steal, most = 8, 0.01
	fields := strings.Fields(oneLine(h.text("proc/stat")))
	if len(fields) <= steal || fields[0] != "cpu" {
		return unknown("stolen time")
	}
	var total, taken float64
	for i, text := range fields[1 : steal+1] {
		ticks, _ := strconv.ParseUint(text, 10, 64)
		total += float64(ticks)
		if i+1 == steal {
			taken = float64(ticks)
		}
	}
	share := taken / max(total, 1)
	f := Finding{Subject: "stolen time", State: OK, Figure: fmt.Sprintf("%.2f %% since the start", 100*share)}
	if share > most {
		f.State = Warning
		f.Cost = "other guests keep this one off the CPU: a sender that stalls is no measure of the path"
		f.Remedy = "use an instance with CPUs of its own, or measure at a quiet hour"
	}
	return f
}

// quota tells how many CPUs' time the control group may take.
func quota(h Host) Finding {
	cpus, limited := h.cpuQuota()
	switch {
	case !h.has("proc/self/cgroup"):
		return unknown("CPU quota")
	case !limited:
		return Finding{Subject: "CPU quota", State: OK, Figure: "none"}
	}
	return Finding{
		Subject: "CPU quota", State: Warning, Figure: fmt.Sprintf("%.2f of %s", cpus, count(h.cores(), "core")),
		Cost:   "the kernel stops the agent for the rest of each period (mostly 100 ms) once it is used up: the load comes in bursts, and the ceiling is the quota's",
		Remedy: "systemctl set-property tunnelmark-agent CPUQuota= ; in a container: start it without --cpus; in Kubernetes: without a CPU limit",
	}
}

// maxGroupDepth bounds the way up to the root group.
const maxGroupDepth = 32

// cpuQuota is the least quota of the process's group and all above it, in CPUs.
func (h Host) cpuQuota() (cpus float64, limited bool) {
	for line := range strings.Lines(h.text("proc/self/cgroup")) {
		// hierarchy:controllers:path (cgroups(7)); version 2 has no controllers.
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 || parts[1] != "" && !slices.Contains(strings.Split(parts[1], ","), "cpu") {
			continue
		}
		group := path.Clean("/" + parts[2])
		for depth := 0; depth < maxGroupDepth; depth++ {
			if here, some := h.groupQuota(parts[1], group); some && (!limited || here < cpus) {
				cpus, limited = here, true
			}
			if group == "/" {
				break
			}
			group = path.Dir(group)
		}
	}
	return cpus, limited
}

// groupQuota reads one group's own: of version 2 cpu.max, "max 100000" or
// "50000 100000" in µs; of version 1 two files.
func (h Host) groupQuota(controllers, group string) (cpus float64, limited bool) {
	if controllers == "" {
		quota, period, _ := strings.Cut(h.text(path.Join("sys/fs/cgroup", group, "cpu.max")), " ")
		return ratio(quota, period)
	}
	for _, mount := range []string{controllers, "cpu"} {
		dir := path.Join("sys/fs/cgroup", mount, group)
		if cpus, limited = ratio(h.text(dir+"/cpu.cfs_quota_us"), h.text(dir+"/cpu.cfs_period_us")); limited {
			return cpus, true
		}
	}
	return 0, false
}

// ratio divides two whole numbers above zero; others mean that there is no limit.
func ratio(quota, period string) (float64, bool) {
	a, errA := strconv.ParseUint(quota, 10, 63)
	b, errB := strconv.ParseUint(period, 10, 63)
	if errA != nil || errB != nil || a == 0 || b == 0 {
		return 0, false
	}
	return float64(a) / float64(b), true
}

// affinity tells on which cores the process may run.
func affinity(h Host) Finding {
	list := field(h.text("proc/self/status"), "Cpus_allowed_list")
	if cpusIn(list) == 0 {
		return unknown("cores allowed")
	}
	f := Finding{Subject: "cores allowed", State: OK, Figure: list}
	if allowed, cores := cpusIn(list), h.cores(); allowed < cores {
		f.State = Note
		f.Figure = fmt.Sprintf("%s, %d of %d", list, allowed, cores)
		f.Cost = "the agent leaves the other cores alone; kernel drivers' work still runs on all"
		f.Remedy = "systemctl set-property tunnelmark-agent AllowedCPUs="
	}
	return f
}

// cpusIn counts those of a list such as 0-3,8; 0 where it is none.
func cpusIn(list string) int {
	total := 0
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(part, "-")
		a, errA := strconv.ParseUint(first, 10, 16)
		b, errB := strconv.ParseUint(choose(isRange, last, first), 10, 16)
		if errA != nil || errB != nil || b < a {
			return 0
		}
		total += int(b-a) + 1
	}
	return total
}

// leastMemory is what an agent's buffers take at most, with room for the kernel's:
// 512 MiB.
const leastMemory = 512 << 10 // In KiB.

func memory(h Host) Finding {
	digits, _, _ := strings.Cut(field(h.text("proc/meminfo"), "MemAvailable"), " ")
	kib, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		return unknown("memory available")
	}
	f := Finding{Subject: "memory available", State: OK, Figure: fmt.Sprintf("%d MiB", kib>>10)}
	if kib < leastMemory {
		f.State = Warning
		f.Cost = "socket buffers may not get what they ask for; packets are lost that the path has carried"
		f.Remedy = "leave 512 MiB free"
	}
	return f
}
