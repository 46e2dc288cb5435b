package esp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
)

// trailer returns padding of that length, its length, and the next header.
func trailer(padding int, next byte) []byte {
	var t []byte
	for i := range padding {
		t = append(t, byte(i+1))
	}
	return append(t, byte(padding), next)
}

func concat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// Every inner length from the least header on, of both IP versions, with every
// suite, and with sequence numbers of both lengths.
func TestRoundTrip(t *testing.T) {
	const longest = 1500
	for _, s := range suites {
		for _, extended := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, extended %t", s.name, extended), func(t *testing.T) {
				out, in := newSAsOf(t, s.name, extended, defaultWindow)
				for length := ipv4Header; length <= longest; length++ {
					checkRoundTrip(t, out, in, ipv4(length))
					if length >= ipv6Header {
						checkRoundTrip(t, out, in, ipv6(length))
					}
				}
				checkRoundTrip(t, out, in, ipv4(65400))
			})
		}
	}
}

func checkRoundTrip(t *testing.T, out *outbound, in *inbound, want []byte) {
	t.Helper()
	packet := sealed(out, want)
	if encrypted := len(packet) - out.headroom - out.icv; encrypted%out.alignment != 0 {
		t.Errorf("inner length %d: %d bytes are encrypted, want a multiple of %d", len(want), encrypted, out.alignment)
	}
	into := make([]byte, len(packet))
	n, v := open(in, packet, into)
	if v != delivered {
		t.Fatalf("inner length %d: got verdict %d, want delivered", len(want), v)
	}
	if !bytes.Equal(want, into[:n]) { // cmp.Diff alone would take most of the test's time.
		t.Fatalf("inner length %d (-want +got):\n%s", len(want), cmp.Diff(want, into[:n]))
	}
}

// What is sent has the length that package overhead reckons with, which is what
// MTUs come from.
func TestLengthIsAsReckoned(t *testing.T) {
	for _, s := range suites {
		out, _ := newSAs(t, s.name)
		reckoned, err := overhead.ESP(s.name, tunnel.Raw, overhead.IPv4)
		if err != nil {
			t.Fatal(err)
		}
		for inner := ipv4Header; inner < 100; inner++ {
			if got, want := len(sealed(out, ipv4(inner))), reckoned.OuterLength(inner)-ipv4Header; got != want {
				t.Errorf("%s, inner length %d: got a packet of %d bytes, want %d", s.name, inner, got, want)
			}
		}
	}
}

// Every bit of a packet of every suite.
func TestFlippedBits(t *testing.T) {
	for i := range 2 * len(protecting) {
		s, extended := anySuite(uint8(i))
		t.Run(fmt.Sprintf("%s, extended %t", s.name, extended), func(t *testing.T) {
			out, in := newSAsOf(t, s.name, extended, defaultWindow)
			packet := sealed(out, ipv4(60))
			into := make([]byte, len(packet))
			for bit := range 8 * len(packet) {
				packet[bit/8] ^= 1 << (bit % 8)
				if _, v := open(in, packet, into); v == delivered {
					t.Errorf("bit %d flipped: delivered", bit)
				}
				packet[bit/8] ^= 1 << (bit % 8)
			}
		})
	}
}

// A packet is not taken for one of the other length of sequence numbers, nor for
// one of another epoch.
func TestSequenceNumberIsAuthenticated(t *testing.T) {
	for _, s := range protecting {
		out, _ := newSAsOf(t, s.name, true, defaultWindow)
		_, in := newSAsOf(t, s.name, false, defaultWindow)
		packet := sealed(out, ipv4(60))
		if _, v := open(in, packet, make([]byte, len(packet))); v != badICV {
			t.Errorf("%s: 64 bits taken for 32: got verdict %d, want %d", s.name, v, badICV)
		}
		_, in = newSAsOf(t, s.name, true, defaultWindow)
		in.window.accept(1 << 32)
		if _, v := open(in, packet, make([]byte, len(packet))); v != badICV {
			t.Errorf("%s: packet of epoch 0 in epoch 1: got verdict %d, want %d", s.name, v, badICV)
		}
	}
}

// Sequence numbers never cycle: the last one is used, and then no more.
func TestSequenceNumbersEnd(t *testing.T) {
	for _, extended := range []bool{true, false} {
		out, in := newSAsOf(t, tunnel.AES128GCM, extended, defaultWindow)
		out.sequence = out.last - 1
		in.window.accept(out.sequence)
		checkRoundTrip(t, out, in, ipv4(60))
		buffer := make([]byte, out.headroom+60+out.tailroom())
		copy(buffer[out.headroom:], ipv4(60))
		for range 2 {
			if n, ok := seal(out, buffer, 60); ok || n != 0 {
				t.Errorf("extended %t: sealed %d bytes behind the last sequence number", extended, n)
			}
		}
	}
}

// The trailer of every length class, byte by byte.
func TestPad(t *testing.T) {
	tests := []struct {
		inner     []byte
		alignment int
		want      []byte
	}{
		{ipv4(22), 4, []byte{0, 4}},
		{ipv4(21), 4, []byte{1, 1, 4}},
		{ipv4(20), 4, []byte{1, 2, 2, 4}},
		{ipv4(23), 4, []byte{1, 2, 3, 3, 4}},
		{ipv6(42), 4, []byte{0, 41}},
		{ipv4(30), 16, []byte{0, 4}},
		{ipv4(29), 16, []byte{1, 1, 4}},
		{ipv4(31), 16, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 15, 4}},
		{ipv6(40), 16, []byte{1, 2, 3, 4, 5, 6, 6, 41}},
	}
	for _, test := range tests {
		buffer := append(bytes.Clone(test.inner), make([]byte, test.alignment+trailerLength)...)
		got := buffer[len(test.inner):pad(buffer, len(test.inner), test.alignment, test.want[len(test.want)-1])]
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("inner length %d (-want +got):\n%s", len(test.inner), diff)
		}
	}
}

// What arrives in the clear around ESP inside UDP: RFC 3948, Section 2.
func TestBesideESP(t *testing.T) {
	tests := []struct {
		name     string
		datagram []byte
		want     bool
	}{
		{"empty", nil, false},
		{"NAT keepalive", []byte{0xff}, true},
		{"one other byte", []byte{0xfe}, false},
		{"three bytes", []byte{0, 0, 0}, false},
		{"non-ESP marker alone", []byte{0, 0, 0, 0}, true},
		{"IKE behind non-ESP marker", []byte{0, 0, 0, 0, 1, 2, 3}, true},
		{"an SPI", binary.BigEndian.AppendUint32(nil, testSPI), false},
	}
	for _, test := range tests {
		if got := besideESP(test.datagram); got != test.want {
			t.Errorf("%s: got %t, want %t", test.name, got, test.want)
		}
	}
}

// What is no packet of the SA.
func TestClassify(t *testing.T) {
	gcm := mustTransform(t, suites[0].name, fixedKeys{}, true).layout
	tests := []struct {
		name     string
		datagram []byte
		want     verdict
	}{
		{"empty", nil, malformed},
		{"one byte", []byte{0xff}, malformed},
		{"three bytes", []byte{0, 0, 0}, malformed},
		{"SPI 0", make([]byte, 64), unknownSPI},
		{"another SPI", binary.BigEndian.AppendUint32(nil, testSPI+1), unknownSPI},
		{"header only", binary.BigEndian.AppendUint32(nil, testSPI), malformed},
		{"one byte short", packetOf(gcm, testSPI, 1, make([]byte, gcm.alignment-1)), malformed},
		{"zeros", packetOf(gcm, testSPI, 1, make([]byte, gcm.alignment)), badICV},
		{"sequence number 0", packetOf(gcm, testSPI, 0, make([]byte, gcm.alignment)), replayed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, in := newSAs(t, suites[0].name)
			if _, got := open(in, test.datagram, make([]byte, 64)); got != test.want {
				t.Errorf("got verdict %d, want %d", got, test.want)
			}
		})
	}
}

// What an authenticated peer may put inside.
func TestUnwrap(t *testing.T) {
	other := ipv4(40)
	other[15]++ // Source is 198.18.0.2, not .1.
	otherDestination := ipv6(60)
	otherDestination[39]++
	badHeader, badTotal := ipv4(40), ipv4(40)
	badHeader[0] = 0x44
	badTotal[2], badTotal[3] = 0, 19
	long4, long6 := ipv4(40), ipv6(60)
	long4[3]++
	long6[5]++
	tests := []struct {
		name    string
		payload []byte
		want    verdict
	}{
		{"IPv4", concat(ipv4(40), trailer(2, nextIPv4)), delivered},
		{"IPv4 in more padding than needed", concat(ipv4(40), trailer(254, nextIPv4)), delivered},
		{"IPv6", concat(ipv6(60), trailer(2, nextIPv6)), delivered},
		{"traffic-flow confidentiality padding", concat(ipv4(40), make([]byte, 60), trailer(2, nextIPv4)), delivered},
		{"dummy", concat(make([]byte, 40), trailer(2, nextDummy)), dummy},
		{"padding does not count from 1", concat(ipv4(40), []byte{1, 3, 2, nextIPv4}), malformed},
		{"padding longer than the packet", concat(ipv4(20), []byte{1, 2, 23, nextIPv4}), malformed},
		{"IPv6 under IPv4's number", concat(ipv6(60), trailer(2, nextIPv4)), malformed},
		{"IPv4 under IPv6's number", concat(ipv4(60), trailer(2, nextIPv6)), malformed},
		{"TCP", concat(ipv4(40), trailer(2, 6)), malformed},
		{"nothing inside", trailer(2, nextIPv4), malformed},
		{"half an IPv6 header", concat(ipv6(40)[:38], trailer(0, nextIPv6)), malformed},
		{"IPv4 header of 16 bytes", concat(badHeader, trailer(2, nextIPv4)), malformed},
		{"IPv4 total length below the header's", concat(badTotal, trailer(2, nextIPv4)), malformed},
		{"IPv4 longer than it is", concat(long4, trailer(2, nextIPv4)), malformed},
		{"IPv6 longer than it is", concat(long6, trailer(2, nextIPv6)), malformed},
		{"another source", concat(other, trailer(2, nextIPv4)), wrongSelectors},
		{"another destination", concat(otherDestination, trailer(2, nextIPv6)), wrongSelectors},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out, in := newSAs(t, suites[0].name)
			packet := sealedPayload(out, test.payload)
			if _, got := open(in, packet, make([]byte, len(packet))); got != test.want {
				t.Errorf("got verdict %d, want %d", got, test.want)
			}
		})
	}
}

// An SA without addresses of one IP version carries none of it.
func TestSelectorsWithoutVersion(t *testing.T) {
	near, far := left, right
	near.Inner6, far.Inner6 = netip.Addr{}, netip.Addr{}
	s := newSelectors(near, far)
	if s.match(make([]byte, 60)) || s.match(ipv6(60)) {
		t.Error("IPv6 matches selectors that have none")
	}
	if !s.match(ipv4(40)) {
		t.Error("IPv4 does not match its selectors")
	}
}

// No packet is delivered twice, however much has come since. Left of the window
// an extended number means one of the next epoch, so that what was sealed with the
// old one fails its check (RFC 4303, Appendix A2.3).
func TestReplay(t *testing.T) {
	for _, size := range []int{leastWindow, 64, 100} {
		for extended, leftOfWindow := range map[bool]verdict{true: badICV, false: replayed} {
			t.Run(fmt.Sprintf("window of %d, extended %t", size, extended), func(t *testing.T) {
				out, in := newSAsOf(t, suites[0].name, extended, size)
				open := func(packet []byte) verdict {
					_, v := open(in, packet, make([]byte, len(packet)))
					return v
				}
				var packets [][]byte
				for range 3 * size {
					packets = append(packets, sealed(out, ipv4(40)))
				}
				for i, packet := range packets {
					if got := open(packet); got != delivered {
						t.Fatalf("packet %d: got verdict %d, want delivered", i, got)
					}
					for distance := range i + 1 {
						want := replayed
						if distance >= size {
							want = leftOfWindow
						}
						if got := open(packets[i-distance]); got != want {
							t.Fatalf("packet %d again, %d later: got verdict %d, want %d", i-distance, distance, got, want)
						}
					}
				}
			})
		}
	}
}

// Late is not replayed, up to the window's edge.
func TestLatePackets(t *testing.T) {
	out, in := newSAsOf(t, suites[0].name, false, leastWindow)
	var packets [][]byte
	for range leastWindow + 1 {
		packets = append(packets, sealed(out, ipv4(40)))
	}
	steps := []struct {
		number int // From 0.
		want   verdict
	}{{1, delivered}, {0, delivered}, {0, replayed}, {leastWindow, delivered}, {1, replayed}, {2, delivered}, {0, replayed}}
	for i, step := range steps {
		packet := packets[step.number]
		if _, got := open(in, packet, make([]byte, len(packet))); got != step.want {
			t.Errorf("step %d, packet %d: got verdict %d, want %d", i, step.number, got, step.want)
		}
	}
}

// A forged number moves neither window nor epoch.
func TestForgeryMovesNothing(t *testing.T) {
	out, in := newSAs(t, suites[0].name)
	first, second := sealed(out, ipv4(40)), sealed(out, ipv4(40))
	into := make([]byte, len(first))
	if _, v := open(in, first, into); v != delivered {
		t.Fatalf("got verdict %d, want delivered", v)
	}
	forged := bytes.Clone(second)
	binary.BigEndian.PutUint32(forged[4:], math.MaxUint32)
	if _, v := open(in, forged, into); v != badICV {
		t.Errorf("forged: got verdict %d, want %d", v, badICV)
	}
	if _, v := open(in, second, into); v != delivered {
		t.Errorf("behind the forgery: got verdict %d, want delivered", v)
	}
}

// Packets pass the point where the low half of the sequence number wraps, out
// of order as well.
func TestSequenceWraps(t *testing.T) {
	out, in := newSAs(t, suites[0].name)
	out.sequence = math.MaxUint32 - 3
	in.window.accept(out.sequence)
	var packets [][]byte
	for range 8 {
		packets = append(packets, sealed(out, ipv4(40)))
	}
	for _, i := range []int{1, 5, 0, 4, 2, 7, 3, 6} {
		if _, v := open(in, packets[i], make([]byte, len(packets[i]))); v != delivered {
			t.Errorf("packet %d: got verdict %d, want delivered", i, v)
		}
	}
	if want := uint64(math.MaxUint32 - 3 + 8); in.window.highest != want {
		t.Errorf("highest: got %d, want %d", in.window.highest, want)
	}
}
