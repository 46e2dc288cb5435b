package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

const (
	// headers are those of IPv4 and UDP: 20 + 8 bytes.
	headers = 20 + 8
	// iperf3Ready is what a server writes once it listens.
	iperf3Ready = "Server listening"
	// iperf3Idle ends a server that no client comes to, in s.
	iperf3Idle = 20
)

// iperf3Window is the shortest interval that iperf3 can tell of.
const iperf3Window = 100 * time.Millisecond

// runIperf3 offers a load with iperf3.
func runIperf3(ctx context.Context, l *link, j job, d time.Duration) (outcome, error) {
	server := end{name: "iperf3", args: []string{"-s", "-1", "--forceflush", "--idle-timeout", strconv.Itoa(iperf3Idle)}}
	client := end{name: "iperf3", args: iperf3Args(j, d)}
	done, err := l.exchange(ctx, server, client, iperf3Ready)
	if err != nil {
		return outcome{}, errors.Join(err, iperf3Complaint(done.sender))
	}
	o, err := parseIperf3(done.sender, j)
	if err != nil {
		return outcome{}, err
	}
	o.senderCPU, o.receiverCPU, o.hostBusy = done.senderCPU, done.receiverCPU, done.hostBusy
	return o, nil
}

// iperf3Args are those of a client that offers the load. Its sizes and rates are
// of payload.
func iperf3Args(j job, d time.Duration) []string {
	args := []string{"-c", receiverAddress.String(), "-J", "-t", strconv.Itoa(int(d / time.Second))}
	if j.Protocol == tcpLoad {
		return append(args, "-C", "cubic", "-P", strconv.Itoa(j.Flows))
	}
	payload := j.InnerSize - headers
	args = append(args, "-u", "-l", strconv.Itoa(payload))
	if !j.paced() {
		return append(args, "-b", "0")
	}
	rate := j.InnerBitsPerSecond * float64(payload) / float64(j.InnerSize)
	return append(args, "-b", strconv.FormatFloat(rate, 'f', 0, 64), "-i", strconv.FormatFloat(iperf3Window.Seconds(), 'f', -1, 64))
}

// iperf3Sum is one of the sums in iperf3's JSON. Bytes are of payload.
type iperf3Sum struct {
	Seconds float64 `json:"seconds"`
	Bytes   float64 `json:"bytes"`
	Packets float64 `json:"packets"`
	Lost    float64 `json:"lost_packets"`
}

type iperf3Interval struct {
	Sum iperf3Sum `json:"sum"`
}

// iperf3Result is what a client of iperf3 tells. The receiver's sum has the
// packets that were sent, and how many of them were lost.
type iperf3Result struct {
	Intervals []iperf3Interval `json:"intervals"`
	End       struct {
		Sent     iperf3Sum `json:"sum_sent"`
		Received iperf3Sum `json:"sum_received"`
	} `json:"end"`
	Error string `json:"error"`
}

func parseIperf3(text []byte, j job) (outcome, error) {
	var r iperf3Result
	if err := json.Unmarshal(text, &r); err != nil {
		return outcome{}, fmt.Errorf("read iperf3's result: %w", err)
	}
	sent, received := r.End.Sent, r.End.Received
	switch {
	case r.Error != "":
		return outcome{}, fmt.Errorf("iperf3: %s", r.Error)
	case !(sent.Seconds > 0) || !(received.Seconds > 0) || !(received.Bytes > 0):
		return outcome{}, errors.New("read iperf3's result: it has no sums of what was sent and received")
	}
	o := outcome{elapsed: time.Duration(received.Seconds * float64(time.Second))}
	if j.Protocol == tcpLoad {
		o.goodputBytesReceived = uint64(received.Bytes)
		return o, nil
	}
	o.packetsSent = uint64(received.Packets)
	o.packetsReceived = uint64(received.Packets - min(received.Lost, received.Packets))
	o.innerBytesReceived = o.packetsReceived * uint64(j.InnerSize)
	if j.paced() {
		o.pacing = iperf3Pacing(r, j)
	}
	return o, nil
}

// iperf3Pacing judges iperf3 by what it says it sent. How much it sends back to
// back it does not say, so that two of its bursts are two datagrams here.
func iperf3Pacing(r iperf3Result, j job) pacing {
	payload := float64(j.InnerSize - headers)
	mean := r.End.Sent.Bytes / r.End.Sent.Seconds
	even := 0
	for _, i := range r.Intervals {
		want := mean * i.Sum.Seconds
		if math.Abs(i.Sum.Bytes-want) <= max(want/100, 2*payload) {
			even++
		}
	}
	return pacing{
		rateError: mean*8*float64(j.InnerSize)/payload/j.InnerBitsPerSecond - 1,
		within:    float64(even) / float64(len(r.Intervals)),
	}
}

// iperf3Complaint is the error in what a client wrote that has failed: it goes to
// its standard output.
func iperf3Complaint(text []byte) error {
	var r iperf3Result
	if json.Unmarshal(text, &r) != nil || r.Error == "" {
		return nil
	}
	return fmt.Errorf("iperf3: %s", r.Error)
}
