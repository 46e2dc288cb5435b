package lab_test

import (
	"testing"
	"time"

	"tunnelmark/lab"
	"tunnelmark/lab/labtest"
)

// What the WAN process carries.
func BenchmarkWAN(b *testing.B) {
	labtest.NeedRoot(b)
	var carried lab.WANCeiling
	for b.Loop() {
		var err error
		if carried, err = lab.MeasureWAN(b.Context(), lab.WAN{Delay: 40 * time.Millisecond, Jitter: 2 * time.Millisecond}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(carried.PacketsPerSecond, "packet/s")
	b.ReportMetric(carried.OuterBitsPerSecond/1e9, "Gbit/s")
}

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
