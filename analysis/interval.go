package analysis

import "time"

// Interval is what happened between two moments of a fixed load, told while it
// runs: by the sender's clock, of all flows together.
type Interval struct {
	Reverse    bool          // It goes from the result's To to its From.
	Start, End time.Duration // Since the load began.
	// GoodputBytes is payload that was sent; of TCP, acknowledged.
	GoodputBytes uint64
	// Packets were sent, and Lost is how many the receiver missed meanwhile, as far
	// as it has told: of UDP.
	Packets, Lost uint64
	// Retransmits in segments, and at the end of the interval the sum of the
	// congestion windows in bytes and the mean round trip: of TCP.
	Retransmits uint64
	Cwnd        int
	RTT         time.Duration
}
