package wireguard

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
)

// meter counts the inner packets of an interface by two filters that let
// everything pass (tc-matchall(8)). It goes with the interface.
//
// A packet in segments counts as its segments. Of those that the kernel put
// together on receipt (GRO) the bytes count with one header for all, as they do
// in every counter of the kernel's behind that.
type meter struct {
	handle  *netlink.Handle
	link    netlink.Link
	out, in wide  // Packets.
	refused error // Why there are no filters.
}

// wide continues a counter of 32 bits. It must be read more often than that goes
// round, which takes an hour at a million packets per second.
type wide struct {
	last  uint32
	total uint64
}

func (w *wide) advance(now uint32) uint64 {
	w.total += uint64(now - w.last)
	w.last = now
	return w.total
}

// newMeter attaches the filters. A kernel without them is no error: reading is.
func newMeter(handle *netlink.Handle, link netlink.Link) (*meter, error) {
	m := &meter{handle: handle, link: link}
	err := m.attach()
	switch {
	case err == nil:
		return m, nil
	case lacksFilters(err):
		m.refused = fmt.Errorf("count packets of interface %s: %w (%w): the kernel wants CONFIG_NET_SCH_INGRESS, CONFIG_NET_CLS_MATCHALL and CONFIG_NET_ACT_GACT",
			link.Attrs().Name, tunnel.ErrNotSupported, err)
		return m, nil
	}
	return nil, fmt.Errorf("count packets of interface %s: %w", link.Attrs().Name, err)
}

// lacksFilters tells a kernel that does not know qdisc, filter or action
// (tcf_proto_lookup_ops of net/sched/cls_api.c, for one), or has no actions.
func lacksFilters(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP)
}

func (m *meter) attach() error {
	qdisc := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: m.link.Attrs().Index,
		Handle:    netlink.MakeHandle(0xffff, 0),
		Parent:    netlink.HANDLE_CLSACT,
	}}
	if err := m.handle.QdiscAdd(qdisc); err != nil {
		return fmt.Errorf("add clsact qdisc: %w", err)
	}
	return errors.Join(m.addFilter(netlink.HANDLE_MIN_EGRESS), m.addFilter(netlink.HANDLE_MIN_INGRESS))
}

func (m *meter) addFilter(parent uint32) error {
	filter := &netlink.MatchAll{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: m.link.Attrs().Index,
			Parent:    parent,
			Priority:  1,
			Protocol:  unix.ETH_P_ALL,
		},
		Actions: []netlink.Action{&netlink.GenericAction{ActionAttrs: netlink.ActionAttrs{Action: netlink.TC_ACT_OK}}},
	}
	if err := m.handle.FilterAdd(filter); err != nil {
		return fmt.Errorf("add matchall filter: %w", err)
	}
	return nil
}

func (m *meter) read() (tunnel.Counters, error) {
	if m.refused != nil {
		return tunnel.Counters{}, m.refused
	}
	out, outErr := m.readFilter(netlink.HANDLE_MIN_EGRESS)
	in, inErr := m.readFilter(netlink.HANDLE_MIN_INGRESS)
	if err := errors.Join(outErr, inErr); err != nil {
		return tunnel.Counters{}, fmt.Errorf("count packets of interface %s: %w", m.link.Attrs().Name, err)
	}
	return tunnel.Counters{
		OutPackets: m.out.advance(out.Packets), OutInnerBytes: out.Bytes,
		InPackets: m.in.advance(in.Packets), InInnerBytes: in.Bytes,
	}, nil
}

func (m *meter) readFilter(parent uint32) (netlink.GnetStatsBasic, error) {
	filters, err := m.handle.FilterList(m.link, parent)
	if err != nil {
		return netlink.GnetStatsBasic{}, err
	}
	for _, filter := range filters {
		all, ok := filter.(*netlink.MatchAll)
		if !ok || len(all.Actions) != 1 {
			continue
		}
		if statistics := all.Actions[0].Attrs().Statistics; statistics != nil {
			return *statistics.Basic, nil
		}
	}
	return netlink.GnetStatsBasic{}, errors.New("the kernel does not show the filter")
}
