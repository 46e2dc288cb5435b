// Package iperf writes what a fixed load did as iperf3 does, so that the eyes and
// the programs that read iperf3 need not learn anew: in its columns, under the keys
// of its -J, and as its --json-stream (iperf3 3.12; the stream is of 3.17).
//
// In the order in which it happens:
//
//  1. Setup says what is known before the load; a Writer announces it.
//  2. Each analysis.Interval becomes a line while the load runs (interval.go).
//  3. The result becomes what iperf3 counts, in each direction (summary.go), and is
//     written as text (text.go), as JSON (json.go) or as a stream (stream.go).
//
// The site that loads flow from, From, is iperf3's client, and To its server; a load
// with --reverse goes the other way. Rates are of payload, as iperf3's are. What is
// not known is left out rather than made up, and null where readers fail without it.
package iperf

import (
	"net/netip"
	"time"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
)

// Protocol is what the load is made of, by the name that iperf3 gives it.
type Protocol string

// The protocols.
const (
	TCP Protocol = "TCP"
	UDP Protocol = "UDP"
)

// Setup is what is known of a load before it runs.
type Setup struct {
	Protocol Protocol
	From, To string // Names of the agents.
	// Local is the address inside the tunnel at From, Remote that at To. Optional,
	// and so is the port of each.
	Local, Remote netip.AddrPort
	Flows         int // In each direction.
	// Payload is the length in bytes of each datagram's payload, of a mix the
	// mean, or of each write to a connection.
	Payload int
	// Headers is what an inner packet has beside its payload, in bytes: of UDP 20 + 8
	// in IPv4, 40 + 8 in IPv6. Of TCP it is not used.
	Headers  int
	Duration time.Duration
	// GoodputBitsPerSecond is of each flow; zero: as fast as it goes.
	GoodputBitsPerSecond float64
	// Reverse: the load goes from To to From. Bidirectional: both ways at once.
	Reverse, Bidirectional bool
	MSS, Window            int // In bytes. Optional.
	DSCP                   uint8
	Started                time.Time
	ToolVersion            string
	System                 string // Of From: its kernel, as uname(1) tells. Optional.
}

// Writer tells of one load, while it runs and afterwards. Its methods are called one
// at a time: Start, Interval as often as there are some, then End or Fail.
type Writer interface {
	Start(Setup) error
	Interval(analysis.Interval) error
	End(report.Result) error
	// Fail ends the output where there is no result. Who calls it tells people why.
	Fail(why error) error
}

// flows is at least one.
func (s Setup) flows() int { return max(1, s.Flows) }

// goodput is what n inner packets, of so many bytes together, carry of payload.
func (s Setup) goodput(innerBytes, packets uint64) uint64 {
	headers := uint64(max(0, s.Headers))
	if headers > 0 && packets > innerBytes/headers {
		return 0 // No packet is shorter than its headers: somebody miscounted.
	}
	return innerBytes - packets*headers
}
