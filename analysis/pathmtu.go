package analysis

import "time"

// PathMTU is which sizes of inner packets a path takes in one direction, found by
// sending them (RFC 8899): what ICMP says is told, not believed.
type PathMTU struct {
	// InnerSize is the largest inner packet that arrived, in bytes; zero: none did.
	InnerSize int `json:"inner_size_bytes"`
	// LocalMTU is what the sender's own interface takes, in bytes.
	LocalMTU int `json:"local_mtu_bytes,omitempty"`
	// BlackHoleFrom is the smallest size that vanished although nothing said that
	// it was too big; zero: there is none.
	BlackHoleFrom int `json:"black_hole_from_bytes,omitempty"`
	// ICMPSaid is the MTU that "fragmentation needed" or "packet too big" told, in
	// bytes; zero: nothing came.
	ICMPSaid int `json:"icmp_said_bytes,omitempty"`
	// FragmentedFrom is the smallest inner size that came in fragments although DF
	// forbids them, FragmentSize the largest fragment's, in bytes; zero: none did.
	FragmentedFrom int           `json:"fragmented_from_bytes,omitempty"`
	FragmentSize   int           `json:"fragment_size_bytes,omitempty"`
	Sent           int           `json:"sent_packets"`
	Elapsed        time.Duration `json:"elapsed_ns"`
	// Note says what the figures alone do not.
	Note string `json:"note,omitempty"`
}

// MSS is the greatest segment that the SYN of one direction asked for, as it was
// sent and as it was received, in bytes: a firewall on the way may clamp it.
type MSS struct {
	Sent     int `json:"sent_bytes"`
	Received int `json:"received_bytes"`
}

// Clamped says that something on the way made the MSS smaller, or removed it.
func (m MSS) Clamped() bool { return m.Received != m.Sent }
