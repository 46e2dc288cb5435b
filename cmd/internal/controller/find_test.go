package controller

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
	"tunnelmark/analysis/search"
	"tunnelmark/cmd/internal/unit"
	"tunnelmark/tunnel"
)

func planBetween(from, to End) Plan {
	return Plan{From: from, To: to, Spec: DefaultSpec(), Tell: func(string) {}}
}

func TestFind(t *testing.T) {
	t.Parallel() // It waits for real time.
	from, to, a, b := newFakeEnds(t)
	result, err := Find(t.Context(), FindPlan{Plan: planBetween(from, to), Size: 1400, Baseline: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := result.Ceiling.InnerBitsPerSecond; math.Abs(got/100e6-1) > 0.01 {
		t.Errorf("ceiling %v bit/s inner, want 100 Mbit/s", got)
	}
	if len(result.Notes) != 1 || !strings.Contains(result.Notes[0], "predicts neither an appliance nor the kernel;") {
		t.Errorf("notes %q, want one about ESP in user space", result.Notes)
	}
	if result.Verdict == nil || result.Baseline == nil || len(result.Environment) != 2 || result.Kind != report.Find {
		t.Errorf("the result lacks something: %+v", result)
	}
	if a.isOpen() || b.isOpen() {
		t.Error("a session is left open")
	}
}

// The search asks for no more than both agents allow, and says so.
func TestFindKeepsWithinLimits(t *testing.T) {
	t.Parallel() // It waits for real time.
	from, to, a, _ := newFakeEnds(t)
	a.path.limits.MaxInnerBitsPerSecond = 50e6
	result, err := Find(t.Context(), FindPlan{Plan: planBetween(from, to), Size: 1400})
	if err != nil {
		t.Fatal(err)
	}
	for _, load := range a.path.loads {
		if load.GetInnerBitsPerSecond() > 50e6 {
			t.Errorf("asked for %v bit/s", load.GetInnerBitsPerSecond())
		}
	}
	if len(result.Notes) != 2 || !strings.Contains(result.Notes[1], "allow no more than 50.00 Mbit/s inner") {
		t.Errorf("notes %q", result.Notes)
	}
}

// What agents allow is for a search and the probe beside it.
func TestCap(t *testing.T) {
	loss := Watch{Every: 10 * time.Millisecond, StopIf: []string{"loss>1%"}}
	for name, c := range map[string]struct {
		asked, allowed float64
		watch          Watch
		want           float64
		narrowed       bool
	}{
		"nothing is asked":  {0, 10e6, Watch{}, 10e6, true},
		"less is asked":     {5e6, 10e6, Watch{}, 5e6, false},
		"more is asked":     {50e6, 10e6, Watch{}, 10e6, true},
		"nothing is known":  {50e6, 0, loss, 50e6, false},
		"beside a probe":    {0, 10e6, loss, 10e6 - 1250*8*100, true},
		"a small probe":     {0, 10e6, Watch{Every: 10 * time.Millisecond}, 10e6 - 128*8*100, true},
		"the probe is most": {0, 1e6, loss, 1, true},
	} {
		p := FindPlan{Size: 1250, Watch: c.watch}
		p.Search.MaxInnerBitsPerSecond = c.asked
		if narrowed := p.cap(c.allowed); narrowed != c.narrowed || p.Search.MaxInnerBitsPerSecond != c.want {
			t.Errorf("%s: up to %v bit/s, narrowed %v", name, p.Search.MaxInnerBitsPerSecond, narrowed)
		}
	}
}

// What cannot be had is found out before any load.
func TestFindFailsBeforeLoad(t *testing.T) {
	from, to, a, b := newFakeEnds(t)
	_, err := Find(t.Context(), FindPlan{Plan: planBetween(from, to), Size: 1500, Baseline: true})
	if err == nil || !strings.Contains(err.Error(), "its inner MTU is 1438 B") || len(a.path.loads) > 0 {
		t.Errorf("Find: %v after %d loads", err, len(a.path.loads))
	}
	if a.isOpen() || b.isOpen() {
		t.Error("a session is left open")
	}
}

// silentObserver hears of a load and says nothing.
type silentObserver struct{}

func (silentObserver) Begin(*Session) error             { return nil }
func (silentObserver) Interval(analysis.Interval) error { return nil }

// udpLoad is a load of one flow for a second.
func udpLoad(bitsPerSecond float64, layer unit.Layer, payload int) FixedLoad {
	return FixedLoad{Duration: time.Second, UDP: &UDPLoad{BitsPerSecond: bitsPerSecond, Layer: layer, Payloads: []int{payload}, Flows: 1}}
}

func runLoad(t *testing.T, plan Plan, load FixedLoad) (report.Result, error) {
	t.Helper()
	return Run(t.Context(), plan, load, 0, silentObserver{})
}

func TestRun(t *testing.T) {
	from, to, a, _ := newFakeEnds(t)
	load := udpLoad(50e6, unit.Goodput, 1372)
	load.Watch.Every = 10 * time.Millisecond
	result, err := runLoad(t, planBetween(from, to), load)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Trials) != 1 || result.Trials[0].Lost() != 0 || result.Kind != report.Run || result.Size != (report.Size{Inner: 1400, Outer: 1464}) {
		t.Errorf("result %+v", result)
	}
	if len(result.Latencies) != 1 || result.Trials[0].Latency == nil {
		t.Errorf("round trips %v idle, %v beside the load", result.Latencies, result.Trials[0].Latency)
	}
	if got, want := a.path.loads[1].GetInnerBitsPerSecond(), 50e6*1400/1372; math.Abs(got-want) > 1 {
		t.Errorf("asked for %v bit/s inner, want %v", got, want)
	}
	if _, err := runLoad(t, planBetween(from, to), udpLoad(1, unit.Goodput, 1411)); err == nil {
		t.Error("a payload is offered that does not fit")
	}
}

// What a load of several flows and sizes is in inner packets.
func TestPackets(t *testing.T) {
	s := &Session{Spec: DefaultSpec(), InnerMTU: 1438, headers: 28}
	for name, c := range map[string]struct {
		load      UDPLoad
		most      float64
		want      analysis.Load
		wantError string
	}{
		"of each flow":          {UDPLoad{BitsPerSecond: 1e6, Layer: unit.Inner, Payloads: []int{972}, Flows: 3}, 0, analysis.Load{InnerBitsPerSecond: 3e6, Flows: 3, Mix: analysis.Mix{InnerSizes: []int{1000}}}, ""},
		"in total":              {UDPLoad{BitsPerSecond: 1e6, Layer: unit.Inner, Payloads: []int{972}, Flows: 3, Total: true}, 0, analysis.Load{InnerBitsPerSecond: 1e6, Flows: 3, Mix: analysis.Mix{InnerSizes: []int{1000}}}, ""},
		"payload of a mix":      {UDPLoad{BitsPerSecond: 944e3, Layer: unit.Goodput, Payloads: []int{472, 1416 - 28}, Flows: 1}, 0, analysis.Load{InnerBitsPerSecond: 944e3 * 958 / 930, Flows: 1, Mix: analysis.Mix{InnerSizes: []int{500, 1416}}}, ""},
		"IMIX":                  {UDPLoad{BitsPerSecond: 1e6, Layer: unit.Inner, Genome: "az", Seed: 7, Flows: 1}, 0, analysis.Load{InnerBitsPerSecond: 1e6, Flows: 1, Mix: analysis.Mix{InnerSizes: []int{46, 1438}, Seed: 7, Genome: "az"}}, ""},
		"within the limit":      {UDPLoad{BitsPerSecond: 1e6, Layer: unit.Inner, Payloads: []int{972}, Flows: 2}, 2e6, analysis.Load{InnerBitsPerSecond: 2e6, Flows: 2, Mix: analysis.Mix{InnerSizes: []int{1000}}}, ""},
		"above the limit":       {UDPLoad{BitsPerSecond: 1e6, Layer: unit.Inner, Payloads: []int{972}, Flows: 3}, 2e6, analysis.Load{}, "the load is 3.000 Mbit/s inner, and no more than 2.000 Mbit/s is allowed by --max-rate"},
		"letter beyond the MTU": {UDPLoad{BitsPerSecond: 1e6, Layer: unit.Inner, Genome: "ag", Flows: 1}, 0, analysis.Load{}, "its inner MTU is 1438 B"},
	} {
		got, err := s.Packets(FixedLoad{UDP: &c.load, MaxInnerBitsPerSecond: c.most})
		if (err == nil) != (c.wantError == "") || err != nil && !strings.Contains(err.Error(), c.wantError) {
			t.Errorf("%s: %v, want %q", name, err, c.wantError)
		}
		if diff := cmp.Diff(c.want, got, cmpopts.EquateApprox(1e-9, 0)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Equal hash, equal question.
func TestHash(t *testing.T) {
	plan := Plan{From: End{Name: "a"}, To: End{Name: "b"}, Spec: DefaultSpec()}
	find := func(edit func(*FindPlan)) string {
		p := FindPlan{Plan: plan, Size: 1400}
		edit(&p)
		return p.hash(report.Find, p.question())
	}
	first := find(func(*FindPlan) {})
	same := map[string]string{
		"again":    find(func(*FindPlan) {}),
		"progress": find(func(p *FindPlan) { p.Search.Progress = func(search.Progress) {} }),
	}
	for name, hash := range same {
		if hash != first {
			t.Errorf("%s: the same question has another hash", name)
		}
	}
	load := udpLoad(1e6, unit.Inner, 1000)
	seen := map[string]string{first: "the first question"}
	for name, hash := range map[string]string{
		"size":                 find(func(p *FindPlan) { p.Size = 512 }),
		"budget":               find(func(p *FindPlan) { p.Search.Traffic = time.Minute }),
		"baseline":             find(func(p *FindPlan) { p.Baseline = true }),
		"suite":                find(func(p *FindPlan) { p.Spec.Suite = "x" }),
		"from":                 find(func(p *FindPlan) { p.From.Name = "c" }),
		"run":                  plan.hash(report.Run, load),
		"run, at another rate": plan.hash(report.Run, udpLoad(2e6, unit.Inner, 1000)),
	} {
		if other, taken := seen[hash]; taken || hash == "" {
			t.Errorf("%s has the hash of %s", name, other)
		}
		seen[hash] = name
	}
}

// A driver that an end lacks is told of before a session is begun.
func TestDriverThatAnEndLacks(t *testing.T) {
	from, to, a, b := newFakeEnds(t)
	for driver, want := range map[string]string{
		"xfrm":      "a: driver xfrm does not work there: no CONFIG_INET_ESP",
		"wireguard": "has no driver wireguard",
	} {
		spec, err := Spec{Driver: driver}.Complete()
		if err != nil {
			t.Fatal(err)
		}
		_, err = runLoad(t, Plan{From: from, To: to, Spec: spec, Tell: func(string) {}}, udpLoad(1e6, unit.Inner, 1000))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", driver, err, want)
		}
		for _, agent := range []*fakeAgent{a, b} {
			if slices.Contains(agent.calls, "offer") {
				t.Errorf("%s: agent %s was asked for an offer", driver, agent.name)
			}
		}
	}
}

func TestSpecComplete(t *testing.T) {
	change := func(edit func(*Spec)) Spec { s := DefaultSpec(); edit(&s); return s }
	for name, c := range map[string]struct {
		spec Spec
		want string // "" for none.
	}{
		"default":       {DefaultSpec(), ""},
		"clear":         {ClearSpec(), ""},
		"driver":        {change(func(s *Spec) { s.Driver = "l2tp" }), `driver "l2tp": allowed are esp, `},
		"suite":         {change(func(s *Spec) { s.Suite = "des" }), `suite "des": allowed with driver esp are aes-128-gcm, `},
		"encapsulation": {change(func(s *Spec) { s.Encapsulation = "tcp" }), `encapsulation "tcp": allowed with driver esp are udp`},
		"no protection": {change(func(s *Spec) { s.Suite = "null-null" }), `suite "null-null" neither encrypts nor authenticates`},
		"insecure":      {change(func(s *Spec) { s.Suite, s.Insecure = "null-null", true }), ""},
		"no suite":      {Spec{Driver: "wireguard"}, ""},
		"needless":      {change(func(s *Spec) { s.Driver = "wireguard" }), `suite "aes-128-gcm": driver wireguard has none to choose`},
		"tunnels":       {change(func(s *Spec) { s.Tunnels = 65 }), "65 tunnels: allowed are 1 to 64"},
		"several":       {Spec{Driver: "xfrm-policy", Tunnels: 2}, "driver xfrm-policy builds one; several at once can: esp, "},
		"replay window": {change(func(s *Spec) { s.ReplayWindow = 4097 }), "allowed are 0 (the driver's own) to 4096"},
		"lifetime":      {change(func(s *Spec) { s.Rekey.Time = time.Second }), ""},
		"no lifetime":   {Spec{Driver: "xfrm", Rekey: tunnel.Lifetime{Time: time.Second}}, "driver xfrm cannot by itself; drivers that can: esp"},
		"no keys":       {Spec{Driver: "esp", Suite: "null-null", Insecure: true, Rekey: tunnel.Lifetime{Time: time.Second}}, `suite "null-null" has no keys to replace`},
		"short life":    {change(func(s *Spec) { s.Rekey.Packets = 1 }), "rekeying after 1 packets: want 8192"},
		"no sequence":   {Spec{Driver: "gre", NoESN: true}, "driver gre has no choice"},
		"local":         {change(func(s *Spec) { s.ToLocal = "eth1" }), "they are for driver existing"},
		"existing":      {Spec{Driver: "existing", FromLocal: "st0", ToLocal: "10.0.0.1"}, ""},
		"small MTU":     {change(func(s *Spec) { s.InnerMTU = 67 }), "allowed are 68 to 65535"},
		"negative MTU":  {change(func(s *Spec) { s.InnerMTU = -1 }), "allowed are 68 to 65535"},
	} {
		_, err := c.spec.Complete()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestCheckRekey(t *testing.T) {
	for name, c := range map[string]struct {
		driver string
		every  time.Duration
		want   string // "" for none.
	}{
		"never":      {"esp", 0, ""},
		"strongswan": {"strongswan-user", time.Second, ""},
		"esp":        {"esp", time.Second, ""},
		"cannot":     {"gre", time.Second, "driver gre cannot on demand; drivers that can: esp, strongswan"},
		"too often":  {"strongswan", time.Millisecond, "allowed are 200ms or more"},
	} {
		err := FixedLoad{RekeyEvery: c.every}.CheckRekey(Spec{Driver: c.driver})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// Keys are replaced until the work is done; an end that cannot stops it.
func TestRekeying(t *testing.T) {
	from, to, a, _ := newFakeEnds(t)
	s := openSession(t, from, to)
	var rekeyed bool
	took, err := s.rekeying(t.Context(), time.Millisecond, func(ctx context.Context) error {
		for !rekeyed && ctx.Err() == nil {
			a.mu.Lock()
			rekeyed = slices.Contains(a.calls, "rekey")
			a.mu.Unlock()
		}
		return ctx.Err()
	})
	if err != nil || len(took) == 0 || took[0] != 7 {
		t.Errorf("got %v, %v", took, err)
	}
	a.refuse["rekey"] = connect.NewError(connect.CodeFailedPrecondition, errors.New("charon is gone"))
	_, err = s.rekeying(t.Context(), time.Millisecond, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	if err == nil || !strings.Contains(err.Error(), "rekey under load: agent a: charon is gone") {
		t.Errorf("got %v", err)
	}
}
