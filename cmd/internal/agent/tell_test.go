package agent

import (
	"testing"
	"time"

	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/probe"
	"tunnelmark/probe/tcp"
)

// newTestTeller keeps what it is told.
func newTestTeller(every time.Duration) *teller {
	return &teller{every: every, intervals: make(chan *controlv1.Interval, waiting)}
}

func (t *teller) told() (all []*controlv1.Interval) {
	close(t.intervals)
	for i := range t.intervals {
		all = append(all, i)
	}
	return all
}

// Packets may be counted just before their bytes are, and losses turn out to be late
// packets: no interval is below zero, and their sums are those of the load.
func TestIntervalsOfUDP(t *testing.T) {
	teller := newTestTeller(100 * time.Millisecond)
	see := teller.udp(28)
	for i, p := range []probe.Progress{
		{Sent: 1}, {Sent: 2, SentInnerBytes: 1400, Lost: 3}, {Sent: 2, SentInnerBytes: 2800, Lost: 1}, {Sent: 3, SentInnerBytes: 4200, Lost: 4},
	} {
		p.Elapsed = time.Duration(i+1) * 100 * time.Millisecond
		see(p)
	}
	var goodput, packets, lost uint64
	for _, i := range teller.told() {
		if i.GetGoodputBytes() > 4200 || i.GetLost() > 3 {
			t.Errorf("an interval has %d bytes, and %d lost", i.GetGoodputBytes(), i.GetLost())
		}
		goodput, packets, lost = goodput+i.GetGoodputBytes(), packets+i.GetPackets(), lost+i.GetLost()
	}
	if goodput != 3*1372 || packets != 3 || lost != 4 {
		t.Errorf("the intervals have %d bytes in %d packets, and %d lost", goodput, packets, lost)
	}
}

// A load of TCP is sampled once a second at least, however long its intervals are.
func TestIntervalsOfTCP(t *testing.T) {
	for name, c := range map[string]struct {
		every, sample time.Duration
		samples       []time.Duration
		want          []time.Duration // The intervals' ends.
	}{
		"each sample":     {time.Second, time.Second, []time.Duration{1010 * time.Millisecond, 2 * time.Second, 3001 * time.Millisecond}, []time.Duration{1010 * time.Millisecond, 2 * time.Second, 3001 * time.Millisecond}},
		"several":         {2 * time.Second, time.Second, []time.Duration{time.Second, 1990 * time.Millisecond, 3 * time.Second}, []time.Duration{1990 * time.Millisecond, 3 * time.Second}},
		"parts":           {1500 * time.Millisecond, 750 * time.Millisecond, []time.Duration{750 * time.Millisecond, 1500 * time.Millisecond}, []time.Duration{1500 * time.Millisecond}},
		"longer than all": {time.Hour, time.Second, []time.Duration{time.Second, 2 * time.Second}, []time.Duration{2 * time.Second}},
		"never":           {0, 0, []time.Duration{time.Second}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			teller := newTestTeller(c.every)
			if got := teller.sampleEvery(); got != c.sample {
				t.Errorf("sampled every %v, want %v", got, c.sample)
			}
			see, rest := teller.tcp()
			var all []tcp.Sample
			for _, at := range c.samples {
				sample := tcp.Sample{Elapsed: at, GoodputBytes: uint64(at)}
				see(sample)
				all = append(all, sample)
			}
			rest(all)
			var start time.Duration
			told := teller.told()
			if len(told) != len(c.want) {
				t.Fatalf("%d intervals are told, want %d: %v", len(told), len(c.want), told)
			}
			for i, interval := range told {
				if interval.GetStartNs() != int64(start) || interval.GetEndNs() != int64(c.want[i]) || interval.GetGoodputBytes() != uint64(c.want[i]-start) {
					t.Errorf("interval %d: %v, want it from %v to %v", i, interval, start, c.want[i])
				}
				start = c.want[i]
			}
		})
	}
}
