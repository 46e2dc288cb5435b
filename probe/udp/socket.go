package udp

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"tunnelmark/probe"
	"tunnelmark/probe/sockets"
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
	// warmBuffer is that of a receiver without GRO, whose sender may well be the
	// faster one: what it reads behind 32 MiB of other datagrams has left the
	// cache, and took it half as long again.
	warmBuffer = 2 << 20
)

// prepareSender makes conn ready to send a load with the code point.
//
// IP_RECVERR stays off: with it the kernel also tells drops in a device's
// queue, but for a train it tells only the last segment's, so a train that
// left in part would look refused and its numbers would be used twice.
func prepareSender(conn *net.UDPConn, dscp uint8) error {
	return sockets.Control(conn, func(fd int) error {
		return errors.Join(sockets.SetDontFragment(fd), sockets.SetDSCP(fd, dscp), sockets.SetSendBuffer(fd, sendBuffer))
	})
}

// prepareReceiver makes conn ready to count one of the load's lanes. What it answers has
// the load's code point, as TCP's acknowledgements and PONGs have. The kernel may join
// datagrams that follow one another, if gro says so.
func prepareReceiver(conn *net.UDPConn, load probe.Load, gro bool) error {
	join, buffer := 0, warmBuffer
	if gro {
		join, buffer = 1, max(receiveBuffer/load.LaneCount(), laneBuffer)
	}
	return sockets.Control(conn, func(fd int) error {
		return errors.Join(sockets.SetDontFragment(fd), sockets.SetDSCP(fd, load.DSCP),
			sockets.Set(fd,
				sockets.Option{Name: "SO_TIMESTAMPNS", Level: unix.SOL_SOCKET, Which: unix.SO_TIMESTAMPNS, Value: 1},
				sockets.Option{Name: "UDP_GRO", Level: unix.SOL_UDP, Which: unix.UDP_GRO, Value: join}),
			sockets.SetReceiveBuffer(fd, buffer))
	})
}

// socketDrops counts the datagrams that the socket has dropped, modulo 2^32.
// It is the counter of SO_RXQ_OVFL, read once (SO_MEMINFO) instead of beside
// each datagram, which would also miss what was dropped after the last one.
func socketDrops(fd int) (drops uint32, err error) {
	var info [unix.SK_MEMINFO_VARS]uint32
	if err := getMemInfo(fd, &info); err != nil {
		return 0, fmt.Errorf("read SO_MEMINFO of the trial's socket: %w", err)
	}
	return info[unix.SK_MEMINFO_DROPS], nil
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
