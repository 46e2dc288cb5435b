// Package sockets has what all kinds of probe do alike with the sockets that they are
// given:
//
//  1. They look at what a socket is: connected or not, and with which headers (this
//     file).
//  2. They set options: DF, the code point, buffers (options_linux.go).
//  3. The end of a context interrupts whatever waits on it (InterruptOn).
//  4. They turn the kernel's stamps of datagrams into times of a clock that is never
//     set (clock.go).
//
// What only one kind of probe does is in its own package.
package sockets

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"time"
)

// Lengths in bytes, without options: RFC 791, Section 3.1; RFC 8200, Section 3; RFC 768.
const (
	IPv4Header = 20
	IPv6Header = 40
	UDPHeader  = 8
	// MaxInner is of the largest inner IP packet, by RFC 791, Section 3.1.
	MaxInner = 1<<16 - 1
)

// IsIPv4 says whether datagrams of conn are packets of IPv4.
func IsIPv4(conn *net.UDPConn) bool {
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().Is4()
}

// Headers is the length of the IP and UDP headers in front of each datagram, in bytes.
func Headers(conn *net.UDPConn) int {
	if IsIPv4(conn) {
		return IPv4Header + UDPHeader
	}
	return IPv6Header + UDPHeader
}

// CheckConnected refuses a socket that is not connected to a peer.
func CheckConnected(conn *net.UDPConn) error {
	if conn.RemoteAddr() == nil {
		return fmt.Errorf("take the socket at %s: it is not connected to a peer", conn.LocalAddr())
	}
	return nil
}

// Control runs f on the descriptor of conn, which is not closed meanwhile.
func Control(conn syscall.Conn, f func(fd int) error) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	return ControlRaw(raw, f)
}

// ControlRaw is Control for who keeps the raw connection.
func ControlRaw(raw syscall.RawConn, f func(fd int) error) error {
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// LongAgo is a deadline that interrupts whatever waits at once.
func LongAgo() time.Time { return time.Unix(1, 0) }

// waiter is what has deadlines: a connection or a listener.
type waiter interface{ SetDeadline(time.Time) error }

// InterruptOn makes the end of ctx interrupt whatever waits on conns. The caller must
// call release, after which nothing touches conns any more.
//
// Whoever sets a deadline of its own looks at ctx afterwards: the end of ctx comes
// either before that look or after that deadline.
func InterruptOn[C waiter](ctx context.Context, conns ...C) (release func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		setDeadlines(conns, LongAgo())
	})
	return func() {
		if !stop() {
			<-done
		}
		setDeadlines(conns, time.Time{})
	}
}

func setDeadlines[C waiter](conns []C, t time.Time) {
	for _, conn := range conns {
		_ = conn.SetDeadline(t) // Fails only when closed, which interrupts too.
	}
}
