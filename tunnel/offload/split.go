package offload

import (
	"encoding/binary"
	"errors"
	"fmt"

	"tunnelmark/tunnel/checksum"
)

// errNoRoom says that a super-packet has more or longer segments than there is room for.
var errNoRoom = errors.New("more segments, or longer ones, than there is room for")

// Split cuts a super-packet, of which the device has said h, into the packets that
// it stands for, and completes their checksums. Packet i is put at offset in
// buffers[i], of which sizes[i] tells the length. A packet that is no super-packet
// is one. An error says that the kernel gave what it may not, or too much.
func (h Header) Split(packet []byte, buffers [][]byte, sizes []int, offset int) (count int, err error) {
	if h.Type == typeNone {
		return 1, h.whole(packet, buffers[0][offset:], &sizes[0])
	}
	s, err := h.segmentShape(packet)
	if err != nil {
		return 0, err
	}
	size := int(h.SegmentSize)
	for at := s.headers; at < len(packet); at += size {
		payload := packet[at:min(at+size, len(packet))]
		if count == len(buffers) || offset+s.headers+len(payload) > len(buffers[count]) {
			return 0, errNoRoom
		}
		segment := buffers[count][offset : offset+s.headers+len(payload)]
		copy(segment, packet[:s.headers])
		copy(segment[s.headers:], payload)
		s.number(segment, count, size, at+size >= len(packet))
		sizes[count] = len(segment)
		count++
	}
	return count, nil
}

// whole takes a packet as it is, but for a checksum that is yet to be computed.
func (h Header) whole(packet, into []byte, size *int) error {
	if len(packet) > len(into) {
		return errNoRoom
	}
	*size = copy(into, packet)
	if h.Flags&needsChecksum == 0 {
		return nil
	}
	start, at := int(h.ChecksumStart), int(h.ChecksumStart)+int(h.ChecksumOffset)
	if at+2 > *size {
		return fmt.Errorf("checksum at %d of a packet of %d bytes", at, *size)
	}
	// The field holds the sum of the pseudo header already.
	result := ^checksum.Fold(checksum.Add(0, into[start:*size]))
	if result == 0 {
		result = 0xffff // The same for TCP; for UDP, 0 would say that there is none.
	}
	checksum.Put(into[at:], result)
	return nil
}

// segmentShape is the shape of a super-packet, whose length field may say anything.
func (h Header) segmentShape(packet []byte) (s shape, err error) {
	if len(packet) < ipv4Header || h.SegmentSize == 0 {
		return s, fmt.Errorf("super-packet of %d bytes in segments of %d", len(packet), h.SegmentSize)
	}
	s = shape{ip: int(h.ChecksumStart), ipv6: packet[0]>>4 == 6}
	least := ipv4Header
	if s.ipv6 {
		least = ipv6Header
	}
	switch h.Type &^ typeECN {
	case typeTCP4, typeTCP6:
		s.protocol = protocolTCP
	case typeUDP:
		s.protocol = protocolUDP
	default:
		return s, fmt.Errorf("super-packet of unknown type %d", h.Type)
	}
	if s.ip < least || !s.transport(packet) || s.headers == len(packet) {
		return s, fmt.Errorf("super-packet of %d bytes has no whole header at %d, or nothing behind it", len(packet), s.ip)
	}
	return s, nil
}

// number makes a copy of the super-packet's headers those of its segment index, of
// size bytes before it each (RFC 9293, Section 3.4; RFC 6864, Section 4). What
// acts once is with the first or the last segment, as in tcp_gso_segment of
// net/ipv4/tcp_offload.c.
func (s shape) number(segment []byte, index, size int, last bool) {
	if !s.ipv6 {
		id := segment[4:6]
		binary.BigEndian.PutUint16(id, binary.BigEndian.Uint16(id)+uint16(index))
	}
	s.setLength(segment, len(segment))
	transport := segment[s.ip:]
	if s.protocol == protocolUDP {
		binary.BigEndian.PutUint16(transport[4:], uint16(len(transport)))
	} else {
		sequence := transport[4:8]
		binary.BigEndian.PutUint32(sequence, binary.BigEndian.Uint32(sequence)+uint32(index*size))
		if !last {
			transport[13] &^= tcpFIN | tcpPSH
		}
		if index > 0 {
			transport[13] &^= tcpCWR
		}
	}
	s.setChecksum(segment)
}
