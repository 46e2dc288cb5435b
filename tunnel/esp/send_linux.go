package esp

import (
	"errors"
	"net"
	"os"

	"tunnelmark/tunnel"
)

// clearSide is what the loops need of a TUN device (tun.Device). Packets start
// at offset in their buffers.
type clearSide interface {
	Read(buffers [][]byte, sizes []int, offset int) (count int, err error)
	Write(packets [][]byte, offset int) (bytes int, err error)
}

// sender carries packets from the clear side to the outer network, to
// completion: it reads a batch, compares each packet with the selectors, seals
// it where it lies, and sends the batch.
type sender struct {
	clear     clearSide
	outer     *outbox
	sa        *outbound
	selectors selectors
	mtu       int
	ledger    *ledger

	buffers [][]byte
	sizes   []int

	// The batch in hand.
	packets [][]byte // Sealed.
	inner   []int    // Their inner lengths.
	counts  tunnel.Counters
}

func newSender(clear clearSide, outer *outbox, sa *outbound, s selectors, mtu int, l *ledger) *sender {
	return &sender{
		clear: clear, outer: outer, sa: sa, selectors: s, mtu: mtu, ledger: l,
		buffers: newBuffers(batchSize, sa.headroom+mtu+sa.tailroom()),
		sizes:   make([]int, batchSize),
		packets: make([][]byte, 0, batchSize),
		inner:   make([]int, 0, batchSize),
	}
}

// run ends when either side is closed or its deadline passes. Any other error
// costs packets, which are counted, and nothing more.
func (s *sender) run() {
	for {
		if err := s.step(); stopped(err) {
			return
		}
	}
}

// stopped says whether the error is the one by which Close ends a loop.
func stopped(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, os.ErrClosed) || errors.Is(err, net.ErrClosed)
}

// step carries one batch.
func (s *sender) step() error {
	s.packets, s.inner, s.counts = s.packets[:0], s.inner[:0], tunnel.Counters{}
	count, err := s.clear.Read(s.buffers, s.sizes, s.sa.headroom)
	if stopped(err) {
		return err
	}
	if err != nil {
		s.counts.Malformed++ // The device read something and could make no packet of it.
	}
	for i := range count {
		s.seal(s.buffers[i], s.sizes[i])
	}
	err = s.send()
	s.ledger.add(s.counts)
	return err
}

func (s *sender) seal(buffer []byte, size int) {
	switch front := s.sa.headroom; {
	case size > s.mtu: // Would not fit its buffer. The kernel does not let such pass.
		s.counts.Malformed++
		return
	case !s.selectors.match(buffer[front : front+size]):
		s.counts.WrongSelectors++ // RFC 4301, Section 5.1, step 2: discard.
		return
	}
	length, ok := s.sa.seal(buffer, size)
	if !ok {
		s.counts.SendRefused++
		return
	}
	s.packets = append(s.packets, buffer[:length])
	s.inner = append(s.inner, size)
}

func (s *sender) send() error {
	if len(s.packets) == 0 {
		return nil
	}
	refused, err := s.outer.send(s.packets)
	s.counts.OuterErrors += uint64(s.outer.takeErrors())
	s.counts.SendRefused += uint64(len(refused))
	s.counts.OutPackets += uint64(len(s.packets) - len(refused))
	for _, length := range s.inner {
		s.counts.OutInnerBytes += uint64(length)
	}
	for _, i := range refused {
		s.counts.OutInnerBytes -= uint64(s.inner[i])
	}
	return err
}
