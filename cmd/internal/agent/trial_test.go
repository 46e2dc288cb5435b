package agent

import (
	"errors"
	"net"
	"testing"

	"tunnelmark/probe"
	"tunnelmark/probe/udp"
	"tunnelmark/probe/wire"
	"tunnelmark/tunnel"
	"tunnelmark/tunnel/esp"
	"tunnelmark/tunnel/tunneltest"
)

// The sockets that both ends open for a trial fit together.
func TestSocketsOfATrial(t *testing.T) {
	spec := tunnel.Spec{Suite: tunnel.AES128GCM, Encapsulation: tunnel.UDP, MTU: 1400}
	pair := tunneltest.NewLink(t, tunneltest.PathMTU).OpenPair(t, esp.Driver{}, spec, false, "flows")
	key, err := wire.NewKey([]byte("a key for tests, of 32 bytes ..."))
	if err != nil {
		t.Fatal(err)
	}
	for _, flows := range []int{1, 5} {
		from := opened(t, dial, pair.Left.Tunnel, flows)
		to := opened(t, listen, pair.Right.Tunnel, flows)
		if len(from) != flows || len(to) != 1 {
			t.Fatalf("%d flows: got %d sending and %d receiving sockets", flows, len(from), len(to))
		}
		trial := udp.Trial{Key: key, Number: uint8(flows), Peer: pair.Right.Path().Remote.Addr()}
		load := probe.Load{Packets: 50, InnerSize: 1400, Flows: flows}
		received := make(chan probe.Received, 1)
		var receiveErr error
		go func() {
			var got probe.Received
			got, receiveErr = udp.Receive(t.Context(), to[0], trial, load, nil)
			received <- got
		}()
		sent, err := udp.Send(t.Context(), from, trial, load, nil)
		got := <-received
		if err := errors.Join(err, receiveErr); err != nil || sent.Packets != 50 || got.Packets != 50 {
			t.Errorf("%d flows: sent %d and received %d packets (%v), want 50", flows, sent.Packets, got.Packets, err)
		}
		_ = closeAll(append(from, to...))
	}
}

func opened(t *testing.T, open opening, half tunnel.Tunnel, flows int) []*net.UDPConn {
	t.Helper()
	conns, err := open(half, flows)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = closeAll(conns) })
	return conns
}
