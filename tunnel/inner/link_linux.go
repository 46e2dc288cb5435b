package inner

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
)

// Link is an interface that the kernel makes, with its clear side in one
// namespace and the packets that carry its traffic in another.
type Link struct {
	Name string
	Kind string // The kernel's word, such as "gre".
	// Data are the attributes that the kind knows; may be nil.
	Data []*nl.RtAttr
}

// Add makes the interface in outer and moves it to inner in one request
// (IFLA_LINK_NETNSID; rtnl_newlink of net/core/rtnetlink.c): there is no moment
// at which our death would leave it in outer. A name, or a tunnel, that is there
// already is refused with an error that wraps os.ErrExist; a kind that the kernel
// lacks with one that wraps unix.EOPNOTSUPP.
func (l Link) Add(outer, inner *tunnel.Namespace) error {
	id, err := namespaceID(inner, outer)
	if err != nil {
		return err
	}
	request := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	request.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	request.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(l.Name)))
	request.AddData(nl.NewRtAttr(unix.IFLA_LINK_NETNSID, nl.Uint32Attr(uint32(id))))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated(l.Kind))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	for _, attribute := range l.Data {
		data.AddChild(attribute)
	}
	request.AddData(info)
	if _, err := Execute(inner, unix.NETLINK_ROUTE, request, 0); err != nil {
		return fmt.Errorf("add %s interface %s: %w", l.Kind, l.Name, err)
	}
	return nil
}

// Remove removes the interface from the namespace that it was moved to. One that
// is gone already is no error.
func (l Link) Remove(inner *tunnel.Namespace) error {
	handle, err := netlink.NewHandleAt(netns.NsHandle(inner.FD()), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("reach inner namespace by netlink: %w", err)
	}
	defer handle.Close()
	present, err := handle.LinkByName(l.Name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find interface %s: %w", l.Name, err)
	}
	if err := handle.LinkDel(present); err != nil {
		return fmt.Errorf("remove interface %s: %w", l.Name, err)
	}
	return nil
}

// namespaceID is the number by which one namespace knows another; it is gone with
// either.
func namespaceID(of, known *tunnel.Namespace) (int, error) {
	handle, err := netlink.NewHandleAt(netns.NsHandle(of.FD()), unix.NETLINK_ROUTE)
	if err != nil {
		return 0, fmt.Errorf("reach inner namespace by netlink: %w", err)
	}
	defer handle.Close()
	const anyNumber = -1 // To ask for one, and what a namespace without one has.
	err = handle.SetNetNsIdByFd(known.FD(), anyNumber)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return 0, fmt.Errorf("let inner namespace know the outer one: %w", err)
	}
	id, err := handle.GetNetNsIdByFd(known.FD())
	if err == nil && id == anyNumber {
		err = unix.ENOENT
	}
	if err != nil {
		return 0, fmt.Errorf("ask by which number inner namespace knows the outer one: %w", err)
	}
	return id, nil
}
