package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

const (
	// Headers are those of IPv4 and UDP, in bytes.
	Headers = 20 + 8
	// iperf3Ready is what a server writes once it listens.
	iperf3Ready = "Server listening"
	// iperf3Idle ends a server that no client comes to, in s.
	iperf3Idle = 20
)

// iperf3Window is the shortest interval that iperf3 can tell of.
const iperf3Window = 100 * time.Millisecond

// Iperf3 is a load of iperf3: TCP with CUBIC, or UDP.
type Iperf3 struct {
	To       netip.Addr
	Duration time.Duration // In whole seconds.
	Flows    int           // Of TCP; zero is UDP.
	// InnerSize is the length of UDP's IP packets, in bytes.
	InnerSize int
	// InnerBitsPerSecond paces UDP; zero means as fast as iperf3 can.
	InnerBitsPerSecond float64
}

// Iperf3Sum is one of the sums in iperf3's JSON. Bytes are of payload.
type Iperf3Sum struct {
	Seconds float64 `json:"seconds"`
	Bytes   float64 `json:"bytes"`
	Packets float64 `json:"packets"`
	Lost    float64 `json:"lost_packets"`
}

// Iperf3Interval is what was sent in one interval.
type Iperf3Interval struct {
	Sum Iperf3Sum `json:"sum"`
}

// Iperf3Result is what a client of iperf3 tells. The receiver's sum has the
// packets that were sent, and how many of them were lost.
type Iperf3Result struct {
	Intervals []Iperf3Interval `json:"intervals"`
	End       struct {
		Sent     Iperf3Sum `json:"sum_sent"`
		Received Iperf3Sum `json:"sum_received"`
	} `json:"end"`
	Error string `json:"error"`
}

// Iperf3 offers the load: a server at the receiver, a client at the sender.
func (p *Pair) Iperf3(ctx context.Context, load Iperf3) (Iperf3Result, Exchange, error) {
	server := End{Name: "iperf3", Args: []string{"-s", "-1", "--forceflush", "--idle-timeout", strconv.Itoa(iperf3Idle)}}
	client := End{Name: "iperf3", Args: load.args()}
	done, err := p.Exchange(ctx, server, client, iperf3Ready)
	if err != nil {
		return Iperf3Result{}, done, errors.Join(err, iperf3Complaint(done.Sender))
	}
	result, err := ParseIperf3(done.Sender)
	return result, done, err
}

// args are those of a client that offers the load. Its sizes and rates are of
// payload.
func (l Iperf3) args() []string {
	args := []string{"-c", l.To.String(), "-J", "-t", strconv.Itoa(int(l.Duration / time.Second))}
	if l.Flows > 0 {
		return append(args, "-C", "cubic", "-P", strconv.Itoa(l.Flows))
	}
	payload := l.InnerSize - Headers
	args = append(args, "-u", "-l", strconv.Itoa(payload))
	if l.InnerBitsPerSecond == 0 {
		return append(args, "-b", "0")
	}
	rate := l.InnerBitsPerSecond * float64(payload) / float64(l.InnerSize)
	return append(args, "-b", strconv.FormatFloat(rate, 'f', 0, 64), "-i", strconv.FormatFloat(iperf3Window.Seconds(), 'f', -1, 64))
}

// ParseIperf3 reads what a client wrote. Its sums are there and not empty.
func ParseIperf3(text []byte) (Iperf3Result, error) {
	var r Iperf3Result
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("read iperf3's result: %w", err)
	}
	sent, received := r.End.Sent, r.End.Received
	switch {
	case r.Error != "":
		return r, fmt.Errorf("iperf3: %s", r.Error)
	case !(sent.Seconds > 0) || !(received.Seconds > 0) || !(received.Bytes > 0):
		return r, errors.New("read iperf3's result: it has no sums of what was sent and received")
	}
	return r, nil
}

// Elapsed is how long the receiver received.
func (r Iperf3Result) Elapsed() time.Duration {
	return time.Duration(r.End.Received.Seconds * float64(time.Second))
}

// PacketsSent is of UDP.
func (r Iperf3Result) PacketsSent() uint64 { return uint64(r.End.Received.Packets) }

// PacketsReceived is of UDP. Where datagrams came twice, more may be reported lost
// than sent.
func (r Iperf3Result) PacketsReceived() uint64 {
	sum := r.End.Received
	return uint64(sum.Packets - min(sum.Lost, sum.Packets))
}

// GoodputBytesReceived is of TCP.
func (r Iperf3Result) GoodputBytesReceived() uint64 { return uint64(r.End.Received.Bytes) }

// iperf3Complaint is the error in what a client wrote that has failed: it goes to
// its standard output.
func iperf3Complaint(text []byte) error {
	var r Iperf3Result
	if json.Unmarshal(text, &r) != nil || r.Error == "" {
		return nil
	}
	return fmt.Errorf("iperf3: %s", r.Error)
}
