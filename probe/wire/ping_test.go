package wire

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	pingTag = "f126571f1c3f8646b7b65e566c39c269"
	pongTag = "c4442d0f2b3beb2be76266e62c4f33f9"
)

// The tags above were computed with `openssl dgst -sha256 -mac HMAC -macopt
// hexkey:0100...00` over the bytes before them.
func TestPingBytes(t *testing.T) {
	want := Ping{
		Header: Header{Type: TypePing, Trial: 9, Stream: StreamLatency, Sequence: 2, SendTime: 3},
		Echo:   Nonce{0xaa},
	}
	b := unhex(t, "14 09 ffff 000000000002 000000000003"+
		"aa000000000000000000000000000000"+
		"0000000000000000 0000000000000000 0000000000000000 00000000"+pingTag)
	a := NewAuthenticator(testKey(t, 1))
	got, err := OpenPing(b, a)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("OpenPing (-want +got):\n%s", diff)
	}
	put := dirty(len(b))
	want.Put(put, a)
	if diff := cmp.Diff(b, put); diff != "" {
		t.Errorf("Put (-want +got):\n%s", diff)
	}
}

func TestPongBytes(t *testing.T) {
	want := Pong{
		Header: Header{Type: TypePong, Trial: 9, Stream: StreamLatency, Sequence: 0x0203, SendTime: 3},
		Echo:   Nonce{0xaa}, Arrived: 0x040506070809, KernelArrived: true,
		HasEarlier: true, Earlier: 0x0102, EarlierLeft: 0x0a0b0c0d0e0f,
	}
	b := unhex(t, "15 09 ffff 000000000203 000000000003"+
		"aa000000000000000000000000000000"+
		"03 00 040506070809 0000 000000000102 0000 0a0b0c0d0e0f 00000000"+pongTag)
	a := NewAuthenticator(testKey(t, 1))
	got, err := OpenPong(b, a)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("OpenPong (-want +got):\n%s", diff)
	}
	put := dirty(len(b))
	want.Put(put, a)
	if diff := cmp.Diff(b, put); diff != "" {
		t.Errorf("Put (-want +got):\n%s", diff)
	}
}

// dirty is a buffer that was used before.
func dirty(size int) []byte { return bytes.Repeat([]byte{0xee}, size) }

// A tag that is right does not excuse a body that is not, nor another key, nor a
// cut.
func TestPingRefused(t *testing.T) {
	a := NewAuthenticator(testKey(t, 1))
	changed := func(at int, v byte) []byte {
		b := make([]byte, PongSize+8)
		Pong{}.Put(b, a)
		b[at] = v
		a.seal(b)
		return b
	}
	ping := make([]byte, PongSize+8)
	Ping{}.Put(ping, a)
	padded := bytes.Clone(ping)
	padded[PongSize-TagSize] = 1
	a.seal(padded)
	for _, tt := range []struct {
		name      string
		err, want error
	}{
		{"unknown flag", second(OpenPong(changed(32, 4), a)), ErrForeign},
		{"reserved byte", second(OpenPong(changed(33, 1), a)), ErrForeign},
		{"earlier's reserved byte", second(OpenPong(changed(40, 1), a)), ErrForeign},
		{"departure's reserved byte", second(OpenPong(changed(49, 1), a)), ErrForeign},
		{"pong's padding", second(OpenPong(changed(56, 1), a)), ErrForeign},
		{"ping's padding", second(OpenPing(padded, a)), ErrForeign},
		{"ping as pong", second(OpenPong(ping, a)), ErrForeign},
		{"too short", second(OpenPing(ping[:PongSize-1], a)), ErrForeign},
		{"cut", second(OpenPing(ping[:PongSize], a)), ErrTag},
		{"another key", second(OpenPing(ping, NewAuthenticator(testKey(t, 2)))), ErrTag},
	} {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: got error %v, want %v", tt.name, tt.err, tt.want)
		}
	}
}

// Whatever opens encodes to the same bytes, and no bit of it can be flipped.
func FuzzPing(f *testing.F) {
	a := NewAuthenticator(testKey(f, 1))
	b := make([]byte, PongSize)
	Ping{Echo: Nonce{1}}.Put(b, a)
	f.Add(bytes.Clone(b), uint16(0))
	Pong{Arrived: 7, HasEarlier: true, Earlier: 5}.Put(b, a)
	f.Add(bytes.Clone(b), uint16(300))
	f.Fuzz(func(t *testing.T, b []byte, bit uint16) {
		b = bytes.Clone(b)
		if len(b) >= TagSize {
			a.seal(b) // Lets the fuzzer past the tag.
		}
		again, ok := putAgain(b, a)
		if !ok {
			return
		}
		if diff := cmp.Diff(b, again); diff != "" {
			t.Errorf("decoded and encoded (-want +got):\n%s", diff)
		}
		at := int(bit) % (len(b) * 8)
		b[at/8] ^= 1 << (at % 8)
		if _, ok := putAgain(b, a); ok {
			t.Errorf("opens with bit %d flipped", at)
		}
	})
}

func putAgain(b []byte, a *Authenticator) ([]byte, bool) {
	again := dirty(len(b))
	if p, err := OpenPing(b, a); err == nil {
		p.Put(again, a)
		return again, true
	}
	if p, err := OpenPong(b, a); err == nil {
		p.Put(again, a)
		return again, true
	}
	return nil, false
}

func TestPingDoesNotAllocate(t *testing.T) {
	a, b := NewAuthenticator(testKey(t, 1)), make([]byte, PongSize)
	allocated := testing.AllocsPerRun(100, func() {
		Ping{}.Put(b, a)
		if _, err := OpenPing(b, a); err != nil {
			t.Fatal(err)
		}
	})
	if allocated != 0 {
		t.Errorf("%g allocations, want none", allocated)
	}
}
