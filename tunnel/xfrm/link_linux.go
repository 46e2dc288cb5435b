package xfrm

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
)

// link is an interface whose clear side is in one namespace, and whose SAs are in
// another.
type link struct {
	name, kind string
	attributes *message // Of its kind.
}

// newLink is the interface that a form needs. Its name is unique on this host,
// as the SPI is.
func newLink(form Form, p plan) link {
	m := newMessage(nil)
	if form == Interface {
		m.number(nl.IFLA_XFRM_IF_ID, p.scope.ifID)
		return link{fmt.Sprintf("xfrm%x", p.localSPI), "xfrm", m}
	}
	m.attribute(nl.IFLA_VTI_LOCAL, p.local.Addr().AsSlice())
	m.attribute(nl.IFLA_VTI_REMOTE, p.remote.Addr().AsSlice())
	mark := binary.BigEndian.AppendUint32(nil, p.scope.mark)
	m.attribute(nl.IFLA_VTI_IKEY, mark)
	m.attribute(nl.IFLA_VTI_OKEY, mark)
	kind := "vti"
	if p.local.Addr().Is6() {
		kind = "vti6"
	}
	return link{fmt.Sprintf("vti%x", p.localSPI), kind, m}
}

// add makes the interface in outer and moves it to inner in one step
// (IFLA_LINK_NETNSID; rtnl_newlink of net/core/rtnetlink.c): there is no moment at
// which our death would leave it in outer.
func (l link) add(outer, inner *tunnel.Namespace) error {
	id, err := namespaceID(inner, outer)
	if err != nil {
		return err
	}
	k, err := openKernel(inner, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer k.close()
	m := newMessage(nl.NewIfInfomsg(unix.AF_UNSPEC).Serialize())
	m.attribute(unix.IFLA_IFNAME, []byte(l.name), []byte{0})
	m.number(unix.IFLA_LINK_NETNSID, uint32(id))
	info := newMessage(nil)
	info.attribute(unix.IFLA_INFO_KIND, []byte(l.kind), []byte{0})
	info.attribute(unix.IFLA_INFO_DATA, l.attributes.bytes)
	m.attribute(unix.IFLA_LINKINFO, info.bytes)
	if _, err := k.request(unix.RTM_NEWLINK, create, m, 0); err != nil {
		return fmt.Errorf("add %s interface %s: %w", l.kind, l.name, err)
	}
	return nil
}

// namespaceID is the number by which inner knows outer; it is gone with inner.
func namespaceID(inner, outer *tunnel.Namespace) (int, error) {
	h, err := netlink.NewHandleAt(netns.NsHandle(inner.FD()), unix.NETLINK_ROUTE)
	if err != nil {
		return 0, fmt.Errorf("reach inner namespace by netlink: %w", err)
	}
	defer h.Close()
	id, err := h.GetNetNsIdByFd(outer.FD())
	if err == nil && id >= 0 {
		return id, nil
	}
	const anyNumber = -1
	if err := h.SetNetNsIdByFd(outer.FD(), anyNumber); err != nil && !errors.Is(err, unix.EEXIST) {
		return 0, fmt.Errorf("let inner namespace know the outer one: %w", err)
	}
	if id, err = h.GetNetNsIdByFd(outer.FD()); err == nil && id < 0 {
		err = unix.ENOENT
	}
	if err != nil {
		return 0, fmt.Errorf("ask for the outer namespace's number: %w", err)
	}
	return id, nil
}

func removeLink(namespace *tunnel.Namespace, name string) error {
	h, err := netlink.NewHandleAt(netns.NsHandle(namespace.FD()), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("reach inner namespace by netlink: %w", err)
	}
	defer h.Close()
	present, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find interface %s: %w", name, err)
	}
	if err := h.LinkDel(present); err != nil {
		return fmt.Errorf("remove interface %s: %w", name, err)
	}
	return nil
}
