package pmtu

import (
	"encoding/binary"
	"errors"
	"fmt"

	"tunnelmark/probe/sockets"
	"tunnelmark/probe/wire"
)

// errNoSYN means that bytes are not a SYN with its headers.
var errNoSYN = errors.New("no SYN of TCP over IP")

// The kinds of TCP options that are read: RFC 9293, Section 3.1; RFC 7323, Sections 2.2
// and 3.2; RFC 2018, Section 2.
const (
	optionEnd         = 0
	optionNone        = 1
	optionMSS         = 2
	optionWindowScale = 3
	optionSACK        = 4
	optionTimestamps  = 8
)

// parseSYN reads a SYN from its IP header on, and accounts for what of its options could
// be changed on the way.
func parseSYN(packet []byte) (wire.SYN, error) {
	tcp, err := tcpIn(packet)
	if err != nil {
		return wire.SYN{}, err
	}
	const leastHeader, flagSYN = 20, 2
	if len(tcp) < leastHeader || tcp[13]&flagSYN == 0 {
		return wire.SYN{}, fmt.Errorf("%w: %d bytes behind the IP header", errNoSYN, len(tcp))
	}
	header := int(tcp[12]>>4) * 4
	if header < leastHeader || header > len(tcp) {
		return wire.SYN{}, fmt.Errorf("%w: TCP header of %d bytes in %d", errNoSYN, header, len(tcp))
	}
	s := wire.SYN{Received: true}
	for options := tcp[leastHeader:header]; len(options) > 0; {
		if options, err = takeOption(&s, options); err != nil {
			return wire.SYN{}, err
		}
	}
	return s, nil
}

// takeOption reads the first option and returns those behind it.
func takeOption(s *wire.SYN, options []byte) (rest []byte, err error) {
	switch options[0] {
	case optionEnd:
		return nil, nil
	case optionNone:
		return options[1:], nil
	}
	if len(options) < 2 || options[1] < 2 || int(options[1]) > len(options) {
		return nil, fmt.Errorf("%w: option %d is cut off", errNoSYN, options[0])
	}
	value := options[2:options[1]]
	switch kind := options[0]; {
	case kind == optionMSS && len(value) == 2:
		s.MSS = binary.BigEndian.Uint16(value)
	case kind == optionWindowScale && len(value) == 1:
		s.HasWindowScale, s.WindowScale = true, value[0]
	case kind == optionSACK && len(value) == 0:
		s.SACK = true
	case kind == optionTimestamps && len(value) == 8:
		s.Timestamps = true
	}
	return options[options[1]:], nil
}

const protocolTCP = 6

// tcpIn is what an IP packet carries behind its header.
func tcpIn(packet []byte) ([]byte, error) {
	switch {
	case len(packet) >= sockets.IPv4Header && packet[0]>>4 == 4:
		header := int(packet[0]&0xf) * 4
		if header >= sockets.IPv4Header && header <= len(packet) && packet[9] == protocolTCP {
			return packet[header:], nil
		}
	case len(packet) >= sockets.IPv6Header && packet[0]>>4 == 6:
		return tcpBehind(packet[6], packet[sockets.IPv6Header:])
	}
	return nil, fmt.Errorf("%w: %d bytes", errNoSYN, len(packet))
}

// tcpBehind skips those extension headers that name their length in the same way:
// hop-by-hop options, routing and destination options (RFC 8200, Section 4).
func tcpBehind(next byte, b []byte) ([]byte, error) {
	const hopByHop, routing, destination = 0, 43, 60
	for next == hopByHop || next == routing || next == destination {
		if len(b) < 8 || len(b) < 8+8*int(b[1]) {
			return nil, fmt.Errorf("%w: extension header %d is cut off", errNoSYN, next)
		}
		next, b = b[0], b[8+8*int(b[1]):]
	}
	if next != protocolTCP {
		return nil, fmt.Errorf("%w: next header is %d", errNoSYN, next)
	}
	return b, nil
}
