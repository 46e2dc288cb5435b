package wire

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The tags were computed apart from this code, by Python's hmac, over the bytes before
// them with the key 0100...00.
const (
	sizedTag = "a79cb2242fe9eb701bf609ef1fc1a689"
	askTag   = "e846b110f75c920f517981c611ed6e86"
	toldTag  = "512d6f71fbb1334f7a62b8054a5eb1e8"
	synTag   = "a9f2ebe6f515f6b98c72909b054399a1"
)

const (
	sizedHex = "16 09 0000 000000000002 000000000003" + "0000059e 00000000" +
		"bb000000000000000000000000000000" + "0102030405"
	askHex = "17 09 0000 000000000002 000000000003" + "0000ffff 00000000" +
		"bb000000000000000000000000000000"
	toldHex = "18 09 0000 000000000002 000000000003" + "03 000000 0000059f" + "0000059e 00000578" +
		"00000000 0000056c" + "00000000000000000000ffffc6336407" + "aa000000000000000000000000000000"
	synHex = "19 09 0000 000000000002 000000000003" + "07 08 05b4 00000000" +
		"aa000000000000000000000000000000"
)

func TestSizesBytes(t *testing.T) {
	key := testKey(t, 1)
	header := func(kind Type) Header { return Header{Type: kind, Trial: 9, Sequence: 2, SendTime: 3} }
	sized := Sized{Header: header(TypeSized), InnerSize: 1438, Echo: Nonce{0xbb}, Padding: []byte{1, 2, 3, 4, 5}}
	ask := Ask{Header: header(TypeAsk), InnerSize: 65535, Echo: Nonce{0xbb}}
	told := Told{
		Header: header(TypeTold), Kind: ToldRefused, InnerSize: 1439, Local: 1438, Cached: 1400, ICMP: 1388,
		ICMPFrom: netip.MustParseAddr("198.51.100.7"), Echo: Nonce{0xaa},
	}
	syn := SYN{
		Header: header(TypeSYN), Received: true, MSS: 1460, HasWindowScale: true, WindowScale: 8, SACK: true, Echo: Nonce{0xaa},
	}
	addresses := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	for _, tt := range []struct {
		name      string
		hex       string
		want, got any
		appended  []byte
	}{
		{"SIZED", sizedHex + sizedTag, sized, opened(t)(OpenSized(unhex(t, sizedHex+sizedTag), key)), sized.Append(nil, key)},
		{"ASK", askHex + askTag, ask, opened(t)(OpenAsk(unhex(t, askHex+askTag), key)), ask.Append(nil, key)},
		{"TOLD", toldHex + toldTag, told, opened(t)(OpenTold(unhex(t, toldHex+toldTag), key)), told.Append(nil, key)},
		{"SYN", synHex + synTag, syn, opened(t)(OpenSYN(unhex(t, synHex+synTag), key)), syn.Append(nil, key)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.got, addresses); diff != "" {
				t.Errorf("opened (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(unhex(t, tt.hex), tt.appended); diff != "" {
				t.Errorf("appended (-want +got):\n%s", diff)
			}
		})
	}
}

// opened returns what has opened.
func opened(t *testing.T) func(any, error) any {
	return func(message any, err error) any {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
		return message
	}
}

// A tag that is right does not excuse a body that is not, nor another length.
func TestSizesRefused(t *testing.T) {
	key := testKey(t, 1)
	resign := func(b []byte, at int, v byte) []byte {
		b = bytes.Clone(b[:len(b)-TagSize])
		b[at] = v
		return appendTag(b, key)
	}
	sized, ask := Sized{Padding: []byte{0}}.Append(nil, key), Ask{}.Append(nil, key)
	told, syn := Told{Kind: ToldCame}.Append(nil, key), SYN{}.Append(nil, key)
	cut := appendTag(bytes.Clone(sized[:SizedSize-TagSize-1]), key)
	for _, tt := range []struct {
		name string
		err  error
	}{
		{"SIZED without room for its body", second(OpenSized(cut, key))},
		{"SIZED's reserved byte", second(OpenSized(resign(sized, 20, 1), key))},
		{"SIZED as ASK", second(OpenAsk(Sized{}.Append(nil, key), key))},
		{"ASK as SIZED", second(OpenSized(ask, key))},
		{"ASK's reserved byte", second(OpenAsk(resign(ask, 23, 1), key))},
		{"longer ASK", second(OpenAsk(append(bytes.Clone(ask), 0), key))},
		{"TOLD of kind 0", second(OpenTold(resign(told, 16, 0), key))},
		{"TOLD of kind 5", second(OpenTold(resign(told, 16, 5), key))},
		{"TOLD's reserved byte", second(OpenTold(resign(told, 19, 1), key))},
		{"SYN's unknown flag", second(OpenSYN(resign(syn, 16, 16), key))},
		{"SYN's reserved byte", second(OpenSYN(resign(syn, 20, 1), key))},
	} {
		if !errors.Is(tt.err, ErrForeign) {
			t.Errorf("%s: got error %v, want ErrForeign", tt.name, tt.err)
		}
	}
	shorter := append(bytes.Clone(sized[:SizedSize-TagSize]), sized[len(sized)-TagSize:]...)
	if _, err := OpenSized(shorter, key); !errors.Is(err, ErrTag) {
		t.Errorf("SIZED without its padding: got error %v, want ErrTag", err)
	}
}

// Whatever opens encodes to the same bytes.
func FuzzSizes(f *testing.F) {
	key := testKey(f, 1)
	f.Add(Sized{InnerSize: 100, Padding: make([]byte, 10)}.Append(nil, key))
	f.Add(Ask{InnerSize: 100}.Append(nil, key))
	f.Add(Told{Kind: ToldSent, ICMPFrom: netip.IPv6LinkLocalAllNodes()}.Append(nil, key))
	f.Add(SYN{MSS: 1460, Timestamps: true}.Append(nil, key))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= TagSize {
			b = appendTag(bytes.Clone(b[:len(b)-TagSize]), key) // Lets the fuzzer past the tag.
		}
		for _, again := range reencodeSizes(b, key) {
			if diff := cmp.Diff(b, again); diff != "" {
				t.Errorf("decoded and encoded (-want +got):\n%s", diff)
			}
		}
	})
}

func reencodeSizes(b []byte, key Key) (encoded [][]byte) {
	if m, err := OpenSized(b, key); err == nil {
		encoded = append(encoded, m.Append(nil, key))
	}
	if m, err := OpenAsk(b, key); err == nil {
		encoded = append(encoded, m.Append(nil, key))
	}
	if m, err := OpenTold(b, key); err == nil {
		encoded = append(encoded, m.Append(nil, key))
	}
	if m, err := OpenSYN(b, key); err == nil {
		encoded = append(encoded, m.Append(nil, key))
	}
	return encoded
}
