package xfrm

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// openEncapsulation lets the kernel take ESP out of the datagrams that reach the
// socket (RFC 3948), for as long as it is open. What is no ESP, such as NAT
// keep-alives, stays in its queue, which nobody reads.
func openEncapsulation(socket *net.UDPConn) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var option error
	err = raw.Control(func(fd uintptr) {
		option = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_ENCAP, unix.UDP_ENCAP_ESPINUDP)
	})
	if err == nil {
		err = os.NewSyscallError("setsockopt UDP_ENCAP", option)
	}
	return err
}
