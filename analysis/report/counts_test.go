package report

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/analysis"
)

// Each end's counts are its own, whichever way a load went; loads that ran at the
// same time are not counted twice.
func TestCounts(t *testing.T) {
	half := func(out, in uint64) analysis.TunnelCounts {
		return analysis.TunnelCounts{OutPackets: out, InPackets: in}
	}
	there := analysis.Trial{SenderTunnel: half(10, 1), ReceiverTunnel: half(2, 9)}
	back := analysis.Trial{Reverse: true, SenderTunnel: half(2, 9), ReceiverTunnel: half(10, 1)}
	tcp := analysis.TCPTrial{Reverse: true, SenderTunnel: half(100, 0), ReceiverTunnel: half(0, 100)}
	for _, test := range []struct {
		name   string
		result Result
		want   [][2]uint64 // Out and in, of a and of b.
	}{
		{"nobody counted", Result{Trials: []analysis.Trial{{Sent: 7}}}, nil},
		{"one cannot count", Result{Trials: []analysis.Trial{{SenderTunnel: half(10, 1)}}}, [][2]uint64{{10, 1}}},
		{"there", Result{Trials: []analysis.Trial{there, there}}, [][2]uint64{{20, 2}, {4, 18}}},
		{"back", Result{Trials: []analysis.Trial{back}}, [][2]uint64{{10, 1}, {2, 9}}},
		{"both at once", Result{Trials: []analysis.Trial{there, back}}, [][2]uint64{{10, 1}, {2, 9}}},
		{"TCP", Result{TCP: []analysis.TCPTrial{tcp}}, [][2]uint64{{0, 100}, {100, 0}}},
		{"a search", Result{Ceiling: &analysis.Ceiling{Steps: []analysis.Step{{Trial: there}, {Trial: there}, {Trial: there}}}}, [][2]uint64{{30, 3}, {6, 27}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.result.Path = Path{From: "a", To: "b"}
			var got [][2]uint64
			for _, end := range test.result.counts() {
				got = append(got, [2]uint64{end.OutPackets, end.InPackets})
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What no half counted is no row of the page, but packets and bytes are.
func TestCountTableLeavesZerosOut(t *testing.T) {
	half := analysis.TunnelCounts{OutPackets: 10, Dropped: map[string]uint64{"replayed": 0, "bad_icv": 1}}
	table := Result{Trials: []analysis.Trial{{SenderTunnel: half, ReceiverTunnel: half}}}.countTable()
	var got []string
	for _, row := range table.Rows {
		got = append(got, row.Name)
	}
	want := []string{"Packets out", "Inner bytes out", "Packets in", "Inner bytes in", "Dropped with a bad ICV"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDescribeDrops(t *testing.T) {
	for name, c := range map[string]struct {
		dropped map[string]uint64
		want    string
	}{
		"none":           {nil, ""},
		"a zero":         {map[string]uint64{"replayed": 0}, ""},
		"the most first": {map[string]uint64{"malformed": 2, "bad_icv": 3000, "replayed": 2}, "3,000 with a bad ICV, 2 malformed, 2 replayed"},
		"a new reason":   {map[string]uint64{"too_blue": 1}, "1 for the reason too_blue"},
	} {
		if got := describeDrops(c.dropped); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// The keys by which programs find the counts of each end.
func TestCountsInJSON(t *testing.T) {
	var got struct {
		Trials []struct {
			Sender   map[string]any `json:"sender_tunnel"`
			Receiver map[string]any `json:"receiver_tunnel"`
		} `json:"trials"`
	}
	if err := json.Unmarshal(output(t, WriteJSON, mixedResult()), &got); err != nil {
		t.Fatal(err)
	}
	wantReceiver := map[string]any{
		"out_packets": 0.0, "out_inner_bytes": 0.0, "in_packets": 89595.0, "in_inner_bytes": 89595.0 * innerSize,
		"dropped_packets": map[string]any{"bad_icv": 1.0, "in_overrun": 7.0},
	}
	if diff := cmp.Diff(wantReceiver, got.Trials[0].Receiver); diff != "" {
		t.Errorf("receiver (-want +got):\n%s", diff)
	}
	if got.Trials[0].Sender["outer_errors"] != 2.0 {
		t.Errorf("sender: %v", got.Trials[0].Sender)
	}
}

// A trial's remarks give the reasons, of both ends together.
func TestRemarksGiveReasons(t *testing.T) {
	page := string(output(t, WriteHTML, mixedResult()))
	for _, want := range []string{
		"9 dropped in the tunnel (7 in the outer socket’s full queue, 1 with a bad ICV, 1 in the clear side’s full queue)",
		`<th scope="row" class="words">Dropped with a bad ICV</th><td class="num">0</td><td class="num">1</td>`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("page has no %q", want)
		}
	}
}
