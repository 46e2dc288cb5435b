package esp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"tunnelmark/tunnel"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	data, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// fixedKeys gives each direction a key that is told by its bytes.
type fixedKeys struct {
	tunnel.Keys // Not asked for anything but Key.
	key         []byte
}

func (k fixedKeys) Key(direction tunnel.Direction, generation, size int) ([]byte, error) {
	if k.key != nil {
		return bytes.Clone(k.key), nil
	}
	return bytes.Repeat([]byte{1}, size), nil
}

func mustTransform(t testing.TB, name tunnel.Suite, keys tunnel.Keys, extended bool) transform {
	t.Helper()
	s, err := findSuite(name)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := s.transform(sessionKey(keys, tunnel.Send), extended, 1)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

var (
	left  = tunnel.End{Inner4: netip.MustParseAddr("198.18.0.1"), Inner6: netip.MustParseAddr("2001:2::1")}
	right = tunnel.End{Inner4: netip.MustParseAddr("198.18.0.2"), Inner6: netip.MustParseAddr("2001:2::2")}
)

const testSPI = 0x2002

// newSAs returns both ends of one direction, from left to right, with extended
// sequence numbers.
func newSAs(t testing.TB, name tunnel.Suite) (*outbound, *inbound) {
	t.Helper()
	return newSAsOf(t, name, true, defaultWindow)
}

func newSAsOf(t testing.TB, name tunnel.Suite, extended bool, packets int) (*outbound, *inbound) {
	t.Helper()
	transform := func() transform { return mustTransform(t, name, fixedKeys{}, extended) }
	return newOutbound(testSPI, transform()), newInbound(testSPI, transform(), newSelectors(left, right), packets)
}

// ipv4 makes a packet from left to right with a recognisable payload.
func ipv4(length int) []byte {
	packet := make([]byte, length)
	packet[0] = 0x45
	binary.BigEndian.PutUint16(packet[2:], uint16(length))
	copy(packet[12:], left.Inner4.AsSlice())
	copy(packet[16:], right.Inner4.AsSlice())
	fillPattern(packet[20:])
	return packet
}

func ipv6(length int) []byte {
	packet := make([]byte, length)
	packet[0] = 0x60
	binary.BigEndian.PutUint16(packet[4:], uint16(length-40))
	copy(packet[8:], left.Inner6.AsSlice())
	copy(packet[24:], right.Inner6.AsSlice())
	fillPattern(packet[40:])
	return packet
}

func fillPattern(payload []byte) {
	for i := range payload {
		payload[i] = byte(i * 7)
	}
}

func sealed(out *outbound, inner []byte) []byte {
	buffer := make([]byte, out.headroom+len(inner)+out.tailroom())
	copy(buffer[out.headroom:], inner)
	length, ok := seal(out, buffer, len(inner))
	if !ok {
		panic("sequence numbers are used up")
	}
	return buffer[:length]
}

// seal is what a sender does with one packet.
func seal(out *outbound, buffer []byte, inner int) (length int, ok bool) {
	first, granted := out.reserve(1)
	if granted == 0 {
		return 0, false
	}
	return out.seal(0, buffer, inner, first), true
}

// open is what a receiver does with one datagram: the inner packet is put at the front
// of into.
func open(in *inbound, datagram, into []byte) (length int, v verdict) {
	sequence, v := in.admit(datagram)
	if v != delivered {
		return 0, v
	}
	plain, ok := in.decrypt(0, datagram, sequence, into)
	if !ok {
		return 0, badICV
	}
	if !in.accept(sequence) {
		return 0, replayed
	}
	return in.unwrap(plain)
}

// sealedPayload seals any payload, trailer included, as a peer gone wrong would.
func sealedPayload(out *outbound, payload []byte) []byte {
	out.sequence++
	packet := packetOf(out.layout, out.spi, uint32(out.sequence), payload)
	out.ciphers[0].seal(packet, out.sequence)
	return packet
}

// packetOf lays a packet out, but for IV and ICV.
func packetOf(l layout, spi, sequence uint32, payload []byte) []byte {
	packet := make([]byte, l.headroom+len(payload)+l.icv)
	binary.BigEndian.PutUint32(packet[0:], spi)
	binary.BigEndian.PutUint32(packet[4:], sequence)
	copy(packet[l.headroom:], payload)
	return packet
}

// packetLength is what sealing comes to.
func TestPacketLength(t *testing.T) {
	for _, suite := range suites {
		out, _ := newSAs(t, suite.name)
		for length := 20; length < 60; length++ {
			if got, want := out.packetLength(length), len(sealed(out, ipv4(length))); got != want {
				t.Errorf("%s, %d bytes: got %d, want %d", suite.name, length, got, want)
			}
		}
	}
}
