// Package clear is the tunnel that is none: the same path unencrypted, so that
// every measurement has its baseline.
package clear

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
)

// leastMTU is IPv4's, in bytes (RFC 791, Section 3.2).
const leastMTU = 68

// Driver gives the outer path itself. The zero value is ready.
type Driver struct{}

var _ tunnel.Driver = Driver{}

// Check refuses a spec without two outer addresses of one IP version or without
// an MTU. Suite, encapsulation, SPIs and inner addresses mean nothing here.
func (Driver) Check(spec tunnel.Spec) error {
	local, remote := spec.Local.Outer, spec.Remote.Outer
	for _, outer := range []netip.AddrPort{local, remote} {
		if !outer.IsValid() || outer.Port() == 0 || outer.Addr().IsUnspecified() {
			return fmt.Errorf("check clear path: outer address %q: want an IP address and a port", outer)
		}
	}
	if local.Addr().Unmap().Is4() != remote.Addr().Unmap().Is4() {
		return fmt.Errorf("check clear path: outer addresses %s and %s are of different IP versions", local.Addr(), remote.Addr())
	}
	if local == remote {
		return fmt.Errorf("check clear path: outer address %s is that of both ends", local)
	}
	if spec.MTU < leastMTU {
		return fmt.Errorf("check clear path: MTU %d: want %d or more", spec.MTU, leastMTU)
	}
	return nil
}

// Open closes the reserved socket, so that a probe can bind its address and
// port; whoever else binds there first makes that probe fail. An MTU that the
// outer path is known not to take is refused. keys are not asked.
func (d Driver) Open(ctx context.Context, spec tunnel.Spec, _ tunnel.Keys, place tunnel.Place) (tunnel.Tunnel, error) {
	path, err := d.open(ctx, spec, place)
	if place.Socket != nil {
		err = errors.Join(err, place.Socket.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("open clear path: %w", err)
	}
	return half{path}, nil
}

func (d Driver) open(ctx context.Context, spec tunnel.Spec, place tunnel.Place) (tunnel.Path, error) {
	if err := ctx.Err(); err != nil {
		return tunnel.Path{}, err
	}
	if err := d.Check(spec); err != nil {
		return tunnel.Path{}, err
	}
	if place.Outer == nil || place.Socket == nil {
		return tunnel.Path{}, fmt.Errorf("no place: want an outer namespace and socket: %w", os.ErrInvalid)
	}
	mtu, err := pathMTU(place, spec.Remote.Outer)
	if err != nil {
		return tunnel.Path{}, err
	}
	if spec.MTU > mtu {
		return tunnel.Path{}, fmt.Errorf("MTU %d: the path to %s takes packets of at most %d bytes", spec.MTU, spec.Remote.Outer.Addr(), mtu)
	}
	return tunnel.Path{Namespace: place.Outer, Local: spec.Local.Outer, Remote: spec.Remote.Outer, MTU: spec.MTU}, nil
}

// pathMTU asks the kernel, by the reserved socket, before that is closed.
func pathMTU(place tunnel.Place, remote netip.AddrPort) (mtu int, err error) {
	raw, err := place.Socket.SyscallConn()
	if err != nil {
		return 0, err
	}
	var asked error
	err = raw.Control(func(fd uintptr) { mtu, asked = connect(int(fd), remote) })
	if err == nil {
		err = asked
	}
	return mtu, err
}

func connect(fd int, remote netip.AddrPort) (mtu int, err error) {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return 0, os.NewSyscallError("getsockopt SO_DOMAIN", err)
	}
	var peer unix.Sockaddr = &unix.SockaddrInet6{Port: int(remote.Port()), Addr: remote.Addr().As16()}
	level, option := unix.IPPROTO_IPV6, unix.IPV6_MTU
	if domain == unix.AF_INET {
		peer = &unix.SockaddrInet4{Port: int(remote.Port()), Addr: remote.Addr().Unmap().As4()}
		level, option = unix.IPPROTO_IP, unix.IP_MTU
	}
	if err := unix.Connect(fd, peer); err != nil {
		return 0, fmt.Errorf("connect outer socket to %s: %w", remote, err)
	}
	mtu, err = unix.GetsockoptInt(fd, level, option)
	return mtu, os.NewSyscallError("getsockopt IP_MTU", err)
}

// half is one end of the clear path. There is nothing to keep.
type half struct {
	path tunnel.Path
}

var _ tunnel.Tunnel = half{}

// Path is the outer path: outer namespace, outer addresses and ports.
func (h half) Path() tunnel.Path { return h.path }

// Counters are not to be had, and the error wraps tunnel.ErrNotSupported:
// packets do not pass through this driver. The interface's counters would
// count everybody's traffic, and the probe's own are the probe's to report.
func (half) Counters() (tunnel.Counters, error) {
	return tunnel.Counters{}, fmt.Errorf("count packets of the clear path: %w", tunnel.ErrNotSupported)
}

// Close has nothing to remove.
func (half) Close() error { return nil }
