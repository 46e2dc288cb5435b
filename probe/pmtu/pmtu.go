// Package pmtu finds which sizes of inner packets a path takes, both ways, by
// sending them, in the manner of RFC 8899 (DPLPMTUD): Search asks at one end, Answer
// answers at the other. What ICMP says is told beside the result and never believed.
// OfferMSS and HearMSS compare a SYN as it was sent with what arrived of it (mss.go).
//
// A search goes like this, in the words of package wire:
//
//  1. The searcher says HELLO every 50 ms with a nonce of its own. The answerer
//     echoes it beside its own nonce, which the searcher echoes in all that it
//     sends from then on: so each knows that the other holds the session's key,
//     and is at that address now.
//  2. There: the searcher sends a SIZED with DF, and the answerer tells which size
//     came. Back: the searcher ASKs for a size, and the answerer sends one SIZED
//     for each ASK, of that size. Both ways are searched at the same time.
//  3. A size counts as passed when it came once, and as lost when it did not come in
//     four tries although the peer was heard after them (way.go). Which size is tried next, finder.go says.
//  4. The searcher says "last" HELLO, and the answerer tells what ICMP said to it.
//
// Every datagram is authenticated whole, padding included. Each end is bounded in
// datagrams and by its own clock, and ends by itself when the other dies.
package pmtu

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"tunnelmark/probe/sockets"
	"tunnelmark/probe/wire"
)

// Bounds of the protocol.
const (
	// The searcher greets again where it has heard nothing for so long, since it
	// may be that only large packets are lost, and gives up after silenceLimit: later
	// than a load, since it burdens no path.
	greetAfter   = 100 * time.Millisecond
	silenceLimit = 2 * time.Second
	searchWithin = 30 * time.Second // From the peer's hello on.
	// mostSent is how many datagrams a search sends at most each way.
	mostSent = 120
	maxAlso  = 8
)

// The sizes from which is searched, in bytes: what every host must take, and what every
// link must (RFC 791, Section 3.1; RFC 8200, Section 5).
const (
	leastIPv4 = 576
	leastIPv6 = 1280
)

// Options are what both ends of a search, or of a look at a SYN, agree on.
type Options struct {
	Key wire.Key // Of the session.
	// Trial tells late packets of the trial before from this one's. A SYN's
	// two directions need different ones, so that nobody can pass for a peer by
	// mirroring one to the other.
	Trial uint8
	// Peer is the only address that HearMSS hears. Optional.
	Peer netip.Addr
	// Least and Most are the inner sizes between which is searched, in bytes.
	// Optional: zero means 576 for IPv4 and 1280 for IPv6, and what the sending
	// interface takes. The answerer sends nothing above its own Most.
	Least, Most int
	// Also are up to eight more sizes that the searcher tries, where larger ones
	// may pass though they do not: about that from which a tunnel cuts packets in
	// two. Optional.
	Also []int
	// HelloWithin is how long each end waits for the other. Optional: zero means
	// 5 s.
	HelloWithin time.Duration
}

// filled checks o and fills in what is optional, for sockets of an IP version.
func (o Options) filled(f *family) (Options, error) {
	o.HelloWithin = cmp.Or(o.HelloWithin, wire.HelloWithin)
	o.Most = cmp.Or(o.Most, sockets.MaxInner)
	o.Least = cmp.Or(o.Least, min(f.least, o.Most))
	smallest := f.headers + wire.SizedSize
	switch {
	case o.Key == (wire.Key{}):
		return o, fmt.Errorf("take trial %d: it has no key", o.Trial)
	case o.HelloWithin < 0:
		return o, fmt.Errorf("take trial %d: %v to wait for the peer", o.Trial, o.HelloWithin)
	case o.Least < smallest || o.Most > sockets.MaxInner || o.Least > o.Most:
		return o, fmt.Errorf("search inner sizes of %d to %d bytes: allowed are %d to %d", o.Least, o.Most, smallest, sockets.MaxInner)
	case len(o.Also) > maxAlso:
		return o, fmt.Errorf("try %d more sizes: allowed are %d", len(o.Also), maxAlso)
	}
	return o, nil
}

// Result is what a search found: There from the searcher to the answerer, Back the
// other way.
type Result struct {
	There, Back Direction
	HelloRTT    time.Duration
}

// Direction is which inner sizes pass in one direction. Sizes are in bytes; zero
// means that there is none, unless it says otherwise.
type Direction struct {
	// InnerSize is the largest that passed below every one that was lost, LostFrom
	// the least that was lost.
	InnerSize, LostFrom int
	// LocalMTU is what the sender's own interface takes, where it refused more.
	LocalMTU int
	// BlackHoleFrom is LostFrom where nothing said that this is too big.
	BlackHoleFrom int
	// ICMPSaid is the least MTU that "fragmentation needed" or "packet too big"
	// told the sender, and ICMPFrom who said so.
	ICMPSaid int
	ICMPFrom netip.Addr
	// CachedMTU is what the sender's kernel took for the path's at the end.
	CachedMTU int
	// PassedAbove are those above LostFrom that passed nonetheless.
	PassedAbove []int
	// FragmentedFrom is the least of those tried that came in fragments, of
	// FragmentSize at most, although DF forbids them.
	FragmentedFrom, FragmentSize int
	// Settled says that InnerSize passed twice, and InnerSize + 1 was lost twice or
	// is beyond what was asked for.
	Settled bool
	Sent    int // Datagrams that were to try a size.
	Elapsed time.Duration
}

// Note says in words what is remarkable; empty where nothing is.
func (d Direction) Note() string {
	var notes []string
	note := func(when bool, format string, values ...any) {
		if when {
			notes = append(notes, fmt.Sprintf(format, values...))
		}
	}
	said := "ICMP says nothing"
	if d.ICMPSaid > 0 {
		said = fmt.Sprintf("ICMP says no less than %d B", d.ICMPSaid)
	}
	note(d.BlackHoleFrom > 0, "black hole: from %d B on packets are lost, and %s", d.BlackHoleFrom, said)
	note(d.ICMPSaid > 0 && d.ICMPSaid < d.InnerSize, "ICMP from %s says %d B, but %d B pass", d.ICMPFrom, d.ICMPSaid, d.InnerSize)
	note(len(d.PassedAbove) > 0, "not a matter of size alone: %d B are lost, yet of larger ones pass %s B", d.LostFrom, list(d.PassedAbove))
	note(d.FragmentedFrom > 0, "packets of %d B arrive in fragments of up to %d B, although DF forbids it", d.FragmentedFrom, d.FragmentSize)
	note(!d.Settled, "not settled with %d datagrams", d.Sent)
	return strings.Join(notes, "; ")
}

func list(sizes []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(sizes), " ", ", "), "[]")
}

// said takes down what ICMP told the sender. An MTU that is not below a size does not
// say that the size is too big: where that was lost, it vanished.
func (d *Direction) said(mtu int, from netip.Addr) {
	d.ICMPSaid, d.ICMPFrom = mtu, from
	if d.LostFrom > 0 && (mtu == 0 || mtu >= d.LostFrom) {
		d.BlackHoleFrom = d.LostFrom
	}
}
