package udp

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"tunnelmark/probe/sockets"
)

// flow is one of the load's flows. It holds little, since there may be thousands;
// what sending takes is the lane's (train.go).
type flow struct {
	number int
	socket
	next uint64 // Sequence number of its next packet: how many were sent.
}

// socket is a connected one that is ready to send.
type socket struct {
	conn *net.UDPConn
	raw  syscall.RawConn
}

// openSocket opens one to the lane's port of the receiver, and makes it ready.
func openSocket(open Open, lane int, dscp uint8) (socket, error) {
	conn, err := open(lane)
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
		return socket{}, fmt.Errorf("%w: each flow takes a file descriptor: allow more (ulimit -n, LimitNOFILE= of the service) or take fewer flows", err)
	}
	if err != nil {
		return socket{}, err
	}
	s, err := prepared(conn, dscp)
	if err != nil {
		_ = conn.Close()
	}
	return s, err
}

func prepared(conn *net.UDPConn, dscp uint8) (socket, error) {
	if err := sockets.CheckConnected(conn); err != nil {
		return socket{}, err
	}
	if err := prepareSender(conn, dscp); err != nil {
		return socket{}, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return socket{}, fmt.Errorf("take the trial's socket: %w", err)
	}
	return socket{conn, raw}, nil
}

// port is the socket's source port.
func (s socket) port() uint16 { return s.conn.LocalAddr().(*net.UDPAddr).AddrPort().Port() }
