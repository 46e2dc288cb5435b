package xfrm

import (
	"encoding/binary"
	"fmt"

	"github.com/vishvananda/netlink/nl"

	"tunnelmark/tunnel/inner"
)

// newLink is the interface that a form needs. Its name is unique on this host,
// as the SPI is.
func newLink(form Form, p plan) inner.Link {
	if form == Interface {
		return inner.Link{
			Name: fmt.Sprintf("xfrm%x", p.localSPI), Kind: "xfrm",
			Data: []*nl.RtAttr{nl.NewRtAttr(nl.IFLA_XFRM_IF_ID, nl.Uint32Attr(p.scope.ifID))},
		}
	}
	mark := binary.BigEndian.AppendUint32(nil, p.scope.mark)
	kind := "vti"
	if p.local.Addr().Is6() {
		kind = "vti6"
	}
	return inner.Link{Name: fmt.Sprintf("vti%x", p.localSPI), Kind: kind, Data: []*nl.RtAttr{
		nl.NewRtAttr(nl.IFLA_VTI_LOCAL, p.local.Addr().AsSlice()),
		nl.NewRtAttr(nl.IFLA_VTI_REMOTE, p.remote.Addr().AsSlice()),
		nl.NewRtAttr(nl.IFLA_VTI_IKEY, mark),
		nl.NewRtAttr(nl.IFLA_VTI_OKEY, mark),
	}}
}
