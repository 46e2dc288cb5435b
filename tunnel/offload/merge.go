package offload

import (
	"bytes"
	"encoding/binary"

	"tunnelmark/tunnel/checksum"
)

const (
	// mostRuns is how many super-packets and single packets a Merger holds.
	mostRuns = 64
	// mostTCP is how many segments of TCP are one run: 64 KiB of the least MSS that
	// paths have (RFC 9293, Section 3.7.1).
	mostTCP = 128
	// MostParts is how many parts one write has: a header, a packet, payloads.
	MostParts = 1 + mostTCP
)

// Merger puts packets of one flow that follow one another together into
// super-packets, which a device takes in one write each. Packets of one flow keep
// their order. What a receiver would see of them is unchanged: all but lengths,
// numbers and checksums of their headers is the same, and their checksums are right.
type Merger struct {
	// UDP says that the device takes super-packets of UDP (Linux 6.2).
	UDP   bool
	runs  [mostRuns]run
	count int
}

// run is what becomes one write: packets that continue the first.
type run struct {
	shape
	header  [HeaderLength]byte
	parts   [MostParts][]byte // header, the first packet, then payloads.
	packets int
	length  int    // Of the super-packet, in bytes.
	inner   int    // Of its packets, in bytes.
	size    int    // Of each payload but the last, in bytes.
	next    uint32 // Sequence number that continues it (TCP).
	known   bool   // shape is set.
	open    bool   // Another packet may follow.
	checked bool   // The first packet's checksums are right.
	push    bool   // The last packet had PSH.
}

// Add takes the next packet, which must stay until Reset and is changed by Run. It
// says no where there is no room for it.
func (m *Merger) Add(packet []byte) bool {
	s, known := shapeOf(packet)
	if known {
		if r := m.latest(s, packet); r != nil && r.join(s, packet) {
			return true
		}
	} else {
		m.end() // Of whose flow it is, such as a fragment, cannot be seen.
	}
	if m.count == mostRuns {
		return false
	}
	m.runs[m.count].begin(s, known, packet, m.UDP)
	m.count++
	return true
}

// end lets no packet join what is there.
func (m *Merger) end() {
	for i := range m.count {
		m.runs[i].open = false
	}
}

// latest is the last run of a packet's flow: it must not join an earlier one.
func (m *Merger) latest(s shape, packet []byte) *run {
	for i := m.count - 1; i >= 0; i-- {
		if r := &m.runs[i]; r.known && r.sameFlow(s, packet) {
			return r
		}
	}
	return nil
}

// Len is how many writes there are to do.
func (m *Merger) Len() int { return m.count }

// Run is what write i consists of, and how many packets and bytes of packets are in
// it. Called once for each.
func (m *Merger) Run(i int) (parts [][]byte, packets, bytes int) {
	r := &m.runs[i]
	r.finish()
	return r.parts[:1+r.packets], r.packets, r.inner
}

// Reset makes room: all runs are written, or given up.
func (m *Merger) Reset() { m.count = 0 }

func (r *run) begin(s shape, known bool, packet []byte, udp bool) {
	r.shape, r.known = s, known
	r.parts[0], r.parts[1] = r.header[:], packet
	r.packets, r.length, r.inner = 1, len(packet), len(packet)
	r.open, r.checked, r.push = false, false, false
	if !known {
		return
	}
	r.size = len(packet) - s.headers
	switch {
	case r.size == 0 || !s.ipv6 && s.ip != ipv4Header: // Options are not the same in all segments.
	case s.protocol == protocolUDP:
		r.open = udp
	case s.protocol == protocolTCP:
		// What acts once, such as SYN or CWR, stays alone; PSH ends a run.
		r.open = packet[s.ip+13]&^tcpECE == tcpACK
		r.next = binary.BigEndian.Uint32(packet[s.ip+4:]) + uint32(r.size)
	}
}

// sameFlow compares addresses, protocol and ports.
func (r *run) sameFlow(s shape, packet []byte) bool {
	first := r.parts[1]
	return r.ipv6 == s.ipv6 && r.protocol == s.protocol &&
		bytes.Equal(first[r.ip:r.ip+4], packet[s.ip:s.ip+4]) &&
		bytes.Equal(r.addresses(first), s.addresses(packet))
}

// join takes a packet of the same flow if it continues the run.
func (r *run) join(s shape, packet []byte) bool {
	payload := len(packet) - s.headers
	switch {
	case !r.open || s.ip != r.ip || s.headers != r.headers || !r.continued(packet):
		return false
	case payload == 0 || payload > r.size || r.length+payload > mostLength || r.packets == r.most():
		return false
	case !r.checked && !r.hasTrueChecksums(r.parts[1]):
		r.open = false // The kernel must see the first as it is.
		return false
	}
	r.checked = true
	if !s.hasTrueChecksums(packet) {
		return false
	}
	r.parts[1+r.packets] = packet[s.headers:]
	r.packets++
	r.length += payload
	r.inner += len(packet)
	r.next += uint32(payload)
	r.push = s.protocol == protocolTCP && packet[s.ip+13]&tcpPSH != 0
	r.open = payload == r.size && !r.push
	return true
}

func (r *run) most() int {
	if r.protocol == protocolUDP {
		return MostUDP
	}
	return mostTCP
}

// continued says whether both headers are those of the next segment.
func (r *run) continued(packet []byte) bool {
	first := r.parts[1]
	if r.ipv6 {
		if !bytes.Equal(first[:4], packet[:4]) || !bytes.Equal(first[6:8], packet[6:8]) {
			return false // Traffic class and flow label; next header and hop limit.
		}
	} else if !r.continued4(first, packet) {
		return false
	}
	return r.protocol == protocolUDP || r.continuedTCP(first[r.ip:r.headers], packet[r.ip:r.headers])
}

// continued4 compares version, type of service; flags, TTL, protocol. Where the
// don't-fragment bit is set, the identification means nothing (RFC 6864, Section 4.1).
func (r *run) continued4(first, packet []byte) bool {
	const dontFragment = 1 << 6 // Of byte 6.
	id := binary.BigEndian.Uint16(first[4:]) + uint16(r.packets)
	return bytes.Equal(first[:2], packet[:2]) && bytes.Equal(first[6:10], packet[6:10]) &&
		(packet[6]&dontFragment != 0 || binary.BigEndian.Uint16(packet[4:]) == id)
}

// continuedTCP compares all of the headers but the checksum and PSH.
func (r *run) continuedTCP(first, packet []byte) bool {
	return binary.BigEndian.Uint32(packet[4:]) == r.next &&
		bytes.Equal(first[8:13], packet[8:13]) && // Acknowledgement, data offset.
		first[13] == packet[13]&^tcpPSH &&
		bytes.Equal(first[14:16], packet[14:16]) && // Window.
		bytes.Equal(first[18:], packet[18:]) // Urgent pointer, options.
}

// finish makes the first packet's headers those of the super-packet: the kernel
// derives each segment's from them.
func (r *run) finish() {
	if r.packets == 1 {
		Header{}.Put(r.header[:])
		return
	}
	first := r.parts[1]
	r.setLength(first, r.length)
	transport := first[r.ip:]
	kind := uint8(typeUDP)
	if r.protocol == protocolUDP {
		binary.BigEndian.PutUint16(transport[4:], uint16(r.length-r.ip))
	} else {
		kind = typeTCP4
		if r.ipv6 {
			kind = typeTCP6
		}
		if r.push {
			transport[13] |= tcpPSH
		}
	}
	at := r.checksumAt()
	checksum.Put(first[at:], checksum.Fold(checksum.Pseudo(r.addresses(first), r.protocol, r.length-r.ip)))
	Header{
		Flags: needsChecksum, Type: kind, Length: uint16(r.headers), SegmentSize: uint16(r.size),
		ChecksumStart: uint16(r.ip), ChecksumOffset: uint16(at - r.ip),
	}.Put(r.header[:])
}
