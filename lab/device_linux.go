package lab

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
)

// direction is one way along a link: from a leg to the other, with the meter that
// counts there.
type direction struct {
	from, to leg
	device   Device
	meter    *meter
}

// addDevices puts the link's devices, counters and blackhole into the middle.
func (k *link) addDevices() error {
	return k.middle.configure(func(h *netlink.Handle) error {
		var ends [2]netlink.Link
		for side, near := range k.legs {
			var err error
			if ends[side], err = k.addEnd(h, near); err != nil {
				return err
			}
		}
		for side := range k.legs {
			if err := k.addDirection(h, ends, side); err != nil {
				return fmt.Errorf("toward %s: %w", k.legs[side].site, err)
			}
		}
		return nil
	})
}

// addEnd makes one end of the middle ready for devices, and a bad gateway of it where
// the link is one: it swallows ICMP that leaves, or clears DF of what comes.
func (k *link) addEnd(h *netlink.Handle, near leg) (netlink.Link, error) {
	end, err := hooked(h, near.middle.name)
	if err != nil {
		return nil, err
	}
	way := end
	if near.way.name != near.middle.name {
		if way, err = hooked(h, near.way.name); err != nil {
			return nil, err
		}
	}
	if k.ICMPBlackhole {
		err = attachNew(h, way, egress, blackholeFirst, newBlackhole)
	}
	if k.ClearDF && err == nil {
		err = attachNew(h, end, ingress, clearDFThird, func() (*ebpf.Program, error) { return newClearDF(k.mtu()) })
	}
	return end, err
}

// hooked makes an interface ready for attach.
func hooked(h *netlink.Handle, name string) (netlink.Link, error) {
	link, err := h.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", name, err)
	}
	return link, addHooks(h, link)
}

// addDirection limits and counts what flows toward one side. A policer or packet
// limit stands where traffic enters the middle; a shaper's queue where it leaves,
// with the meter before it.
func (k *link) addDirection(h *netlink.Handle, ends [2]netlink.Link, toward int) error {
	d := direction{from: k.legs[1-toward], to: k.legs[toward]}
	d.device = k.device(d.to.site)
	at, end := ingress, ends[1-toward]
	if d.device.Kind == Shaper {
		at, end = egress, ends[toward]
		shape := func() error { return addShaper(end, newShaping(d.device, k.mtu())) }
		if err := k.middle.do(shape); err != nil {
			return err
		}
	}
	var err error
	if d.meter, err = newMeter(newBucket(d.device)); err != nil {
		return err
	}
	k.directions = append(k.directions, d)
	// The filter holds the program from here on.
	return errors.Join(attach(h, end, at, meterSecond, d.meter.program), d.meter.program.Close())
}

// counters reads one direction.
func (k *link) counters(d direction) (DeviceCounters, error) {
	c := DeviceCounters{Between: k.Between, Toward: d.to.site, Kind: d.device.Kind}
	var queue *netlink.QdiscStatistics
	if d.device.Kind == Shaper {
		err := k.middle.configure(func(h *netlink.Handle) (err error) {
			queue, err = queueStatistics(h, d.to.middle.name, "tbf")
			return err
		})
		if err != nil {
			return c, err
		}
	}
	state, err := d.meter.read()
	if err != nil {
		return c, err
	}
	c.PassedPackets, c.PassedOuterBytes = state.PassedPackets, state.PassedBytes
	c.DroppedPackets, c.DroppedOuterBytes = state.DroppedPackets, state.DroppedBytes
	if queue != nil {
		c.behind(queue)
	}
	return c, nil
}

// behind takes what a shaper's queue passed from the counters of the meter before
// it. The queue was read first, so it has passed no more than the meter.
func (c *DeviceCounters) behind(queue *netlink.QdiscStatistics) {
	offeredPackets, offeredBytes := c.PassedPackets, c.PassedOuterBytes
	c.PassedPackets = widen(queue.Basic.Packets, offeredPackets)
	c.PassedOuterBytes = queue.Basic.Bytes
	c.DroppedPackets = offeredPackets - c.PassedPackets - uint64(queue.Queue.Qlen)
	c.DroppedOuterBytes = offeredBytes - c.PassedOuterBytes - uint64(queue.Queue.Backlog)
}
