package esp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
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

func TestRoundTrip(t *testing.T) {
	packets := [][]byte{ipv4(20), ipv4(21), ipv4(22), ipv4(23), ipv4(1400), ipv6(40), ipv6(41), ipv6(1438), ipv4(65400)}
	for _, s := range suites {
		t.Run(string(s.name), func(t *testing.T) {
			out, in := newSAs(t, s.name)
			for _, want := range packets {
				packet := sealed(out, want)
				if len(packet)%alignment != 0 {
					t.Errorf("inner length %d: packet of %d bytes is not aligned", len(want), len(packet))
				}
				into := make([]byte, len(packet))
				n, v := in.open(packet, into)
				if v != delivered {
					t.Fatalf("inner length %d: got verdict %d, want delivered", len(want), v)
				}
				if diff := cmp.Diff(want, into[:n]); diff != "" {
					t.Errorf("inner length %d (-want +got):\n%s", len(want), diff)
				}
			}
		})
	}
}

// The trailer of every length class, byte by byte.
func TestPad(t *testing.T) {
	tests := []struct {
		inner []byte
		want  []byte
	}{
		{ipv4(22), []byte{0, 4}},
		{ipv4(21), []byte{1, 1, 4}},
		{ipv4(20), []byte{1, 2, 2, 4}},
		{ipv4(23), []byte{1, 2, 3, 3, 4}},
		{ipv6(42), []byte{0, 41}},
	}
	for _, test := range tests {
		buffer := append(bytes.Clone(test.inner), make([]byte, tailroom)...)
		got := buffer[len(test.inner):pad(buffer, len(test.inner))]
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("inner length %d (-want +got):\n%s", len(test.inner), diff)
		}
	}
}

// What arrives in the clear around ESP (RFC 3948, Section 2), or is no packet.
func TestClassify(t *testing.T) {
	tests := []struct {
		name     string
		datagram []byte
		want     verdict
	}{
		{"empty", nil, malformed},
		{"NAT keepalive", []byte{0xff}, ignored},
		{"one other byte", []byte{0xfe}, malformed},
		{"three bytes", []byte{0, 0, 0}, malformed},
		{"IKE behind non-ESP marker", []byte{0, 0, 0, 0, 1, 2, 3}, ignored},
		{"another SPI", binary.BigEndian.AppendUint32(nil, testSPI+1), unknownSPI},
		{"header only", binary.BigEndian.AppendUint32(nil, testSPI), malformed},
		{"one byte short", append(binary.BigEndian.AppendUint32(nil, testSPI), make([]byte, leastPacket-5)...), malformed},
		{"zeros", append(binary.BigEndian.AppendUint32(nil, testSPI), make([]byte, leastPacket-4)...), badICV},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, in := newSAs(t, suites[0].name)
			if _, got := in.open(test.datagram, make([]byte, 64)); got != test.want {
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
		{"dummy", concat(make([]byte, 40), trailer(2, nextDummy)), ignored},
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
			if _, got := in.open(packet, make([]byte, len(packet))); got != test.want {
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

func TestReplay(t *testing.T) {
	out, in := newSAs(t, suites[0].name)
	open := func(packet []byte) verdict {
		_, v := in.open(packet, make([]byte, len(packet)))
		return v
	}
	var packets [][]byte
	for range replayWindow + 1 {
		packets = append(packets, sealed(out, ipv4(40)))
	}
	steps := []struct {
		name   string
		number int
		want   verdict
	}{
		{"second packet first", 1, delivered},
		{"first packet late", 0, delivered},
		{"first packet again", 0, replayed},
		{"last packet", replayWindow, delivered},
		{"oldest inside the window, again", 1, replayed},
		{"next to it, never seen", 2, delivered},
	}
	for _, step := range steps {
		if got := open(packets[step.number]); got != step.want {
			t.Errorf("%s: got verdict %d, want %d", step.name, got, step.want)
		}
	}
	// Left of the window a number means one of the next epoch, so that what was
	// sealed with the old one fails its check (RFC 4303, Appendix A2.3).
	if got := open(packets[0]); got != badICV {
		t.Errorf("left of the window: got verdict %d, want %d", got, badICV)
	}
}

// A forged number moves neither window nor epoch.
func TestForgeryMovesNothing(t *testing.T) {
	out, in := newSAs(t, suites[0].name)
	first, second := sealed(out, ipv4(40)), sealed(out, ipv4(40))
	into := make([]byte, len(first))
	if _, v := in.open(first, into); v != delivered {
		t.Fatalf("got verdict %d, want delivered", v)
	}
	forged := bytes.Clone(second)
	binary.BigEndian.PutUint32(forged[4:], math.MaxUint32)
	if _, v := in.open(forged, into); v != badICV {
		t.Errorf("forged: got verdict %d, want %d", v, badICV)
	}
	if _, v := in.open(second, into); v != delivered {
		t.Errorf("behind the forgery: got verdict %d, want delivered", v)
	}
}

// Packets pass the point where the low half of the sequence number wraps, out
// of order as well.
func TestSequenceWraps(t *testing.T) {
	out, in := newSAs(t, suites[0].name)
	out.sequence = math.MaxUint32 - 3
	in.accept(out.sequence)
	var packets [][]byte
	for range 8 {
		packets = append(packets, sealed(out, ipv4(40)))
	}
	for _, i := range []int{1, 5, 0, 4, 2, 7, 3, 6} {
		if _, v := in.open(packets[i], make([]byte, len(packets[i]))); v != delivered {
			t.Errorf("packet %d: got verdict %d, want delivered", i, v)
		}
	}
	if want := uint64(math.MaxUint32 - 3 + 8); in.highest != want {
		t.Errorf("highest: got %d, want %d", in.highest, want)
	}
}

func TestExtend(t *testing.T) {
	const wrap = 1 << 32
	tests := []struct {
		highest uint64
		low     uint32
		want    uint64
	}{
		{0, 1, 1},
		{0, math.MaxUint32, math.MaxUint32}, // Nothing was before epoch 0.
		{100, 101, 101},
		{100, 50, 50},
		{replayWindow, 1, 1},
		{replayWindow, 0, wrap}, // Left of the window: next epoch.
		{wrap - 1, 0, wrap},
		{wrap - 1, wrap - replayWindow, wrap - replayWindow},
		{wrap - 1, wrap - replayWindow - 1, 2*wrap - replayWindow - 1},
		{wrap, math.MaxUint32, wrap - 1},
		{wrap + 5, wrap - replayWindow + 6, wrap - replayWindow + 6},
		{wrap + 5, wrap - replayWindow + 5, 2*wrap - replayWindow + 5},
		{7*wrap + 5, 6, 7*wrap + 6},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%d after %d", test.low, test.highest), func(t *testing.T) {
			if got := extend(test.highest, test.low); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}
