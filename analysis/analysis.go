// Package analysis turns trials into a ceiling, a verdict and a report.
//
// It is pure: no I/O, no clock. Between it and the islands that build tunnels
// and send load only numbers cross, with unit and layer in their names.
//
// This package holds the words that its children share.
package analysis

import (
	"math"
	"slices"
	"time"
)

// Load is what one trial offers: a rate for a duration.
type Load struct {
	InnerBitsPerSecond float64       `json:"inner_bits_per_second"`
	Duration           time.Duration `json:"duration_ns"`
	// Burst is how many packets may leave back to back; zero: the generator's
	// choice. In a trial it is the one that was used.
	Burst int `json:"burst_packets,omitempty"`
	// Idle is for how long nothing is sent before the load, so that queues
	// drain and buckets refill. It is not part of Duration.
	Idle time.Duration `json:"idle_ns,omitempty"`
	Mix
	// Flows is how many five-tuples share the load, and Lanes over how many
	// threads at each end; zero: one.
	Flows             int     `json:"flows,omitempty"`
	NewFlowsPerSecond float64 `json:"new_flows_per_second,omitempty"`
	Lanes             int     `json:"lanes,omitempty"`
	DSCP              uint8   `json:"dscp,omitempty"`
}

// Mix is which sizes a load's packets have, where it is not one: each pass over
// the load has every size once, in an order that Seed draws; zero keeps theirs.
type Mix struct {
	InnerSizes []int  `json:"inner_sizes_bytes,omitempty"`
	Seed       uint64 `json:"mix_seed,omitempty"`
	Genome     string `json:"imix_genome,omitempty"` // RFC 6985.
}

// InnerMean is the mean length of a load's packets in bytes; zero where they have one
// size, which its trial tells.
func (m Mix) InnerMean() float64 {
	sum := 0
	for _, size := range m.InnerSizes {
		sum += size
	}
	return float64(sum) / float64(max(1, len(m.InnerSizes)))
}

// Trial is one load and all that was counted while it ran.
type Trial struct {
	Load Load `json:"load"`
	// Reverse: it went from the result's To to its From.
	Reverse bool `json:"reverse,omitempty"`
	// InnerSize and OuterSize are the length, in bytes, of each packet as it
	// enters the tunnel and as it leaves it; of a mix, the mean. OuterSize is zero
	// where nobody knows what somebody else's tunnel adds.
	InnerSize int `json:"inner_size_bytes"`
	OuterSize int `json:"outer_size_bytes"`

	Sent       uint64 `json:"sent_packets"`
	Received   uint64 `json:"received_packets"`
	Duplicated uint64 `json:"duplicated_packets"`
	Reordered  uint64 `json:"reordered_packets"`
	// Bytes of inner packets; zero in results of old, whose packets had one size.
	SentInnerBytes     uint64 `json:"sent_inner_bytes,omitempty"`
	ReceivedInnerBytes uint64 `json:"received_inner_bytes,omitempty"`
	// ReorderExtent is how many packets of its flow the most reordered one came
	// after (RFC 4737, Section 4.2), ReorderLate by how much time at most
	// (Section 4.3).
	ReorderExtent uint64        `json:"reorder_extent_packets,omitempty"`
	ReorderLate   time.Duration `json:"reorder_late_ns,omitempty"`
	// Refused were not taken by the sender's own stack, SocketDrops did not fit
	// the receiver's socket, and ReceiverOverruns the queue of the receiver's half
	// of the tunnel: the path carried the latter two.
	Refused          uint64 `json:"refused_packets"`
	SocketDrops      uint64 `json:"socket_drops_packets"`
	ReceiverOverruns uint64 `json:"receiver_overruns_packets,omitempty"`

	Elapsed time.Duration `json:"elapsed_ns"`
	// Skipped is the part of Elapsed in which the sender was off the CPU.
	Skipped time.Duration `json:"skipped_ns"`
	// Segmented: bursts left as one packet that the kernel or the network card cut
	// up (UDP_SEGMENT).
	Segmented bool `json:"segmented,omitempty"`
	Pace      Pace `json:"pace,omitzero"`

	Windows   []Window   `json:"windows,omitempty"`
	FirstLoss *FirstLoss `json:"first_loss,omitempty"`
	Variation Variation  `json:"delay_variation"`
	// Delay is one-way, of every packet, above the least of the trial; DelayDrift
	// by how much that least grew meanwhile: a queue, or clocks that drift.
	Delay      Quantiles     `json:"delay_above_least,omitzero"`
	DelayDrift time.Duration `json:"delay_drift_ns,omitempty"`
	// PerFlow is there where the load has several flows.
	PerFlow []Flow `json:"per_flow,omitempty"`
	// Latency is of an own probe beside the load. Optional.
	Latency *Latency `json:"latency,omitempty"`
	// Stopped says why the load was ended before its time; empty: it was not.
	Stopped string `json:"stopped,omitempty"`
	// Hosts are what the sender and the receiver did while the trial ran.
	Sender   Host `json:"sender_host"`
	Receiver Host `json:"receiver_host"`
	// TunnelDrops is what the drivers at both ends dropped while the trial ran, and the
	// tunnels what each of them counted. Optional.
	TunnelDrops    uint64       `json:"tunnel_drops_packets"`
	SenderTunnel   TunnelCounts `json:"sender_tunnel,omitzero"`
	ReceiverTunnel TunnelCounts `json:"receiver_tunnel,omitzero"`
}

// Pace says how even a load left, in windows of 100 ms of the sender's time on the
// CPU: Within is the share of them whose rate was within 1 % of the mean, or within
// two bursts of it where those are more, and Worst the greatest deviation, as a
// ratio.
type Pace struct {
	Windows int     `json:"windows"`
	Within  float64 `json:"within_ratio"`
	Worst   float64 `json:"worst_ratio"`
}

// Flow is one five-tuple's part of a load.
type Flow struct {
	Port      uint16 `json:"source_port"`
	Sent      uint64 `json:"sent_packets"`
	Received  uint64 `json:"received_packets"`
	Reordered uint64 `json:"reordered_packets,omitempty"`
	// Delays are one-way, above the least of all flows: flows that take another
	// way differ in them.
	MinDelay  time.Duration `json:"min_delay_ns"`
	MeanDelay time.Duration `json:"mean_delay_ns"`
}

// Quantiles summarise a distribution of Count times.
type Quantiles struct {
	Count uint64        `json:"count"`
	Min   time.Duration `json:"min_ns"`
	Mean  time.Duration `json:"mean_ns"`
	P50   time.Duration `json:"p50_ns"`
	P90   time.Duration `json:"p90_ns"`
	P99   time.Duration `json:"p99_ns"`
	P999  time.Duration `json:"p999_ns"`
	Max   time.Duration `json:"max_ns"`
}

// Latency is what a probe of its own, of few small packets, saw: round-trip times
// without what the peer took to answer.
type Latency struct {
	// Share is the load beside it as a share of the ceiling; zero: idle.
	Share              float64   `json:"ceiling_share"`
	InnerBitsPerSecond float64   `json:"inner_bits_per_second"`
	Sent               uint64    `json:"sent_packets"`
	Received           uint64    `json:"received_packets"`
	RTT                Quantiles `json:"rtt"`
	// There and Back are one-way, above the least of each, so that no clock needs
	// to be synchronised.
	There Quantiles `json:"there_above_least"`
	Back  Quantiles `json:"back_above_least"`
	// KernelStamps: times are the kernel's, not the programs'.
	KernelStamps bool `json:"kernel_stamps"`
}

// LossRatio is the share of the probe's packets that did not come back, 0 to 1.
func (l Latency) LossRatio() float64 {
	if l.Received >= l.Sent {
		return 0
	}
	return float64(l.Sent-l.Received) / float64(l.Sent)
}

// Window counts what arrived in about 20 ms: Packets in exactly End-Start, by
// the receiver's clock.
type Window struct {
	Packets uint64        `json:"packets"`
	Start   time.Duration `json:"start_ns"`
	End     time.Duration `json:"end_ns"`
	// MinDelay is the window's least one-way delay less the trial's least.
	MinDelay time.Duration `json:"min_delay_ns"`
}

// FirstLoss is where the first packet of a trial was lost: after Packets in
// order, which took After to arrive.
type FirstLoss struct {
	Packets uint64        `json:"packets"`
	After   time.Duration `json:"after_ns"`
}

// Variation summarises one-way delay variation between consecutive packets of a
// flow; Jitter is its running mean as RTP has it (RFC 3550, Section 6.4.1).
type Variation struct {
	P50    time.Duration `json:"p50_ns"`
	P99    time.Duration `json:"p99_ns"`
	Max    time.Duration `json:"max_ns"`
	Jitter time.Duration `json:"jitter_ns,omitempty"`
}

// Host is what one end's machine did during a trial, whoever asked it to.
type Host struct {
	Cores []Core `json:"cores,omitempty"`
	// SoftnetDrops are packets that the network stack dropped, on all cores, and
	// SoftnetSqueezes how often it had to leave packets for later.
	SoftnetDrops    uint64 `json:"softnet_drops"`
	SoftnetSqueezes uint64 `json:"softnet_squeezes,omitempty"`
	// UDPDrops are datagrams that found a full socket, of any program.
	UDPDrops uint64 `json:"udp_drops,omitempty"`
	// XFRM are the kernel's counters of IPsec errors that moved, by its names.
	XFRM map[string]uint64 `json:"xfrm_errors,omitempty"`
	// Busy is the time that all cores worked, Process what the agent took of it.
	Busy    time.Duration `json:"busy_ns,omitempty"`
	Process time.Duration `json:"process_ns,omitempty"`
	// ContextSwitches are of the whole machine.
	ContextSwitches uint64 `json:"context_switches,omitempty"`
	// MemoryAvailable is what programs could still get at the end, Resident what
	// the agent held, in bytes.
	MemoryAvailable uint64      `json:"memory_available_bytes,omitempty"`
	Resident        uint64      `json:"resident_bytes,omitempty"`
	Interfaces      []Interface `json:"interfaces,omitempty"`
}

// Interface is what one network interface counted during a trial.
type Interface struct {
	Name      string `json:"name"`
	RxPackets uint64 `json:"rx_packets"`
	RxBytes   uint64 `json:"rx_bytes"`
	RxDropped uint64 `json:"rx_dropped"`
	RxErrors  uint64 `json:"rx_errors"`
	TxPackets uint64 `json:"tx_packets"`
	TxBytes   uint64 `json:"tx_bytes"`
	TxDropped uint64 `json:"tx_dropped"`
	TxErrors  uint64 `json:"tx_errors"`
}

// BusyNanosecondsPer is the CPU time, in ns, that a machine spent for each of n
// packets or bytes; what else ran there is in it. Zero where either is not known.
func (h Host) BusyNanosecondsPer(n uint64) float64 {
	if n == 0 {
		return 0
	}
	return float64(h.Busy) / float64(n)
}

// Core is one core's time, as shares of one: 0 to 1.
type Core struct {
	User    float64 `json:"user"`
	System  float64 `json:"system"`
	SoftIRQ float64 `json:"softirq"`
	Steal   float64 `json:"steal"`
	Idle    float64 `json:"idle"`
}

// ValidShare is the least share of a load that must have been sent for its
// trial to say anything about the path.
const ValidShare = 0.98

// Lost is how many packets were sent and never received.
func (t Trial) Lost() uint64 {
	if t.Received >= t.Sent {
		return 0
	}
	return t.Sent - t.Received
}

// LossRatio is the share of sent packets that were lost, 0 to 1; 0 where none
// was sent.
func (t Trial) LossRatio() float64 {
	if t.Sent == 0 {
		return 0
	}
	return float64(t.Lost()) / float64(t.Sent)
}

// LostAtReceiver is how many packets the path delivered and the receiver's machine
// dropped.
func (t Trial) LostAtReceiver() uint64 { return min(t.Lost(), t.SocketDrops+t.ReceiverOverruns) }

// Lossy says that a trial lost more than a goal, a ratio of 0 to 1, and more than
// chance makes of that among so few packets: one, and three standard deviations.
func (t Trial) Lossy(goal float64) bool {
	expected := goal * float64(t.Sent)
	return float64(t.Lost()) > 1+expected+3*math.Sqrt(expected)
}

// DelayGrowth is by how much the least one-way delay of the windows grew from the
// first quarter of a trial to the last, by medians; ok is false where there are too
// few windows. Clocks that drift by some ppm add as many microseconds per second.
func (t Trial) DelayGrowth() (growth time.Duration, ok bool) {
	quarter := len(t.Windows) / 4
	if quarter < 2 {
		return 0, false
	}
	return medianDelay(t.Windows[len(t.Windows)-quarter:]) - medianDelay(t.Windows[:quarter]), true
}

func medianDelay(windows []Window) time.Duration {
	delays := make([]time.Duration, len(windows))
	for i, w := range windows {
		delays[i] = w.MinDelay
	}
	slices.Sort(delays)
	return delays[len(delays)/2]
}

// InnerSentBitsPerSecond is the load that was really offered: what was sent
// over the time in which the sender ran.
func (t Trial) InnerSentBitsPerSecond() float64 {
	return bitsPerSecond(t.sentBytes(), t.Elapsed)
}

// InnerReceivedBitsPerSecond is what arrived, over the sender's time.
func (t Trial) InnerReceivedBitsPerSecond() float64 {
	return bitsPerSecond(bytesOf(t.ReceivedInnerBytes, t.Received, t.InnerSize), t.Elapsed)
}

func (t Trial) sentBytes() float64 { return bytesOf(t.SentInnerBytes, t.Sent, t.InnerSize) }

// bytesOf is what was counted, or what packets of one size make.
func bytesOf(counted, packets uint64, size int) float64 {
	if counted > 0 {
		return float64(counted)
	}
	return float64(packets) * float64(size)
}

// Outer converts an inner rate of this trial's packets into their outer rate.
func (t Trial) Outer(innerBitsPerSecond float64) float64 {
	if t.InnerSize == 0 {
		return 0
	}
	return innerBitsPerSecond * float64(t.OuterSize) / float64(t.InnerSize)
}

// Valid says whether the generator sent what was asked of it.
func (t Trial) Valid() bool {
	return t.InnerSentBitsPerSecond() >= ValidShare*t.Load.InnerBitsPerSecond
}

// InnerOnCPUBitsPerSecond is the load while the host let the sender run.
func (t Trial) InnerOnCPUBitsPerSecond() float64 {
	return bitsPerSecond(t.sentBytes(), t.Elapsed-t.Skipped)
}

// Interrupted says that a trial is not valid only because the host kept the
// sender off the CPU: while it ran, it sent what was asked. That says nothing
// about what the generator can do.
func (t Trial) Interrupted() bool {
	return !t.Valid() && t.InnerOnCPUBitsPerSecond() >= ValidShare*t.Load.InnerBitsPerSecond
}

func bitsPerSecond(bytes float64, elapsed time.Duration) float64 {
	if elapsed <= 0 {
		return 0
	}
	return bytes * 8 / elapsed.Seconds()
}
