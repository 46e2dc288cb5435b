package lab

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// packetRing is memory that the kernel fills with the frames that arrive at an
// interface, each with the time when it did (packet_mmap.rst in the kernel's
// Documentation/networking, TPACKET_V2). A slot that was taken is the taker's until
// it is released, in any order; a frame for which the next slot is not free is
// dropped and counted.
type packetRing struct {
	socket   int
	memory   []byte
	geometry ringGeometry
	next     int    // The slot that the kernel fills next.
	taken    []bool // By slot. A slot that is not released looks like a new one.
	dropped  atomic.Uint64
}

// ringGeometry is where the slots are: in blocks, since slots are no power of two.
type ringGeometry struct {
	slotBytes, slotsPerBlock, blocks int
}

const (
	// ringBlock is contiguous memory, a multiple of any page's size.
	ringBlock = 1 << 16
	// ringHeader is before the frame's IP header in a slot: the slot's own, an address
	// and the Ethernet header, each aligned (net/packet/af_packet.c, tpacket_rcv).
	ringHeader = unix.SizeofTpacket2Hdr + 32 + 16
)

// newRingGeometry has room for so many slots or a few more, each for an IP packet of
// the MTU.
func newRingGeometry(slots, mtu int) ringGeometry {
	const alignment = unix.TPACKET_ALIGNMENT
	g := ringGeometry{slotBytes: (ringHeader + mtu + alignment - 1) / alignment * alignment}
	g.slotsPerBlock = ringBlock / g.slotBytes
	g.blocks = (slots + g.slotsPerBlock - 1) / g.slotsPerBlock
	return g
}

func (g ringGeometry) slots() int { return g.blocks * g.slotsPerBlock }

func (g ringGeometry) offset(slot int) int {
	return slot/g.slotsPerBlock*ringBlock + slot%g.slotsPerBlock*g.slotBytes
}

// openRing listens on an interface of the calling thread's namespace.
func openRing(index int, g ringGeometry) (*packetRing, error) {
	// Protocol 0 hears nothing until bind says where.
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	r := &packetRing{socket: socket, geometry: g, taken: make([]bool, g.slots())}
	if err := r.start(index); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *packetRing) start(index int) (err error) {
	if err := unix.SetsockoptInt(r.socket, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2); err != nil {
		return fmt.Errorf("choose version of packet ring: %w", err)
	}
	request := unix.TpacketReq{
		Block_size: ringBlock, Block_nr: uint32(r.geometry.blocks),
		Frame_size: uint32(r.geometry.slotBytes), Frame_nr: uint32(r.geometry.slots()),
	}
	if err := unix.SetsockoptTpacketReq(r.socket, unix.SOL_PACKET, unix.PACKET_RX_RING, &request); err != nil {
		return fmt.Errorf("make packet ring of %d slots: %w", r.geometry.slots(), err)
	}
	r.memory, err = unix.Mmap(r.socket, 0, r.geometry.blocks*ringBlock, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map packet ring: %w", err)
	}
	address := &unix.SockaddrLinklayer{Protocol: uint16(networkOrder(unix.ETH_P_ALL)), Ifindex: index}
	if err := unix.Bind(r.socket, address); err != nil {
		return fmt.Errorf("bind packet socket: %w", err)
	}
	return nil
}

// header is the kernel's on a slot.
func (r *packetRing) header(slot int) *unix.Tpacket2Hdr {
	return (*unix.Tpacket2Hdr)(unsafe.Pointer(&r.memory[r.geometry.offset(slot)]))
}

// take returns the next slot with a frame, and when it arrived by CLOCK_REALTIME in
// ns since 1970.
func (r *packetRing) take() (slot int, arrival int64, found bool) {
	slot = r.next
	h := r.header(slot)
	if r.taken[slot] || atomic.LoadUint32(&h.Status)&unix.TP_STATUS_USER == 0 {
		return 0, 0, false
	}
	r.taken[slot] = true
	if r.next++; r.next == r.geometry.slots() {
		r.next = 0
	}
	return slot, int64(h.Sec)*1e9 + int64(h.Nsec), true
}

// frame is that of a slot which was taken, Ethernet header included.
func (r *packetRing) frame(slot int) []byte {
	h := r.header(slot)
	from := r.geometry.offset(slot) + int(h.Mac)
	return r.memory[from : from+int(h.Snaplen)]
}

// release gives a slot back to the kernel.
func (r *packetRing) release(slot int) {
	r.taken[slot] = false
	atomic.StoreUint32(&r.header(slot).Status, unix.TP_STATUS_KERNEL)
}

// overrun is how many frames found no slot so far. The kernel counts anew after each
// call.
func (r *packetRing) overrun() (uint64, error) {
	s, err := unix.GetsockoptTpacketStats(r.socket, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0, fmt.Errorf("count what the packet ring dropped: %w", err)
	}
	return r.dropped.Add(uint64(s.Drops)), nil
}

func (r *packetRing) close() error {
	var err error
	if r.memory != nil {
		err = unix.Munmap(r.memory)
	}
	return errors.Join(err, unix.Close(r.socket))
}
