package offload

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/tunnel/checksum"
)

// flow makes packets that follow one another.
type flow struct {
	ipv6     bool
	protocol byte
	port     uint16
	options  int // Bytes of TCP options.
	id       uint16
	sequence uint32
}

// tcpFlow has the options that Linux sends: no-operation twice, timestamps.
func tcpFlow(ipv6 bool) *flow {
	return &flow{ipv6: ipv6, protocol: protocolTCP, port: 5001, options: 12}
}

func udpFlow(ipv6 bool) *flow { return &flow{ipv6: ipv6, protocol: protocolUDP, port: 5001} }

// packet makes the next packet, with right checksums. flags are TCP's.
func (f *flow) packet(payload int, flags byte) []byte {
	ip, transport := ipv4Header, udpHeader
	if f.ipv6 {
		ip = ipv6Header
	}
	if f.protocol == protocolTCP {
		transport = tcpHeader + f.options
	}
	p := make([]byte, ip+transport+payload)
	if f.ipv6 {
		copy(p, []byte{0x60, 0, 0, 7, 0, 0, f.protocol, 64})
		p[23], p[39] = 1, 2
	} else {
		copy(p, []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, f.protocol, 0, 0, 198, 18, 0, 1, 198, 18, 0, 2})
		binary.BigEndian.PutUint16(p[4:], f.id)
	}
	f.id++
	t := p[ip:]
	binary.BigEndian.PutUint16(t, f.port)
	binary.BigEndian.PutUint16(t[2:], 5201)
	if f.protocol == protocolTCP {
		binary.BigEndian.PutUint32(t[4:], f.sequence)
		binary.BigEndian.PutUint32(t[8:], 77)
		t[12], t[13] = byte(transport/4)<<4, flags
		binary.BigEndian.PutUint16(t[14:], 512)
		for i := range f.options {
			t[tcpHeader+i] = 1 // No operation.
		}
		f.sequence += uint32(payload)
	} else {
		binary.BigEndian.PutUint16(t[4:], uint16(len(t)))
	}
	for i := range payload {
		t[transport+i] = byte(i*7) ^ byte(f.sequence) ^ byte(f.id)
	}
	return complete(p)
}

// complete writes the lengths and checksums of a packet.
func complete(p []byte) []byte {
	s := shape{protocol: p[9], ip: ipv4Header}
	if p[0]>>4 == 6 {
		s = shape{ipv6: true, protocol: p[6], ip: ipv6Header}
	}
	s.setLength(p, len(p))
	s.setChecksum(p)
	return p
}

func (f *flow) packets(count, payload int) (all [][]byte) {
	for range count {
		all = append(all, f.packet(payload, tcpACK))
	}
	return all
}

// merge puts packets through a Merger and returns the writes, each with its header.
func merge(t testing.TB, packets [][]byte) (writes [][]byte) {
	t.Helper()
	m := Merger{UDP: true}
	total, length := 0, 0
	take := func() {
		for i := range m.Len() {
			parts, count, inner := m.Run(i)
			writes = append(writes, bytes.Join(parts, nil))
			total += count
			length += inner
		}
		m.Reset()
	}
	want := 0
	for _, p := range packets {
		want += len(p)
		p = bytes.Clone(p)
		if !m.Add(p) {
			take()
			m.Add(p)
		}
	}
	take()
	if total != len(packets) || length != want {
		t.Errorf("got %d packets of %d bytes, want %d of %d", total, length, len(packets), want)
	}
	return writes
}

// split puts writes through Split, as if a device had given them.
func split(t testing.TB, writes [][]byte) (packets [][]byte) {
	t.Helper()
	const offset = 24
	buffers, sizes := make([][]byte, mostTCP), make([]int, mostTCP)
	for i := range buffers {
		buffers[i] = make([]byte, offset+2048)
	}
	for _, w := range writes {
		header, err := ParseHeader(w)
		if err != nil {
			t.Fatal(err)
		}
		count, err := header.Split(w[HeaderLength:], buffers, sizes, offset)
		if err != nil {
			t.Fatal(err)
		}
		for i := range count {
			packets = append(packets, bytes.Clone(buffers[i][offset:offset+sizes[i]]))
		}
	}
	return packets
}

// What is merged and split again is what it was.
func TestRoundTrip(t *testing.T) {
	push := func(f *flow) [][]byte {
		return append(f.packets(3, 1368), f.packet(1368, tcpACK|tcpPSH), f.packet(1368, tcpACK))
	}
	gap := func(f *flow) [][]byte {
		a := f.packets(2, 1000)
		f.sequence += 1000
		return append(a, f.packets(2, 1000)...)
	}
	damaged := func(f *flow) [][]byte {
		all := f.packets(4, 500)
		all[2][len(all[2])-1] ^= 1
		return all
	}
	tests := []struct {
		name    string
		packets [][]byte
		writes  int
	}{
		{"one", tcpFlow(false).packets(1, 1000), 1},
		{"TCP over IPv4", tcpFlow(false).packets(40, 1368), 1},
		{"TCP over IPv6", tcpFlow(true).packets(40, 1348), 1},
		{"UDP over IPv4", udpFlow(false).packets(40, 1392), 1},
		{"UDP over IPv6", udpFlow(true).packets(40, 1372), 1},
		{"more than IP can tell", tcpFlow(false).packets(60, 1368), 2},
		{"more segments than UDP has", udpFlow(false).packets(MostUDP+1, 100), 2},
		{"odd lengths", tcpFlow(false).packets(30, 1001), 1},
		{"shorter last", append(udpFlow(false).packets(3, 100), udpFlow(false).packet(50, 0)), 2},
		{"PSH ends a run", push(tcpFlow(false)), 2},
		{"a gap", gap(tcpFlow(false)), 2},
		{"a wrong checksum", damaged(tcpFlow(false)), 3},
		{"a wrong checksum of UDP", damaged(udpFlow(true)), 3},
		{"SYN", [][]byte{tcpFlow(false).packet(0, tcpSYN), tcpFlow(false).packet(0, tcpSYN)}, 2},
		{"acknowledgements", tcpFlow(false).packets(3, 0), 3},
		{"no IP", [][]byte{{1, 2, 3}, {}, {0x45}, {0x60, 1}}, 4},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			writes := merge(t, test.packets)
			if len(writes) != test.writes {
				t.Errorf("got %d writes, want %d", len(writes), test.writes)
			}
			if test.name == "no IP" {
				return // Nothing to split.
			}
			if diff := cmp.Diff(test.packets, split(t, writes)); diff != "" {
				t.Errorf("packets (-want +got):\n%s", diff)
			}
		})
	}
}

// Flows that come mixed are merged each for itself, in the order of each.
func TestMergeMixed(t *testing.T) {
	a, b, c := tcpFlow(false), tcpFlow(true), udpFlow(false)
	var packets [][]byte
	for range 10 {
		packets = append(packets, a.packet(1000, tcpACK), b.packet(900, tcpACK), c.packet(800, 0))
	}
	if writes := merge(t, packets); len(writes) != 3 {
		t.Errorf("got %d writes, want one for each flow", len(writes))
	}
}

// A header in which anything but what numbers segments differs begins anew.
func TestMergeKeepsHeaders(t *testing.T) {
	changes := []struct {
		name   string
		ipv6   bool
		change func(p []byte)
	}{
		{"type of service", false, func(p []byte) { p[1] = 2 }},
		{"TTL", false, func(p []byte) { p[8]-- }},
		{"identification", false, func(p []byte) { p[5] += 2 }},
		{"don't-fragment bit", false, func(p []byte) { p[6] = 0x40 }},
		{"acknowledgement", false, func(p []byte) { p[31]++ }},
		{"window", false, func(p []byte) { p[35]++ }},
		{"ECE", false, func(p []byte) { p[33] |= tcpECE }},
		{"CWR", false, func(p []byte) { p[33] |= tcpCWR }},
		{"option", false, func(p []byte) { p[45]++ }},
		{"source", false, func(p []byte) { p[15]++ }},
		{"port", false, func(p []byte) { p[21]++ }},
		{"traffic class", true, func(p []byte) { p[1] = 0x20 }},
		{"flow label", true, func(p []byte) { p[3]++ }},
		{"hop limit", true, func(p []byte) { p[7]-- }},
	}
	for _, c := range changes {
		t.Run(c.name, func(t *testing.T) {
			packets := tcpFlow(c.ipv6).packets(3, 500)
			c.change(packets[2])
			complete(packets[2])
			writes := merge(t, packets)
			if len(writes) != 2 {
				t.Errorf("got %d writes, want 2", len(writes))
			}
			if diff := cmp.Diff(packets, split(t, writes)); diff != "" {
				t.Errorf("packets (-want +got):\n%s", diff)
			}
		})
	}
}

// What acts once is with the first segment or the last.
func TestSplitFlags(t *testing.T) {
	packet := tcpFlow(false).packet(3000, tcpACK|tcpPSH|tcpFIN|tcpCWR)
	h := Header{Flags: needsChecksum, Type: typeTCP4 | typeECN, SegmentSize: 1000, ChecksumStart: 20, ChecksumOffset: tcpChecksum}
	write := make([]byte, HeaderLength, HeaderLength+len(packet))
	h.Put(write)
	got := split(t, [][]byte{append(write, packet...)})
	want := []byte{tcpACK | tcpCWR, tcpACK, tcpACK | tcpPSH | tcpFIN}
	for i, p := range got {
		if p[33] != want[i] {
			t.Errorf("flags of segment %d: got %#x, want %#x", i, p[33], want[i])
		}
	}
}

// A checksum that the kernel left to the device is completed.
func TestSplitCompletesChecksum(t *testing.T) {
	for _, ipv6 := range []bool{false, true} {
		want := udpFlow(ipv6).packet(333, 0)
		s, _ := shapeOf(want)
		partial := bytes.Clone(want)
		checksum.Put(partial[s.checksumAt():], checksum.Fold(checksum.Pseudo(s.addresses(want), protocolUDP, len(want)-s.ip)))
		write := make([]byte, HeaderLength)
		Header{Flags: needsChecksum, ChecksumStart: uint16(s.ip), ChecksumOffset: udpChecksum}.Put(write)
		if diff := cmp.Diff([][]byte{want}, split(t, [][]byte{append(write, partial...)})); diff != "" {
			t.Errorf("IPv6 %t (-want +got):\n%s", ipv6, diff)
		}
	}
}

func TestSplitRefuses(t *testing.T) {
	packet := tcpFlow(false).packet(3000, tcpACK)
	short := make([][]byte, 2)
	for i := range short {
		short[i] = make([]byte, 1100)
	}
	tests := []struct {
		name   string
		header Header
		packet []byte
	}{
		{"more segments than buffers", Header{Type: typeTCP4, SegmentSize: 1000, ChecksumStart: 20}, packet},
		{"longer segments than buffers", Header{Type: typeTCP4, SegmentSize: 2000, ChecksumStart: 20}, packet},
		{"longer packet than a buffer", Header{}, packet},
		{"segments of nothing", Header{Type: typeTCP4, ChecksumStart: 20}, packet},
		{"unknown type", Header{Type: 3, SegmentSize: 1000, ChecksumStart: 20}, packet},
		{"header beyond the packet", Header{Type: typeTCP4, SegmentSize: 1000, ChecksumStart: 3050}, packet},
		{"header before the packet", Header{Type: typeTCP4, SegmentSize: 1000}, packet},
		{"checksum beyond the packet", Header{Flags: needsChecksum, ChecksumStart: 99}, packet[:100]},
		{"nothing", Header{Type: typeTCP4, SegmentSize: 1000, ChecksumStart: 20}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := test.header.Split(test.packet, short, make([]int, 2), 0); err == nil {
				t.Error("got no error")
			}
		})
	}
	if _, err := ParseHeader(make([]byte, HeaderLength-1)); err == nil {
		t.Error("short header: got no error")
	}
}

// Whatever comes out of a tunnel, what the device gets stands for just that.
func FuzzMerge(f *testing.F) {
	f.Add([]byte{0, 1, 10, 1, 1, 10, 2, 1, 10}, uint16(0))
	f.Add([]byte{0, 9, 200, 0, 9, 100, 1, 3, 3, 1, 3, 3}, uint16(7))
	f.Fuzz(func(t *testing.T, script []byte, damage uint16) {
		flows := []*flow{tcpFlow(false), tcpFlow(true), udpFlow(false), udpFlow(true)}
		var packets [][]byte
		for ; len(script) >= 3 && len(packets) < 200; script = script[3:] {
			f := flows[script[0]%4]
			flags := byte(tcpACK)
			if script[1]&0x80 != 0 {
				flags = script[1]
			}
			packets = append(packets, f.packet(int(script[1]%8)*int(script[2]), flags))
		}
		for i := range packets { // Some bits of some packets are not as they were sent.
			if damage != 0 && i%5 == int(damage%5) {
				packets[i][int(damage)%len(packets[i])] ^= byte(damage>>8) | 1
			}
		}
		want, got := byFlow(packets), byFlow(split(t, merge(t, packets)))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("packets of each flow (-want +got):\n%s", diff)
		}
	})
}

// byFlow are the packets of TCP and UDP by what tells flows apart, in their order.
func byFlow(packets [][]byte) map[string][]string {
	flows := make(map[string][]string)
	for _, p := range packets {
		if s, ok := shapeOf(p); ok {
			name := fmt.Sprintf("%d %x %x", s.protocol, s.addresses(p), p[s.ip:s.ip+4])
			flows[name] = append(flows[name], fmt.Sprintf("%x", p))
		}
	}
	return flows
}

func FuzzSplit(f *testing.F) {
	write := make([]byte, HeaderLength)
	Header{Flags: needsChecksum, Type: typeTCP4, SegmentSize: 100, ChecksumStart: 20, ChecksumOffset: 16}.Put(write)
	f.Add(append(write, tcpFlow(false).packet(1000, tcpACK)...))
	f.Add(append(bytes.Clone(write), udpFlow(true).packet(1000, 0)...))
	buffers, sizes := make([][]byte, 20), make([]int, 20)
	for i := range buffers {
		buffers[i] = make([]byte, 2000)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		header, err := ParseHeader(data)
		if err != nil {
			return
		}
		count, err := header.Split(data[HeaderLength:], buffers, sizes, 16)
		if err != nil {
			return
		}
		for i, size := range sizes[:count] {
			if size > len(buffers[i])-16 {
				t.Errorf("packet %d has %d bytes", i, size)
			}
		}
	})
}

func BenchmarkMerge(b *testing.B) {
	packets := tcpFlow(false).packets(44, 1368)
	headers := make([]byte, ipv4Header)
	var m Merger
	b.SetBytes(44 * 1420)
	b.ReportAllocs()
	copy(headers, packets[0])
	sum := bytes.Clone(packets[0][36:38])
	for b.Loop() {
		copy(packets[0], headers)
		copy(packets[0][36:], sum)
		for _, p := range packets {
			m.Add(p)
		}
		if m.Len() != 1 {
			b.Fatalf("got %d runs, want 1", m.Len())
		}
		m.Run(0)
		m.Reset()
	}
}

func BenchmarkSplit(b *testing.B) {
	packet := tcpFlow(false).packet(44*1368, tcpACK)
	h := Header{Flags: needsChecksum, Type: typeTCP4, SegmentSize: 1368, ChecksumStart: 20, ChecksumOffset: tcpChecksum}
	buffers, sizes := make([][]byte, 44), make([]int, 44)
	for i := range buffers {
		buffers[i] = make([]byte, 1500)
	}
	b.SetBytes(44 * 1420)
	b.ReportAllocs()
	for b.Loop() {
		if count, err := h.Split(packet, buffers, sizes, 16); err != nil || count != 44 {
			b.Fatal(count, err)
		}
	}
}
