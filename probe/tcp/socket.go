package tcp

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tunnelmark/probe/sockets"
)

// Control sets on a socket what must be set before it connects or listens: it is
// for net.Dialer and net.ListenConfig. Connections that are accepted inherit it.
func (l Load) Control(_, _ string, conn syscall.RawConn) error {
	if err := l.check(); err != nil {
		return err
	}
	return sockets.ControlRaw(conn, l.prepare)
}

func (l Load) prepare(fd int) error {
	return errors.Join(l.setCongestion(fd), l.setMSS(fd), l.setWindow(fd), sockets.SetDSCP(fd, l.DSCP))
}

func (l Load) setCongestion(fd int) error {
	if l.Congestion == "" {
		return nil
	}
	if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, l.Congestion); err != nil {
		return fmt.Errorf("set congestion control %q: %w; sysctl net.ipv4.tcp_available_congestion_control lists what there is", l.Congestion, err)
	}
	return nil
}

func (l Load) setMSS(fd int) error {
	if l.MSS == 0 {
		return nil
	}
	return sockets.Set(fd, tcpOption("TCP_MAXSEG", unix.TCP_MAXSEG, l.MSS))
}

// setWindow sets both buffers beyond the system's limits where it may, which ends
// their tuning by the kernel.
func (l Load) setWindow(fd int) error {
	if l.Window == 0 {
		return nil
	}
	return errors.Join(sockets.SetSendBuffer(fd, l.Window), sockets.SetReceiveBuffer(fd, l.Window))
}

func tcpOption(name string, which, value int) sockets.Option {
	return sockets.Option{Name: name, Level: unix.IPPROTO_TCP, Which: which, Value: value}
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
	err := sockets.Set(fd, tcpOption("TCP_NODELAY", unix.TCP_NODELAY, 1), tcpOption("TCP_NOTSENT_LOWAT", unix.TCP_NOTSENT_LOWAT, unsent))
	if err != nil || !l.paced() {
		return err
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
	return sockets.Set(fd, tcpOption("TCP_USER_TIMEOUT", unix.TCP_USER_TIMEOUT, int(receiverSilence.Milliseconds())))
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
