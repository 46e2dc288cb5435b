package tunnel

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// PathMTU is the largest IP packet, in bytes, that the outer path to the peer is
// known to take: the kernel is asked by the reserved socket, which stays
// connected to remote.
func (p Place) PathMTU(remote netip.AddrPort) (mtu int, err error) {
	raw, err := p.Socket.SyscallConn()
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

// OuterPath is the path of a half that builds no tunnel: probes use the outer
// addresses and ports themselves, so the reserved socket has to be closed
// before they bind. It refuses an MTU that the path is known not to take.
func (p Place) OuterPath(spec Spec) (Path, error) {
	mtu, err := p.PathMTU(spec.Remote.Outer)
	if err != nil {
		return Path{}, err
	}
	if spec.MTU > mtu {
		return Path{}, fmt.Errorf("MTU %d: the path to %s takes packets of at most %d bytes", spec.MTU, spec.Remote.Outer.Addr(), mtu)
	}
	return Path{Namespace: p.Outer, Local: spec.Local.Outer, Remote: spec.Remote.Outer, MTU: spec.MTU}, nil
}
