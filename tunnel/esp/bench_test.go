package esp

import (
	"testing"
)

const benchmarkLength = 1400 // Inner IP length in bytes.

func BenchmarkSeal(b *testing.B) {
	for _, suite := range suites {
		b.Run(string(suite.name), func(b *testing.B) {
			out, _ := newSAs(b, suite.name)
			buffer := make([]byte, headroom+benchmarkLength+tailroom)
			copy(buffer[headroom:], ipv4(benchmarkLength))
			b.SetBytes(benchmarkLength)
			b.ReportAllocs()
			for b.Loop() {
				out.seal(buffer, benchmarkLength)
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
				in.window.Reset() // The one packet is new each time.
				if _, v := in.open(packet, into); v != delivered {
					b.Fatalf("got verdict %d, want delivered", v)
				}
			}
		})
	}
}
