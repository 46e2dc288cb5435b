package inner

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Outgoing is the index of the interface through which the kernel sends UDP
// datagrams from one port to another. It answers for the calling thread's
// namespace (tunnel.Namespace.Do).
func Outgoing(local, remote netip.AddrPort) (index int, err error) {
	messages, err := routeOf(local, remote).Execute(unix.NETLINK_ROUTE, unix.RTM_NEWROUTE)
	if err == nil {
		index, err = outgoingOf(messages)
	}
	if err != nil {
		return 0, fmt.Errorf("ask for the route from %s to %s: %w", local, remote, err)
	}
	return index, nil
}

// routeOf asks with ports, which netlink.RouteGetOptions does not have
// (rtnetlink(7), RTM_GETROUTE).
func routeOf(local, remote netip.AddrPort) *nl.NetlinkRequest {
	request := nl.NewNetlinkRequest(unix.RTM_GETROUTE, 0)
	message := &nl.RtMsg{}
	message.Family = unix.AF_INET
	if local.Addr().Is6() {
		message.Family = unix.AF_INET6
	}
	message.Src_len, message.Dst_len = uint8(local.Addr().BitLen()), uint8(remote.Addr().BitLen())
	request.AddData(message)
	port := func(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }
	for _, attribute := range []struct {
		kind  int
		value []byte
	}{
		{unix.RTA_SRC, local.Addr().AsSlice()},
		{unix.RTA_DST, remote.Addr().AsSlice()},
		{unix.RTA_IP_PROTO, []byte{unix.IPPROTO_UDP}},
		{unix.RTA_SPORT, port(local.Port())},
		{unix.RTA_DPORT, port(remote.Port())},
	} {
		request.AddData(nl.NewRtAttr(attribute.kind, attribute.value))
	}
	return request
}

func outgoingOf(messages [][]byte) (index int, err error) {
	if len(messages) != 1 || len(messages[0]) < unix.SizeofRtMsg {
		return 0, errors.New("the kernel gives no answer")
	}
	attributes, err := nl.ParseRouteAttr(messages[0][unix.SizeofRtMsg:])
	if err != nil {
		return 0, err
	}
	for _, attribute := range attributes {
		if attribute.Attr.Type == unix.RTA_OIF && len(attribute.Value) == 4 {
			return int(binary.NativeEndian.Uint32(attribute.Value)), nil
		}
	}
	return 0, errors.New("the kernel names no interface")
}
