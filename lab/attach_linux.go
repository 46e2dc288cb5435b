package lab

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// hook is a place in traffic control where a program can sit.
type hook uint32

const (
	ingress hook = netlink.HANDLE_MIN_INGRESS
	egress  hook = netlink.HANDLE_MIN_EGRESS
)

// The order of the programs at one hook: what the blackhole drops is not counted.
const (
	blackholeFirst uint16 = 1
	meterSecond    uint16 = 2
	clearDFThird   uint16 = 3
)

// addHooks makes an interface ready for attach.
func addHooks(h *netlink.Handle, link netlink.Link) error {
	qdisc := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: link.Attrs().Index,
		Handle:    netlink.MakeHandle(0xffff, 0),
		Parent:    netlink.HANDLE_CLSACT,
	}}
	if err := h.QdiscAdd(qdisc); err != nil {
		return fmt.Errorf("add clsact to %s: %w", link.Attrs().Name, err)
	}
	return nil
}

// attachNew loads a program and attaches it; only the filter holds it.
func attachNew(h *netlink.Handle, link netlink.Link, at hook, order uint16, load func() (*ebpf.Program, error)) error {
	program, err := load()
	if err != nil {
		return err
	}
	return errors.Join(attach(h, link, at, order, program), program.Close())
}

// attach puts the program at a hook; the filter then holds it.
func attach(h *netlink.Handle, link netlink.Link, at hook, order uint16, program *ebpf.Program) error {
	filter := &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: link.Attrs().Index,
			Parent:    uint32(at),
			Handle:    1,
			Priority:  order,
			Protocol:  unix.ETH_P_ALL,
		},
		Fd:           program.FD(),
		Name:         "tunnelmark",
		DirectAction: true,
	}
	if err := h.FilterAdd(filter); err != nil {
		return fmt.Errorf("attach program to %s: %w", link.Attrs().Name, err)
	}
	return nil
}
