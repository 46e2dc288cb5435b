package bundle

import (
	"fmt"
	"math"
	"net/netip"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/inner"
)

// Ports are source ports for flows that enter t at its path's local address and
// go to its remote one, spread over the tunnels as evenly as can be: a hash alone
// would give one tunnel twice as many as another, and their sum would be full as
// soon as that one is. They are the same whenever they are asked for.
//
// A tunnel that stands alone takes the path's own port and those behind it.
func Ports(t tunnel.Tunnel, flows int) ([]uint16, error) {
	path, tunnels := t.Path(), 1
	if b, several := t.(*bundle); several {
		tunnels = len(b.halves)
	}
	if tunnels == 1 || flows == 1 {
		return portsBehind(path.Local.Port(), flows)
	}
	var ports []uint16
	err := path.Namespace.Do(func() (err error) {
		ports, err = spreadPorts(path, flows, tunnels)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("spread %d flows over %d tunnels: %w", flows, tunnels, err)
	}
	return ports, nil
}

func portsBehind(first uint16, flows int) ([]uint16, error) {
	if int(first)+flows-1 > math.MaxUint16 {
		return nil, fmt.Errorf("choose ports of %d flows: there are not as many from %d on", flows, first)
	}
	ports := make([]uint16, flows)
	for i := range ports {
		ports[i] = first + uint16(i)
	}
	return ports, nil
}

// spreadPorts asks the kernel where each port would lead, and takes those that
// lead to a tunnel which has not had its share. It is called on a thread in the
// path's namespace.
func spreadPorts(path tunnel.Path, flows, tunnels int) ([]uint16, error) {
	ports, s := make([]uint16, 0, flows), newShares(flows, tunnels)
	for port := int(path.Local.Port()); port <= math.MaxUint16; port++ {
		local := netip.AddrPortFrom(path.Local.Addr(), uint16(port))
		through, err := inner.Outgoing(local, path.Remote)
		if err != nil {
			return nil, err
		}
		if s.take(through) {
			ports = append(ports, uint16(port))
		}
		if len(ports) == flows {
			return ports, nil
		}
	}
	return nil, fmt.Errorf("ports above %d lead to %d tunnels only", path.Local.Port(), len(s.taken))
}

// shares is how many flows each tunnel may still have: all of them the same
// number, and a few one more.
type shares struct {
	each, more int
	taken      map[int]int // By interface.
}

func newShares(flows, tunnels int) *shares {
	return &shares{each: flows / tunnels, more: flows % tunnels, taken: map[int]int{}}
}

// take says whether the tunnel behind the interface takes one more.
func (s *shares) take(through int) bool {
	switch had := s.taken[through]; {
	case had < s.each:
	case had == s.each && s.more > 0:
		s.more--
	default:
		return false
	}
	s.taken[through]++
	return true
}
