package inner

import (
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"

	"tunnelmark/tunnel"
)

// Execute sends a netlink request to a namespace and returns the bodies of the
// answers of one type: for what a netlink.Handle's methods cannot say. protocol
// is that of the socket, such as unix.NETLINK_ROUTE; a kernel without it is an
// error that wraps unix.EPROTONOSUPPORT.
func Execute(namespace *tunnel.Namespace, protocol int, request *nl.NetlinkRequest, answers uint16) ([][]byte, error) {
	socket, err := nl.GetNetlinkSocketAt(netns.NsHandle(namespace.FD()), netns.None(), protocol)
	if err != nil {
		return nil, fmt.Errorf("reach namespace by netlink: %w", err)
	}
	defer socket.Close()
	request.Sockets = map[int]*nl.SocketHandle{protocol: {Socket: socket}}
	return request.Execute(protocol, answers)
}
