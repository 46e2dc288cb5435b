//go:build kernel

package wireguard_test

import (
	"context"
	"net"
	"testing"
	"time"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
	"tunnelmark/tunnel/tunneltest"
	"tunnelmark/tunnel/wireguard"
)

func TestKernelConformance(t *testing.T)      { runSuite(t, wireguard.Kernel{}) }
func TestKernelNeighbours(t *testing.T)       { checkNeighbours(t, wireguard.Kernel{}) }
func TestKernelSegmentsCount(t *testing.T)    { checkSegmentsCount(t, wireguard.Kernel{}) }
func TestKernelTakenPort(t *testing.T)        { checkTakenPort(t, wireguard.Kernel{}) }
func TestKernelKeysAreNotShown(t *testing.T)  { checkKeysAreNotShown(t, wireguard.Kernel{}) }
func TestKernelDetails(t *testing.T)          { checkDetails(t, wireguard.Kernel{}, "kernel 6.") }
func TestKernelAwaitWithoutPeer(t *testing.T) { checkAwaitWithoutPeer(t, wireguard.Kernel{}) }
func TestKernelKilled(t *testing.T)           { checkKilled(t, wireguard.Kernel{}) }

// TestKernelMeetsUser has each implementation at one end, and each open first.
func TestKernelMeetsUser(t *testing.T) {
	t.Run("kernel first, over IPv4", func(t *testing.T) { checkMixed(t, mixed{kernelFirst: true}, overhead.IPv4) })
	t.Run("wireguard-go first, over IPv6", func(t *testing.T) { checkMixed(t, mixed{kernelFirst: false}, overhead.IPv6) })
}

func checkMixed(t *testing.T, driver mixed, outer overhead.IPVersion) {
	link := tunneltest.NewLink(t, tunneltest.PathMTU)
	pair := link.OpenPair(t, driver, template(t, outer), outer == overhead.IPv6, "mixed")
	left, right := pair.DialPath(t)
	want := tunnel.Counters{}
	for _, length := range []int{0, 1, 100, pair.Left.Path().MTU - 20 - 8} {
		pass(t, left, right, length)
		pass(t, right, left, length)
		want.OutPackets, want.InPackets = want.OutPackets+1, want.InPackets+1
		want.OutInnerBytes += uint64(20 + 8 + length)
		want.InInnerBytes = want.OutInnerBytes
	}
	expectCounters(t, pair.Left, want)
	expectCounters(t, pair.Right, want)
}

func pass(t *testing.T, from, to *net.UDPConn, length int) {
	t.Helper()
	if _, err := from.Write(make([]byte, length)); err != nil {
		t.Fatal(err)
	}
	_ = to.SetReadDeadline(time.Now().Add(patience))
	if n, err := to.Read(make([]byte, length+1)); err != nil || n != length {
		t.Fatalf("got %d bytes, %v; want %d", n, err, length)
	}
}

// mixed is one implementation at the left end, which has the lower address and
// opens first, and the other at the right.
type mixed struct {
	kernelFirst bool
}

func (m mixed) at(spec tunnel.Spec) tunnel.Driver {
	if m.kernelFirst == spec.Local.Outer.Addr().Less(spec.Remote.Outer.Addr()) {
		return wireguard.Kernel{}
	}
	return wireguard.User{}
}

func (m mixed) Check(spec tunnel.Spec) error { return m.at(spec).Check(spec) }

func (m mixed) Open(ctx context.Context, spec tunnel.Spec, keys tunnel.Keys, place tunnel.Place) (tunnel.Tunnel, error) {
	return m.at(spec).Open(ctx, spec, keys, place)
}
