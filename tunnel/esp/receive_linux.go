package esp

import (
	"tunnelmark/tunnel"
)

const (
	// clearOffset is where packets start in the buffers given to the clear side:
	// it writes its header, of 10 bytes, before them (struct virtio_net_hdr). 16
	// keeps them aligned.
	clearOffset = 16
	// clearBuffer lets the clear side coalesce packets of one flow into the
	// longest that there is. It counts the offset twice (wireguard/tun,
	// coalesceUDPPackets).
	clearBuffer = 65535 + 2*clearOffset
)

// receiver carries datagrams from the outer network to the clear side, to
// completion: it receives a batch, splits what the kernel has coalesced, opens
// each packet into a buffer of the clear side, and writes the batch.
type receiver struct {
	clear  clearSide
	outer  *inbox
	sa     *inbound
	ledger *ledger

	buffers [][]byte

	// The batch in hand.
	packets [][]byte // Opened, each with clearOffset before it.
	bytes   int      // Sum of their inner lengths.
	counts  tunnel.Counters
}

func newReceiver(clear clearSide, outer *inbox, sa *inbound, l *ledger) *receiver {
	return &receiver{
		clear: clear, outer: outer, sa: sa, ledger: l,
		buffers: newBuffers(batchSize, clearBuffer),
		packets: make([][]byte, 0, batchSize),
	}
}

// run ends when either side is closed or its deadline passes, as sender.run.
func (r *receiver) run() {
	for {
		if err := r.step(); stopped(err) {
			return
		}
	}
}

// step carries one batch.
func (r *receiver) step() error {
	r.counts = tunnel.Counters{}
	count, errno, err := r.outer.receive()
	if err != nil {
		return err
	}
	if errno != 0 {
		r.counts.OuterErrors++
	}
	for i := range count {
		r.split(r.outer.message(i))
	}
	err = r.deliver()
	r.ledger.add(r.counts)
	return err
}

// split takes a message apart into datagrams of size bytes, the last of which
// may be shorter. An empty message is an empty datagram.
func (r *receiver) split(payload []byte, size int) {
	for {
		length := min(size, len(payload))
		r.open(payload[:length])
		payload = payload[length:]
		if len(payload) == 0 {
			return
		}
	}
}

func (r *receiver) open(datagram []byte) {
	if len(r.packets) == batchSize {
		_ = r.deliver() // Counted there; a closed device shows again at the next call.
	}
	buffer := r.buffers[len(r.packets)]
	length, v := r.sa.open(datagram, buffer[clearOffset:])
	switch v {
	case delivered:
		r.packets = append(r.packets, buffer[:clearOffset+length])
		r.bytes += length
	case ignored:
	case malformed:
		r.counts.Malformed++
	case unknownSPI:
		r.counts.UnknownSPI++
	case badICV:
		r.counts.BadICV++
	case replayed:
		r.counts.Replayed++
	case wrongSelectors:
		r.counts.WrongSelectors++
	}
}

// deliver writes the batch to the clear side. Which packets of a batch a write
// refused the device does not say; the whole batch is counted as refused then,
// so that the tunnel is never flattered.
func (r *receiver) deliver() error {
	if len(r.packets) == 0 {
		return nil
	}
	count, bytes := uint64(len(r.packets)), uint64(r.bytes)
	_, err := r.clear.Write(r.packets, clearOffset)
	r.packets, r.bytes = r.packets[:0], 0
	if err != nil {
		r.counts.DeliverRefused += count
		return err
	}
	r.counts.InPackets += count
	r.counts.InInnerBytes += bytes
	return nil
}
