//go:build !linux

package latency

import (
	"errors"
	"net"
)

// errNotSupported is returned wherever there are no sockets with the kernel's stamps.
var errNotSupported = errors.New("a latency probe runs on Linux only")

// socket is documented in socket_linux.go.
type socket struct{ conn *net.UDPConn }

func newSocket(*net.UDPConn, int, uint8) (*socket, error) { return nil, errNotSupported }

func (Options) payload(*net.UDPConn) (int, error) { return 0, errNotSupported }

func (*socket) wait() error                                     { return errNotSupported }
func (*socket) read() (b []byte, stamp int64, ok bool)          { return nil, 0, false }
func (*socket) departure() (count uint32, stamp int64, ok bool) { return 0, 0, false }
func (*socket) resetCount()                                     {}
func (*socket) write([]byte) error                              { return errNotSupported }
