package udp

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// sendBuffer lets a sender of 64 KiB trains go on while the device works,
	// and makes it wait before the device's queue overflows.
	sendBuffer = 1 << 20
	// receiveBuffer outlasts a receiver that is off the CPU for 100 ms at 2
	// Gbit/s. Lanes share it, but each has laneBuffer at least. The kernel takes the
	// memory only when it is needed.
	receiveBuffer = 32 << 20
	laneBuffer    = 4 << 20
)

// option is one socket option with an integer value.
type option struct {
	name         string
	level, which int
	value        int
}

// prepareSender makes conn ready to send a load with the code point.
func prepareSender(conn *net.UDPConn, dscp uint8) error {
	return withSocket(conn, func(fd int) error {
		if err := setOptions(fd, append(dontFragment(conn), codePoint(conn, dscp))); err != nil {
			return err
		}
		return setBuffer(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, sendBuffer)
	})
}

// prepareReceiver makes conn ready to count one of so many lanes. The kernel may join
// datagrams that follow one another, if gro says so.
func prepareReceiver(conn *net.UDPConn, lanes int, gro bool) error {
	return withSocket(conn, func(fd int) error {
		options := append(dontFragment(conn),
			option{"SO_TIMESTAMPNS", unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1},
			option{"UDP_GRO", unix.SOL_UDP, unix.UDP_GRO, flag(gro)})
		if err := setOptions(fd, options); err != nil {
			return err
		}
		return setBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, max(receiveBuffer/lanes, laneBuffer))
	})
}

// flag is the value of an option that is on or off.
func flag(on bool) int {
	if on {
		return 1
	}
	return 0
}

// dontFragment sets DF on every packet, in IPv6 its like: a trial's size is
// one of packets on the path, not of fragments (RFC 8899, Section 3).
//
// IP_RECVERR stays off: with it the kernel also tells drops in a device's
// queue, but for a train it tells only the last segment's, so a train that
// left in part would look refused and its numbers would be used twice.
func dontFragment(conn *net.UDPConn) []option {
	if isIPv4(conn) {
		return []option{{"IP_MTU_DISCOVER", unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO}}
	}
	return []option{
		{"IPV6_MTU_DISCOVER", unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO},
		{"IPV6_DONTFRAG", unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, 1},
	}
}

// codePoint marks every packet: DSCP is the upper six bits of what was the type
// of service or the traffic class (RFC 2474, Section 3).
func codePoint(conn *net.UDPConn, dscp uint8) option {
	if isIPv4(conn) {
		return option{"IP_TOS", unix.IPPROTO_IP, unix.IP_TOS, int(dscp) << 2}
	}
	return option{"IPV6_TCLASS", unix.IPPROTO_IPV6, unix.IPV6_TCLASS, int(dscp) << 2}
}

func setOptions(fd int, options []option) error {
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.which, o.value); err != nil {
			return fmt.Errorf("set %s on the trial's socket: %w", o.name, err)
		}
	}
	return nil
}

// setBuffer sets a buffer's size beyond the system's limit where it may.
func setBuffer(fd, force, plain, size int) error {
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, size)
	if errors.Is(err, unix.EPERM) {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, plain, size)
	}
	if err != nil {
		return fmt.Errorf("size a buffer of the trial's socket: %w", err)
	}
	return nil
}

// pathMTU is the largest packet that the kernel sends on the socket's route.
func pathMTU(conn *net.UDPConn) (mtu int, err error) {
	level, which := unix.IPPROTO_IP, unix.IP_MTU
	if !isIPv4(conn) {
		level, which = unix.IPPROTO_IPV6, unix.IPV6_MTU
	}
	err = withSocket(conn, func(fd int) (err error) {
		mtu, err = unix.GetsockoptInt(fd, level, which)
		return err
	})
	return mtu, err
}

// socketDrops counts the datagrams that the socket has dropped, modulo 2^32.
// It is the counter of SO_RXQ_OVFL, read once (SO_MEMINFO) instead of beside
// each datagram, which would also miss what was dropped after the last one.
func socketDrops(conn *net.UDPConn) (drops uint32, err error) {
	err = withSocket(conn, func(fd int) error {
		var info [unix.SK_MEMINFO_VARS]uint32
		if err := getMemInfo(fd, &info); err != nil {
			return fmt.Errorf("read SO_MEMINFO of the trial's socket: %w", err)
		}
		drops = info[unix.SK_MEMINFO_DROPS]
		return nil
	})
	return drops, err
}

func getMemInfo(fd int, info *[unix.SK_MEMINFO_VARS]uint32) error {
	size := uint32(unsafe.Sizeof(*info))
	_, _, errno := syscall.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// withSocket runs f on conn's descriptor.
func withSocket(conn *net.UDPConn, f func(fd int) error) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}
