//go:build kernel

package lab_test

import (
	"testing"
	"time"

	"tunnelmark/lab"
	"tunnelmark/lab/labtest"
)

// With netem in the kernel, the WAN is netem, and its counters are the truth as well.
func TestKernelNetem(t *testing.T) {
	const packets, gap = 4000, 500 * time.Microsecond
	tests := []struct {
		name string
		wan  lab.WAN
	}{
		{"delay", lab.WAN{Delay: 40 * time.Millisecond}},
		{"loss", lab.WAN{LossRatio: 0.05}},
		{"duplicates", lab.WAN{Delay: time.Millisecond, DuplicateRatio: 0.05}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			labtest.CheckLeaks(t)
			l := labtest.Build(t, joined(lab.Link{WAN: tt.wan}))
			got, c := numbered(t, l, openEnds(t, l, v4), packets, gap)
			checkCounts(t, tt.wan, packets, got, c)
			if !c.Netem || c.Overrun != 0 {
				t.Errorf("want netem, and nothing overrun, got %+v", c)
			}
			// The guest is emulated, and slow.
			if off := got.meanDelay() - tt.wan.Delay; off < 0 || off > 5*time.Millisecond {
				t.Errorf("want a delay of %v, got %v", tt.wan.Delay, got.meanDelay())
			}
		})
	}
}

// What netem cannot do is this process's in any kernel.
func TestKernelWANProcess(t *testing.T) {
	labtest.CheckLeaks(t)
	const packets = 2000
	wan := lab.WAN{Delay: 10 * time.Millisecond, Jitter: time.Millisecond, LossRatio: 0.05, ReorderRatio: 0.05, DuplicateRatio: 0.05}
	l := labtest.Build(t, joined(lab.Link{WAN: wan}))
	got, c := numbered(t, l, openEnds(t, l, v6), packets, time.Millisecond)
	checkCounts(t, wan, packets, got, c)
	if c.Netem {
		t.Errorf("want no netem, which reorders by jitter, got %+v", c)
	}
}

// A shaper stands behind netem, too.
func TestKernelNetemWithShaper(t *testing.T) {
	labtest.CheckLeaks(t)
	shaper := lab.Device{Kind: lab.Shaper, OuterBitsPerSecond: 1e6, BurstBytes: 3000}
	l := labtest.Build(t, joined(lab.Link{Device: shaper, WAN: lab.WAN{Delay: 5 * time.Millisecond}}))
	e := openEnds(t, l, v4)
	const packets = 80
	for range packets {
		if _, err := e.a.WriteToUDPAddrPort(make([]byte, 1400-ipv4UDPHeader), peerOf(e.b)); err != nil {
			t.Fatal(err)
		}
	}
	wanAtRest(t, l, "b", packets)
	if c := atRest(t, l, "b", packets); c.DroppedPackets == 0 {
		t.Errorf("want drops from a full queue, got %+v", c)
	}
}

// Netem outlives the program that asked for it.
func TestKernelUpWithNetem(t *testing.T) {
	labtest.CheckLeaks(t)
	topology := named()
	topology.Links[0].WAN = lab.WAN{Delay: 5 * time.Millisecond, LossRatio: 0.01}
	if _, err := lab.Up(t.Context(), topology); err != nil {
		t.Fatal(err)
	}
	if err := lab.Down(t.Context(), topology.Name); err != nil {
		t.Error(err)
	}
}
