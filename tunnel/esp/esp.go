// Package esp is a tunnel of ESP in user space: RFC 4303 in tunnel mode, with
// UDP encapsulation (RFC 3948), all suites of package tunnel, and sequence numbers
// of 64 or 32 bits, over a TUN device. It needs no more of the kernel than TUN.
//
// A packet's way, in the order of the files:
//
//	out: TUN -> send_linux.go -> selectors.go -> seal.go -> outbox_linux.go -> UDP
//	in:  UDP -> inbox_linux.go -> receive_linux.go -> open.go -> selectors.go -> TUN
//
// suite.go is the table of suites; what they do to a packet is in combined.go
// (AEADs) and separate.go (CBC or NULL with an HMAC). window.go is the anti-replay
// window.
//
// generations.go replaces the SAs of both directions, with the keys and SPIs of
// series.go and the dummy packets of dummy.go, which renew_linux.go sends.
//
// Each direction is one goroutine that does all of it for a batch of packets,
// without allocating. driver_linux.go builds a half, half_linux.go runs and
// removes it.
package esp
