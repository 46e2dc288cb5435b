package tunneltest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
)

const (
	captureBuffer = 8 << 20 // Bytes that the kernel queues between two calls of Frames.
	longestFrame  = 1 << 16 // The kernel's segmented frames are longer than the wire's.
)

// Capture sees every frame on the outer interface of a namespace, both ways.
type Capture struct {
	fd int
}

// NewCapture starts a capture. It ends with the test.
func NewCapture(t testing.TB, outer *tunnel.Namespace) *Capture {
	t.Helper()
	var fd int
	err := outer.Do(func() (err error) {
		fd, err = packetSocket()
		return err
	})
	if err != nil {
		t.Fatalf("capture outer interface: %v", err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return &Capture{fd: fd}
}

func packetSocket() (int, error) {
	every := htons(unix.ETH_P_ALL)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(every))
	if err != nil {
		return -1, fmt.Errorf("open packet socket: %w", err)
	}
	index, err := interfaceIndex(fd, Interface)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, captureBuffer)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: every, Ifindex: index})
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

func interfaceIndex(fd int, name string) (int, error) {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request); err != nil {
		return 0, fmt.Errorf("find interface %s: %w", name, err)
	}
	return int(request.Uint32()), nil
}

func htons(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// Frames returns the Ethernet frames captured since the last call.
func (c *Capture) Frames(t testing.TB) [][]byte {
	t.Helper()
	return c.read(t, func(unix.Sockaddr) bool { return true })
}

// Sent is Frames without those that came in: all that this end has put on the
// wire. The kernel's own ESP shows what it has opened as if it had come in so.
func (c *Capture) Sent(t testing.TB) [][]byte {
	t.Helper()
	return c.read(t, func(from unix.Sockaddr) bool {
		link, ok := from.(*unix.SockaddrLinklayer)
		return ok && link.Pkttype == unix.PACKET_OUTGOING
	})
}

func (c *Capture) read(t testing.TB, wanted func(from unix.Sockaddr) bool) (frames [][]byte) {
	t.Helper()
	buffer := make([]byte, longestFrame)
	for {
		n, from, err := unix.Recvfrom(c.fd, buffer, 0)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return frames
		case err != nil:
			t.Fatalf("read captured frame: %v", err)
		}
		if wanted(from) {
			frames = append(frames, append([]byte(nil), buffer[:n]...))
		}
	}
}

// WritePcap writes Ethernet frames as a capture file for other tools, without
// times (draft-ietf-opsawg-pcap, Sections 4 and 5).
func WritePcap(w io.Writer, frames [][]byte) error {
	const ethernet = 1 // LINKTYPE_ETHERNET
	header := []uint32{0xa1b2c3d4, 2 | 4<<16, 0, 0, longestFrame, ethernet}
	if err := binary.Write(w, binary.LittleEndian, header); err != nil {
		return err
	}
	for _, frame := range frames {
		length := uint32(len(frame))
		if err := binary.Write(w, binary.LittleEndian, []uint32{0, 0, length, length}); err != nil {
			return err
		}
		if _, err := w.Write(frame); err != nil {
			return err
		}
	}
	return nil
}
