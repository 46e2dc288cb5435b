package lab

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Why a WAN is not netem.
var (
	errNoNetem  = errors.New("since this kernel has no netem: use tunnelmark lab run, or a kernel with CONFIG_NET_SCH_NETEM (try: modprobe sch_netem)")
	errNotNetem = errors.New("since netem has neither jitter that keeps the order nor late packets: use tunnelmark lab run, or remove jitter and reorder")
)

// addNetem makes netem the queue of the WAN toward a site, with a meter before it
// that counts what it is offered, and hands on what it lets go.
func (k *link) addNetem(near leg) (offered *meter, err error) {
	err = k.middle.configure(func(h *netlink.Handle) error {
		way, err := h.LinkByName(near.way.name)
		if err != nil {
			return fmt.Errorf("find %s: %w", near.way.name, err)
		}
		if err := addNetemQueue(h, way, k.WAN); err != nil {
			return err
		}
		if err := handOn(h, near); err != nil {
			return err
		}
		if offered, err = newMeter(bucket{}); err != nil {
			return err
		}
		err = errors.Join(attach(h, way, egress, meterSecond, offered.program), offered.program.Close())
		if err != nil {
			err = errors.Join(err, offered.state.Close())
		}
		return err
	})
	return offered, err
}

func addNetemQueue(h *netlink.Handle, way netlink.Link, w WAN) error {
	const percent = 100
	queue := netlink.NewNetem(
		netlink.QdiscAttrs{LinkIndex: way.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		netlink.NetemQdiscAttrs{
			Latency: uint32(w.Delay / time.Microsecond), Limit: netemQueueLimit,
			Loss: float32(percent * w.LossRatio), Duplicate: float32(percent * w.DuplicateRatio),
		})
	err := h.QdiscAdd(queue)
	if errors.Is(err, unix.ENOENT) {
		return errNoNetem
	}
	if err != nil {
		return fmt.Errorf("add netem to %s: %w", way.Attrs().Name, err)
	}
	return nil
}

// handOn sends what leaves the WAN to the site.
func handOn(h *netlink.Handle, near leg) error {
	to, err := h.LinkByName(near.middle.name)
	if err != nil {
		return fmt.Errorf("find %s: %w", near.middle.name, err)
	}
	end, err := hooked(h, near.wanEnd.name)
	if err != nil {
		return err
	}
	redirect := func() (*ebpf.Program, error) { return newRedirect(to.Attrs().Index) }
	return attachNew(h, end, ingress, meterSecond, redirect)
}

// newRedirect loads a program that has every packet leave by another interface.
func newRedirect(index int) (*ebpf.Program, error) {
	return loadProgram("redirect", asm.Instructions{
		asm.Mov.Imm(asm.R1, int32(index)),
		asm.Mov.Imm(asm.R2, 0), // out of it, not into it
		asm.FnRedirect.Call(),
		asm.Return(),
	})
}

// netemCounters makes of what entered, what left and what the queue says the fates
// of the packets. Copies are what left more than entered. What is read first has seen
// no more than what is read after it.
func (k *link) netemCounters(h *netlink.Handle, wan builtWAN, near leg) (WANCounters, error) {
	queue, err := queueStatistics(h, near.way.name, "netem")
	if err != nil {
		return WANCounters{}, err
	}
	way, err := statistics(h, near.way.name)
	if err != nil {
		return WANCounters{}, err
	}
	behind, err := statistics(h, near.middle.name)
	if err != nil {
		return WANCounters{}, err
	}
	entered, err := wan.offered.read()
	if err != nil {
		return WANCounters{}, err
	}
	left := widen(queue.Basic.Packets, way.TxPackets+way.TxDropped)
	lost, stay := uint64(queue.Queue.Drops), uint64(queue.Queue.Qlen)
	c := WANCounters{Netem: true, Dropped: lost, Overrun: way.TxDropped + behind.TxDropped}
	c.Forwarded = entered.PassedPackets - min(lost+stay, entered.PassedPackets)
	c.Duplicated = left - min(c.Forwarded, left)
	if k.WAN.LossRatio == 0 {
		c.Dropped, c.Overrun = 0, c.Overrun+lost
	}
	return c, nil
}
