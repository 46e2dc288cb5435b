package wire

import (
	"encoding/binary"
	"fmt"
	"time"
)

// HelloSize is the length of a HELLO, in bytes.
const HelloSize = HeaderSize + 1 + 7 + 16 + 16 + 8 + TagSize

// When hellos are said, by all kinds of probe that use datagrams.
const (
	// HelloEvery is the time between two before the peer has replied, HelloWithin for
	// how long each end waits for the other, unless it is told otherwise.
	HelloEvery  = 50 * time.Millisecond
	HelloWithin = 5 * time.Second
	// LastEvery and LastWithin are the same of the last hello and its confirmation.
	// Linger is how long repetitions of it are answered.
	LastEvery  = 20 * time.Millisecond
	LastWithin = time.Second
	Linger     = 3 * LastEvery
)

// HelloKind says which of the three hellos of a trial it is.
type HelloKind uint8

// The kinds of hello.
const (
	// HelloOpen asks the receiver to begin; Echo and Sent are zero.
	HelloOpen HelloKind = 1
	// HelloReply answers HelloOpen: it echoes the sender's nonce, and repeats
	// sequence number and send time of what it answers.
	HelloReply HelloKind = 2
	// HelloLast says that the load is over and how much was sent. It echoes
	// the receiver's nonce.
	HelloLast HelloKind = 3
)

// Hello opens and closes a trial. Its body:
//
//	+---------------+-----------------------------------------------+
//	|     Kind      |                 Zero (7 bytes)                |
//	+---------------+                                               |
//	|                                                               |
//	+---------------------------------------------------------------+
//	|               Nonce of this end, fresh (16 bytes)             |
//	+---------------------------------------------------------------+
//	|            Echo of the other end's nonce (16 bytes)           |
//	+---------------------------------------------------------------+
//	|                     Packets sent (8 bytes)                    |
//	+---------------------------------------------------------------+
type Hello struct {
	Header // Type is set when encoding.
	Kind   HelloKind
	Nonce  Nonce
	Echo   Nonce
	Sent   uint64 // Packets; in HelloLast.
}

// Append appends h to b, authenticated with key.
func (h Hello) Append(b []byte, key Key) []byte {
	h.Type = TypeHello
	var d [HelloSize - TagSize]byte
	h.Put(d[:])
	d[16] = byte(h.Kind)
	copy(d[24:], h.Nonce[:])
	copy(d[40:], h.Echo[:])
	binary.BigEndian.PutUint64(d[56:], h.Sent)
	return append(b, appendTag(d[:], key)...)
}

// OpenHello reads the HELLO b if the holder of key made it.
func OpenHello(b []byte, key Key) (Hello, error) {
	header, body, err := open(b, TypeHello, HelloSize, key)
	if err != nil {
		return Hello{}, err
	}
	h := Hello{Header: header, Kind: HelloKind(body[0]), Sent: binary.BigEndian.Uint64(body[40:])}
	if h.Kind < HelloOpen || h.Kind > HelloLast {
		return Hello{}, fmt.Errorf("%w: hello of kind %d", ErrForeign, h.Kind)
	}
	if !zero(body[1:8]) {
		return Hello{}, fmt.Errorf("%w: reserved bytes of a hello are set", ErrForeign)
	}
	copy(h.Nonce[:], body[8:])
	copy(h.Echo[:], body[24:])
	return h, nil
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
