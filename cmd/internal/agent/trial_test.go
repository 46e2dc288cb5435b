package agent

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"tunnelmark/probe"
	"tunnelmark/probe/udp"
	"tunnelmark/probe/wire"
	"tunnelmark/tunnel"
	"tunnelmark/tunnel/esp"
	"tunnelmark/tunnel/tunneltest"
)

// The sockets that both ends open for a trial fit together, in both directions at
// once.
func TestSocketsOfATrial(t *testing.T) {
	spec := tunnel.Spec{Suite: tunnel.AES128GCM, Encapsulation: tunnel.UDP, MTU: 1400}
	pair := tunneltest.NewLink(t, tunneltest.PathMTU).OpenPair(t, esp.Driver{}, spec, false, "flows")
	for name, load := range map[string]probe.Load{
		"one flow":   {},
		"five flows": {Flows: 5},
		"lanes":      {Flows: 40, Lanes: 3},
		"new flows":  {Flows: 4, NewFlowsPerSecond: 20},
	} {
		load.InnerBitsPerSecond, load.Duration, load.Mix = 5e6, 200*time.Millisecond, probe.Fixed(1400)
		t.Run(name, func(t *testing.T) {
			there := make(chan error, 1)
			go func() { there <- carry(t, pair.Left.Tunnel, pair.Right.Tunnel, false, load) }()
			if err := errors.Join(carry(t, pair.Right.Tunnel, pair.Left.Tunnel, true, load), <-there); err != nil {
				t.Error(err)
			}
		})
	}
}

// A port that somebody on the host has is no reason to do without the flow.
func TestFlowsBesideOthers(t *testing.T) {
	spec := tunnel.Spec{Suite: tunnel.AES128GCM, Encapsulation: tunnel.UDP, MTU: 1400}
	pair := tunneltest.NewLink(t, tunneltest.PathMTU).OpenPair(t, esp.Driver{}, spec, false, "taken")
	path := pair.Left.Path()
	var theirs *net.UDPConn
	if err := path.Namespace.Do(func() (err error) {
		theirs, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(path.Local.Addr(), path.Local.Port()+flowPorts+1)))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	open, err := sockets{half: pair.Left.Tunnel, path: path}.flows(probe.Load{Flows: 3})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []uint16{0, 2, 3} {
		conn, err := open(0)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if got := conn.LocalAddr().(*net.UDPAddr).AddrPort().Port() - path.Local.Port() - flowPorts; got != want {
			t.Errorf("a flow from port %d, want %d", got, want)
		}
	}
}

func TestNumberOf(t *testing.T) {
	if there, back := numberOf(300, false), numberOf(300, true); there != 44 || back != 44|128 {
		t.Errorf("there %d, back %d", there, back)
	}
}

// carry sends a load from one half to the other, and wants all of it there.
func carry(t *testing.T, from, to tunnel.Tunnel, back bool, load probe.Load) error {
	key, err := wire.NewKey([]byte("a key for tests, of 32 bytes ..."))
	if err != nil {
		return err
	}
	trial := udp.Trial{Key: key, Number: 1, Peer: to.Path().Remote.Addr()}
	open, err := sockets{half: from, path: from.Path(), back: back}.flows(load)
	if err != nil {
		return err
	}
	inlets, err := sockets{half: to, path: to.Path(), back: back}.inlets(load)
	if err != nil {
		return err
	}
	defer closeAll(inlets)
	received, receiveErr := probe.Received{}, make(chan error, 1)
	go func() {
		var err error
		received, err = udp.Receive(t.Context(), inlets, trial, load, nil)
		receiveErr <- err
	}()
	sent, err := udp.Send(t.Context(), open, trial, load, nil)
	if err := errors.Join(err, <-receiveErr); err != nil {
		return err
	}
	if sent.Packets == 0 || received.Packets != sent.Packets || len(received.PerFlow) != load.FlowCount() {
		t.Errorf("back %v: sent %d packets, received %d on %d flows", back, sent.Packets, received.Packets, len(received.PerFlow))
	}
	return nil
}

// A path for one flow takes nothing else.
func TestOneFlowOnly(t *testing.T) {
	s := sockets{path: tunnel.Path{OneFlow: true}}
	back := s
	back.back = true
	for name, open := range map[string]func() error{
		"two flows": func() error { _, err := s.flows(probe.Load{Flows: 2}); return err },
		"new flows": func() error { _, err := s.flows(probe.Load{NewFlowsPerSecond: 1}); return err },
		"back":      func() error { _, err := back.flows(probe.Load{}); return err },
		"inlets":    func() error { _, err := s.inlets(probe.Load{Flows: 2}); return err },
		"probe":     func() error { _, err := s.dialOffset(latencyPort); return err },
		"listening": func() error { _, err := s.listenTCP(t.Context(), loadPort, nil); return err },
		"dialing":   func() error { _, err := s.dialTCP(t.Context(), loadPort, nil); return err },
	} {
		if err := open(); !errors.Is(err, errOneFlow) {
			t.Errorf("%s: %v, want %v", name, err, errOneFlow)
		}
	}
}
