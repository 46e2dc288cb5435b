package bundle

import (
	"fmt"
	"math"
	"net/netip"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/inner"
)

// Ports are source ports, from local's on, for flows that enter t at the local
// address and go to the remote one, spread over the tunnels as evenly as can be: a
// hash alone would give one tunnel twice as many as another, and their sum would be
// full as soon as that one is. They are the same whenever they are asked for.
//
// A tunnel that stands alone takes the port and those behind it.
func Ports(t tunnel.Tunnel, local, remote netip.AddrPort, flows int) ([]uint16, error) {
	tunnels := 1
	if b, several := t.(*bundle); several {
		tunnels = len(b.halves)
	}
	if tunnels == 1 || flows == 1 {
		return portsBehind(local.Port(), flows)
	}
	var ports []uint16
	err := t.Path().Namespace.Do(func() (err error) {
		ports, err = spreadPorts(local, remote, flows, tunnels)
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
func spreadPorts(local, remote netip.AddrPort, flows, tunnels int) ([]uint16, error) {
	ports, s := make([]uint16, 0, flows), newShares(flows, tunnels)
	for port := int(local.Port()); port <= math.MaxUint16; port++ {
		through, err := inner.Outgoing(netip.AddrPortFrom(local.Addr(), uint16(port)), remote)
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
	return nil, fmt.Errorf("ports from %d on lead to %d tunnels only", local.Port(), len(s.taken))
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
