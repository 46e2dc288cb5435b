package esp

import (
	"fmt"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
)

// carrier says what carries ESP: the outer IP header and what follows it.
type carrier struct {
	version overhead.IPVersion
	raw     bool // Nothing: IP protocol 50. Otherwise UDP.
}

func carrierOf(spec tunnel.Spec) carrier {
	return carrier{overhead.VersionOf(spec.Remote.Outer.Addr()), spec.Encapsulation == tunnel.Raw}
}

// socketBuffer is what the outer socket may queue each way, in bytes: some
// 15 ms at 2 Gbit/s, in which a loop may be off the CPU.
const socketBuffer = 4 << 20

// connect sets the outer socket's options and makes the kernel drop what is not from
// the peer's address and port, of which raw sockets have none: it is 0 there.
func connect(fd int, remote netip.AddrPort) error {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return os.NewSyscallError("getsockopt SO_DOMAIN", err)
	}
	if err := forbidFragments(fd, domain); err != nil {
		return err
	}
	growBuffers(fd)
	if err := unix.Connect(fd, sockaddr(domain, remote)); err != nil {
		return fmt.Errorf("connect outer socket to %s: %w", remote, err)
	}
	return nil
}

// forbidFragments sets the don't-fragment bit, so that what does not fit is
// lost and counted as such, never carried in fragments, which a device in the
// path would count and queue as other packets: of the rules of RFC 4301, Section
// 8.1, for the outer bit this is "set". IPv6 is never fragmented on its way (RFC
// 8200, Section 5), and with this option not by us either.
//
// IP_PMTUDISC_PROBE and not _DO: both set the bit, but _DO also obeys "fragmentation
// needed" messages, which a stranger can forge and which would change the path's
// size in mid-trial. What bounds packets then is the MTU of the outer interface.
func forbidFragments(fd, domain int) error {
	if domain == unix.AF_INET {
		return os.NewSyscallError("setsockopt IP_MTU_DISCOVER",
			unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE))
	}
	return os.NewSyscallError("setsockopt IPV6_MTU_DISCOVER",
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE))
}

// growBuffers asks beyond net.core.rmem_max and wmem_max, which needs
// CAP_NET_ADMIN; without it the kernel cuts the wish down to those.
func growBuffers(fd int) {
	for _, option := range [][2]int{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, option[0], socketBuffer) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, option[1], socketBuffer)
		}
	}
}

func sockaddr(domain int, address netip.AddrPort) unix.Sockaddr {
	if domain == unix.AF_INET {
		return &unix.SockaddrInet4{Port: int(address.Port()), Addr: address.Addr().Unmap().As4()}
	}
	return &unix.SockaddrInet6{Port: int(address.Port()), Addr: address.Addr().As16()}
}

// socketDrops is how many messages the kernel dropped because the socket's
// queue was full (SO_MEMINFO, field SK_MEMINFO_DROPS of
// include/uapi/linux/sock_diag.h), or because their UDP checksum was wrong. It goes
// around after 2^32.
func socketDrops(fd int) (uint32, error) {
	var info memoryInfo
	if err := info.read(fd); err != nil {
		return 0, os.NewSyscallError("getsockopt SO_MEMINFO", err)
	}
	return info[memoryInfoDrops], nil
}

// memoryInfo is the array that SO_MEMINFO fills.
type memoryInfo [9]uint32

const memoryInfoDrops = 8

func (m *memoryInfo) read(fd int) error {
	length := uint32(unsafe.Sizeof(*m))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(m)), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
