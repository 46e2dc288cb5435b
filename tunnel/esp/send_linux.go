package esp

import (
	"sync"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/offload"
)

// source is the clear side as the sender sees it: tunReader.
type source interface {
	next(into []byte, wait bool) (length int, err error)
}

// sender carries packets from the clear side to the outer network. Its workers take
// turns: one reads a super-packet and reserves sequence numbers for its packets,
// seals them where they lie while the next worker reads, and sends them when its
// turn comes. With one worker that is a plain loop.
type sender struct {
	clear       source
	outer       *outbox
	generations *generations
	layout      layout // Of all generations.
	selectors   selectors
	ceiling     *ceiling
	answers     sink // Takes what senders of packets that are too long are told.
	ledger      *ledger

	reading, sending turns
	workers          []*sendWorker
}

// sendWorker is one worker of a sender, with what it has in hand.
type sendWorker struct {
	*sender
	number  int
	super   []byte   // What one read brought.
	buffers [][]byte // For the packets that it stands for, each with room for ESP's parts.
	sizes   []int    // Their inner lengths.
	answer  []byte   // Has room for one to a packet that is too long, behind its header.

	packets [][]byte // Those of the buffers that go; sealed later.
	inner   []int    // Their inner lengths.
	bytes   int      // Sum of them.
	classes []byte   // Their traffic classes, which sealing hides.
	counts  tunnel.Counters
}

func newSender(clear source, answers sink, outer *outbox, g *generations, workers int, s selectors, c *ceiling, l *ledger) *sender {
	layout := g.sending.layout
	all := &sender{
		clear: clear, answers: answers, outer: outer, generations: g, layout: layout, selectors: s, ceiling: c, ledger: l,
		reading: newTurns(workers), sending: newTurns(workers),
	}
	for i := range workers {
		all.workers = append(all.workers, &sendWorker{
			sender: all, number: i,
			super:   make([]byte, offload.HeaderLength+superLength),
			buffers: newBuffers(batchSize, layout.headroom+c.full+layout.tailroom()),
			sizes:   make([]int, batchSize),
			answer:  make([]byte, offload.HeaderLength+longestAnswer6),
			packets: make([][]byte, 0, batchSize),
			inner:   make([]int, 0, batchSize),
			classes: make([]byte, 0, batchSize),
		})
	}
	return all
}

// start runs the workers until the clear side has nothing to read any more: that ends
// them all, each in its turn. Any other error costs packets, which are counted, and
// nothing more.
func (s *sender) start(running *sync.WaitGroup) {
	for _, w := range s.workers {
		running.Go(func() {
			for w.step() == nil {
			}
		})
	}
}

// step carries one batch. An error is one of reading, which has an end for all workers;
// whatever happens, the turns are passed on, so that the others learn of it in theirs.
func (w *sendWorker) step() error {
	w.packets, w.inner, w.classes, w.bytes, w.counts = w.packets[:0], w.inner[:0], w.classes[:0], 0, tunnel.Counters{}
	w.reading.take(w.number)
	err := w.read()
	sa, first, granted := w.generations.reserve(len(w.packets), w.bytes)
	w.reading.pass(w.number)
	w.seal(sa, first, granted)
	w.sending.take(w.number)
	w.send()
	w.generations.sent(sa)
	w.sending.pass(w.number)
	w.ledger.add(w.counts)
	return err
}

// read takes one super-packet, or as many single packets as are there.
func (w *sendWorker) read() error {
	for used := 0; used < mostSingles; {
		length, err := w.clear.next(w.super, used == 0)
		if err != nil || length == 0 {
			return err
		}
		count := w.take(w.super[:length], used)
		used += count
		if count > 1 {
			return nil
		}
	}
	return nil
}

// take puts what was read into buffers, of which that many are in use, and returns
// how many packets it was.
func (w *sendWorker) take(super []byte, used int) (count int) {
	header, err := offload.ParseHeader(super)
	if err == nil {
		count, err = header.Split(super[offload.HeaderLength:], w.buffers[used:], w.sizes[used:], w.layout.headroom)
	}
	if err != nil {
		w.counts.Malformed++
		return 0
	}
	for i := used; i < used+count; i++ {
		w.choose(w.buffers[i], w.sizes[i])
	}
	return count
}

// choose takes a packet into the batch if the SA carries it.
func (w *sendWorker) choose(buffer []byte, size int) {
	packet := buffer[w.layout.headroom : w.layout.headroom+size]
	switch {
	case size > w.ceiling.full: // Would not fit its buffer. The kernel does not let such pass.
		w.counts.Malformed++
	case !w.selectors.match(packet):
		w.counts.WrongSelectors++ // RFC 4301, Section 5.1, step 2: discard.
	case !w.ceiling.takes(size) && !w.passes(packet):
		w.counts.SendRefused++
	default:
		w.packets = append(w.packets, buffer)
		w.inner = append(w.inner, size)
		w.bytes += size
		w.classes = append(w.classes, classOf(packet))
	}
}

// passes looks again whether a packet is too long for the outer path, and tells its
// sender if it is. An answer that the clear side refuses is not missed: there will be
// another.
func (w *sendWorker) passes(packet []byte) bool {
	header, into := w.answer[:offload.HeaderLength], w.answer[offload.HeaderLength:]
	length, passes := w.ceiling.answer(into, packet)
	if length > 0 {
		_ = w.answers.put([][]byte{header, into[:length]})
	}
	return passes
}

// seal seals as many packets as numbers were granted.
func (w *sendWorker) seal(sa *outbound, first uint64, granted int) {
	w.counts.SendRefused += uint64(len(w.packets) - granted)
	w.packets, w.inner = w.packets[:granted], w.inner[:granted]
	for i, buffer := range w.packets {
		length := sa.seal(w.number, buffer, w.inner[i], first+uint64(i))
		w.packets[i] = buffer[:length]
	}
}

// send hands over the batch in runs of packets of one class.
func (w *sendWorker) send() {
	for first := 0; first < len(w.packets); {
		end := first + sameClass(w.classes[first:len(w.packets)])
		w.sendRun(first, end)
		first = end
	}
}

// sameClass says how many packets at the front of a list are of one class.
func sameClass(classes []byte) int {
	for i, class := range classes {
		if class != classes[0] {
			return i
		}
	}
	return len(classes)
}

func (w *sendWorker) sendRun(first, end int) {
	inner := w.inner[first:end]
	refused := w.outer.send(w.packets[first:end], w.classes[first])
	w.counts.OuterErrors += uint64(w.outer.takeErrors())
	w.counts.SendRefused += uint64(len(refused))
	if w.outer.takeTooLong() {
		w.ceiling.look()
	}
	w.counts.OutPackets += uint64(len(inner) - len(refused))
	for _, length := range inner {
		w.counts.OutInnerBytes += uint64(length)
	}
	for _, i := range refused {
		w.counts.OutInnerBytes -= uint64(inner[i])
	}
}
