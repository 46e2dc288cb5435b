package sockets

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// Option is one socket option with an integer value.
type Option struct {
	Name         string
	Level, Which int
	Value        int
}

// Set sets options one after the other, until one fails.
func Set(fd int, options ...Option) error {
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.Level, o.Which, o.Value); err != nil {
			return fmt.Errorf("set %s on the probe's socket: %w", o.Name, err)
		}
	}
	return nil
}

// SetDontFragment sets DF on every packet, in IPv6 its like: sizes are those of packets
// on the path, not of fragments (RFC 8899, Section 3).
func SetDontFragment(fd int) error {
	return setByVersion(fd,
		Option{"IP_MTU_DISCOVER", unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO},
		Option{"IPV6_MTU_DISCOVER", unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO},
		Option{"IPV6_DONTFRAG", unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, 1})
}

// SetDSCP marks every packet with the code point: it is the upper six bits of what was
// the type of service or the traffic class (RFC 2474, Section 3).
func SetDSCP(fd int, dscp uint8) error {
	class := int(dscp) << 2
	return setByVersion(fd,
		Option{"IP_TOS", unix.IPPROTO_IP, unix.IP_TOS, class},
		Option{"IPV6_TCLASS", unix.IPPROTO_IPV6, unix.IPV6_TCLASS, class})
}

// setByVersion sets an option of IPv4, and on a socket of IPv6, which may carry IPv4
// too, those of IPv6.
func setByVersion(fd int, four Option, six ...Option) error {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return fmt.Errorf("ask for the IP version of the probe's socket: %w", err)
	}
	if err := Set(fd, four); err != nil || domain != unix.AF_INET6 {
		return err
	}
	return Set(fd, six...)
}

// SetSendBuffer sizes the send buffer, in bytes, beyond the system's limit where it may.
// The kernel doubles that for what it stores beside the payload (socket(7)).
func SetSendBuffer(fd, size int) error {
	return setBuffer(fd, Option{"SO_SNDBUF", unix.SOL_SOCKET, unix.SO_SNDBUF, size}, unix.SO_SNDBUFFORCE)
}

// SetReceiveBuffer sizes the receive buffer in the same way.
func SetReceiveBuffer(fd, size int) error {
	return setBuffer(fd, Option{"SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF, size}, unix.SO_RCVBUFFORCE)
}

func setBuffer(fd int, plain Option, force int) error {
	forced := plain
	forced.Which = force
	err := Set(fd, forced)
	if errors.Is(err, unix.EPERM) {
		return Set(fd, plain)
	}
	return err
}

// PathMTU is the largest packet that the kernel sends on the route of conn, which is
// connected, in bytes.
func PathMTU(conn *net.UDPConn) (mtu int, err error) {
	err = Control(conn, func(fd int) error {
		mtu, err = PathMTUOf(fd, IsIPv4(conn))
		return err
	})
	return mtu, err
}

// PathMTUOf is PathMTU of a descriptor.
func PathMTUOf(fd int, ipv4 bool) (mtu int, err error) {
	level, which := unix.IPPROTO_IP, unix.IP_MTU
	if !ipv4 {
		level, which = unix.IPPROTO_IPV6, unix.IPV6_MTU
	}
	if mtu, err = unix.GetsockoptInt(fd, level, which); err != nil {
		return 0, fmt.Errorf("read the MTU of the socket's path: %w", err)
	}
	return mtu, nil
}
