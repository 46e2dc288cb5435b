package lab

import (
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
)

// builtWAN is the WAN in one direction: a process, or netem with a meter before it.
type builtWAN struct {
	process *wanProcess
	why     error // Why it is not netem.
	offered *meter
}

// The slots of a ring hold what this rate puts on the way, within bounds.
const (
	slotsPerSecond  = 250e3
	leastSlots      = 4096
	mostRingBytes   = 64 << 20
	netemQueueLimit = 1 << 17 // packets
)

// slots is how many packets of the MTU the WAN holds in each direction.
func (w WAN) slots(mtu int) int {
	const margin = 10 * time.Millisecond // for a thread that is kept off the CPU
	longest := w.Delay + w.Jitter + heldBack + margin
	wanted := max(leastSlots, int(slotsPerSecond*longest.Seconds()))
	return min(wanted, mostRingBytes/newRingGeometry(1, mtu).slotBytes)
}

// addWAN makes the pair of interfaces that leads to a site through the WAN, and
// returns the one that is for routes.
func (k *link) addWAN(h *netlink.Handle, near leg) (netlink.Link, error) {
	pair := leg{outer: near.way, middle: near.wanEnd}
	if err := addVeth(h, k.middle, pair, k.legMTU()); err != nil {
		return nil, err
	}
	if _, err := startQuiet(h, near.wanEnd.name); err != nil {
		return nil, err
	}
	return bringUp(h, near.way, near.outer)
}

// startWAN puts the WAN between the interfaces, in both directions, whose numbers
// are the given one and the next.
func (k *link) startWAN(direction uint64) error {
	if !k.WAN.changes() {
		return nil
	}
	for side, near := range k.legs {
		started, err := k.startDirection(near, direction+uint64(side))
		if err != nil {
			return fmt.Errorf("WAN toward %s: %w", near.site, err)
		}
		k.wans = append(k.wans, started)
	}
	return nil
}

func (k *link) startDirection(near leg, direction uint64) (started builtWAN, err error) {
	started.why = errNotNetem
	if k.WAN.suitsNetem() {
		started.offered, started.why = k.addNetem(near)
		if !errors.Is(started.why, errNoNetem) {
			return started, started.why
		}
	}
	started.process, err = k.addProcess(near, direction)
	return started, err
}

func (k *link) addProcess(near leg, direction uint64) (process *wanProcess, err error) {
	var from, to netlink.Link
	err = k.middle.configure(func(h *netlink.Handle) (err error) {
		if from, err = h.LinkByName(near.wanEnd.name); err != nil {
			return fmt.Errorf("find %s: %w", near.wanEnd.name, err)
		}
		if to, err = h.LinkByName(near.middle.name); err != nil {
			return fmt.Errorf("find %s: %w", near.middle.name, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = k.middle.do(func() error {
		// A process sends what it was given, and cannot leave the checksum to others.
		if err := switchOff(near.way.name, checksums); err != nil {
			return err
		}
		process, err = startWANProcess(from.Attrs().Index, to.Attrs().Index, k.WAN, direction, k.legMTU())
		return err
	})
	return process, err
}

// WANCounters reads the WANs: for each link that has one, in the topology's order,
// two entries, toward its first site and toward its second.
func (l *Lab) WANCounters() ([]WANCounters, error) {
	var all []WANCounters
	for _, k := range l.links {
		for side, wan := range k.wans {
			c, err := k.wanCounters(wan, k.legs[side])
			if err != nil {
				return nil, fmt.Errorf("count on WAN of link %q toward %s: %w", k.Between, k.legs[side].site, err)
			}
			c.Between, c.Toward = k.Between, k.legs[side].site
			all = append(all, c)
		}
	}
	return all, nil
}

func (k *link) wanCounters(wan builtWAN, near leg) (c WANCounters, err error) {
	err = k.middle.configure(func(h *netlink.Handle) error {
		if wan.process == nil {
			c, err = k.netemCounters(h, wan, near)
		} else {
			c, err = k.processCounters(h, wan, near)
		}
		return err
	})
	return c, err
}

// processCounters adds to what the process counts what it never got, or could not
// deliver.
func (k *link) processCounters(h *netlink.Handle, wan builtWAN, near leg) (WANCounters, error) {
	before, err := statistics(h, near.way.name)
	if err != nil {
		return WANCounters{}, err
	}
	behind, err := statistics(h, near.middle.name)
	if err != nil {
		return WANCounters{}, err
	}
	within, err := wan.process.ring.overrun()
	if err != nil {
		return WANCounters{}, err
	}
	c := wan.process.counts.read(k.WAN.Delay)
	undelivered := behind.TxDropped
	if k.device(near.site).Kind != Shaper { // That one refuses by itself, and counts it.
		// Kernels say it in one way or the other, or in both.
		undelivered = max(undelivered, wan.process.counts.refused.Load())
	}
	c.Overrun = before.TxDropped + within + undelivered
	return c, nil
}

// statistics are those of an interface.
func statistics(h *netlink.Handle, name string) (*netlink.LinkStatistics, error) {
	link, err := h.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", name, err)
	}
	return link.Attrs().Statistics, nil
}

func (w builtWAN) close() error {
	if w.process != nil {
		return w.process.close()
	}
	return w.offered.state.Close()
}
