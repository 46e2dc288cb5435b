package wire

import (
	"encoding/binary"
	"fmt"
)

// The types of the datagrams that measure latency.
const (
	TypePing Type = 4
	TypePong Type = 5
)

// StreamLatency is the stream of every datagram of a latency probe, its HELLOs
// included: what was said for a load of the same trial does not pass for it.
const StreamLatency = 1<<16 - 1

// PongSize is the length of a PONG without padding, in bytes, and the least of a
// PING: no answer is longer than what it answers.
const PongSize = HeaderSize + 16 + 8 + 8 + 8 + TagSize

// Ping asks for one PONG. Its body, and a tag over padding and all:
//
//	+---------------------------------------------------------------+
//	|       Echo of the answerer's nonce, for freshness (16)        |
//	+---------------------------------------------------------------+
//	|           Zero, up to the length of the datagram              |
//	+---------------------------------------------------------------+
type Ping struct {
	Header // Type is set when encoding.
	Echo   Nonce
}

// Put writes p over the whole of b, which must have at least PongSize bytes.
func (p Ping) Put(b []byte, a *Authenticator) {
	p.Type = TypePing
	p.Header.Put(b)
	copy(b[HeaderSize:], p.Echo[:])
	clear(b[HeaderSize+16 : len(b)-TagSize])
	a.seal(b)
}

// OpenPing reads the PING b if the holder of a's key made it.
func OpenPing(b []byte, a *Authenticator) (Ping, error) {
	header, body, err := a.open(b, TypePing, PongSize)
	if err != nil {
		return Ping{}, err
	}
	if !zero(body[16:]) {
		return Ping{}, fmt.Errorf("%w: padding of a ping is set", ErrForeign)
	}
	p := Ping{Header: header}
	copy(p.Echo[:], body)
	return p, nil
}

// The flags of PONG.
const (
	flagKernelArrived = 1
	flagEarlier       = 2
)

// Pong answers a PING, whose sequence number it repeats. Its send time is when it
// was written, by the answerer's clock; when it truly left is known only
// afterwards, so a later one tells. Its body, and a tag over padding and all:
//
//	+---------------------------------------------------------------+
//	|        Echo of the prober's nonce, for freshness (16)         |
//	+---------------+---------------+-------------------------------+
//	|     Flags     |    Zero (1)   |  When the PING arrived (high) |
//	+---------------+---------------+-------------------------------+
//	|                   When the PING arrived (low)                 |
//	+-------------------------------+-------------------------------+
//	|            Zero (2)           |  Earlier PONG, number (high)  |
//	+-------------------------------+-------------------------------+
//	|                  Earlier PONG, number (low)                   |
//	+-------------------------------+-------------------------------+
//	|            Zero (2)           |    When that one left (high)  |
//	+-------------------------------+-------------------------------+
//	|                    When that one left (low)                   |
//	+---------------------------------------------------------------+
//	|           Zero, up to the length of the datagram              |
//	+---------------------------------------------------------------+
//
// Flag 1 says that the answerer's kernel stamped the arrival, flag 2 that there is
// an earlier PONG, whose departure its kernel stamped.
type Pong struct {
	Header        // Type is set when encoding.
	Echo          Nonce
	Arrived       Stamp
	KernelArrived bool
	// Earlier is the PONG that EarlierLeft is of, where HasEarlier.
	HasEarlier  bool
	Earlier     uint64
	EarlierLeft Stamp
}

// Put writes p over the whole of b, which must have at least PongSize bytes.
func (p Pong) Put(b []byte, a *Authenticator) {
	p.Type = TypePong
	p.Header.Put(b)
	body := b[HeaderSize : len(b)-TagSize]
	copy(body, p.Echo[:])
	binary.BigEndian.PutUint64(body[16:], uint64(p.Arrived)&mask48)
	binary.BigEndian.PutUint64(body[24:], p.Earlier&mask48)
	binary.BigEndian.PutUint64(body[32:], uint64(p.EarlierLeft)&mask48)
	body[16] = p.flags()
	clear(body[40:])
	a.seal(b)
}

func (p Pong) flags() (flags byte) {
	if p.KernelArrived {
		flags |= flagKernelArrived
	}
	if p.HasEarlier {
		flags |= flagEarlier
	}
	return flags
}

// OpenPong reads the PONG b if the holder of a's key made it.
func OpenPong(b []byte, a *Authenticator) (Pong, error) {
	header, body, err := a.open(b, TypePong, PongSize)
	if err != nil {
		return Pong{}, err
	}
	flags := body[16]
	if flags&^(flagKernelArrived|flagEarlier) != 0 || body[17] != 0 || !zero(body[24:26]) || !zero(body[32:34]) || !zero(body[40:]) {
		return Pong{}, fmt.Errorf("%w: unknown flags, reserved bytes or padding of a pong are set", ErrForeign)
	}
	p := Pong{
		Header: header, KernelArrived: flags&flagKernelArrived != 0, HasEarlier: flags&flagEarlier != 0,
		Arrived:     Stamp(binary.BigEndian.Uint64(body[16:]) & mask48),
		Earlier:     binary.BigEndian.Uint64(body[24:]),
		EarlierLeft: Stamp(binary.BigEndian.Uint64(body[32:])),
	}
	copy(p.Echo[:], body)
	return p, nil
}
