// Package wire is the datagram format of a trial: what the two ends of a UDP
// probe say to each other in band.
//
// Every datagram begins with the same 16 bytes, in network byte order:
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-------+-------+---------------+-------------------------------+
//	|Version| Type  |     Trial     |            Stream             |
//	+-------+-------+---------------+-------------------------------+
//	|                    Sequence number (high)                     |
//	+-------------------------------+-------------------------------+
//	|     Sequence number (low)     |       Send time (high)        |
//	+-------------------------------+-------------------------------+
//	|                       Send time (low)                         |
//	+---------------------------------------------------------------+
//
// DATA follows it with padding up to the size under test. All other
// types follow it with a body and an authentication tag over all that goes before:
// HMAC-SHA-256 (RFC 2104) with the session's key, truncated to 16 bytes
// (RFC 2104, Section 5). DATA carries no tag, so that it costs nothing: it is
// sent only after the peer's authenticated hello, and only counted after one.
//
// The package does no I/O and reads no clock.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Version is of the format. Ends with different versions do not talk.
const Version = 1

// HeaderSize is the length of what every datagram begins with, in bytes.
const HeaderSize = 1 + 1 + 2 + 6 + 6

// ErrForeign means that a datagram is not of this format.
var ErrForeign = errors.New("not a datagram of this format")

// Type says what a datagram is for.
type Type uint8

// The types of datagrams.
const (
	TypeHello    Type = 1
	TypeData     Type = 2
	TypeFeedback Type = 3
)

// Header begins every datagram.
type Header struct {
	Type     Type
	Trial    uint8  // Low 8 bits of the trial's number.
	Stream   uint16 // The flow within the trial, from 0. Each flow numbers its own packets.
	Sequence uint64 // 48 bits.
	SendTime Stamp
}

// Put writes h to the first HeaderSize bytes of b.
func (h *Header) Put(b []byte) {
	_ = b[HeaderSize-1]
	b[0] = Version<<4 | byte(h.Type)
	b[1] = h.Trial
	binary.BigEndian.PutUint16(b[2:], h.Stream)
	// Two 48-bit fields lie in 4 + 8 bytes: the second word holds the low 16
	// bits of the sequence number and all of the send time.
	binary.BigEndian.PutUint32(b[4:], uint32(h.Sequence>>16))
	binary.BigEndian.PutUint64(b[8:], h.Sequence<<48|uint64(h.SendTime)&mask48)
}

// ParseHeader reads the header of the datagram b.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, fmt.Errorf("%w: %d bytes, a header has %d", ErrForeign, len(b), HeaderSize)
	}
	if v := b[0] >> 4; v != Version {
		return Header{}, fmt.Errorf("%w: version %d, this end speaks %d", ErrForeign, v, Version)
	}
	t := Type(b[0] & 0xf)
	if t < TypeHello || t > lastType {
		return Header{}, fmt.Errorf("%w: type %d", ErrForeign, t)
	}
	low := binary.BigEndian.Uint64(b[8:])
	return Header{
		Type:     t,
		Trial:    b[1],
		Stream:   binary.BigEndian.Uint16(b[2:]),
		Sequence: uint64(binary.BigEndian.Uint32(b[4:]))<<16 | low>>48,
		SendTime: Stamp(low & mask48),
	}, nil
}

const mask48 = 1<<48 - 1

// Stamp is a time of the sender's monotonic clock, in nanoseconds modulo 2^48:
// it wraps after 78 hours, so only differences mean anything.
type Stamp uint64

// StampOf is the stamp of a clock that shows t.
func StampOf(t time.Duration) Stamp { return Stamp(t) & mask48 }

// Sub is the time from earlier to s, right for up to 39 hours either way.
func (s Stamp) Sub(earlier Stamp) time.Duration {
	return time.Duration(int64(s-earlier) << 16 >> 16)
}
