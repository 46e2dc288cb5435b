package bundle_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/bundle"
	"tunnelmark/tunnel/tunneltest"
)

func ports(t *testing.T, of tunnel.Tunnel, count int) []uint16 {
	t.Helper()
	path := of.Path()
	got, err := bundle.Ports(of, path.Local, path.Remote, count)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// What the kernel says of a port is what it then does.
func TestPortsSpreadEvenly(t *testing.T) {
	for _, inside := range []string{"IPv4", "IPv6"} {
		t.Run(inside, func(t *testing.T) {
			e := openESP(t, tunnels, inside == "IPv6")
			for _, test := range []struct {
				flows int
				want  []uint64 // Flows per tunnel, sorted.
			}{
				{1, []uint64{0, 0, 0, 1}},
				{3, []uint64{0, 1, 1, 1}},
				{4, []uint64{1, 1, 1, 1}},
				{10, []uint64{2, 2, 3, 3}},
				{64, []uint64{16, 16, 16, 16}},
			} {
				expectShares(t, e.left, e.right, test.flows, test.want)
				expectShares(t, e.right, e.left, test.flows, test.want)
			}
		})
	}
}

func expectShares(t *testing.T, from, to tunnel.Tunnel, flows int, want []uint64) {
	t.Helper()
	before, path, chosen := count(t, from), from.Path(), ports(t, from, flows)
	sink := listen(t, to.Path().Namespace, path.Remote)
	defer sink.Close()
	for i, port := range chosen {
		source := tunneltest.Dial(t, path.Namespace, netip.AddrPortFrom(path.Local.Addr(), port), path.Remote)
		exchange(t, source, sink, uint64(i), 100)
		_ = source.Close()
	}
	got := sent(settled(t, from, before, uint64(flows)), before)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%d flows from %s: packets per tunnel (-want +got):\n%s", flows, path.Local, diff)
	}
	if diff := cmp.Diff(chosen, ports(t, from, flows)); diff != "" {
		t.Errorf("%d flows from %s: ports when asked again (-first +second):\n%s", flows, path.Local, diff)
	}
}

func TestPortsOfOneTunnel(t *testing.T) {
	e := openESP(t, 1, false)
	want := []uint16{tunnel.ProbePort, tunnel.ProbePort + 1, tunnel.ProbePort + 2}
	if diff := cmp.Diff(want, ports(t, e.left, 3)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, err := bundle.Ports(e.left, e.left.Path().Local, e.left.Path().Remote, 1<<16); err == nil {
		t.Errorf("got %d ports for more flows than there are ports", len(got))
	}
}
