package esp

// A dummy packet (RFC 4303, Section 2.6) has one byte of payload here, which any other
// receiver discards.
const (
	dummyLength = 1
	dummyClass  = 0 // Outer traffic class: default forwarding, not ECN-capable.

	question = '?' // Follow me to this generation, and answer.
	answer   = '!'
)

// appendDummy seals a dummy packet, unless the sequence numbers are used up.
func (o *outbound) appendDummy(packets [][]byte, payload byte) [][]byte {
	sequence, granted := o.reserve(1)
	if granted == 0 {
		return packets
	}
	packet := make([]byte, o.leastPacket()) // The trailer leaves room for two bytes, at least.
	packet[o.headroom] = payload
	o.sealAs(nextDummy, o.ciphers[len(o.ciphers)-1], packet, dummyLength, sequence) // The other ciphers are the workers'.
	return append(packets, packet)
}

// asks says whether a dummy packet's payload is a question.
func asks(payload []byte) bool { return len(payload) == dummyLength && payload[0] == question }
