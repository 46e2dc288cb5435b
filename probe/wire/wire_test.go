package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// unhex reads hex with spaces.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func testKey(t testing.TB, first byte) Key {
	t.Helper()
	b := make([]byte, KeySize)
	b[0] = first
	k, err := NewKey(b)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestHeaderBytes(t *testing.T) {
	for _, tt := range []struct {
		name string
		hex  string
		want Header
	}{
		{"zero data", "12 00 0000 000000000000 000000000000", Header{Type: TypeData}},
		{"every field", "11 ff 0203 040506070809 0a0b0c0d0e0f",
			Header{TypeHello, 0xff, 0x0203, 0x040506070809, 0x0a0b0c0d0e0f}},
		{"sequence beyond 32 bits", "12 07 0000 000100000000 000000000001",
			Header{TypeData, 7, 0, 1 << 32, 1}},
		{"last sequence and time", "13 01 ffff ffffffffffff ffffffffffff",
			Header{TypeFeedback, 1, 0xffff, 1<<48 - 1, 1<<48 - 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := unhex(t, tt.hex)
			got, err := ParseHeader(b)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("ParseHeader (-want +got):\n%s", diff)
			}
			put := make([]byte, HeaderSize)
			got.Put(put)
			if diff := cmp.Diff(b, put); diff != "" {
				t.Errorf("Put (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHeaderRefused(t *testing.T) {
	for _, tt := range []struct{ name, hex, want string }{
		{"empty", "", "0 bytes"},
		{"short", "12 00 0000 000000000000 0000000000", "15 bytes"},
		{"other version", "22 00 0000 000000000000 000000000000", "version 2"},
		{"type 0", "10 00 0000 000000000000 000000000000", "type 0"},
		{"type 10", "1a 00 0000 000000000000 000000000000", "type 10"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseHeader(unhex(t, tt.hex))
			if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want ErrForeign with %q", err, tt.want)
			}
		})
	}
}

func TestStampDifference(t *testing.T) {
	for _, tt := range []struct {
		name           string
		later, earlier time.Duration
		want           time.Duration
	}{
		{"same", 5, 5, 0},
		{"forward", 1500, 500, 1000},
		{"backward", 500, 1500, -1000},
		{"across the wrap", 1<<48 + 10, 1<<48 - 10, 20},
		{"far beyond 48 bits", 3<<48 + 7, 3 << 48, 7},
		{"back across the wrap", 1<<48 - 10, 1<<48 + 10, -20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := StampOf(tt.later).Sub(StampOf(tt.earlier)); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

const (
	helloTag    = "456678c92c3cc26c72c3eaa6794ff773"
	feedbackTag = "a057c1d49ba6f5b3228a2782f2d329ec"
)

// The tags above were computed with `openssl dgst -sha256 -mac HMAC -macopt
// hexkey:0100...00` over the bytes before them.
func TestHelloBytes(t *testing.T) {
	want := Hello{
		Header: Header{Type: TypeHello, Trial: 9, Stream: 1, Sequence: 2, SendTime: 3},
		Kind:   HelloLast, Nonce: Nonce{0xaa}, Echo: Nonce{0xbb}, Sent: 0x0102030405060708,
	}
	b := unhex(t, "11 09 0001 000000000002 000000000003"+
		"03 00000000000000"+
		"aa000000000000000000000000000000 bb000000000000000000000000000000"+
		"0102030405060708"+helloTag)
	got, err := OpenHello(b, testKey(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("OpenHello (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(b, want.Append(nil, testKey(t, 1))); diff != "" {
		t.Errorf("Append (-want +got):\n%s", diff)
	}
}

func TestFeedbackBytes(t *testing.T) {
	want := Feedback{
		Header: Header{Type: TypeFeedback, Trial: 9, Stream: 1, Sequence: 2, SendTime: 3},
		Final:  true, Echo: Nonce{0xaa}, Received: 4, Highest: 5, Lost: 6,
	}
	b := unhex(t, "13 09 0001 000000000002 000000000003"+
		"01 00000000000000"+
		"aa000000000000000000000000000000"+
		"0000000000000004 0000000000000005 0000000000000006"+feedbackTag)
	got, err := OpenFeedback(b, testKey(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("OpenFeedback (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(b, want.Append(nil, testKey(t, 1))); diff != "" {
		t.Errorf("Append (-want +got):\n%s", diff)
	}
}

// A tag that is right does not excuse a body that is not.
func TestAuthenticBodyRefused(t *testing.T) {
	key := testKey(t, 1)
	resign := func(b []byte, at int, v byte) []byte {
		b = b[:len(b)-TagSize]
		b[at] = v
		return appendTag(b, key)
	}
	hello, feedback := Hello{Kind: HelloOpen}.Append(nil, key), Feedback{}.Append(nil, key)
	for _, tt := range []struct {
		name string
		err  error
	}{
		{"kind 0", second(OpenHello(resign(bytes.Clone(hello), 16, 0), key))},
		{"kind 4", second(OpenHello(resign(bytes.Clone(hello), 16, 4), key))},
		{"hello's reserved byte", second(OpenHello(resign(bytes.Clone(hello), 23, 1), key))},
		{"unknown flag", second(OpenFeedback(resign(bytes.Clone(feedback), 16, 2), key))},
		{"feedback's reserved byte", second(OpenFeedback(resign(bytes.Clone(feedback), 17, 1), key))},
		{"feedback as hello", second(OpenHello(feedback, key))},
		{"longer", second(OpenHello(append(bytes.Clone(hello), 0), key))},
	} {
		if !errors.Is(tt.err, ErrForeign) {
			t.Errorf("%s: got error %v, want ErrForeign", tt.name, tt.err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestKey(t *testing.T) {
	if _, err := NewKey(make([]byte, 31)); err == nil {
		t.Error("a key of 31 bytes was taken")
	}
	k := testKey(t, 0x42)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, k); got != "(hidden)" {
			t.Errorf("%s prints %q", verb, got)
		}
	}
	if _, err := OpenHello(Hello{Kind: HelloOpen}.Append(nil, k), testKey(t, 0x43)); !errors.Is(err, ErrTag) {
		t.Errorf("another key: got error %v, want ErrTag", err)
	}
}

func FuzzHeader(f *testing.F) {
	f.Add(make([]byte, HeaderSize))
	f.Add([]byte("\x12\x07\x00\x01\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x03padding"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if err != nil {
			return
		}
		got := make([]byte, HeaderSize)
		h.Put(got)
		if diff := cmp.Diff(b[:HeaderSize], got); diff != "" {
			t.Errorf("decoded and encoded (-want +got):\n%s", diff)
		}
	})
}

// Whatever opens encodes to the same bytes, and no bit of it can be flipped.
func FuzzAuthenticated(f *testing.F) {
	key := testKey(f, 1)
	f.Add(Hello{Kind: HelloReply, Nonce: Nonce{1}}.Append(nil, key), uint16(0))
	f.Add(Feedback{Received: 1, Final: true}.Append(nil, key), uint16(500))
	f.Fuzz(func(t *testing.T, b []byte, bit uint16) {
		if len(b) >= TagSize {
			b = appendTag(bytes.Clone(b[:len(b)-TagSize]), key) // Lets the fuzzer past the tag.
		}
		again, ok := reencode(b, key)
		if !ok {
			return
		}
		if diff := cmp.Diff(b, again); diff != "" {
			t.Errorf("decoded and encoded (-want +got):\n%s", diff)
		}
		at := int(bit) % (len(b) * 8)
		b[at/8] ^= 1 << (at % 8)
		if _, ok := reencode(b, key); ok {
			t.Errorf("opens with bit %d flipped", at)
		}
	})
}

func reencode(b []byte, key Key) ([]byte, bool) {
	if h, err := OpenHello(b, key); err == nil {
		return h.Append(nil, key), true
	}
	if f, err := OpenFeedback(b, key); err == nil {
		return f.Append(nil, key), true
	}
	return nil, false
}

func BenchmarkHeader(b *testing.B) {
	buf := make([]byte, HeaderSize)
	h := Header{Type: TypeData}
	b.ReportAllocs()
	for b.Loop() {
		h.Sequence++
		h.Put(buf)
		if _, err := ParseHeader(buf); err != nil {
			b.Fatal(err)
		}
	}
}
