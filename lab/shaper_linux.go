package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Attributes of include/uapi/linux/pkt_sched.h that the netlink module lacks.
const (
	tcaTBFBurst = 6 // TCA_TBF_BURST: bucket in bytes, instead of scheduler ticks
	tcaStabBase = 1 // TCA_STAB_BASE
)

// addShaper makes a token bucket filter the root queue of an interface of the
// calling thread's namespace. It writes the message itself, since a shaper that
// counts IP bytes needs a size table, which the netlink module cannot say.
func addShaper(link netlink.Link, s shaping) error {
	request := nl.NewNetlinkRequest(unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	request.AddData(&nl.TcMsg{
		Family:  nl.FAMILY_ALL,
		Ifindex: int32(link.Attrs().Index),
		Handle:  netlink.MakeHandle(1, 0),
		Parent:  netlink.HANDLE_ROOT,
	})
	request.AddData(nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated("tbf")))
	request.AddData(tbfOptions(s))
	request.AddData(ipSizeTable())
	if _, err := request.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return fmt.Errorf("add shaper (needs CONFIG_NET_SCH_TBF) to %s: %w", link.Attrs().Name, err)
	}
	return nil
}

func tbfOptions(s shaping) *nl.RtAttr {
	parameters := nl.TcTbfQopt{Limit: s.queueBytes}
	parameters.Rate.Rate = uint32(min(s.bytesPerSecond, math.MaxUint32))
	options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	options.AddRtAttr(nl.TCA_TBF_PARMS, parameters.Serialize())
	options.AddRtAttr(nl.TCA_TBF_RATE64, nl.Uint64Attr(s.bytesPerSecond))
	options.AddRtAttr(tcaTBFBurst, nl.Uint32Attr(s.burstBytes))
	return options
}

// ipSizeTable has every packet count less than it is by its Ethernet header: the
// overhead field of struct tc_sizespec, all else zero.
func ipSizeTable() *nl.RtAttr {
	spec := make([]byte, 24)
	overhead := int32(-ethernetHeader)
	binary.NativeEndian.PutUint32(spec[4:], uint32(overhead))
	table := nl.NewRtAttr(nl.TCA_STAB, nil)
	table.AddRtAttr(tcaStabBase, spec)
	return table
}

// queueStatistics reads the root queue of an interface, which is of that kind, in one
// message, so that its figures agree.
func queueStatistics(h *netlink.Handle, name, kind string) (*netlink.QdiscStatistics, error) {
	link, err := h.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", name, err)
	}
	qdiscs, err := h.QdiscList(link)
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", kind, name, err)
	}
	for _, qdisc := range qdiscs {
		if qdisc.Type() == kind && qdisc.Attrs().Statistics != nil {
			return qdisc.Attrs().Statistics, nil
		}
	}
	return nil, fmt.Errorf("read %s of %s: %w", kind, name, errors.New("it is gone"))
}
