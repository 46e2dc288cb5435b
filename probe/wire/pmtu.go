package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// The types of the datagrams that search a path's MTU, and of what is said over
// TCP about a SYN.
const (
	TypeSized Type = 6
	TypeAsk   Type = 7
	TypeTold  Type = 8
	TypeSYN   Type = 9
)

// lastType is the highest that there is.
const lastType = TypeSYN

// Lengths in bytes. A SIZED without padding is as long as an ASK.
const (
	SizedSize = HeaderSize + 4 + 4 + 16 + TagSize
	AskSize   = SizedSize
	ToldSize  = HeaderSize + 1 + 3 + 4 + 4 + 4 + 4 + 4 + 16 + 16 + TagSize
	SYNSize   = HeaderSize + 1 + 1 + 2 + 4 + 16 + TagSize
)

// Sized is as long as the size that it tries. Unlike DATA it carries a tag, over its
// padding too: what opens came whole. Its body:
//
//	+-------------------------------+-------------------------------+
//	|  Inner size tried, bytes (4)  |         Zero (4 bytes)        |
//	+-------------------------------+-------------------------------+
//	|            Echo of the other end's nonce (16 bytes)           |
//	+---------------------------------------------------------------+
//	|               Padding, up to the size that is tried           |
//	+---------------------------------------------------------------+
type Sized struct {
	Header    // Type is set when encoding.
	InnerSize uint32
	Echo      Nonce
	Padding   []byte // When decoded, a part of the datagram.
}

// Append appends s to b, authenticated with key.
func (s Sized) Append(b []byte, key Key) []byte {
	s.Type = TypeSized
	start := len(b)
	b = appendSize(b, s.Header, s.InnerSize, s.Echo)
	b = append(b, s.Padding...)
	return append(b, tag(b[start:], key)...)
}

// OpenSized reads the SIZED b if the holder of key made it.
func OpenSized(b []byte, key Key) (Sized, error) {
	if len(b) < SizedSize {
		return Sized{}, fmt.Errorf("%w: %d bytes, the least that tries a size has %d", ErrForeign, len(b), SizedSize)
	}
	header, body, err := open(b, TypeSized, len(b), key)
	if err != nil {
		return Sized{}, err
	}
	s := Sized{Header: header, Padding: body[24:]}
	s.InnerSize, s.Echo, err = parseSize(body)
	return s, err
}

// Ask asks the other end to send a SIZED of a size. Its body is that of one without
// padding.
type Ask struct {
	Header    // Type is set when encoding.
	InnerSize uint32
	Echo      Nonce
}

// Append appends a to b, authenticated with key.
func (a Ask) Append(b []byte, key Key) []byte {
	a.Type = TypeAsk
	return append(b, appendTag(appendSize(nil, a.Header, a.InnerSize, a.Echo), key)...)
}

// OpenAsk reads the ASK b if the holder of key made it.
func OpenAsk(b []byte, key Key) (Ask, error) {
	header, body, err := open(b, TypeAsk, AskSize, key)
	if err != nil {
		return Ask{}, err
	}
	a := Ask{Header: header}
	a.InnerSize, a.Echo, err = parseSize(body)
	return a, err
}

func appendSize(b []byte, h Header, innerSize uint32, echo Nonce) []byte {
	var d [SizedSize - TagSize]byte
	h.Put(d[:])
	binary.BigEndian.PutUint32(d[16:], innerSize)
	copy(d[24:], echo[:])
	return append(b, d[:]...)
}

func parseSize(body []byte) (innerSize uint32, echo Nonce, err error) {
	if !zero(body[4:8]) {
		return 0, echo, fmt.Errorf("%w: reserved bytes of a size are set", ErrForeign)
	}
	copy(echo[:], body[8:])
	return binary.BigEndian.Uint32(body), echo, nil
}

// ToldKind says what a TOLD answers.
type ToldKind uint8

// The kinds of TOLD.
const (
	ToldCame    ToldKind = 1 // The SIZED came whole.
	ToldSent    ToldKind = 2 // The SIZED that was asked for is on its way.
	ToldRefused ToldKind = 3 // The own interface refused it: it is longer than Local.
	ToldEnd     ToldKind = 4 // The last HELLO came.
)

// Told answers a SIZED, an ASK or the last HELLO, whose sequence number it repeats.
// Its body:
//
//	+---------------+-----------------------+-----------------------+
//	|     Kind      |     Zero (3 bytes)    |     Inner size (4)    |
//	+---------------+---------------+-------+-----------------------+
//	|           Local (4)           |          Cached (4)           |
//	+-------------------------------+-------------------------------+
//	|          Fragment (4)         |           ICMP (4)            |
//	+-------------------------------+-------------------------------+
//	|   Who sent that ICMP: an IPv6 address, IPv4 mapped (16 bytes) |
//	+---------------------------------------------------------------+
//	|            Echo of the other end's nonce (16 bytes)           |
//	+---------------------------------------------------------------+
type Told struct {
	Header    // Type is set when encoding.
	Kind      ToldKind
	InnerSize uint32
	// Local is the MTU of the teller's interface, Cached what the teller's kernel
	// takes for the path's, ICMP the least that ICMP told it, and ICMPFrom who
	// that came from, ::ffff:0:0/96 for IPv4. In bytes; zero: not known.
	Local, Cached, ICMP uint32
	ICMPFrom            netip.Addr // The zero Addr is written as "::".
	// Fragment is the longest fragment that the SIZED came in; zero: it was whole.
	Fragment uint32
	Echo     Nonce
}

// Append appends t to b, authenticated with key.
func (t Told) Append(b []byte, key Key) []byte {
	t.Type = TypeTold
	var d [ToldSize - TagSize]byte
	t.Put(d[:])
	d[16] = byte(t.Kind)
	for i, v := range []uint32{t.InnerSize, t.Local, t.Cached, t.Fragment, t.ICMP} {
		binary.BigEndian.PutUint32(d[20+4*i:], v)
	}
	if t.ICMPFrom.IsValid() {
		from := t.ICMPFrom.As16()
		copy(d[40:], from[:])
	}
	copy(d[56:], t.Echo[:])
	return append(b, appendTag(d[:], key)...)
}

// OpenTold reads the TOLD b if the holder of key made it.
func OpenTold(b []byte, key Key) (Told, error) {
	header, body, err := open(b, TypeTold, ToldSize, key)
	if err != nil {
		return Told{}, err
	}
	t := Told{Header: header, Kind: ToldKind(body[0])}
	if t.Kind < ToldCame || t.Kind > ToldEnd {
		return Told{}, fmt.Errorf("%w: answer of kind %d", ErrForeign, t.Kind)
	}
	if !zero(body[1:4]) {
		return Told{}, fmt.Errorf("%w: reserved bytes of an answer are set", ErrForeign)
	}
	for i, v := range []*uint32{&t.InnerSize, &t.Local, &t.Cached, &t.Fragment, &t.ICMP} {
		*v = binary.BigEndian.Uint32(body[4+4*i:])
	}
	if !zero(body[24:40]) {
		t.ICMPFrom = netip.AddrFrom16([16]byte(body[24:40])).Unmap()
	}
	copy(t.Echo[:], body[40:])
	return t, nil
}

// The flags of SYN.
const (
	flagReceived    = 1
	flagWindowScale = 2
	flagSACK        = 4
	flagTimestamps  = 8
)

// SYN is what one end of a TCP connection knows of the SYN that opened it: one knows
// how it was sent, the other how it was received. Its body:
//
//	+---------------+---------------+-------------------------------+
//	|     Flags     | Window scale  |             MSS (2)           |
//	+---------------+---------------+-------------------------------+
//	|                         Zero (4 bytes)                        |
//	+---------------------------------------------------------------+
//	|            Echo of the other end's nonce (16 bytes)           |
//	+---------------------------------------------------------------+
//
// Flag 1 is "as received", 2 "has a window scale", 4 "SACK permitted", and 8 "has
// timestamps"; the latter three are of a SYN as received only.
type SYN struct {
	Header           // Type is set when encoding.
	Received         bool
	MSS              uint16 // In bytes; zero: the SYN had none.
	HasWindowScale   bool
	WindowScale      uint8
	SACK, Timestamps bool
	Echo             Nonce
}

// Append appends s to b, authenticated with key.
func (s SYN) Append(b []byte, key Key) []byte {
	s.Type = TypeSYN
	var d [SYNSize - TagSize]byte
	s.Put(d[:])
	d[16], d[17] = s.flags(), s.WindowScale
	binary.BigEndian.PutUint16(d[18:], s.MSS)
	copy(d[24:], s.Echo[:])
	return append(b, appendTag(d[:], key)...)
}

func (s SYN) flags() (flags byte) {
	for i, set := range []bool{s.Received, s.HasWindowScale, s.SACK, s.Timestamps} {
		if set {
			flags |= 1 << i
		}
	}
	return flags
}

// OpenSYN reads the SYN b if the holder of key made it.
func OpenSYN(b []byte, key Key) (SYN, error) {
	header, body, err := open(b, TypeSYN, SYNSize, key)
	if err != nil {
		return SYN{}, err
	}
	flags := body[0]
	s := SYN{
		Header: header, Received: flags&flagReceived != 0, MSS: binary.BigEndian.Uint16(body[2:]),
		HasWindowScale: flags&flagWindowScale != 0, WindowScale: body[1],
		SACK: flags&flagSACK != 0, Timestamps: flags&flagTimestamps != 0,
	}
	if s.flags() != flags || !zero(body[4:8]) {
		return SYN{}, fmt.Errorf("%w: unknown flags or reserved bytes of a SYN's account are set", ErrForeign)
	}
	copy(s.Echo[:], body[8:])
	return s, nil
}
