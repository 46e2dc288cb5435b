package tcp

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Control sets on a socket what must be set before it connects or listens: it is
// for net.Dialer and net.ListenConfig. Connections that are accepted inherit it.
func (l Load) Control(_, _ string, conn syscall.RawConn) error {
	if err := l.check(); err != nil {
		return err
	}
	return withSocket(conn, l.prepare)
}

func (l Load) prepare(fd int) error {
	if err := setCongestion(fd, l.Congestion); err != nil {
		return err
	}
	if l.MSS > 0 {
		if err := setOption(fd, "TCP_MAXSEG", unix.IPPROTO_TCP, unix.TCP_MAXSEG, l.MSS); err != nil {
			return err
		}
	}
	if err := setWindow(fd, l.Window); err != nil {
		return err
	}
	return setDSCP(fd, l.DSCP)
}

func setCongestion(fd int, name string) error {
	if name == "" {
		return nil
	}
	if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, name); err != nil {
		return fmt.Errorf("set congestion control %q: %w; sysctl net.ipv4.tcp_available_congestion_control lists what there is", name, err)
	}
	return nil
}

// setWindow sets both buffers beyond the system's limits where it may, which ends
// their tuning by the kernel.
func setWindow(fd, size int) error {
	if size == 0 {
		return nil
	}
	return errors.Join(
		setBuffer(fd, "SO_SNDBUF", unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, size),
		setBuffer(fd, "SO_RCVBUF", unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, size))
}

func setBuffer(fd int, name string, force, plain, size int) error {
	err := setOption(fd, name, unix.SOL_SOCKET, force, size)
	if errors.Is(err, unix.EPERM) {
		err = setOption(fd, name, unix.SOL_SOCKET, plain, size)
	}
	return err
}

// setDSCP sets the upper six bits of the byte that IPv4 calls TOS and IPv6 calls
// traffic class. A socket of IPv6 may carry IPv4, too.
func setDSCP(fd int, dscp uint8) error {
	if dscp == 0 {
		return nil
	}
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return fmt.Errorf("ask for the domain of a flow's socket: %w", err)
	}
	if err := setOption(fd, "IP_TOS", unix.IPPROTO_IP, unix.IP_TOS, int(dscp)<<2); err != nil || domain == unix.AF_INET {
		return err
	}
	return setOption(fd, "IPV6_TCLASS", unix.IPPROTO_IPV6, unix.IPV6_TCLASS, int(dscp)<<2)
}

// unsentLimit is how much of what was written TCP may not have sent yet, so that
// the load ends soon after its duration. It costs no speed.
const unsentLimit = 512 << 10

// promptLimit is the same where the load must be able to end at any time: 25 ms of
// 10 Mbit/s.
const promptLimit = 32 << 10

// unsent is how much of what was written may not have been sent yet, in bytes.
func (t Trial) unsent() int {
	if t.Until != nil {
		return promptLimit
	}
	return unsentLimit
}

// tune makes a connected socket ready to send.
func (l Load) tune(fd, unsent int) error {
	if err := setOption(fd, "TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return err
	}
	if err := setOption(fd, "TCP_NOTSENT_LOWAT", unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent); err != nil {
		return err
	}
	if !l.paced() {
		return nil
	}
	pace := uint64(l.GoodputBitsPerSecond / 8 * paceAhead)
	if err := unix.SetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, max(1, pace)); err != nil {
		return fmt.Errorf("set SO_MAX_PACING_RATE on a flow's socket: %w", err)
	}
	return nil
}

// receiverSilence is after how long without an acknowledgement of its FEEDBACK
// the receiver takes the sender for dead (tcp(7), TCP_USER_TIMEOUT).
const receiverSilence = 5 * time.Second

func noticeDeath(fd int) error {
	return setOption(fd, "TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(receiverSilence.Milliseconds()))
}

func setOption(fd int, name string, level, which, value int) error {
	if err := unix.SetsockoptInt(fd, level, which, value); err != nil {
		return fmt.Errorf("set %s on a flow's socket: %w", name, err)
	}
	return nil
}

// leastInfo is how much of TCP_INFO the kernel must fill: up to
// tcpi_bytes_retrans, which Linux 4.19 has added. The socket options used here
// are older.
const leastInfo = unsafe.Offsetof(unix.TCPInfo{}.Bytes_retrans) + unsafe.Sizeof(unix.TCPInfo{}.Bytes_retrans)

// readInfo reads TCP_INFO into info; what the kernel does not know stays as it is.
func readInfo(fd int, info *unix.TCPInfo) error {
	size := uint32(unsafe.Sizeof(*info))
	_, _, errno := syscall.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return fmt.Errorf("read TCP_INFO: %w", errno)
	}
	if uintptr(size) < leastInfo {
		return fmt.Errorf("read TCP_INFO: the kernel tells %d bytes, need %d: Linux 4.19 or newer", size, leastInfo)
	}
	return nil
}

// reset closes the connection at once: what is queued is dropped, and its port
// does not stay in TIME-WAIT.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0) // Fails only when closed.
	_ = conn.Close()
}

// withSocket runs f on a connection's descriptor.
func withSocket(conn syscall.RawConn, f func(fd int) error) error {
	var inner error
	if err := conn.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}
