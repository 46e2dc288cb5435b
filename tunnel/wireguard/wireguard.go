// Package wireguard is a tunnel of WireGuard, by the kernel or by wireguard-go
// in this process. Both are configured through wgctrl, in the same words.
//
// A half is built in this order (driver_linux.go):
//
//	spec.go           refuse what cannot work
//	settings.go       keys, peer and port, as wgctrl takes them
//	kernel_linux.go   the kernel's interface, or
//	user_linux.go     a TUN device and wireguard-go, which meters its packets (meter_linux.go)
//	control_linux.go  where wgctrl finds the interface, and nothing else
//	half_linux.go     the half that is up
//
// The tunnel is what users of WireGuard have: UDP sockets that listen on all
// addresses, keys renewed every two minutes, handshakes when there is something
// to send, outer packets in fragments where the path is narrower than its known
// MTU. What is added: the first handshake happens at Open, not with the first
// packet.
package wireguard
