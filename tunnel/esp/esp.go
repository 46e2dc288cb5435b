// Package esp is a tunnel of ESP in user space: RFC 4303 in tunnel mode, with
// UDP encapsulation (RFC 3948), AEAD suites (RFC 4106, RFC 7634) and extended
// sequence numbers, over a TUN device. It needs no more of the kernel than TUN.
//
// A packet's way, in the order of the files:
//
//	out: TUN -> send_linux.go -> selectors.go -> seal.go -> outbox_linux.go -> UDP
//	in:  UDP -> inbox_linux.go -> receive_linux.go -> open.go -> selectors.go -> TUN
//
// Each direction is one goroutine that does all of it for a batch of packets,
// without allocating. driver_linux.go builds a half, half_linux.go runs and
// removes it.
package esp
