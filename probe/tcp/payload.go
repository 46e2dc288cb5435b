package tcp

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"tunnelmark/probe/wire"
)

// leastPayload is after how many bytes a flow's payload may repeat itself: far
// beyond the window of any compression of packets, so that a path that compresses
// does not look faster than it is. One that stores what it has seen may.
const leastPayload = 1 << 20

// ErrAltered means that TCP delivered other bytes than were sent: something on the
// path changed them and their checksum.
var ErrAltered = errors.New("the payload was altered on its way")

// payload is the random bytes that all flows send again and again, each from
// another place on. Both ends can make them.
type payload struct {
	bytes []byte
	load  Load
}

// newPayload makes the payload of the trial with the sender's nonce. Its length
// is a multiple of the size of writes.
func newPayload(load Load, nonce wire.Nonce) payload {
	write := load.write()
	p := payload{bytes: make([]byte, (leastPayload+write-1)/write*write), load: load}
	random := rand.NewChaCha8([32]byte(slices.Concat(nonce[:], nonce[:])))
	_, _ = random.Read(p.bytes) // Never fails.
	return p
}

// place is where in the payload a flow's byte is.
func (p payload) place(flow int, position uint64) int {
	writes := len(p.bytes) / p.load.write()
	first := writes * flow / p.load.Flows * p.load.write()
	return int((uint64(first) + position) % uint64(len(p.bytes)))
}

// verify checks bytes of a flow from a position on.
func (p payload) verify(b []byte, flow int, position uint64) error {
	for done := 0; done < len(b); {
		want := p.bytes[p.place(flow, position+uint64(done)):]
		n := min(len(want), len(b)-done)
		if !bytes.Equal(b[done:done+n], want[:n]) {
			return fmt.Errorf("%w: between bytes %d and %d", ErrAltered, position+uint64(done), position+uint64(done+n))
		}
		done += n
	}
	return nil
}

// file is the payload as a file in memory, for sendfile.
func (p payload) file() (*os.File, error) {
	fd, err := unix.MemfdCreate("tunnelmark-payload", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file of the payload: %w", err)
	}
	file := os.NewFile(uintptr(fd), "payload")
	if _, err := file.Write(p.bytes); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("make a file of the payload: %w", err)
	}
	return file, nil
}
