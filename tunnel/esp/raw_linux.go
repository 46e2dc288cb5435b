package esp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
)

// checkRaw tries whether this process may open a raw socket.
func checkRaw(version overhead.IPVersion) error {
	domain := unix.AF_INET
	if version == overhead.IPv6 {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ESP)
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("open raw socket of IP protocol 50: %w (%w): give the process the capability CAP_NET_RAW, or use encapsulation %q",
			err, tunnel.ErrNotSupported, tunnel.UDP)
	}
	if err != nil {
		return fmt.Errorf("open raw socket of IP protocol 50: %w (%w)", err, tunnel.ErrNotSupported)
	}
	return unix.Close(fd)
}

// openRaw makes a port that carries ESP as IP protocol 50. The kernel hands it a copy
// of every ESP packet from the peer's address; where the kernel's own ESP is loaded,
// that sees them as well and counts them in XfrmInNoStates, to no effect. When it is
// closed, the kernel tells the peer by ICMP that nobody here speaks the protocol,
// unless another tunnel does.
func openRaw(ctx context.Context, spec tunnel.Spec, place tunnel.Place) (*port, error) {
	c, local := carrierOf(spec), spec.Local.Outer.Addr().Unmap()
	var opened net.PacketConn
	err := place.Outer.Do(func() (err error) {
		// Before it is bound, so that its queue never holds what is another's.
		config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
			return attachFilter(raw, c.ownSPIs(spec.Local.SPI))
		}}
		opened, err = config.ListenPacket(ctx, fmt.Sprintf("ip%d:%d", c.version, unix.IPPROTO_ESP), local.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open raw socket of IP protocol 50: %w", err)
	}
	outer, err := portOf(opened.(*net.IPConn))
	_ = opened.Close() // The port has a descriptor of its own.
	return outer, err
}

// attachFilter makes the kernel drop what the filter does not pass, before it is
// queued.
func attachFilter(raw syscall.RawConn, filter []bpf.Instruction) error {
	assembled, err := bpf.Assemble(filter)
	if err != nil {
		return err
	}
	program := make([]unix.SockFilter, len(assembled))
	for i, instruction := range assembled {
		program[i] = unix.SockFilter{Code: instruction.Op, Jt: instruction.Jt, Jf: instruction.Jf, K: instruction.K}
	}
	var option error
	err = raw.Control(func(fd uintptr) {
		option = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	})
	if err == nil {
		err = os.NewSyscallError("setsockopt SO_ATTACH_FILTER", option)
	}
	return err
}

// nothing is a socket filter that passes no packet.
func nothing() []bpf.Instruction { return []bpf.Instruction{bpf.RetConstant{Val: 0}} }

// ownSPIs is a socket filter that passes the packets of one tunnel. Several between
// the same two hosts share protocol 50, as they would share a UDP port, so that the
// SPI stands for the port: what has another one is somebody else's, and neither our
// error nor worth waking up for. What is too short for an SPI is dropped as well
// (Documentation/networking/filter.rst).
func (c carrier) ownSPIs(first uint32) []bpf.Instruction {
	const spi = 4 // Its size in bytes.
	load := []bpf.Instruction{bpf.LoadAbsolute{Off: 0, Size: spi}}
	if c.headed() {
		load = []bpf.Instruction{bpf.LoadMemShift{Off: 0}, bpf.LoadIndirect{Off: 0, Size: spi}}
	}
	return append(load,
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: seriesMask},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: first & seriesMask, SkipTrue: 1},
		bpf.RetConstant{Val: receiveBuffer},
		bpf.RetConstant{Val: 0},
	)
}

// headed: raw sockets of IPv4 hand over the outer header, those of IPv6 do not
// (raw(7); RFC 3542, Section 3).
func (c carrier) headed() bool { return c.raw && c.version == overhead.IPv4 }

// withoutHeader takes off the outer IPv4 header. It returns nothing of a packet
// that has none; the kernel hands over whole packets only, never fragments.
func withoutHeader(packet []byte) []byte {
	if len(packet) < ipv4Header || packet[0]>>4 != 4 {
		return nil
	}
	header := int(packet[0]&0x0f) * 4
	if header < ipv4Header || header > len(packet) {
		return nil
	}
	return packet[header:]
}
