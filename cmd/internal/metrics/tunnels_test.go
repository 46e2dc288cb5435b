package metrics

import (
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"tunnelmark/tunnel"
)

var tunnelNames = []string{
	"tunnelmark_tunnel_packets_total", "tunnelmark_tunnel_inner_bytes_total",
	"tunnelmark_tunnel_dropped_packets_total", "tunnelmark_tunnel_outer_errors_total",
}

const wantTunnels = `
# HELP tunnelmark_tunnel_dropped_packets_total Packets that ended in a tunnel, each for one reason.
# TYPE tunnelmark_tunnel_dropped_packets_total counter
tunnelmark_tunnel_dropped_packets_total{driver="esp",reason="bad_icv"} 7
tunnelmark_tunnel_dropped_packets_total{driver="esp",reason="congested"} 15
tunnelmark_tunnel_dropped_packets_total{driver="esp",reason="deliver_refused"} 11
tunnelmark_tunnel_dropped_packets_total{driver="esp",reason="in_overrun"} 13
tunnelmark_tunnel_dropped_packets_total{driver="esp",reason="malformed"} 5
tunnelmark_tunnel_dropped_packets_total{driver="esp",reason="out_overrun"} 12
tunnelmark_tunnel_dropped_packets_total{driver="esp",reason="replayed"} 8
tunnelmark_tunnel_dropped_packets_total{driver="esp",reason="send_refused"} 10
tunnelmark_tunnel_dropped_packets_total{driver="esp",reason="unknown_spi"} 6
tunnelmark_tunnel_dropped_packets_total{driver="esp",reason="wrong_selectors"} 9
# HELP tunnelmark_tunnel_inner_bytes_total Bytes of these packets inside the tunnel.
# TYPE tunnelmark_tunnel_inner_bytes_total counter
tunnelmark_tunnel_inner_bytes_total{direction="in",driver="esp"} 4
tunnelmark_tunnel_inner_bytes_total{direction="out",driver="esp"} 2
# HELP tunnelmark_tunnel_outer_errors_total What the outer network reported about packets sent before, such as ICMP port unreachable.
# TYPE tunnelmark_tunnel_outer_errors_total counter
tunnelmark_tunnel_outer_errors_total{driver="esp"} 14
# HELP tunnelmark_tunnel_packets_total Packets that tunnels have sealed and sent (out), or received, opened and delivered (in).
# TYPE tunnelmark_tunnel_packets_total counter
tunnelmark_tunnel_packets_total{direction="in",driver="esp"} 3
tunnelmark_tunnel_packets_total{direction="out",driver="esp"} 1
`

func TestTunnels(t *testing.T) {
	counters := map[string]tunnel.Counters{}
	m := New("v1")
	m.WatchTunnels(func() map[string]tunnel.Counters { return counters })
	if count, err := testutil.GatherAndCount(m.registry, tunnelNames...); err != nil || count != 0 {
		t.Errorf("%d series before the first tunnel, %v, want none", count, err)
	}
	counters["esp"] = tunnel.Counters{
		OutPackets: 1, OutInnerBytes: 2, InPackets: 3, InInnerBytes: 4,
		Malformed: 5, UnknownSPI: 6, BadICV: 7, Replayed: 8, WrongSelectors: 9, Congested: 15,
		SendRefused: 10, DeliverRefused: 11, OutOverrun: 12, InOverrun: 13, OuterErrors: 14,
	}
	if err := testutil.GatherAndCompare(m.registry, strings.NewReader(wantTunnels), tunnelNames...); err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(m.registry, tunnelNames...)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// Every counter has a series, also one that is new.
func TestTunnelsShowAll(t *testing.T) {
	m := New("v1")
	m.WatchTunnels(func() map[string]tunnel.Counters { return map[string]tunnel.Counters{"esp": {}} })
	count, err := testutil.GatherAndCount(m.registry, tunnelNames...)
	if want := 5 + len(tunnel.Counters{}.Drops()); err != nil || count != want {
		t.Errorf("%d series, %v, want %d", count, err, want)
	}
}

// README.md lists every metric of ours.
func TestReadmeListsAll(t *testing.T) {
	m := used()
	m.WatchTunnels(func() map[string]tunnel.Counters { return map[string]tunnel.Counters{"esp": {}} })
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if name, ours := strings.CutPrefix(family.GetName(), "tunnelmark_"); ours && !strings.Contains(string(readme), "`"+name+"`") {
			t.Errorf("README.md does not list %s", name)
		}
	}
}
