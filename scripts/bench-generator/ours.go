package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"tunnelmark/scripts/internal/bench"
)

// runOurs offers a load with two ends of this program.
func runOurs(ctx context.Context, p *bench.Pair, j job, d time.Duration) (outcome, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // Never fails (crypto/rand).
	receiver, err := ownEnd(order{Job: j, Duration: d, Key: key})
	if err != nil {
		return outcome{}, err
	}
	sender, err := ownEnd(order{Send: true, Job: j, Duration: d, Key: key})
	if err != nil {
		return outcome{}, err
	}
	done, err := p.Exchange(ctx, receiver, sender, ready)
	if err != nil {
		return outcome{}, err
	}
	var sent, received told
	if err := json.Unmarshal(done.Sender, &sent); err != nil {
		return outcome{}, fmt.Errorf("read what the sender tells: %w", err)
	}
	if err := json.Unmarshal(bytes.TrimPrefix(done.Receiver, []byte(ready)), &received); err != nil {
		return outcome{}, fmt.Errorf("read what the receiver tells: %w", err)
	}
	o := ownOutcome(j, sent, received)
	o.senderCPU, o.receiverCPU, o.hostBusy = done.SenderCPU, done.ReceiverCPU, done.HostBusy
	return o, nil
}

// ownEnd is this program, called to carry out an order.
func ownEnd(o order) (bench.End, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return bench.End{}, fmt.Errorf("write the order: %w", err)
	}
	return bench.End{Name: "/proc/self/exe", Args: []string{endCommand}, Stdin: text}, nil
}

// ownOutcome puts together what both ends tell.
func ownOutcome(j job, sent, received told) outcome {
	o := outcome{
		packetsSent:          sent.Packets,
		packetsReceived:      received.Packets,
		innerBytesReceived:   received.InnerBytes,
		goodputBytesReceived: received.GoodputBytes,
		// Queues may empty after the last packet was sent.
		elapsed: max(sent.Elapsed, received.Elapsed),
	}
	if j.paced() {
		onCPU := sent.Elapsed - sent.Skipped
		rate := float64(sent.InnerBytes) * 8 / onCPU.Seconds()
		o.pacing = pacing{
			rateError: rate/j.InnerBitsPerSecond - 1,
			within:    sent.Within,
			burst:     sent.Burst,
			offCPU:    sent.Skipped.Seconds() / sent.Elapsed.Seconds(),
		}
	}
	return o
}
