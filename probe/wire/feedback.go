package wire

import (
	"encoding/binary"
	"fmt"
)

// FeedbackSize is the length of a FEEDBACK, in bytes.
const FeedbackSize = HeaderSize + 1 + 7 + 16 + 8 + 8 + 8 + TagSize

// flagFinal is the only flag of FEEDBACK.
const flagFinal = 1

// Feedback is the receiver's count so far, and its leave to go on sending. The
// header's sequence number is its counter: it grows with every feedback of a
// trial, so that none can be replayed. Its body:
//
//	+---------------+-----------------------------------------------+
//	|     Flags     |                 Zero (7 bytes)                |
//	+---------------+                                               |
//	|                                                               |
//	+---------------------------------------------------------------+
//	|          Echo of the sender's nonce, for freshness (16)       |
//	+---------------------------------------------------------------+
//	|            Packets received, without duplicates (8)           |
//	+---------------------------------------------------------------+
//	|             Highest sequence number received (8)              |
//	+---------------------------------------------------------------+
//	|                       Packets lost so far (8)                 |
//	+---------------------------------------------------------------+
//
// Flag 1 is "final": the receiver has counted all that it will count.
type Feedback struct {
	Header   // Type is set when encoding.
	Final    bool
	Echo     Nonce
	Received uint64
	Highest  uint64 // Of one flow; of several, of packets numbered flow by flow up to the highest of each.
	Lost     uint64
}

// Append appends f to b, authenticated with key.
func (f Feedback) Append(b []byte, key Key) []byte {
	f.Type = TypeFeedback
	var d [FeedbackSize - TagSize]byte
	f.Put(d[:])
	if f.Final {
		d[16] = flagFinal
	}
	copy(d[24:], f.Echo[:])
	binary.BigEndian.PutUint64(d[40:], f.Received)
	binary.BigEndian.PutUint64(d[48:], f.Highest)
	binary.BigEndian.PutUint64(d[56:], f.Lost)
	return append(b, appendTag(d[:], key)...)
}

// OpenFeedback reads the FEEDBACK b if the holder of key made it.
func OpenFeedback(b []byte, key Key) (Feedback, error) {
	header, body, err := open(b, TypeFeedback, FeedbackSize, key)
	if err != nil {
		return Feedback{}, err
	}
	if body[0]&^flagFinal != 0 || !zero(body[1:8]) {
		return Feedback{}, fmt.Errorf("%w: unknown flags or reserved bytes of a feedback are set", ErrForeign)
	}
	f := Feedback{
		Header:   header,
		Final:    body[0] == flagFinal,
		Received: binary.BigEndian.Uint64(body[24:]),
		Highest:  binary.BigEndian.Uint64(body[32:]),
		Lost:     binary.BigEndian.Uint64(body[40:]),
	}
	copy(f.Echo[:], body[8:])
	return f, nil
}
