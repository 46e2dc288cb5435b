package esp

import (
	"testing"
)

const benchmarkLength = 1400 // Inner IP length in bytes.

func BenchmarkSeal(b *testing.B) {
	for _, suite := range suites {
		b.Run(string(suite.name), func(b *testing.B) {
			out, _ := newSAs(b, suite.name)
			buffer := make([]byte, out.headroom+benchmarkLength+out.tailroom())
			inner := ipv4(benchmarkLength)
			b.SetBytes(benchmarkLength)
			b.ReportAllocs()
			for b.Loop() {
				copy(buffer[out.headroom:], inner) // As TUN does; seal encrypts it in place.
				seal(out, buffer, benchmarkLength)
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, suite := range suites {
		b.Run(string(suite.name), func(b *testing.B) {
			out, in := newSAs(b, suite.name)
			packet := sealed(out, ipv4(benchmarkLength))
			into := make([]byte, len(packet))
			b.SetBytes(benchmarkLength)
			b.ReportAllocs()
			for b.Loop() {
				in.window.highest = 0 // The one packet is new each time.
				in.window.words[0] = 0
				if _, v := open(in, packet, into); v != delivered {
					b.Fatalf("got verdict %d, want delivered", v)
				}
			}
		})
	}
}
