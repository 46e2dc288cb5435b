package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/analysis"
	"tunnelmark/analysis/capacity"
	"tunnelmark/analysis/report"
)

// found is the smallest result of a search.
func found(size int) report.Result {
	return report.Result{
		Kind: report.Find, Path: report.Path{From: "dc-a", To: "dc-b"},
		Tunnel: report.Tunnel{Driver: "esp", Suite: "aes-128-gcm", Encapsulation: "udp", Count: 1, InnerMTU: 1438, OuterFamily: "ipv4"},
		Size:   report.Size{Inner: size, Outer: size + 64},
		Ceiling: &analysis.Ceiling{
			Manner: analysis.Overload, LossGoal: 0.001, Qualified: true, InnerSize: size, OuterSize: size + 64,
			InnerLowerBitsPerSecond: 333e6, InnerUpperBitsPerSecond: 336e6, InnerBitsPerSecond: 334.7e6,
		},
		Verdict: &analysis.Verdict{Cause: analysis.Policer},
	}
}

// ran is the result of run --bidir -u: what was sent and received there and back.
func ran(packets ...[2]uint64) report.Result {
	r := report.Result{Kind: report.Run, Path: report.Path{From: "dc-a", To: "dc-b"}}
	for i, p := range packets {
		r.Trials = append(r.Trials, analysis.Trial{Reverse: i == 1, InnerSize: 1000, Sent: p[0], Received: p[1], Elapsed: time.Second})
	}
	return r
}

func TestMeasuredFrom(t *testing.T) {
	r := found(1400)
	want := capacity.Measured{
		From: "dc-a", To: "dc-b", Ceiling: r.Ceiling,
		Setup: capacity.Setup{Driver: "esp", Suite: "aes-128-gcm", Encapsulation: "udp", Tunnels: 1, InnerMTU: 1438},
	}
	if diff := cmp.Diff(want, measuredFrom(r)); diff != "" {
		t.Errorf("a search (-want +got):\n%s", diff)
	}
	r.Latencies = []analysis.Latency{{}}
	if measuredFrom(r).Latency {
		t.Error("an idle path's round trips count as latency under load")
	}
	r.Latencies = append(r.Latencies, analysis.Latency{Share: 0.5})
	if !measuredFrom(r).Latency {
		t.Error("latency under load is not seen")
	}
	load := ran([2]uint64{10, 10})
	load.Trials[0].Latency = &analysis.Latency{}
	if m := measuredFrom(load); !m.Latency || m.Ceiling != nil {
		t.Errorf("a fixed load with a probe beside it: %+v", m)
	}
}

// All drivers are told of in one note; those that measure what their user will have in
// none.
func TestCaveat(t *testing.T) {
	var results []report.Result
	for _, driver := range []string{"xfrm", "esp", "esp", "from tomorrow", "wireguard-user"} {
		r := found(1400)
		r.Tunnel.Driver = driver
		results = append(results, r)
	}
	got := caveat(results)
	if len(got) != 1 || !strings.HasPrefix(got[0], "Drivers esp and wireguard-user are in user space: ") {
		t.Errorf("got %q, want one note of esp and wireguard-user", got)
	}
	if got := caveat(results[:1]); len(got) != 0 {
		t.Errorf("of xfrm: %q", got)
	}
}

// Only what both directions carried at once, within the loss goal, tells of both.
func TestBothWays(t *testing.T) {
	for name, c := range map[string]struct {
		trials []analysis.Trial
		rate   float64
		size   int
	}{
		"none":             {nil, 0, 0},
		"one way":          {ran([2]uint64{10_000, 10_000}).Trials, 0, 0},
		"both":             {ran([2]uint64{10_000, 10_000}, [2]uint64{20_000, 19_990}).Trials, 8 * 1000 * 29_990, 1000},
		"one lost":         {ran([2]uint64{10_000, 10_000}, [2]uint64{20_000, 19_000}).Trials, 0, 0},
		"one got nothing":  {ran([2]uint64{10_000, 10_000}, [2]uint64{0, 0}).Trials, 0, 0},
		"twice the same":   {append(ran([2]uint64{10, 10}).Trials, ran([2]uint64{10, 10}).Trials...), 0, 0},
		"more than a pair": {append(ran([2]uint64{10, 10}, [2]uint64{10, 10}).Trials, ran([2]uint64{10, 10}).Trials...), 0, 0},
	} {
		if rate, size := bothWays(c.trials); rate != c.rate || size != c.size {
			t.Errorf("%s: %g bit/s of %d B, want %g of %d", name, rate, size, c.rate, c.size)
		}
	}
	differing := ran([2]uint64{10, 10}, [2]uint64{10, 10}).Trials
	differing[1].InnerSize = 500
	if rate, size := bothWays(differing); rate != 8*10*1500 || size != 0 {
		t.Errorf("of different sizes: %g bit/s of %d B", rate, size)
	}
}

func TestMeasuredNames(t *testing.T) {
	if all := measured("one.json", []report.Result{found(1400)}); all[0].Name != "one.json" {
		t.Errorf("named %q", all[0].Name)
	}
	if all := measured("-", []report.Result{found(512), found(1400)}); all[1].Name != "standard input, result 2" {
		t.Errorf("named %q", all[1].Name)
	}
}

// A remedy is held against today's tunnel with packets of the same size.
func TestRemedyOf(t *testing.T) {
	today := found(1400)
	for name, c := range map[string]struct {
		results []report.Result
		want    string // Of its error; or it is of today's size.
	}{
		"the same size":        {[]report.Result{found(1400)}, ""},
		"one of several":       {[]report.Result{found(512), found(1400), ran()}, ""},
		"fixed loads":          {[]report.Result{ran()}, "no ceiling"},
		"several, but not it":  {[]report.Result{found(512), found(1000)}, "holds 0 ceilings of today's packets, which have 1400 B; want one"},
		"several of that size": {[]report.Result{found(1400), found(1400)}, "holds 2 ceilings"},
	} {
		got, err := remedyOf("x.json", c.results, today)
		switch {
		case c.want == "" && (err != nil || got[0].Ceiling.InnerSize != 1400):
			t.Errorf("%s: %+v, %v", name, got, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
	}
	if got, err := remedyOf("x.json", []report.Result{found(512)}, today); err != nil || got[0].Ceiling.InnerSize != 512 {
		t.Errorf("one of another size alone: %+v, %v", got, err)
	}
}

func written(t *testing.T, results ...report.Result) []byte {
	t.Helper()
	var out bytes.Buffer
	for _, r := range results {
		if err := report.WriteJSON(&out, r); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}
