package controller

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
	"tunnelmark/cmd/internal/control"
)

// hub is one agent with a path to each of several others, all of them fakes. The
// hub's own fake is there once for each path, under one name.
type hub struct {
	plans   []FindPlan
	alone   []float64
	near    []*fakeAgent
	far     []*fakeAgent
	carries []float64 // By each path, inner bit/s.
}

func newHub(t *testing.T, carries ...float64) *hub {
	t.Helper()
	h := &hub{alone: carries, carries: carries}
	for i, rate := range carries {
		path := newFakePath()
		path.innerBitsPerSecond = rate
		near := &fakeAgent{name: "hub", path: path}
		far := &fakeAgent{name: string(rune('b' + i)), path: path}
		h.near, h.far = append(h.near, near), append(h.far, far)
		h.plans = append(h.plans, FindPlan{
			Plan: Plan{From: near.serve(t), To: far.serve(t), Spec: DefaultSpec(), Tell: func(string) {}},
			Size: 1400,
		})
	}
	return h
}

func (h *hub) find(t *testing.T) (report.Result, error) {
	t.Helper()
	return FindTogether(t.Context(), h.plans, h.alone)
}

// The sum is found, and what it is the sum of is told.
func TestFindTogether(t *testing.T) {
	h := newHub(t, 20e6, 30e6, 50e6)
	r, err := h.find(t)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Ceiling.InnerBitsPerSecond; math.Abs(got/100e6-1) > 0.005 {
		t.Errorf("%.4g bit/s together, want 100 Mbps", got)
	}
	if r.Verdict.Cause != analysis.Policer {
		t.Errorf("cause %q, want policer: %s", r.Verdict.Cause, r.Verdict.Summary)
	}
	if want := (report.Path{From: "hub", To: "b+c+d"}); r.Path != want {
		t.Errorf("path %+v, want %+v", r.Path, want)
	}
	if r.Tunnel.Count != 3 || len(r.Tunnel.PerTunnel) != 3 || len(r.Environment) != 4 {
		t.Errorf("%d tunnels, counts of %d, %d ends: want 3, 3 and 4", r.Tunnel.Count, len(r.Tunnel.PerTunnel), len(r.Environment))
	}
	for i, count := range r.Tunnel.PerTunnel {
		if share := float64(count.SentPackets) / float64(sent(r.Tunnel.PerTunnel)); math.Abs(share-h.carries[i]/100e6) > 0.01 {
			t.Errorf("tunnel %d was sent %.3f of all, want its share of the ceiling", i, share)
		}
	}
	if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, "they share no limit") || !strings.Contains(notes, "3 is hub to d with 50.0 %") {
		t.Errorf("notes are %q", notes)
	}
	h.checkSessions(t)
}

func sent(counts []report.TunnelCount) (all uint64) {
	for _, count := range counts {
		all += count.SentPackets
	}
	return all
}

// checkSessions wants that all sessions were of one group, and are closed.
func (h *hub) checkSessions(t *testing.T) {
	t.Helper()
	group := h.near[0].groups[0]
	for _, agent := range slices.Concat(h.near, h.far) {
		if !slices.Equal(agent.groups, []string{group}) || len(group) != 16 {
			t.Errorf("agent %s has sessions of the groups %x, want one, of group %x", agent.name, agent.groups, group)
		}
		if agent.isOpen() {
			t.Errorf("the session of agent %s is still open", agent.name)
		}
	}
}

// What the tunnels carry alone is not what they carry at once: they share a limit.
func TestFindTogetherSharedLimit(t *testing.T) {
	h := newHub(t, 40e6, 40e6)
	h.alone = []float64{80e6, 80e6}
	r, err := h.find(t)
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, "which is 50.0 % of") || !strings.Contains(notes, "something that they share limits them") {
		t.Errorf("notes are %q, want that the tunnels share a limit", notes)
	}
}

// Policers that do not begin to drop at the same load are not taken for one.
func TestFindTogetherUnevenShares(t *testing.T) {
	h := newHub(t, 20e6, 80e6)
	h.alone = []float64{50e6, 50e6}
	r, err := h.find(t)
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict.Cause == analysis.Policer {
		t.Errorf("cause %q, want none: the rate that passes grows with the load", r.Verdict.Cause)
	}
}

// One tunnel that cannot be had ends all: sessions that are open are closed.
func TestFindTogetherCloses(t *testing.T) {
	h := newHub(t, 20e6, 30e6)
	h.far[1].refuse["open"] = context.DeadlineExceeded
	if _, err := h.find(t); err == nil {
		t.Error("no error about a tunnel that could not be opened")
	}
	for _, agent := range slices.Concat(h.near, h.far) {
		if agent.isOpen() {
			t.Errorf("the session of agent %s is still open", agent.name)
		}
	}
}

func TestFindTogetherRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*hub)
		want   string
	}{
		"one tunnel":   {func(h *hub) { h.plans, h.alone = h.plans[:1], h.alone[:1] }, "want two or more"},
		"rates":        {func(h *hub) { h.alone = h.alone[:1] }, "2 tunnels and 1 rates"},
		"dead tunnel":  {func(h *hub) { h.alone = []float64{0, 1e6} }, "from hub to b carried nothing"},
		"no number":    {func(h *hub) { h.alone = []float64{math.NaN(), 1e6} }, "carried nothing"},
		"large packet": {func(h *hub) { h.plans[0].Size = 1439 }, "from hub to b: packets of 1439 B do not fit"},
		"overload":     {func(h *hub) { h.plans[0].Spec, h.plans[0].Search.Manner = Spec{Driver: "existing"}, "overload" }, "may carry production"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, 20e6, 30e6)
			c.change(h)
			if _, err := h.find(t); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("FindTogether: %v, want %q", err, c.want)
			}
		})
	}
}

// A hub's own limit is for the sum of its tunnels, a spoke's for its part.
func TestTogetherWithinLimits(t *testing.T) {
	hub, b, c := End{Name: "hub", Fingerprint: control.Fingerprint{1}}, End{Name: "b"}, End{Name: "c"}
	for name, test := range map[string]struct {
		from      [2]End
		inner     [2]float64 // What both ends of each tunnel allow.
		sent      [2]float64 // What each sender allows in all.
		want      float64
		highestOf float64 // What the user allows; zero: all.
	}{
		"the hub's":       {[2]End{hub, hub}, [2]float64{100e6, 100e6}, [2]float64{100e6, 100e6}, 100e6, 0},
		"a spoke's":       {[2]End{hub, hub}, [2]float64{10e6, 1e9}, [2]float64{1e9, 1e9}, 40e6, 0},
		"of two senders":  {[2]End{b, c}, [2]float64{100e6, 100e6}, [2]float64{100e6, 100e6}, 100e6 / 0.75, 0},
		"what users give": {[2]End{hub, hub}, [2]float64{100e6, 100e6}, [2]float64{100e6, 100e6}, 50e6, 50e6},
	} {
		test.from[1].Fingerprint[1] = test.from[1].Name[0] // b and c are two.
		test.from[0].Fingerprint[1] = test.from[0].Name[0]
		group := together{alone: []float64{10e6, 30e6}}
		for i := range 2 {
			group.plans = append(group.plans, FindPlan{Plan: Plan{From: test.from[i]}})
			group.pending = append(group.pending, &pending{mostInner: test.inner[i], mostSent: test.sent[i]})
		}
		group.plans[0].Search.MaxInnerBitsPerSecond = test.highestOf
		if got := group.options().MaxInnerBitsPerSecond; math.Abs(got/test.want-1) > 1e-9 {
			t.Errorf("%s: at most %.1f Mbit/s together, want %.1f", name, got/1e6, test.want/1e6)
		}
	}
}
