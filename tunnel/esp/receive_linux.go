package esp

import (
	"sync"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/offload"
)

// sink is the clear side as the receiver sees it: tunWriter.
type sink interface {
	put(parts [][]byte) error
}

// receiver carries datagrams from the outer network to the clear side. Its workers
// take turns: one receives a batch and sorts out what is worth decrypting, opens it
// where it lies while the next worker receives, and delivers it when its turn comes,
// packets of one flow coalesced. With one worker that is a plain loop.
type receiver struct {
	clear       sink
	generations *generations
	inUDP       bool // Other things than ESP may arrive (besideESP).
	ledger      *ledger

	receiving, delivering turns
	windows               sync.Mutex // Guards the SAs' windows: both turns need them.
	workers               []*receiveWorker
}

// receiveWorker is one worker of a receiver, with what it has in hand.
type receiveWorker struct {
	*receiver
	number   int
	outer    *inbox
	arrivals []arrival
	merger   offload.Merger
	counts   tunnel.Counters
}

// arrival is one datagram on its way.
type arrival struct {
	packet    []byte // The datagram; then the inner packet or a dummy's payload, in the same place.
	class     byte   // Outer traffic class.
	sa        *inbound
	sequence  uint64
	authentic bool
	verdict   verdict
}

// newReceiver takes an inbox for each worker. segments says that the clear side takes
// super-packets of UDP.
func newReceiver(clear sink, outer []*inbox, g *generations, inUDP, segments bool, l *ledger) *receiver {
	all := &receiver{
		clear: clear, generations: g, inUDP: inUDP, ledger: l,
		receiving: newTurns(len(outer)), delivering: newTurns(len(outer)),
	}
	for i, in := range outer {
		all.workers = append(all.workers, &receiveWorker{
			receiver: all, number: i, outer: in,
			arrivals: make([]arrival, 0, receiveBatch*maxSegments),
			merger:   offload.Merger{UDP: segments},
		})
	}
	return all
}

// start runs the workers until the outer side has nothing to receive any more, as
// sender.start.
func (r *receiver) start(running *sync.WaitGroup) {
	for _, w := range r.workers {
		running.Go(func() {
			for w.step() == nil {
			}
		})
	}
}

// step carries one batch. An error is one of receiving, as in sendWorker.step.
func (w *receiveWorker) step() error {
	w.arrivals, w.counts = w.arrivals[:0], tunnel.Counters{}
	w.receiving.take(w.number)
	err := w.receive()
	w.receiving.pass(w.number)
	for i := range w.arrivals {
		w.open(&w.arrivals[i])
	}
	w.delivering.take(w.number)
	w.deliver()
	w.delivering.pass(w.number)
	w.ledger.add(w.counts)
	return err
}

func (w *receiveWorker) receive() error {
	count, errno, err := w.outer.receive()
	if err != nil {
		return err
	}
	if errno != 0 {
		w.counts.OuterErrors++
	}
	w.windows.Lock()
	defer w.windows.Unlock()
	for i := range count {
		w.split(w.outer.message(i))
	}
	return nil
}

// split takes a message apart into datagrams of size bytes, the last of which
// may be shorter. An empty message is an empty datagram.
func (w *receiveWorker) split(payload []byte, size int, class byte) {
	for {
		length := min(size, len(payload))
		w.admit(payload[:length:length], class)
		payload = payload[length:]
		if len(payload) == 0 {
			return
		}
	}
}

func (w *receiveWorker) admit(datagram []byte, class byte) {
	if w.inUDP && besideESP(datagram) {
		return // Nothing was lost.
	}
	sa := w.generations.find(datagram)
	sequence, v := sa.admit(datagram)
	w.arrivals = append(w.arrivals, arrival{packet: datagram, class: class, sa: sa, sequence: sequence, verdict: v})
}

// open makes the inner packet of an admitted datagram.
func (w *receiveWorker) open(a *arrival) {
	if a.verdict != delivered {
		return
	}
	plain, ok := a.sa.decrypt(w.number, a.packet, a.sequence, a.packet[a.sa.headroom:])
	if !ok {
		a.verdict = badICV
		return
	}
	a.authentic = true
	var length int
	length, a.verdict = a.sa.unwrap(plain)
	a.packet = plain[:length]
	if a.verdict == delivered && !decapsulate(a.packet, a.class) {
		a.verdict = congested
	}
}

// deliver lets what is authentic move the window, and hands to the clear side what
// is to be delivered.
func (w *receiveWorker) deliver() {
	w.accept()
	for i := range w.arrivals {
		a := &w.arrivals[i]
		w.count(a.verdict)
		if a.verdict != delivered {
			continue
		}
		if !w.merger.Add(a.packet) {
			w.write()
			w.merger.Add(a.packet)
		}
	}
	w.write()
}

func (w *receiveWorker) accept() {
	w.windows.Lock()
	defer w.windows.Unlock()
	for i := range w.arrivals {
		switch a := &w.arrivals[i]; {
		case !a.authentic:
		case a.sa.accept(a.sequence):
			w.generations.heard(a.sa, a.verdict == dummy && asks(a.packet))
		default:
			a.verdict = replayed
		}
	}
}

// count puts a packet that is not delivered under its reason.
func (w *receiveWorker) count(v verdict) {
	switch v {
	case delivered, dummy:
	case malformed:
		w.counts.Malformed++
	case unknownSPI:
		w.counts.UnknownSPI++
	case badICV:
		w.counts.BadICV++
	case replayed:
		w.counts.Replayed++
	case wrongSelectors:
		w.counts.WrongSelectors++
	case congested:
		w.counts.Congested++
	}
}

// write empties the merger into the clear side.
func (w *receiveWorker) write() {
	for i := range w.merger.Len() {
		parts, packets, bytes := w.merger.Run(i)
		if w.clear.put(parts) != nil {
			w.counts.DeliverRefused += uint64(packets)
			continue
		}
		w.counts.InPackets += uint64(packets)
		w.counts.InInnerBytes += uint64(bytes)
	}
	w.merger.Reset()
}
