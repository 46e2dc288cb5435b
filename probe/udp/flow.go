package udp

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"tunnelmark/probe/sockets"
)

// flow is one of the load's flows. It holds little, since there may be thousands;
// what sending takes is the lane's (train.go).
type flow struct {
	number int
	conn   *plain
	next   uint64 // Sequence number of its next packet: how many were sent.
}

// openSocket opens one to the lane's port of the receiver, and makes it ready.
func openSocket(open Open, lane int, dscp uint8) (*plain, error) {
	conn, err := open(lane)
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
		return nil, fmt.Errorf("%w: each flow takes a file descriptor: allow more (ulimit -n, LimitNOFILE= of the service) or take fewer flows", err)
	}
	if err != nil {
		return nil, err
	}
	if err := errors.Join(sockets.CheckConnected(conn), prepareSender(conn, dscp)); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return takeOver(conn)
}

// port is the flow's source port.
func (f flow) port() uint16 { return f.conn.local.Port() }
