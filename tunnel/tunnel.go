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
	"errors"
	"net"
	"net/netip"
)

// ErrNotSupported says that a driver, or this machine, cannot do what a Spec
// asks. The error that wraps it names what is missing.
var ErrNotSupported = errors.New("not supported")

// Suite names an ESP cipher suite as strongSwan and the IANA registry do, in
// lower case.
type Suite string

// The suites that are AEADs (RFC 4106, RFC 7634).
const (
	AES128GCM        Suite = "aes-128-gcm"
	AES256GCM        Suite = "aes-256-gcm"
	ChaCha20Poly1305 Suite = "chacha20-poly1305"
)

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
	Local         End
	Remote        End
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

// Keys gives the session's secrets to a driver. What one end is given for Send
// the other is given for Receive. The caller erases nothing: drivers keep keys
// only inside cipher objects and clear their copies.
type Keys interface {
	// Key returns size bytes of key material for one direction. Another
	// generation is another key (rekeying).
	Key(direction Direction, generation, size int) ([]byte, error)
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

// ProbePort is the UDP port at both ends of a Path whose namespace belongs to
// the session: nothing else lives there, so both ends know it without a word.
// It is of the dynamic range (RFC 6335, Section 6).
const ProbePort = 51980

// Path is where probes open their sockets: in Namespace, bound to Local and
// connected to Remote.
type Path struct {
	Namespace *Namespace
	Local     netip.AddrPort
	Remote    netip.AddrPort
	// MTU is the largest IP packet, in bytes, that fits without fragments.
	MTU int
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
	SendRefused    uint64 // The outer network's socket refused it.
	DeliverRefused uint64 // The clear side refused it.

	// What was lost in a queue of this end, because the tunnel was too slow to
	// read it. A packet that the kernel still holds in segments counts once.
	OutOverrun uint64 // In the clear side's queue, before it was sealed.
	InOverrun  uint64 // In the outer socket's queue, before it was opened.

	// OuterErrors counts what the outer network reported about datagrams sent
	// before, such as ICMP port unreachable. They are no packets.
	OuterErrors uint64
}
