package doctor

import "fmt"

// route tells of the way to the peer, as the kernel knows it. Only packets can
// prove it: a router that drops what is too large, in silence, is not seen here.
func route(h Host) []Finding {
	p := h.Path
	switch {
	case p == nil:
		return nil
	case p.Problem != "":
		return []Finding{{
			Subject: "route", State: Missing, Figure: fmt.Sprintf("none to %s: %s", p.Peer, p.Problem),
			Cost:   "no tunnel can be built to that end",
			Remedy: fmt.Sprintf("ip route get %s", p.Peer),
		}}
	}
	f := Finding{Subject: subjectMTU, State: OK, Figure: formatMTU(p.MTU)}
	if p.LinkMTU > 0 && p.MTU < p.LinkMTU {
		f.State = Warning
		f.Cost = fmt.Sprintf("a route or a router allows less than the interface's %d bytes: tunnels must be made for the smaller size, or packets are cut in two or lost", p.LinkMTU)
		f.Remedy = fmt.Sprintf("ip route get %s shows where it comes from (\"mtu\", with \"expires\" where a router told it)", p.Peer)
	}
	return []Finding{{Subject: "route", State: OK, Figure: fmt.Sprintf("to %s%s", p.Peer, choose(p.Interface == "", "", ", from an address of "+p.Interface))}, f}
}
