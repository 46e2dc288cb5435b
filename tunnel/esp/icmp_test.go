package esp

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/icmp"
)

// unfragmented is ipv4 with DF set.
func unfragmented(length int) []byte {
	packet := ipv4(length)
	binary.BigEndian.PutUint16(packet[6:], dontFragment)
	return packet
}

// extended puts an IPv6 extension header before what a packet carries.
func extended(kind byte, header []byte, packet []byte) []byte {
	long := concat(packet[:ipv6Header], append([]byte{packet[6]}, header...), packet[ipv6Header:])
	long[6] = kind
	return long
}

func TestAnswerTooLong(t *testing.T) {
	carrying := func(packet []byte, protocol, kind byte) []byte {
		if packet[0]>>4 == 4 {
			packet[9], packet[ipv4Header] = protocol, kind
		} else {
			packet[6], packet[ipv6Header] = protocol, kind
		}
		return packet
	}
	spoilt := func(packet []byte, at int, value ...byte) []byte {
		copy(packet[at:], value)
		return packet
	}
	const none = 0
	tests := []struct {
		name   string
		packet []byte
		mtu    int
		want   int // The MTU told.
	}{
		{"IPv4", unfragmented(1438), 1338, 1338},
		{"IPv4, one byte too long", unfragmented(1339), 1338, 1338},
		{"IPv4 that fits", unfragmented(1338), 1338, none},
		{"IPv4 that may be fragmented", ipv4(1438), 1338, none},
		{"IPv4, first fragment", spoilt(unfragmented(1438), 6, 0x60), 1338, 1338},
		{"IPv4, another fragment", spoilt(unfragmented(1438), 6, 0x40, 1), 1338, none},
		{"IPv4, path takes nothing", unfragmented(1438), -20, leastMTU4},
		{"IPv4, as short as every link takes", unfragmented(68), 0, none},
		{"IPv4, header of 60 bytes", spoilt(unfragmented(1438), 0, 0x4f), 1338, 1338},
		{"IPv4, header of 16 bytes", spoilt(unfragmented(1438), 0, 0x44), 1338, none},
		{"echo request", carrying(unfragmented(1438), protocolICMP, 8), 1338, 1338},
		{"ICMP error", carrying(unfragmented(1438), protocolICMP, 3), 1338, none},
		{"ICMP time exceeded", carrying(unfragmented(1438), protocolICMP, 11), 1338, none},
		{"IPv4 from nobody", spoilt(unfragmented(1438), 12, 0, 0, 0, 0), 1338, none},
		{"IPv4 to a group", spoilt(unfragmented(1438), 16, 224), 1338, none},
		{"IPv4 to everybody", spoilt(unfragmented(1438), 16, 255, 255, 255, 255), 1338, none},

		{"IPv6", ipv6(1438), 1338, 1338},
		{"IPv6 that fits", ipv6(1338), 1338, none},
		{"IPv6, path takes less than IPv6 needs", ipv6(1438), 1000, leastMTU6},
		{"IPv6, as short as every link takes", ipv6(1280), 1000, none},
		{"ICMPv6 echo request", carrying(ipv6(1438), protocolICMPv6, 128), 1338, 1338},
		{"ICMPv6 error", carrying(ipv6(1438), protocolICMPv6, 1), 1338, none},
		{"ICMPv6 redirect", carrying(ipv6(1438), protocolICMPv6, 137), 1338, none},
		{"ICMPv6 error behind options", extended(hopByHopOptions, make([]byte, 7),
			extended(destinationOptions, append([]byte{1}, make([]byte, 14)...), carrying(ipv6(1438), protocolICMPv6, 4))), 1338, none},
		{"IPv6, first fragment", extended(fragmentHeader, []byte{0, 0, 1, 0, 0, 0, 7}, ipv6(1438)), 1338, 1338},
		{"IPv6, another fragment", extended(fragmentHeader, []byte{0, 0, 8, 0, 0, 0, 7}, ipv6(1438)), 1338, none},
		{"IPv6 to a group", spoilt(ipv6(1438), 24, 0xff), 1338, none},
		{"IPv6 from nobody", spoilt(ipv6(1438), 8, make([]byte, 16)...), 1338, none},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			into := bytes.Repeat([]byte{0xaa}, longestAnswer6)
			length := answerTooLong(into, test.packet, test.mtu)
			if length == 0 {
				if test.want != none {
					t.Errorf("got no answer, want MTU %d", test.want)
				}
				return
			}
			if got := checkAnswer(t, into[:length], test.packet); got != test.want {
				t.Errorf("got MTU %d, want %d", got, test.want)
			}
		})
	}
}

// checkAnswer reads an answer with a parser and checksums that are not ours, and
// returns the MTU that it tells.
func checkAnswer(t *testing.T, answer, packet []byte) (mtu int) {
	t.Helper()
	var from, to, source, destination netip.Addr
	var message, quote []byte
	if packet[0]>>4 == 4 {
		source, destination = address(packet[12:16]), address(packet[16:20])
		from, to, message = address(answer[12:16]), address(answer[16:20]), answer[ipv4Header:]
		if len(answer) > 576 || slowChecksum(answer[:ipv4Header]) != 0 || slowChecksum(message) != 0 {
			t.Errorf("answer of %d bytes, checksums %#x and %#x", len(answer), slowChecksum(answer[:ipv4Header]), slowChecksum(message))
		}
		if got := int(binary.BigEndian.Uint16(answer[2:])); got != len(answer) {
			t.Errorf("total length %d of %d bytes", got, len(answer))
		}
		m, err := icmp.ParseMessage(protocolICMP, message)
		if err != nil || m.Code != fragmentationNeeded {
			t.Fatalf("message %+v: %v", m, err)
		}
		quote, mtu = message[icmpHeader:], int(binary.BigEndian.Uint32(message[4:]))
	} else {
		source, destination = address(packet[8:24]), address(packet[24:40])
		from, to, message = address(answer[8:24]), address(answer[24:40]), answer[ipv6Header:]
		pseudo := concat(icmp.IPv6PseudoHeader(from.AsSlice(), to.AsSlice()), message)
		binary.BigEndian.PutUint32(pseudo[32:], uint32(len(message)))
		if len(answer) > 1280 || slowChecksum(pseudo) != 0 {
			t.Errorf("answer of %d bytes, checksum %#x", len(answer), slowChecksum(pseudo))
		}
		m, err := icmp.ParseMessage(protocolICMPv6, message)
		if err != nil {
			t.Fatal(err)
		}
		body, ok := m.Body.(*icmp.PacketTooBig)
		if !ok {
			t.Fatalf("got a %T", m.Body)
		}
		quote, mtu = body.Data, body.MTU
	}
	if from != destination || to != source {
		t.Errorf("answer from %s to %s of a packet from %s to %s", from, to, source, destination)
	}
	if !bytes.HasPrefix(packet, quote) || len(quote) < min(len(packet), 548) {
		t.Errorf("%d bytes are quoted, or are not the packet's", len(quote))
	}
	return mtu
}

func address(bytes []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(bytes)
	return a
}

// slowChecksum is that of RFC 1071, written to be read; 0 where data has its own.
func slowChecksum(data []byte) uint16 {
	total := 0
	for i, b := range data {
		total += int(b) << (8 * (1 - i%2))
	}
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	return ^uint16(total)
}

// Whatever the kernel hands over: an answer is one to the packet, and none is given
// to an answer.
func FuzzAnswerTooLong(f *testing.F) {
	f.Add(unfragmented(1438), 1338)
	f.Add(ipv6(1438), 1338)
	f.Add(ipv6(1500), 1000)
	f.Add(extended(fragmentHeader, []byte{0, 0, 1, 0, 0, 0, 7}, ipv6(1438)), 1300)
	f.Fuzz(func(t *testing.T, packet []byte, mtu int) {
		if len(packet) < ipv4Header || packet[0]>>4 != 4 && (packet[0]>>4 != 6 || len(packet) < ipv6Header) {
			return // The selectors pass nothing shorter.
		}
		before := bytes.Clone(packet)
		into := make([]byte, longestAnswer6)
		length := answerTooLong(into, packet, mtu)
		if diff := cmp.Diff(before, packet); diff != "" {
			t.Errorf("the packet has changed (-want +got):\n%s", diff)
		}
		if length == 0 {
			return
		}
		if told := checkAnswer(t, into[:length], packet); told >= len(packet) {
			t.Errorf("a packet of %d bytes is told MTU %d", len(packet), told)
		}
		if answerTooLong(make([]byte, longestAnswer6), into[:length], leastMTU4) != 0 {
			t.Error("the answer is answered")
		}
	})
}
