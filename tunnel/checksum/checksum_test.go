package checksum

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// RFC 1071, Section 3: the example, and the same wherever it is cut.
func TestChecksum(t *testing.T) {
	data := []byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}
	got := make([]byte, 2)
	Put(got, Fold(Add(0, data)))
	if want := []byte{0xdd, 0xf2}; !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	long := bytes.Repeat([]byte{0xff, 0xff, 0x12, 0x34, 0xfe}, 300)
	want := slow(long)
	for at := 0; at < len(long); at += 2 {
		Put(got, Fold(Add(Add(0, long[:at]), long[at:])))
		if !bytes.Equal(got, want) {
			t.Fatalf("cut at %d: got %x, want %x", at, got, want)
		}
	}
}

// slow is RFC 1071, Section 4.1, word by word.
func slow(data []byte) []byte {
	var sum uint32
	for i := 0; i < len(data); i += 2 {
		word := uint32(data[i]) << 8
		if i+1 < len(data) {
			word |= uint32(data[i+1])
		}
		sum += word
		sum = sum>>16 + sum&0xffff
	}
	return binary.BigEndian.AppendUint16(nil, uint16(sum))
}

// The example of RFC 1624, Section 4, which the equation of RFC 1141 gets wrong.
func TestUpdate(t *testing.T) {
	word := func(n uint16) uint16 { return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n)) }
	got := []byte{0xdd, 0x2f}
	Update(got, word(0x5555), word(0x3285))
	if want := []byte{0, 0}; !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

func FuzzChecksum(f *testing.F) {
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, data []byte) {
		got := make([]byte, 2)
		Put(got, Fold(Add(0, data)))
		want := slow(data)
		same := bytes.Equal(got, want) || string(got)+string(want) == "\xff\xff\x00\x00" || string(got)+string(want) == "\x00\x00\xff\xff"
		if !same {
			t.Errorf("got %x, want %x", got, want)
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	data := make([]byte, 1400)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		Add(0, data)
	}
}
