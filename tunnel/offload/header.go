package offload

import (
	"encoding/binary"
	"fmt"
)

// HeaderLength is how many bytes stand before each packet that a TUN device with
// IFF_VNET_HDR gives or takes: struct virtio_net_hdr.
const HeaderLength = 10

// Header is struct virtio_net_hdr (include/uapi/linux/virtio_net.h), in the
// machine's own byte order as a TUN device has it.
type Header struct {
	Flags       uint8
	Type        uint8  // Of segmentation.
	Length      uint16 // Of the headers that each segment begins with, in bytes.
	SegmentSize uint16 // What of the payload goes into each segment, in bytes.
	// The sum of all from ChecksumStart on belongs at ChecksumOffset behind it.
	ChecksumStart, ChecksumOffset uint16
}

// Values of Header.Flags and Header.Type.
const (
	needsChecksum = 1 // VIRTIO_NET_HDR_F_NEEDS_CSUM

	typeNone = 0
	typeTCP4 = 1    // VIRTIO_NET_HDR_GSO_TCPV4
	typeTCP6 = 4    // VIRTIO_NET_HDR_GSO_TCPV6
	typeUDP  = 5    // VIRTIO_NET_HDR_GSO_UDP_L4
	typeECN  = 0x80 // VIRTIO_NET_HDR_GSO_ECN, beside another: CWR is set.
)

// ParseHeader reads a header off the front of b.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderLength {
		return Header{}, fmt.Errorf("virtio header of %d bytes: want %d", len(b), HeaderLength)
	}
	return Header{
		Flags:          b[0],
		Type:           b[1],
		Length:         binary.NativeEndian.Uint16(b[2:]),
		SegmentSize:    binary.NativeEndian.Uint16(b[4:]),
		ChecksumStart:  binary.NativeEndian.Uint16(b[6:]),
		ChecksumOffset: binary.NativeEndian.Uint16(b[8:]),
	}, nil
}

// Put writes the header to the front of b, of HeaderLength bytes at least.
func (h Header) Put(b []byte) {
	b[0], b[1] = h.Flags, h.Type
	binary.NativeEndian.PutUint16(b[2:], h.Length)
	binary.NativeEndian.PutUint16(b[4:], h.SegmentSize)
	binary.NativeEndian.PutUint16(b[6:], h.ChecksumStart)
	binary.NativeEndian.PutUint16(b[8:], h.ChecksumOffset)
}
