package agent

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"tunnelmark/probe"
	"tunnelmark/probe/udp"
	"tunnelmark/tunnel"
	"tunnelmark/tunnel/bundle"
)

// A path has one port at each end. What else a trial sends goes between ports
// behind it, the same number of places at both ends, so that both know them
// without a word. The load that goes back while one goes there has all of its own.
const (
	loadPort    = 0
	latencyPort = 2
	pathMTUPort = 4
	mssPort     = 6 // Of TCP, where the load has loadPort.
	backPort    = 1 // To add for what goes back.

	lanePort     = 16 // Of the second lane; the first has loadPort.
	backLanePort = lanePort + probe.MaxLanes

	// flowPorts is where source ports of several flows begin. They may be those of
	// both directions and of all lanes: these differ in where they go.
	flowPorts = backLanePort + probe.MaxLanes
)

// errOneFlow says that a tunnel is for nothing but a trial's one flow of UDP.
var errOneFlow = errors.New("here a tunnel is for the one flow of UDP between its two ports, and what else a trial sends would go past it")

// sockets opens what a trial sends and receives by, where load enters the tunnel.
type sockets struct {
	half tunnel.Tunnel
	path tunnel.Path
	back bool
}

// only refuses whatever is not the one flow of a path that takes no other.
func (s sockets) only(theFlow bool) error {
	if s.path.OneFlow && !theFlow {
		return errOneFlow
	}
	return nil
}

// at is a pair of ports behind the path's own.
func (s sockets) at(offset int) (local, remote netip.AddrPort, err error) {
	if s.back && offset < lanePort {
		offset += backPort
	}
	local, err = behind(s.path.Local, offset)
	if err != nil {
		return local, remote, err
	}
	remote, err = behind(s.path.Remote, offset)
	return local, remote, err
}

func behind(address netip.AddrPort, offset int) (netip.AddrPort, error) {
	port := int(address.Port()) + offset
	if port > math.MaxUint16 {
		return netip.AddrPort{}, fmt.Errorf("port %d behind %s: there is none", offset, address)
	}
	return netip.AddrPortFrom(address.Addr(), uint16(port)), nil
}

// lane is the pair of ports of a lane's first or only flow.
func (s sockets) lane(lane int) (local, remote netip.AddrPort, err error) {
	switch {
	case lane == 0:
		return s.at(loadPort)
	case s.back:
		return s.at(backLanePort + lane - 1)
	}
	return s.at(lanePort + lane - 1)
}

// dialUDP opens a connected socket between two ports of the path.
func (s sockets) dialUDP(local, remote netip.AddrPort) (conn *net.UDPConn, err error) {
	err = s.path.Namespace.Do(func() error {
		dialer := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(local), Control: shared}
		dialed, err := dialer.Dial("udp", remote.String())
		if err == nil {
			conn = dialed.(*net.UDPConn)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open the trial's socket: %w", err)
	}
	return conn, nil
}

// dialOffset opens a socket between the ports of one purpose.
func (s sockets) dialOffset(offset int) (*net.UDPConn, error) {
	if err := s.only(false); err != nil {
		return nil, err
	}
	local, remote, err := s.at(offset)
	if err != nil {
		return nil, err
	}
	return s.dialUDP(local, remote)
}

// shared lets sockets with the same port at this end go to different ones at the
// other.
func shared(_, _ string, raw syscall.RawConn) (err error) {
	control := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	})
	return errors.Join(control, err)
}

// flows opens a socket for each flow of a load, when it is asked for. The flows of
// a lane are spread over tunnels side by side.
func (s sockets) flows(l probe.Load) (udp.Open, error) {
	count := l.FlowCount()
	if err := s.only(count == 1 && !s.back && l.NewFlowsPerSecond == 0); err != nil {
		return nil, err
	}
	if count == 1 && l.NewFlowsPerSecond == 0 {
		return func(int) (*net.UDPConn, error) {
			local, remote, err := s.at(loadPort)
			if err != nil {
				return nil, err
			}
			return s.dialUDP(local, remote)
		}, nil
	}
	sources := make([]*sourcePorts, l.LaneCount())
	for lane := range sources {
		_, remote, err := s.lane(lane)
		if err != nil {
			return nil, err
		}
		local, err := behind(s.path.Local, flowPorts)
		if err != nil {
			return nil, err
		}
		first, err := bundle.Ports(s.half, local, remote, (count+len(sources)-1)/len(sources))
		if err != nil {
			return nil, err
		}
		sources[lane] = &sourcePorts{first: first, address: local, remote: remote}
	}
	return func(lane int) (conn *net.UDPConn, err error) {
		for range mostTaken {
			local, remote := sources[lane].next()
			if conn, err = s.dialUDP(local, remote); !errors.Is(err, unix.EADDRINUSE) {
				return conn, err
			}
		}
		return nil, err
	}, nil
}

// mostTaken is how many source ports of a flow may be somebody else's, where flows leave
// from the host's own address, until none is looked for any more.
const mostTaken = 100

// sourcePorts are those of one lane's flows: at first those that spread well, then
// whichever comes next, for flows that replace others.
type sourcePorts struct {
	first           []uint16
	address, remote netip.AddrPort // Address holds the first port of all.

	mu    sync.Mutex // Guards what follows.
	given int
}

func (p *sourcePorts) next() (local, remote netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	port := p.address.Port()
	switch behind := p.given - len(p.first); {
	case behind < 0:
		port = p.first[p.given]
	default:
		last := p.first[len(p.first)-1]
		room := math.MaxUint16 - int(last)
		if room == 0 {
			last, room = port, math.MaxUint16-int(port)
		}
		port = last + 1 + uint16(behind%room)
	}
	p.given++
	return netip.AddrPortFrom(p.address.Addr(), port), p.remote
}

// inlets are the receiving end's sockets, one for each lane. Where several flows
// come from as many ports, they are not connected to one: udp.Receive then holds
// them to the peer's address itself.
func (s sockets) inlets(l probe.Load) (conns []*net.UDPConn, err error) {
	one := l.Flows <= 1 && l.NewFlowsPerSecond == 0
	if err := s.only(one && !s.back); err != nil {
		return nil, err
	}
	for lane := range l.LaneCount() {
		local, remote, err := s.lane(lane)
		var conn *net.UDPConn
		switch {
		case err != nil:
		case one:
			conn, err = s.dialUDP(local, remote)
		default:
			conn, err = s.listenUDP(local)
		}
		if err != nil {
			return nil, errors.Join(err, closeAll(conns))
		}
		conns = append(conns, conn)
	}
	return conns, nil
}

func (s sockets) listenUDP(local netip.AddrPort) (conn *net.UDPConn, err error) {
	err = s.path.Namespace.Do(func() error {
		config := net.ListenConfig{Control: shared}
		packets, err := config.ListenPacket(context.Background(), "udp", local.String())
		if err == nil {
			conn = packets.(*net.UDPConn)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open the trial's socket: %w", err)
	}
	return conn, nil
}

// prepare sets a socket up before it is connected or listens.
type prepare func(network, address string, raw syscall.RawConn) error

// listenTCP waits for the connections of a load, or of one purpose.
func (s sockets) listenTCP(ctx context.Context, offset int, prepare prepare) (listener *net.TCPListener, err error) {
	if err := s.only(false); err != nil {
		return nil, err
	}
	local, _, err := s.at(offset)
	if err != nil {
		return nil, err
	}
	err = s.path.Namespace.Do(func() error {
		config := net.ListenConfig{Control: prepare}
		config.SetMultipathTCP(false) // It is one path that is measured.
		listening, err := config.Listen(ctx, "tcp", local.String())
		if err == nil {
			listener = listening.(*net.TCPListener)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen for the trial's connections: %w", err)
	}
	return listener, nil
}

// dialTCP opens a connection, from a port of the kernel's choice.
func (s sockets) dialTCP(ctx context.Context, offset int, prepare prepare) (conn *net.TCPConn, err error) {
	if err := s.only(false); err != nil {
		return nil, err
	}
	_, remote, err := s.at(offset)
	if err != nil {
		return nil, err
	}
	err = s.path.Namespace.Do(func() error {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: s.path.Local.Addr().AsSlice()}, Control: prepare}
		dialer.SetMultipathTCP(false)
		dialed, err := dialer.DialContext(ctx, "tcp", remote.String())
		if err == nil {
			conn = dialed.(*net.TCPConn)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("connect to the peer: %w", err)
	}
	return conn, nil
}
