// Package tunnel builds, counts and removes one half of a site-to-site tunnel.
//
// A driver (a child package such as tunnel/esp) builds this end's half from a
// Spec, the session's keys and a Place; the other agent builds the other half.
// The encrypted side stays in the agent's own network namespace, the clear
// side lives in a namespace of the session that only a descriptor holds, so
// that the kernel removes it when the agent dies.
//
// This package holds the words that all drivers share; it imports no driver.
package tunnel

import (
	"context"
	"crypto/ecdh"
	"errors"
	"net"
	"net/netip"
	"time"
)

// ErrNotSupported says that a driver, or this machine, cannot do what a Spec
// asks. The error that wraps it names what is missing.
var ErrNotSupported = errors.New("not supported")

// Encapsulation says what carries ESP across the outer network.
type Encapsulation string

// UDP is UDP encapsulation of ESP (RFC 3948); Raw is IP protocol 50.
const (
	UDP Encapsulation = "udp"
	Raw Encapsulation = "raw"
)

// Spec describes one half of one tunnel. Both halves are built from the same
// session, with Local and Remote exchanged.
type Spec struct {
	Suite         Suite         // Ignored by drivers that do not encrypt.
	Encapsulation Encapsulation // Ignored by drivers that do not encapsulate.
	MTU           int           // Largest inner IP packet, in bytes, that the tunnel takes.
	NoESN         bool          // 32-bit sequence numbers instead of extended ones (RFC 4303, Section 2.2.1).
	ReplayWindow  int           // In packets (RFC 4303, Section 3.4.3). 0: the driver's own.
	Rekey         Lifetime      // Of each pair of SAs. Limits of 0 are the driver's own.
	Number        int           // Of this tunnel among those of its session, from 0.
	// Lifetime is after what time the kernel itself must remove what a driver
	// cannot tie to a descriptor (SAs, policies, addresses). 0: nobody does.
	Lifetime time.Duration
	Local    End
	Remote   End
}

// End is one end of a tunnel.
type End struct {
	Outer  netip.AddrPort // Where encapsulated packets arrive.
	SPI    uint32         // Of the SA on which this end receives (RFC 4303, Section 2.1).
	Inner4 netip.Addr     // Inner IPv4 address.
	Inner6 netip.Addr     // Inner IPv6 address.
}

// Direction is seen from this end.
type Direction int

// Send is from this end to the peer, Receive the reverse.
const (
	Send Direction = iota
	Receive
)

// Keys gives the secrets of one of a session's tunnels to a driver. The caller
// erases nothing: drivers keep keys only inside cipher objects and clear their
// copies.
type Keys interface {
	// Key returns size bytes of key material for one direction: what one end is
	// given for Send the other is given for Receive. Another generation is
	// another key (rekeying).
	Key(direction Direction, generation, size int) ([]byte, error)
	// Shared returns size bytes that are the same at both ends, such as a
	// preshared key.
	Shared(size int) ([]byte, error)
	// KeyPair returns the X25519 private key (RFC 7748) that this end drew for
	// this tunnel, and the public one that the peer drew. Private keys do not
	// travel.
	KeyPair() (private *ecdh.PrivateKey, peer *ecdh.PublicKey, err error)
}

// Place is where a half is built.
type Place struct {
	// Outer is the agent's own namespace, Inner the session's. The driver
	// borrows both and closes neither.
	Outer, Inner *Namespace
	// Socket is bound to Spec.Local.Outer in Outer; the bridge bound it when it
	// made the offer, so that the port is known to be free. Open takes
	// ownership of it, also where Open fails.
	Socket *net.UDPConn
	// Interface of Outer is the one through which the peer must be reached; empty
	// is any. Drivers that build a tunnel do not look at it.
	Interface string
}

// Driver builds halves of one kind of tunnel. Its methods may be called from
// several goroutines at once.
type Driver interface {
	// Check says whether this machine can build the spec's half, before
	// anything is touched. What is missing is named, wrapping ErrNotSupported.
	Check(spec Spec) error
	// Open builds this end's half and returns once packets can pass. Where it
	// fails, nothing remains. The half lives until Close, not until ctx ends.
	Open(ctx context.Context, spec Spec, keys Keys, place Place) (Tunnel, error)
}

// Tunnel is one half that is up. Its methods may be called from several
// goroutines at once.
type Tunnel interface {
	// Path says where load enters the tunnel.
	Path() Path
	// Counters reports what has passed so far.
	Counters() (Counters, error)
	// Close removes the half and waits for all its goroutines. A second Close
	// does nothing.
	Close() error
}

// Detailed is a Tunnel that can say how it was built.
type Detailed interface {
	// Details are for people and reports: versions, what was negotiated, how
	// long that took. They hold no secret.
	Details() []Detail
}

// Detail is one fact, such as {"charon", "5.9.8"}.
type Detail struct {
	Name, Value string
}

// Awaiter is a Tunnel whose ends have to meet before packets pass: Open cannot
// wait for that, since the peer's half may be opened later.
type Awaiter interface {
	// Await returns once packets pass to the peer and back.
	Await(ctx context.Context) error
}

// Rekeyer is a Tunnel that can replace its keys on demand.
type Rekeyer interface {
	// Rekey returns once traffic passes under new keys, and says how long that
	// took.
	Rekey(ctx context.Context) (time.Duration, error)
}

// Witness is a Tunnel that was not built by us, and looks whether load that
// enters at its Path passes through it.
type Witness interface {
	Evidence() Evidence
}

// Evidence says whether a path is known to lead through the tunnel, and how that
// is known, or what is missing.
type Evidence struct {
	Proven bool
	How    string
}

// ProbePort is the UDP port at both ends of a Path whose namespace belongs to
// the session: nothing else lives there, so both ends know it without a word.
// It is of the dynamic range (RFC 6335, Section 6).
const ProbePort = 51980

// Path is where probes open their sockets: in Namespace, bound to Local and
// connected to Remote.
type Path struct {
	Namespace *Namespace
	// Interface is the tunnel's clear side in Namespace; empty where it has none
	// of its own.
	Interface string
	Local     netip.AddrPort
	Remote    netip.AddrPort
	// MTU is the largest IP packet, in bytes, that fits without fragments.
	MTU int
	// OneFlow: only datagrams between Local and Remote enter the tunnel; what has
	// other ports would go past it.
	OneFlow bool
}

// Counters are totals since Open. Bytes are of inner IP packets.
type Counters struct {
	OutPackets, OutInnerBytes uint64 // Sealed and handed to the outer network.
	InPackets, InInnerBytes   uint64 // Opened and handed to the clear side.
	// What was dropped, each packet under one reason.
	Malformed      uint64 // Not ESP, truncated, or no IP packet inside.
	UnknownSPI     uint64
	BadICV         uint64 // Integrity check failed (RFC 4303, Section 3.4.4).
	Replayed       uint64 // Left of the window or seen before (RFC 4303, Section 3.4.3).
	WrongSelectors uint64 // Inner address is not the SA's (RFC 4301, Section 5.2).
	Congested      uint64 // Marked as such outside, and its sender knows no marks (RFC 6040, Section 4.2).
	SendRefused    uint64 // The outer network did not take it, such as for its length; or the SA's sequence numbers are used up.
	DeliverRefused uint64 // The clear side refused it.

	// What was lost in a queue of this end, because the tunnel was too slow to
	// read it. A packet that the kernel still holds in segments counts once.
	OutOverrun uint64 // In the clear side's queue, before it was sealed.
	InOverrun  uint64 // In the outer socket's queue, before it was opened.

	// OuterErrors counts what the outer network reported about datagrams sent
	// before, such as ICMP port unreachable. They are no packets.
	OuterErrors uint64
}
