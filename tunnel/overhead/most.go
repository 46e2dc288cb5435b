package overhead

// What headers inside the tunnel take of an inner IPv4 packet, in bytes.
const (
	udpInside = ipv4Header + udpHeader
	tcpInside = ipv4Header + 20 + 12 // RFC 9293, Section 3.1; timestamps (RFC 7323, Section 3.2) padded to 4.
)

// Most is the most that a link can carry through a tunnel one way: full-size
// packets without a gap between them, whatever encrypts them.
type Most struct {
	InnerSize        int // The largest inner IP packet, in bytes, that needs no fragment.
	PacketsPerSecond float64
	// Of inner IP packets, and of UDP and TCP payload (TCP with timestamps) in
	// inner IPv4 packets.
	InnerBitsPerSecond, UDPGoodputBitsPerSecond, TCPGoodputBitsPerSecond float64
}

// Most is what a link with that rate on its Ethernet wire, in bit/s, and that
// path MTU carries at most. It is zero where the path takes no packet.
func (e Encapsulation) Most(wireBitsPerSecond float64, path PathMTU) Most {
	mtu := e.TunnelMTU(path)
	if mtu <= 0 {
		return Most{}
	}
	size := int(mtu)
	packets := wireBitsPerSecond / float64(8*e.WithMTU(mtu).WireLength(size))
	bits := func(bytes int) float64 { return packets * float64(8*max(bytes, 0)) }
	return Most{
		InnerSize:               size,
		PacketsPerSecond:        packets,
		InnerBitsPerSecond:      bits(size),
		UDPGoodputBitsPerSecond: bits(size - udpInside),
		TCPGoodputBitsPerSecond: bits(size - tcpInside),
	}
}
