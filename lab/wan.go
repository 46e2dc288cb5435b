package lab

import "time"

// WAN is what a long way does to packets, the same in each direction, behind a
// device that drops and before one that queues. A path through it, toward site b:
//
//  1. the middle routes to b by an interface of the WAN's instead of "to-b", so that
//     devices, hop limits and ICMP are those of the middle;
//  2. there every packet meets its fate: it is lost, duplicated, held back, or none
//     of it;
//  3. it waits for as long as the way is, and leaves by "to-b".
//
// Steps 2 and 3 are the kernel's netem where it is there and does what is asked
// for. Elsewhere they are this process's: see wanProcess.
type WAN struct {
	// Delay is one way's.
	Delay time.Duration
	// Jitter is how far the delay wanders from Delay, at most Delay, its mean being
	// Delay. It wanders slowly enough for packets to keep their order. That is not
	// what netem does, so a WAN with Jitter is always this process's.
	Jitter time.Duration
	// LossRatio, ReorderRatio and DuplicateRatio are shares of the packets, each
	// drawn by itself. A packet to be reordered is held back until later ones have
	// passed it, where netem would let it pass earlier ones: so a WAN with
	// ReorderRatio is always this process's.
	LossRatio, ReorderRatio, DuplicateRatio float64
	// Seed begins the fates: the same seed gives the packets of a direction the same
	// fates in their order. Netem draws its own.
	Seed uint64
}

// WANCounters is the truth about what a WAN did in one direction, in packets. It is
// exact once the link is at rest.
type WANCounters struct {
	Between [2]string
	Toward  string
	// Netem says that the kernel's netem is the WAN.
	Netem bool
	// Forwarded left, copies not counted. Dropped were lost by LossRatio, Duplicated
	// left twice, and Reordered left after one that had come later.
	Forwarded, Dropped, Duplicated, Reordered uint64
	// Overrun is what the WAN should have carried and could not: what it loses
	// without being asked. Netem's queue is counted here without a LossRatio, and
	// with one among Dropped.
	Overrun uint64
	// Delay is that of what was forwarded and not held back; netem measures none.
	Delay DelayStatistics
}

// DelayStatistics describes the delays of so many packets.
type DelayStatistics struct {
	Packets           uint64
	Mean, Least, Most time.Duration
}

// WANCeiling is what the WAN process of this machine carries.
type WANCeiling struct {
	PacketsPerSecond, OuterBitsPerSecond float64
}

// changes says whether the WAN does anything to packets.
func (w WAN) changes() bool {
	w.Seed = 0
	return w != WAN{}
}

// suitsNetem says whether netem does what is asked for.
func (w WAN) suitsNetem() bool { return w.Jitter == 0 && w.ReorderRatio == 0 }
