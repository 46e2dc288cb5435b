package lab_test

import (
	"testing"

	"tunnelmark/lab"
	"tunnelmark/lab/labtest"
)

// What the meter costs: a link whose policer never drops beside one that only
// counts, in packets of 1400 bytes from one sender.
func BenchmarkLink(b *testing.B) {
	for name, device := range map[string]lab.Device{
		"count":  {},
		"police": {Kind: lab.Policer, OuterBitsPerSecond: 100e9, BurstBytes: 1 << 30},
	} {
		b.Run(name, func(b *testing.B) {
			l := labtest.Build(b, joined(lab.Link{Device: device}))
			e := openEnds(b, l, v4)
			const train, payload = 40, 1400 - ipv4UDPHeader
			data, control, to := make([]byte, train*payload), segmentControl(payload), peerOf(e.b)
			b.SetBytes(train * 1400)
			for b.Loop() {
				if _, _, err := e.a.WriteMsgUDPAddrPort(data, control, to); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(train*float64(b.N)/b.Elapsed().Seconds(), "packet/s")
		})
	}
}
