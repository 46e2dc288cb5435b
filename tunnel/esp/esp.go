// Package esp is a tunnel of ESP in user space: RFC 4303 in tunnel mode, inside UDP
// (RFC 3948) or as IP protocol 50, over IPv4 or IPv6, with all suites of package
// tunnel, and sequence numbers of 64 or 32 bits, over a TUN device. It needs no more
// of the kernel than TUN.
//
// A packet's way, in the order of the files:
//
//	out: TUN -> tun_linux.go -> send_linux.go -> selectors.go -> seal.go -> outbox_linux.go -> UDP or IP
//	in:  UDP or IP -> inbox_linux.go -> receive_linux.go -> open.go -> selectors.go -> tun_linux.go -> TUN
//
// The kernel hands over and takes many packets at once: TUN's super-packets, which
// package offload splits and merges, and trains of datagrams (UDP_SEGMENT, UDP_GRO).
// Between two system calls a worker carries all of such a batch to the other side,
// without allocating. Where there are cores for it each direction has several workers,
// which take turns so that packets keep their order (turns.go). They wait past Go's
// runtime (port_linux.go).
//
// What the two IP headers of a packet have to do with one another (RFC 4301, Sections
// 5.1.2 and 8):
//
//   - DSCP is copied from the inner header to the outer one and left alone inside; ECN
//     goes both ways, by RFC 6040 (class.go).
//   - The outer header of IPv4 has DF set, whatever the inner one has: of the rules
//     "set", "clear" and "copy" of RFC 4301, Section 8.1, a measurement wants the first.
//     With the others a gateway could carry a packet in two, and no result would show
//     why the tunnel is slow. There is no choice.
//   - A packet that does not fit the outer path is not sent. Open refuses a tunnel whose
//     MTU the path does not take; where the path becomes narrower later, the sender
//     inside is told by ICMP what fits (ceiling.go, icmp.go; RFC 4301, Section 8.2).
//     One that allows fragments is not told, and its packets are counted as refused.
//   - Hop limits have nothing to do with one another.
//
// suite.go is the table of suites; what they do to a packet is in combined.go
// (AEADs) and separate.go (CBC or NULL with an HMAC). window.go is the anti-replay
// window.
//
// generations.go replaces the SAs of both directions, with the keys and SPIs of
// series.go and the dummy packets of dummy.go, which renew_linux.go sends.
//
// driver_linux.go builds a half, half_linux.go runs and removes it.
package esp
