package iperf

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
)

// JSON writes one object when the load is over: a result's own keys, as
// report.WriteJSON writes them, and those of iperf3's -J.
type JSON struct {
	to        io.Writer
	setup     Setup
	joiner    joiner
	intervals []interval
}

var _ Writer = (*JSON)(nil)

// NewJSON writes to w.
func NewJSON(w io.Writer) *JSON { return &JSON{to: w, intervals: []interval{}} }

// Start keeps what is known.
func (j *JSON) Start(s Setup) error {
	j.setup, j.joiner = s, joiner{bidirectional: s.Bidirectional}
	return nil
}

// Interval keeps one for the end.
func (j *JSON) Interval(i analysis.Interval) error {
	j.keep(j.joiner.add(i))
	return nil
}

func (j *JSON) keep(halves []analysis.Interval) {
	if len(halves) > 0 {
		j.intervals = append(j.intervals, j.setup.interval(halves))
	}
}

// End writes all.
func (j *JSON) End(r report.Result) error {
	document, err := report.NewDocument(r)
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	j.keep(j.joiner.rest())
	directions := j.setup.directions(r)
	return j.write(struct {
		report.Document
		Start     start      `json:"start"`
		Intervals []interval `json:"intervals"`
		End       summaries  `json:"end"`
	}{document, j.setup.start(flowsOf(directions)), j.intervals, newSummaries(directions)})
}

// Fail writes what is known, and "error", which iperf3's readers look for first.
func (j *JSON) Fail(why error) error {
	j.keep(j.joiner.rest())
	return j.write(struct {
		Start     start      `json:"start"`
		Intervals []interval `json:"intervals"`
		End       struct{}   `json:"end"`
		Error     string     `json:"error"`
	}{Start: j.setup.start(nil), Intervals: j.intervals, Error: why.Error()})
}

func (j *JSON) write(object any) error {
	encoder := json.NewEncoder(j.to)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(object); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// start is iperf3's "start".
type start struct {
	Connected     []connection `json:"connected"`
	Version       string       `json:"version"`
	System        string       `json:"system_info"`
	Timestamp     timestamp    `json:"timestamp,omitzero"`
	ConnectingTo  connectingTo `json:"connecting_to,omitzero"`
	MSS           int          `json:"tcp_mss,omitempty"`
	TargetBitrate int64        `json:"target_bitrate"`
	Window        int          `json:"sock_bufsize"` // Zero: the system's choice.
	TestStart     testStart    `json:"test_start,omitzero"`
}

// connection is null in its ports where they are not known: readers look for them.
type connection struct {
	Socket     int     `json:"socket"`
	LocalHost  string  `json:"local_host"`
	LocalPort  *uint16 `json:"local_port"`
	RemoteHost string  `json:"remote_host"`
	RemotePort *uint16 `json:"remote_port"`
}

type timestamp struct {
	Time         string `json:"time"`
	Seconds      int64  `json:"timesecs"`
	Milliseconds int64  `json:"timemillisecs"`
}

type connectingTo struct {
	Host string  `json:"host"`
	Port *uint16 `json:"port"`
}

// testStart has only zero for what a run does not offer: to omit a part, and to end
// after so many bytes or blocks.
type testStart struct {
	Protocol      Protocol `json:"protocol"`
	Flows         int      `json:"num_streams"`
	BlockSize     int      `json:"blksize"`
	Omit          int      `json:"omit"`
	Duration      float64  `json:"duration"`
	Bytes         int      `json:"bytes"`
	Blocks        int      `json:"blocks"`
	Reverse       int      `json:"reverse"`
	TOS           int      `json:"tos"`
	TargetBitrate int64    `json:"target_bitrate"`
	Bidirectional int      `json:"bidir"`
}

// httpTime is RFC 1123's in GMT, as iperf3 writes it.
const httpTime = "Mon, 02 Jan 2006 15:04:05 GMT"

// start of a load that failed before it was set up says only what wrote it.
func (s Setup) start(flows []flow) start {
	all := start{Connected: s.connected(flows), Version: strings.TrimSpace("tunnelmark " + s.ToolVersion), System: s.System}
	if s.Protocol == "" {
		return all
	}
	at := s.Started.UTC()
	all.Timestamp = timestamp{Time: at.Format(httpTime), Seconds: at.Unix(), Milliseconds: at.UnixMilli()}
	all.ConnectingTo = connectingTo{Host: s.To, Port: known(s.Remote.Port())}
	all.MSS, all.TargetBitrate, all.Window = s.MSS, int64(s.GoodputBitsPerSecond), s.Window
	all.TestStart = testStart{
		Protocol: s.Protocol, Flows: s.flows(), BlockSize: s.Payload, Duration: s.Duration.Seconds(),
		Reverse: one(s.Reverse && !s.Bidirectional), TOS: int(s.DSCP) << 2, TargetBitrate: int64(s.GoodputBitsPerSecond), Bidirectional: one(s.Bidirectional),
	}
	return all
}

// connected is empty where the addresses are not known. Before the load flows are not
// known either; one connection stands for them then.
func (s Setup) connected(flows []flow) []connection {
	all := []connection{}
	if !s.Local.Addr().IsValid() || !s.Remote.Addr().IsValid() {
		return all
	}
	if len(flows) == 0 {
		flows = []flow{{id: 1, localPort: s.Local.Port(), remotePort: s.Remote.Port()}}
	}
	for _, f := range flows {
		all = append(all, connection{
			Socket:    f.id,
			LocalHost: s.Local.Addr().String(), LocalPort: known(f.localPort),
			RemoteHost: s.Remote.Addr().String(), RemotePort: known(f.remotePort),
		})
	}
	return all
}

func flowsOf(directions []direction) (flows []flow) {
	for _, d := range directions {
		flows = append(flows, d.flows...)
	}
	return flows
}

// known is nil for zero.
func known[T int | uint16 | float64](value T) *T {
	if value == 0 {
		return nil
	}
	return &value
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// interval is one of iperf3's "intervals". Its streams are empty where there are
// several flows: they are counted together while they run.
type interval struct {
	Streams    []sum `json:"streams"`
	Sum        *sum  `json:"sum,omitempty"`
	SumReverse *sum  `json:"sum_bidir_reverse,omitempty"`
}

func (s Setup) interval(halves []analysis.Interval) interval {
	all := interval{Streams: []sum{}}
	for _, half := range halves {
		one := s.sumOf(half)
		if s.Bidirectional && half.Reverse {
			all.SumReverse = &one
		} else {
			all.Sum = &one
		}
		if s.flows() == 1 {
			stream := one
			stream.Socket = s.socket(half.Reverse)
			all.Streams = append(all.Streams, stream)
		}
	}
	return all
}

// socket is the number of the one flow of a direction.
func (s Setup) socket(reverse bool) *int {
	id := 1
	if reverse && s.Bidirectional {
		id = 2
	}
	return &id
}

// sum is what iperf3 tells of a flow, or of all together, in an interval or in the
// end. What is nil is not told of that kind.
type sum struct {
	Socket        *int     `json:"socket,omitempty"`
	Start         float64  `json:"start"`
	End           float64  `json:"end"`
	Seconds       float64  `json:"seconds"`
	Bytes         uint64   `json:"bytes"`
	BitsPerSecond float64  `json:"bits_per_second"`
	Retransmits   *uint64  `json:"retransmits,omitempty"`
	Cwnd          *int     `json:"snd_cwnd,omitempty"`     // In bytes.
	RTT           *int64   `json:"rtt,omitempty"`          // In µs, like all round trips here.
	MaxCwnd       *int     `json:"max_snd_cwnd,omitempty"` // In bytes.
	MaxRTT        *int64   `json:"max_rtt,omitempty"`
	MinRTT        *int64   `json:"min_rtt,omitempty"`
	MeanRTT       *int64   `json:"mean_rtt,omitempty"`
	Jitter        *float64 `json:"jitter_ms,omitempty"`
	LostPackets   *uint64  `json:"lost_packets,omitempty"`
	Packets       *uint64  `json:"packets,omitempty"`
	LostPercent   *float64 `json:"lost_percent,omitempty"`
	OutOfOrder    *uint64  `json:"out_of_order,omitempty"`
	Omitted       *bool    `json:"omitted,omitempty"` // Of intervals: false.
	// Sender says that iperf3's client, From, sends.
	Sender bool `json:"sender"`
}

func newSum(bytes uint64, start, end time.Duration, sender bool) sum {
	return sum{
		Start: start.Seconds(), End: end.Seconds(), Seconds: (end - start).Seconds(),
		Bytes: bytes, BitsPerSecond: rate(bytes, end-start), Sender: sender,
	}
}

// sumOf tells of UDP also what was lost, as far as the receiver has told, which
// iperf3's sender does not know.
func (s Setup) sumOf(i analysis.Interval) sum {
	one, omitted := newSum(i.GoodputBytes, i.Start, i.End, !i.Reverse), false
	one.Omitted = &omitted
	if s.Protocol == UDP {
		lost := percent(i.Lost, i.Packets)
		one.Packets, one.LostPackets, one.LostPercent = &i.Packets, &i.Lost, &lost
		return one
	}
	one.Retransmits = &i.Retransmits
	if i.Cwnd > 0 {
		one.Cwnd, one.RTT = &i.Cwnd, microseconds(i.RTT)
	}
	return one
}

func microseconds(d time.Duration) *int64 {
	count := d.Microseconds()
	return &count
}

// summaries is iperf3's "end".
type summaries struct {
	Streams            []stream `json:"streams"`
	Sum                *sum     `json:"sum,omitempty"` // Of UDP.
	SumSent            *sum     `json:"sum_sent,omitempty"`
	SumReceived        *sum     `json:"sum_received,omitempty"`
	SumReverse         *sum     `json:"sum_bidir_reverse,omitempty"` // Of UDP.
	SumSentReverse     *sum     `json:"sum_sent_bidir_reverse,omitempty"`
	SumReceivedReverse *sum     `json:"sum_received_bidir_reverse,omitempty"`
	CPU                cpuUse   `json:"cpu_utilization_percent"`
	// SenderCongestion is of the connections' senders. What their receivers would
	// use is not asked.
	SenderCongestion string `json:"sender_tcp_congestion,omitempty"`
}

// stream is one flow: both of its ends of TCP, or both together of UDP.
type stream struct {
	Sender   *sum `json:"sender,omitempty"`
	Receiver *sum `json:"receiver,omitempty"`
	UDP      *sum `json:"udp,omitempty"`
}

// cpuUse is the CPU time of the agents' processes over the time of the load, which
// may exceed 100 on several cores; "host" is From, "remote" To. Null is what is not
// known: an agent does not tell user from system time.
type cpuUse struct {
	HostTotal    *float64 `json:"host_total"`
	HostUser     *float64 `json:"host_user"`
	HostSystem   *float64 `json:"host_system"`
	RemoteTotal  *float64 `json:"remote_total"`
	RemoteUser   *float64 `json:"remote_user"`
	RemoteSystem *float64 `json:"remote_system"`
}

func newSummaries(directions []direction) summaries {
	all := summaries{Streams: []stream{}}
	for i, d := range directions {
		for _, f := range d.flows {
			all.Streams = append(all.Streams, d.stream(f))
		}
		both, sent, received := d.sums()
		if d.reverse && len(directions) > 1 {
			all.SumReverse, all.SumSentReverse, all.SumReceivedReverse = both, &sent, &received
		} else {
			all.Sum, all.SumSent, all.SumReceived = both, &sent, &received
		}
		if i == 0 {
			all.CPU, all.SenderCongestion = d.cpu(), d.congestion
		}
	}
	return all
}

// sums are those of all flows; both, of sender and receiver in one, is told of UDP
// alone.
func (d direction) sums() (both *sum, sent, received sum) {
	sent, received = newSum(d.sum.sent, 0, d.sum.sentFor, !d.reverse), newSum(d.sum.received, 0, d.sum.receivedFor, !d.reverse)
	if d.protocol == TCP {
		sent.Retransmits = &d.sum.retransmits
		return nil, sent, received
	}
	all := sent
	all.count(d.sum.lost, d.sum)
	received.count(d.sum.lost, d.sum)
	sent.count(0, flow{packets: d.sum.packets, jitter: new(time.Duration)})
	sent.Sender, received.Sender = true, false
	return &all, sent, received
}

// count adds what is told of datagrams.
func (s *sum) count(lost uint64, f flow) {
	share := percent(lost, f.packets)
	s.LostPackets, s.Packets, s.LostPercent = &lost, &f.packets, &share
	if f.jitter != nil {
		jitter := milliseconds(*f.jitter)
		s.Jitter = &jitter
	}
}

func (d direction) stream(f flow) stream {
	sent, received := newSum(f.sent, 0, f.sentFor, !d.reverse), newSum(f.received, 0, f.receivedFor, !d.reverse)
	sent.Socket, received.Socket = &f.id, &f.id
	if d.protocol == UDP {
		sent.count(f.lost, f)
		sent.OutOfOrder = &f.outOfOrder
		return stream{UDP: &sent}
	}
	sent.Retransmits, sent.MaxCwnd = &f.retransmits, &f.maxCwnd
	sent.MaxRTT, sent.MinRTT, sent.MeanRTT = microseconds(f.maxRTT), microseconds(f.minRTT), microseconds(f.meanRTT)
	return stream{Sender: &sent, Receiver: &received}
}

func (d direction) cpu() cpuUse {
	host, remote := d.sender, d.receiver
	if d.reverse {
		host, remote = remote, host
	}
	return cpuUse{HostTotal: busy(host, d.elapsed), RemoteTotal: busy(remote, d.elapsed)}
}

func busy(h analysis.Host, elapsed time.Duration) *float64 {
	if elapsed <= 0 {
		return nil
	}
	return known(100 * h.Process.Seconds() / elapsed.Seconds())
}
