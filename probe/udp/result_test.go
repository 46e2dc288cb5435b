package udp

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"tunnelmark/probe"
	"tunnelmark/probe/wire"
)

// packet is one of a simulated load.
type packet struct {
	lane, number int // In the lane.
	flow         int // Of the lane's.
	sequence     uint64
	sent, at     time.Duration
}

// simulation sends a load over lanes and flows as the sender does: bursts of a lane's
// flows in turn, and lanes that do not know of one another.
type simulation struct {
	lanes, flows int // Flows of each lane.
	burst        int
	gap          time.Duration // Between two packets of a lane.
	packets      int           // Of each lane.
}

func (s simulation) String() string {
	return fmt.Sprintf("%d lanes of %d flows, bursts of %d", s.lanes, s.flows, s.burst)
}

// load is in the order of departure; every packet takes 1 ms.
func (s simulation) load() []packet {
	var all []packet
	for lane := range s.lanes {
		next := make([]uint64, s.flows)
		for i := range s.packets {
			flow := i / s.burst % s.flows
			sent := time.Duration(i/s.burst*s.burst)*s.gap + time.Duration(lane)*s.gap/time.Duration(s.lanes)
			at := sent + ms + time.Duration(i%s.burst)*us // Back to back.
			all = append(all, packet{lane, i, flow, next[flow], sent, at})
			next[flow]++
		}
	}
	return byArrival(all)
}

func byArrival(packets []packet) []packet {
	slices.SortStableFunc(packets, func(a, b packet) int { return cmp.Compare(a.at, b.at) })
	return packets
}

// count is what is received of the packets, in the order in which they arrive.
func (s simulation) count(arrived []packet) probe.Received {
	o, lanes := &origin{}, make([]*counts, s.lanes)
	for i := range lanes {
		lanes[i] = newCounts(s.flows, time.Minute, o)
		lanes[i].sent = uint64(s.packets)
	}
	for _, p := range arrived {
		lanes[p.lane].add(p.flow, p.sequence, testSize, wire.StampOf(p.sent), time.Hour+p.at)
	}
	return result(lanes)
}

// What is dropped, repeated and reordered on the way is counted exactly, 1000 of
// each, however many flows share the load.
func TestCountTruth(t *testing.T) {
	for _, s := range []simulation{
		{lanes: 1, flows: 1, burst: 1, gap: 50 * us, packets: 40_000},
		{lanes: 1, flows: 12, burst: 4, gap: 50 * us, packets: 40_000},
		{lanes: 2, flows: 5, burst: 8, gap: 100 * us, packets: 20_000},
		{lanes: 4, flows: 1, burst: 8, gap: 100 * us, packets: 10_000},
		{lanes: 1, flows: 1777, burst: 1, gap: 50 * us, packets: 40_000},
	} {
		t.Run(s.String(), func(t *testing.T) {
			turn := s.flows * s.burst // After so many packets it is a flow's turn again.
			touched := s.packets
			s.packets += 3 * turn // Behind the last that is touched.
			var arrived []packet
			histories := map[[2]int]*history{}
			for _, p := range s.load() {
				if p.number < touched && p.number%40 == 5 {
					continue
				}
				if p.number < touched && p.number%40 == 25 { // Behind packets of its flow's next turn.
					p.at += time.Duration(turn+s.burst-1)*s.gap + s.gap/2
				}
				arrived = append(arrived, p)
				if p.number < touched && p.number%40 == 15 {
					p.at += 3 * ms
					arrived = append(arrived, p)
				}
			}
			for _, p := range byArrival(arrived) {
				flow := [2]int{p.lane, p.flow}
				if histories[flow] == nil {
					histories[flow] = &history{seen: map[uint64]bool{}}
				}
				histories[flow].add(p.sequence)
			}
			var extent uint64
			for _, h := range histories {
				extent = max(extent, h.total.MaxExtent)
			}
			got := s.count(arrived)
			sent := uint64(s.lanes * s.packets)
			if lost := sent - got.Packets; lost != 1000 || got.Duplicated != 1000 || got.Reordered.Packets != 1000 {
				t.Errorf("%d lost, %d duplicated, %d reordered, want 1000 of each", lost, got.Duplicated, got.Reordered.Packets)
			}
			if got.Reordered.MaxExtent != extent {
				t.Errorf("an extent of %d at most, want %d", got.Reordered.MaxExtent, extent)
			}
			if l := got.FirstLoss; s.lanes == 1 && s.flows <= 12 && (l == nil || l.Packets != 5) {
				t.Errorf("first loss is %+v, want it after 5 packets", l)
			}
			checkSums(t, got, sent)
		})
	}
}

// police drops what finds no token in a bucket that begins with depth packets and
// takes in one every refill. It also says how many passed before the first drop.
func police(packets []packet, depth float64, refill time.Duration) (passed []packet, before int, after time.Duration) {
	tokens, last := depth, packets[0].at
	before = -1
	for _, p := range packets {
		tokens = min(depth, tokens+float64(p.at-last)/float64(refill))
		last = p.at
		if tokens < 1 {
			if before < 0 {
				before, after = len(passed), passed[len(passed)-1].at-packets[0].at
			}
			continue
		}
		tokens--
		passed = append(passed, p)
	}
	return passed, before, after
}

// The first loss of a policed overload is told to within few packets, over however
// many flows and lanes: so a search reads a bucket from bursts.
func TestFirstLossOfFlows(t *testing.T) {
	for _, lanes := range []int{1, 2, 3} {
		for _, flows := range []int{1, 2, 4, 12} {
			for _, burst := range []int{1, 4, 8} {
				s := simulation{lanes: lanes, flows: flows, burst: burst, gap: time.Duration(lanes) * 16 * us, packets: 3000 / lanes}
				t.Run(s.String(), func(t *testing.T) {
					for depth := 40.0; depth < 60; depth++ {
						passed, before, after := police(s.load(), depth, 40*us)
						got := s.count(passed).FirstLoss
						if got == nil {
							t.Fatalf("a bucket of %g packets: no first loss, want it after %d packets", depth, before)
						}
						off, late := int(got.Packets)-before, got.After-after
						// Exact in one flow; in several, packets may pass between two losses; in
						// lanes, a loss may be anywhere between two bursts.
						most := 3*min(flows-1, 1) + 2*burst*(lanes-1)
						if max(off, -off) > most {
							t.Errorf("a bucket of %g packets: first loss after %d, want %d", depth, got.Packets, before)
						}
						if late.Abs() > time.Duration(2*burst+3)*s.gap {
							t.Errorf("a bucket of %g packets: first loss after %v, want %v", depth, got.After, after)
						}
					}
				})
			}
		}
	}
}

// Where flows have lost their last packets only, it cannot be told which was first;
// of one flow it can.
func TestFirstLossAtTheEnd(t *testing.T) {
	for _, tt := range []struct {
		s    simulation
		want *probe.FirstLoss
	}{
		{simulation{lanes: 1, flows: 1, burst: 1, gap: ms, packets: 100}, &probe.FirstLoss{Packets: 97, After: 96 * ms}},
		{simulation{lanes: 1, flows: 2, burst: 1, gap: ms, packets: 100}, nil},
	} {
		got := tt.s.count(tt.s.load()[:97]).FirstLoss
		if (got == nil) != (tt.want == nil) || got != nil && *got != *tt.want {
			t.Errorf("%v: got %+v, want %+v", tt.s, got, tt.want)
		}
	}
}

// A lane that receives nothing has lost its first packet when the trial began.
func TestFirstLossOfDeadLane(t *testing.T) {
	s := simulation{lanes: 2, flows: 2, burst: 1, gap: ms, packets: 100}
	alive := slices.DeleteFunc(s.load(), func(p packet) bool { return p.lane == 1 })
	got := s.count(alive)
	if got.FirstLoss == nil || *got.FirstLoss != (probe.FirstLoss{}) {
		t.Errorf("got %+v, want a loss at the beginning", got.FirstLoss)
	}
	if got.Packets != 100 || got.PerFlow[0].Packets != 50 || got.PerFlow[1].Packets != 0 {
		t.Errorf("got %d packets, of flows %+v, want 100, and none of the second lane's", got.Packets, got.PerFlow)
	}
	checkSums(t, got, 100)
}

// Windows of several lanes have the rate of their sum, each and together.
func TestWindowsOfLanes(t *testing.T) {
	for _, s := range []simulation{
		{lanes: 2, flows: 1, burst: 1, gap: 100 * us, packets: 10_000},
		{lanes: 3, flows: 4, burst: 8, gap: 60 * us, packets: 20_000},
		{lanes: 16, flows: 2, burst: 4, gap: ms, packets: 1000},
	} {
		t.Run(s.String(), func(t *testing.T) {
			got := s.count(s.load())
			checkSums(t, got, uint64(s.lanes*s.packets))
			perSecond := float64(s.lanes) / s.gap.Seconds()
			// As many packets as each lane may have more or less in a window, and one by rounding.
			most := float64(s.lanes*s.burst)/2 + 1
			for i, w := range got.Windows[:len(got.Windows)-1] {
				want := perSecond * (w.End - w.Start).Seconds()
				if math.Abs(float64(w.Packets)-want) > most {
					t.Errorf("window %d has %d packets in %v, want %g within %g", i, w.Packets, w.End-w.Start, want, most)
				}
				if length := w.End - w.Start; i > 0 && length != probe.Window {
					t.Errorf("window %d lasts %v, want %v", i, length, probe.Window)
				}
			}
		})
	}
}

// Lanes may begin, pause and end at different times: what was counted is in the
// windows, once.
func TestWindowsOfUnevenLanes(t *testing.T) {
	at := func(lane int, packets uint64, start, end, delay time.Duration) probe.WindowCount {
		return probe.WindowCount{Packets: packets, Start: start * ms, End: end * ms, MinDelay: delay}
	}
	first := []probe.WindowCount{at(0, 100, 0, 20, 5), at(0, 50, 20, 90, 6), at(0, 10, 90, 100, 7)}
	for _, tt := range []struct {
		name   string
		second []probe.WindowCount
		want   []probe.WindowCount
	}{
		{"nothing", nil, first},
		{"begins before the one whose first packet was read first", []probe.WindowCount{at(1, 100, -2, 20, 4), at(1, 50, 20, 90, 1), at(1, 5, 90, 95, 8)},
			[]probe.WindowCount{at(0, 200, -2, 20, 4), at(0, 86, 20, 80, 1), at(0, 29, 80, 100, 7)}},
		{"pauses at another time", []probe.WindowCount{at(1, 100, 1, 61, 3), at(1, 20, 61, 79, 9)},
			[]probe.WindowCount{at(0, 100+32, 0, 20, 3), at(0, 29+67, 20, 60, 6), at(0, 14+21, 60, 80, 9), at(0, 17, 80, 100, 7)}},
		{"a packet each", []probe.WindowCount{at(1, 1, 50, 70, 3), at(1, 1, 70, 70, 2)}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := joinWindows([][]probe.WindowCount{first, tt.second})
			var packets uint64
			for _, w := range got {
				packets += w.Packets
			}
			var want uint64
			for _, w := range slices.Concat(first, tt.second) {
				want += w.Packets
			}
			if packets != want {
				t.Errorf("%d packets, want %d", packets, want)
			}
			if tt.want == nil {
				return
			}
			if len(got) != len(tt.want) {
				t.Fatalf("got %+v, want %+v", got, tt.want)
			}
			for i, w := range tt.want {
				g := got[i]
				if g.Start != w.Start || g.End != w.End || g.MinDelay != w.MinDelay || math.Abs(float64(g.Packets)-float64(w.Packets)) > 1 {
					t.Errorf("window %d: got %+v, want %+v, its packets within one", i, g, w)
				}
			}
		})
	}
}

// What was counted of each flow is told in the order of the flows' numbers, and
// delays above the least of all lanes.
func TestPerFlow(t *testing.T) {
	s := simulation{lanes: 3, flows: 2, burst: 1, gap: ms, packets: 60}
	var arrived []packet
	for _, p := range s.load() {
		number := p.flow*s.lanes + p.lane
		if p.number/2 >= 10+number {
			continue // Flow f loses all but 10+f.
		}
		p.at += time.Duration(number) * 10 * us
		arrived = append(arrived, p)
	}
	got := s.count(byArrival(arrived))
	if len(got.PerFlow) != 6 {
		t.Fatalf("got %d flows, want 6", len(got.PerFlow))
	}
	for number, f := range got.PerFlow {
		delay := time.Duration(number) * 10 * us
		if f.Packets != uint64(10+number) || f.MinDelay != delay || (f.MeanDelay-delay).Abs() > time.Nanosecond {
			t.Errorf("flow %d: got %+v, want %d packets, delayed by %v", number, f, 10+number, delay)
		}
	}
}
