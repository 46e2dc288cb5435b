package doctor

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// algorithms are the names by which kernel ESP asks the crypto API (RFC 4106,
// RFC 7634, RFC 3602), the plain cipher's where ESP's own is not there yet.
// WireGuard and the esp driver do not ask there.
var algorithms = []struct {
	subject string
	names   []string
}{
	{"AES-GCM", []string{"rfc4106(gcm(aes))", "gcm(aes)"}},
	{"ChaCha20-Poly1305", []string{"rfc7539esp(chacha20,poly1305)", "rfc7539(chacha20,poly1305)"}},
	{"AES-CBC", []string{"cbc(aes)"}},
}

// crypto tells which implementation kernel ESP gets.
func crypto(h Host) []Finding {
	parts := h.kernelParts()
	if parts.find("esp4", "CONFIG_INET_ESP").State == Missing && parts.find("esp6", "CONFIG_INET6_ESP").State == Missing {
		return []Finding{{Subject: "kernel ESP", State: OK, Figure: "absent; what the kernel has of ciphers matters to no driver here"}}
	}
	if !h.has("proc/crypto") {
		return []Finding{unknown("ciphers")}
	}
	best := bestDrivers(h.text("proc/crypto"))
	var found []Finding
	for _, a := range algorithms {
		driver := ""
		for _, name := range a.names {
			driver = cmp.Or(driver, best[name])
		}
		found = append(found, cipherFinding(a.subject, driver, h.hasAES()))
	}
	return found
}

// bestDrivers reads /proc/crypto: of all that implement a name the kernel takes
// the one of the highest priority. Internal ones serve others only.
func bestDrivers(text string) map[string]string {
	best, priorities := map[string]string{}, map[string]int{}
	for block := range strings.SplitSeq(text, "\n\n") {
		name, driver := field(block, "name"), field(block, "driver")
		priority, err := strconv.Atoi(field(block, "priority"))
		if name == "" || driver == "" || err != nil || field(block, "internal") == "yes" {
			continue
		}
		if before, known := priorities[name]; !known || priority > before {
			best[name], priorities[name] = driver, priority
		}
	}
	return best
}

// The words in drivers' names for code in plain C, for AES in plain C whatever is
// around it, and for code that uses what the CPU has.
var (
	plainWords = []string{"generic", "fixed-time"}
	plainAES   = []string{"aes-generic", "aes-fixed-time"}
	fastWords  = []string{"aesni", "avx", "vaes", "clmul", "ssse3", "simd", "neon", "-ce", "x86_64", "s390", "p8_", "p10", "qat", "ccp"}
)

func cipherFinding(subject, driver string, aes bool) Finding {
	contains := func(word string) bool { return strings.Contains(driver, word) }
	plain, fast := slices.ContainsFunc(plainWords, contains), slices.ContainsFunc(fastWords, contains)
	f := Finding{Subject: subject, State: OK, Figure: driver}
	switch {
	case driver == "":
		f.State, f.Figure = Note, "not loaded yet: the kernel does that with the first SA"
		f.Remedy = "measure once with driver xfrm, then ask the doctor again"
	case aes && slices.ContainsFunc(plainAES, contains):
		f.State = Warning
		f.Cost = "AES in plain C although the CPU has instructions for it; in user space that made AES-GCM ten times slower (0.07 for 0.76 Gbit/s)"
		f.Remedy = "modprobe aesni_intel (on arm64: aes_ce_blk ghash_ce), then make the SAs anew"
	case plain && fast:
		f.State, f.Cost = Note, "a part of it runs in plain C"
	case plain:
		f.State, f.Cost = Note, "it runs in plain C"
	}
	return f
}
