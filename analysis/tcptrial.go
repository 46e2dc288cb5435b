package analysis

import "time"

// TCPLoad is what a trial of TCP offers: as much as TCP takes, or a rate.
type TCPLoad struct {
	Flows    int           `json:"flows"`
	Duration time.Duration `json:"duration_ns"`
	// GoodputBitsPerSecond is of each flow; zero: as fast as TCP goes.
	GoodputBitsPerSecond float64 `json:"goodput_bits_per_second,omitempty"`
	Congestion           string  `json:"congestion_control,omitempty"`
	MSS                  int     `json:"mss_bytes,omitempty"`
	Window               int     `json:"window_bytes,omitempty"` // Of the sockets' buffers.
	Write                int     `json:"write_bytes,omitempty"`
	ZeroCopy             bool    `json:"zero_copy,omitempty"`
	Verify               bool    `json:"verify,omitempty"` // The receiver checks what it reads.
	DSCP                 uint8   `json:"dscp,omitempty"`
}

// TCPTrial is one load of TCP and all that was counted while it ran.
type TCPTrial struct {
	Load TCPLoad `json:"load"`
	// Reverse: it went from the result's To to its From.
	Reverse bool `json:"reverse,omitempty"`
	// Sent and Received are payload; what was retransmitted counts once.
	SentGoodputBytes     uint64 `json:"sent_goodput_bytes"`
	ReceivedGoodputBytes uint64 `json:"received_goodput_bytes"`
	// Elapsed is the sender's time, from the first byte to the last; Received in
	// ReceivedElapsed by the receiver's clock.
	Elapsed         time.Duration `json:"elapsed_ns"`
	ReceivedElapsed time.Duration `json:"received_elapsed_ns"`
	PerFlow         []TCPFlow     `json:"per_flow"`
	Samples         []TCPSample   `json:"samples,omitempty"`
	// Quality is what RFC 6349 makes of it; nil where its inputs are not known.
	Quality *TCPQuality `json:"rfc6349,omitempty"`
	Latency *Latency    `json:"latency,omitempty"`
	// Stopped says why the load was ended before its time; empty: it was not.
	Stopped  string `json:"stopped,omitempty"`
	Sender   Host   `json:"sender_host"`
	Receiver Host   `json:"receiver_host"`
	// TunnelDrops is what the drivers at both ends dropped while the trial ran, and the
	// tunnels what each of them counted. Optional.
	TunnelDrops    uint64       `json:"tunnel_drops_packets"`
	SenderTunnel   TunnelCounts `json:"sender_tunnel,omitzero"`
	ReceiverTunnel TunnelCounts `json:"receiver_tunnel,omitzero"`
}

// TCPFlow is what one connection's sender saw of itself (TCP_INFO, tcp(7)).
type TCPFlow struct {
	LocalPort            uint16        `json:"local_port"`
	RemotePort           uint16        `json:"remote_port"`
	SentGoodputBytes     uint64        `json:"sent_goodput_bytes"`
	ReceivedGoodputBytes uint64        `json:"received_goodput_bytes"`
	Retransmits          uint64        `json:"retransmits_segments"`
	TransmittedBytes     uint64        `json:"transmitted_bytes"` // With those that follow.
	RetransmittedBytes   uint64        `json:"retransmitted_bytes"`
	MinRTT               time.Duration `json:"min_rtt_ns"`
	MeanRTT              time.Duration `json:"mean_rtt_ns"`
	MaxRTT               time.Duration `json:"max_rtt_ns"`
	MaxCwnd              int           `json:"max_cwnd_bytes"`
	MSS                  int           `json:"mss_bytes"`
	Congestion           string        `json:"congestion_control"`
	// The time that the flow had something to send, and the parts of it in which
	// the receiver's window or the sender's buffer held it back.
	Busy          time.Duration `json:"busy_ns"`
	RwndLimited   time.Duration `json:"rwnd_limited_ns"`
	SndbufLimited time.Duration `json:"sndbuf_limited_ns"`
}

// TCPSample is the state of all flows at one moment: totals since the load began,
// the mean RTT, and the sum of the congestion windows.
type TCPSample struct {
	Elapsed          time.Duration `json:"elapsed_ns"`
	SentGoodputBytes uint64        `json:"sent_goodput_bytes"`
	Retransmits      uint64        `json:"retransmits_segments"`
	RTT              time.Duration `json:"rtt_ns"`
	Cwnd             int           `json:"cwnd_bytes"`
}

// TCPQuality are the figures of RFC 6349, Section 4, as ratios.
type TCPQuality struct {
	// Efficiency is the share of transmitted bytes that were not retransmitted: 1 is
	// ideal (Section 4.2).
	Efficiency float64 `json:"efficiency_ratio"`
	// BufferDelay is by how much the mean round trip grew, of Baseline, what it was
	// without load: 0 is ideal, 1 is twice the baseline (Section 4.3).
	BufferDelay float64       `json:"buffer_delay_ratio"`
	Baseline    time.Duration `json:"baseline_rtt_ns"`
	// TransferTime is the time that the transfer took, of the least that it could
	// have taken at the rate that the path is known to carry: 1 is ideal (Section
	// 4.1). Zero where that rate is not known.
	TransferTime float64 `json:"transfer_time_ratio,omitempty"`
	// BottleneckGoodputBitsPerSecond is that rate, of payload.
	BottleneckGoodputBitsPerSecond float64 `json:"bottleneck_goodput_bits_per_second,omitempty"`
}

// SentGoodputRate is the payload that was sent, in bit/s by the sender's clock.
func (t TCPTrial) SentGoodputRate() float64 {
	return bitsPerSecond(float64(t.SentGoodputBytes), t.Elapsed)
}

// ReceivedGoodputRate is the payload that arrived, in bit/s by the receiver's clock.
func (t TCPTrial) ReceivedGoodputRate() float64 {
	return bitsPerSecond(float64(t.ReceivedGoodputBytes), t.ReceivedElapsed)
}

// Judge makes of the trial what RFC 6349 does. The rate that the path is known to
// carry may be zero.
func (t TCPTrial) Judge(path TCPPath) *TCPQuality {
	transfer := TCPTransfer{GoodputBytes: t.ReceivedGoodputBytes, Elapsed: t.ReceivedElapsed}
	var sum time.Duration
	for _, f := range t.PerFlow {
		transfer.TransmittedBytes += f.TransmittedBytes
		transfer.RetransmittedBytes += f.RetransmittedBytes
		sum += f.MeanRTT
	}
	if len(t.PerFlow) > 0 {
		transfer.MeanRTT = sum / time.Duration(len(t.PerFlow))
	}
	quality := path.Judge(transfer)
	return &quality
}

// Retransmits are those of all flows, in segments.
func (t TCPTrial) Retransmits() (sum uint64) {
	for _, f := range t.PerFlow {
		sum += f.Retransmits
	}
	return sum
}
