// Package offload translates between the super-packets of a TUN device with
// segmentation offload and the IP packets that they stand for: Split on the way
// from the device (split.go), Merger on the way to it (merge.go). Both keep what a
// receiver can see as it is. header.go is what the kernel says about a
// super-packet, packet.go what is read of a packet's own headers.
//
// The package is pure: it does no I/O, and allocates nothing per packet.
package offload

// MostUDP is how many datagrams a super-packet of UDP holds at most (UDP_MAX_SEGMENTS
// of include/linux/udp.h, before Linux 6.9).
const MostUDP = 64

// mostLength is what IP's length fields leave to a super-packet, in bytes.
const mostLength = 65535
