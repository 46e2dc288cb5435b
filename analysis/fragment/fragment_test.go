package fragment

import (
	"encoding/json"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// gateway is a simulated one that does not heed DF: it lets every size pass, and cuts
// up what its link does not take.
type gateway struct {
	align, overhead int // ESP's: trailer and inner packet are padded to align.
	linkMTU         int
	cutsInner       bool // Before the encapsulation; else the outer packets.
	// What limits it; zero: that does not.
	outerBytesPerSecond, packetsPerSecond float64
	secondsPerPacket, secondsPerByte      float64 // Of a CPU.
}

const (
	trailer   = 2
	ipHeader  = 20
	udpHeader = 8
)

// esp is AES-GCM in UDP over IPv4: 20 + 8 + 8 + 8 before what is padded, 16 behind it.
var esp = gateway{align: 4, overhead: ipHeader + udpHeader + 8 + 8 + 16, linkMTU: 1500}

// cbc pads to 16, and has an IV and an ICV of 16 each.
var cbc = gateway{align: 16, overhead: ipHeader + 8 + 16 + 16, linkMTU: 1500}

func (g gateway) outer(inner int) int {
	return g.overhead + (inner+trailer+g.align-1)/g.align*g.align
}

// cost is how many outer packets and bytes one inner packet becomes.
func (g gateway) cost(inner int) (packets, bytes int) {
	outer := g.outer(inner)
	switch {
	case outer <= g.linkMTU:
		return 1, outer
	case g.cutsInner:
		first := inner
		for g.outer(first) > g.linkMTU {
			first--
		}
		first = (first-ipHeader)/8*8 + ipHeader
		return 2, g.outer(first) + g.outer(inner-first+ipHeader)
	}
	return 2, outer + ipHeader
}

// passes is the inner rate of packets of a size.
func (g gateway) passes(inner int) float64 {
	packets, bytes := g.cost(inner)
	seconds := g.secondsPerPacket*float64(packets) + g.secondsPerByte*float64(bytes)
	if g.outerBytesPerSecond > 0 {
		seconds = max(seconds, float64(bytes)/g.outerBytesPerSecond)
	}
	if g.packetsPerSecond > 0 {
		seconds = max(seconds, float64(packets)/g.packetsPerSecond)
	}
	return float64(inner) * 8 / seconds
}

// read reads the rates at sizes, each wrong by up to spread.
func (g gateway) read(sizes []int, spread float64, known bool, random *rand.Rand) (readings []Reading) {
	for _, size := range sizes {
		r := Reading{InnerSize: size, Spread: spread, InnerBitsPerSecond: g.passes(size) * (1 + spread*(2*random.Float64()-1))}
		if known {
			r.OuterSize = g.outer(size)
		}
		readings = append(readings, r)
	}
	return readings
}

// policed, counted and computed are a gateway with a policer of 350 Mbit/s, one that
// takes 30,000 packets a second, and one whose CPU works for packets and bytes.
func policed(g gateway) gateway  { g.outerBytesPerSecond = 350e6 / 8; return g }
func counted(g gateway) gateway  { g.packetsPerSecond = 30_000; return g }
func computed(g gateway) gateway { g.secondsPerPacket, g.secondsPerByte = 10e-6, 10e-9; return g }

func cuttingInner(g gateway) gateway { g.cutsInner = true; return g }
func onJumbo(g gateway) gateway      { g.linkMTU = 9000; return g }

// own is what predicts the size of a tunnel that one has built, and foreign what may be
// that of somebody else's.
var (
	own = []Prediction{{
		InnerSize: 1438, By: "ESP AES-GCM, UDP, IPv4 at link MTU 1500", OverheadBytes: 62,
		Cuts: []Cut{{"outer packets", 20}, {"inner packets", 82}},
	}}
	foreign = []Prediction{
		{1446, "ESP AES-GCM, IPv4 at link MTU 1500", 54, []Cut{{"outer packets", 20}, {"inner packets", 74}}},
		{1438, "ESP AES-GCM, UDP, IPv4 at link MTU 1500", 62, []Cut{{"outer packets", 20}, {"inner packets", 82}}},
		{1422, "ESP AES-CBC with SHA-512, IPv4 at link MTU 1500", 78, []Cut{{"outer packets", 20}, {"inner packets", 98}}},
	}
)

const (
	byPackets = "a limit of packets per second"
	byOuter   = "a limit of bytes and outer packets cut up (20 B more each)"
	byInner   = "a limit of bytes and inner packets cut up (82 B more each)"
	byCPU     = "work for each packet and for each byte (a CPU)"
)

// outcome is what of a finding decides.
type outcome struct {
	Cut, Whole   bool
	Below, Above int
	By           int // How many predictions the step fits.
	Limits       string
}

func outcomeOf(f Finding) outcome {
	o := outcome{Cut: f.Verdict.Cause == Cause, Whole: f.Whole}
	if f.Step != nil {
		o.Below, o.Above, o.By, o.Limits = f.Step.Below, f.Step.Above, len(f.Step.PredictedBy), strings.Join(f.Step.Limits, ", ")
	}
	return o
}

// The simulated gateways, read at the sizes that were planned, by a hundred seeds.
func TestJudgeGateways(t *testing.T) {
	whole := outcome{Whole: true}
	for _, tt := range []struct {
		name        string
		gateway     gateway
		predictions []Prediction
		known       bool // What the outer packets' lengths are.
		spread      float64
		want        outcome
	}{
		{"policer, outer packets cut", policed(esp), own, true, 0.002, outcome{true, false, 1438, 1454, 1, byOuter}},
		{"policer, inner packets cut", policed(cuttingInner(esp)), own, true, 0.002, outcome{true, false, 1438, 1454, 1, byInner}},
		{"packets", counted(esp), own, true, 0.01, outcome{true, false, 1438, 1454, 1, byPackets}},
		{"CPU", computed(esp), own, true, 0.01, outcome{true, false, 1438, 1454, 1, byCPU}},
		{"policer, whole", policed(onJumbo(esp)), own, true, 0.002, whole},
		{"packets, whole", counted(onJumbo(esp)), own, true, 0.002, whole},
		{"CPU, whole", computed(onJumbo(esp)), own, true, 0.002, whole},
		{"whole, but not read well enough to tell", policed(onJumbo(esp)), own, true, 0.01, outcome{}},
		{"somebody else's, policer", policed(esp), foreign, false, 0.002, outcome{true, false, 1438, 1454, 2, byOuter}},
		{"somebody else's, packets", counted(esp), foreign, false, 0.01, outcome{true, false, 1438, 1454, 2, byPackets}},
		{"somebody else's, pads to 16, whole", policed(onJumbo(cbc)), foreign, false, 0.002, whole},
		{"somebody else's, pads to 16", counted(cbc), foreign, false, 0.002, outcome{true, false, 1438, 1454, 2, byPackets}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var predicted []int
			for _, q := range tt.predictions {
				predicted = append(predicted, q.InnerSize)
			}
			sizes := Plan(predicted, 576, 9000)
			for seed := range uint64(100) {
				readings := tt.gateway.read(sizes, tt.spread, tt.known, rand.New(rand.NewPCG(seed, 1)))
				f := Judge(Input{Readings: readings, Predictions: tt.predictions, LargestWithDF: 1500})
				if diff := cmp.Diff(tt.want, outcomeOf(f)); diff != "" {
					t.Fatalf("seed %d (-want +got):\n%s%s", seed, diff, f.Verdict.Summary)
				}
				if seed == 0 {
					golden(t, tt.name, f)
				}
			}
		})
	}
}

func golden(t *testing.T, name string, f Finding) {
	t.Helper()
	got, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
		t.Errorf("finding (-want +got):\n%s", diff)
	}
}

func TestJudge(t *testing.T) {
	at := func(size int, packetsPerSecond, spread float64) Reading {
		return Reading{InnerSize: size, InnerBitsPerSecond: packetsPerSecond * float64(size) * 8, Spread: spread}
	}
	free := func(r Reading) Reading { r.AtLeast = true; return r }
	nothing := func(size int) Reading { return Reading{InnerSize: size} }
	for _, tt := range []struct {
		name     string
		readings []Reading
		want     outcome
		says     string
	}{
		{"nothing read", nil, outcome{}, "no two readings"},
		{"one reading", []Reading{at(1438, 100, 0)}, outcome{}, "no two readings"},
		{"padding differs", []Reading{at(1438, 100, 0), at(1442, 50, 0)}, outcome{}, "no two readings"},
		{"nonsense", []Reading{at(1438, math.NaN(), 0), at(1454, math.Inf(1), 0), at(0, 1, 0), at(-16, 1, 0)}, outcome{}, "no two readings"},
		{"doubt as large as the step", []Reading{at(1438, 100, 0.3), at(1454, 50, 0.3)}, outcome{}, "not show each one"},
		{"nothing limited the larger size", []Reading{at(1438, 100, 0), free(at(1454, 50, 0))}, outcome{}, "not show each one"},
		{"nothing limited the smaller size", []Reading{free(at(1438, 100, 0)), at(1454, 50, 0)},
			outcome{Cut: true, Below: 1438, Above: 1454, By: 1, Limits: byPackets}, "travel in fragments"},
		{"larger sizes do not pass", []Reading{at(1422, 100, 0), at(1438, 100, 0), nothing(1502), nothing(1454)}, outcome{}, "1454 B do not pass at all"},
		{"smaller sizes do not pass", []Reading{nothing(1422), at(1438, 100, 0), at(1454, 50, 0)},
			outcome{Cut: true, Below: 1438, Above: 1454, By: 1, Limits: byPackets}, "travel in fragments"},
		{"elsewhere than predicted", []Reading{at(1374, 100, 0), at(1438, 50, 0), at(1454, 50, 0)},
			outcome{Below: 1374, Above: 1438}, "predicted size of the largest packet that leaves whole"},
		{"at other sizes, too", []Reading{at(1374, 100, 0), at(1438, 80, 0), at(1454, 56, 0)},
			outcome{Below: 1438, Above: 1454, By: 1, Limits: byCPU}, "greatest drop between other sizes"},
		{"small drops elsewhere", []Reading{at(1374, 100, 0), at(1438, 88, 0), at(1454, 44, 0)},
			outcome{Cut: true, Below: 1438, Above: 1454, By: 1, Limits: byPackets}, "by 49 %"},
		{"more than halves", []Reading{at(1438, 100, 0), at(1454, 20, 0)},
			outcome{Cut: true, Below: 1438, Above: 1454, By: 1, Limits: "more than two packets' work for one (fragments that are lost, or put together slowly)"}, "fragments"},
		{"rate grows", []Reading{at(1438, 100, 0), at(1454, 120, 0)}, outcome{Whole: true}, "whole"},
		{"not read where predicted", []Reading{at(1374, 100, 0), at(1390, 99, 0)}, outcome{}, "not show each one"},
		{"readings of one size that differ", []Reading{at(1438, 100, 0), at(1454, 100, 0), at(1454, 50, 0)}, outcome{}, "not show each one"},
		{"readings of one size that agree", []Reading{at(1438, 100, 0), at(1438, 101, 0), at(1454, 50, 0), at(1454, 50.5, 0)},
			outcome{Cut: true, Below: 1438, Above: 1454, By: 1, Limits: byPackets}, "fragments"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := Judge(Input{Readings: tt.readings, Predictions: own})
			if diff := cmp.Diff(tt.want, outcomeOf(f)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !strings.Contains(f.Verdict.Summary, tt.says) {
				t.Errorf("got %q, want %q in it", f.Verdict.Summary, tt.says)
			}
		})
	}
}

// That a step's packets pass with DF set is said, as far as it is known.
func TestSummaryOfDF(t *testing.T) {
	readings := counted(esp).read([]int{1438, 1454}, 0, true, rand.New(rand.NewPCG(1, 1)))
	for largest, want := range map[int]bool{0: false, 1438: false, 1454: true, 1500: true} {
		f := Judge(Input{Readings: readings, Predictions: own, LargestWithDF: largest})
		if got := strings.Contains(f.Verdict.Summary, "does not heed it"); got != want {
			t.Errorf("largest with DF %d: says that DF is not heeded: %t, want %t", largest, got, want)
		}
	}
}

func TestPlan(t *testing.T) {
	for _, tt := range []struct {
		name        string
		predicted   []int
		least, most int
		want        []int
	}{
		{"one", []int{1438}, 576, 1518, []int{1374, 1438, 1454, 1518}},
		{"no room for one away", []int{1438}, 1400, 1500, []int{1438, 1454}},
		{"several", []int{1446, 1438, 1422}, 576, 9000, []int{1358, 1422, 1438, 1454, 1518}},
		{"two within a block", []int{1446, 1438}, 576, 9000, []int{1374, 1438, 1454, 1518}},
		{"far apart", []int{1438, 8938}, 576, 9000, []int{1374, 1438, 1454, 8938, 8954}},
		{"the same twice", []int{1438, 1438}, 1438, 1454, []int{1438, 1454}},
		{"nothing above", []int{1438}, 576, 1438, nil},
		{"nothing below", []int{1438}, 1439, 9000, nil},
		{"nothing predicted", nil, 576, 9000, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Plan(tt.predicted, tt.least, tt.most)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	var many []int
	for size := 600; size < 9000; size += 50 {
		many = append(many, size)
	}
	if got := Plan(many, 576, 9000); len(got) > 2*mostPredicted+2 || !slices.Contains(got, many[len(many)-1]) {
		t.Errorf("planned %d sizes, want at most %d with the largest", len(got), 2*mostPredicted+2)
	}
}

// Whatever is read, what is said is consistent.
func FuzzJudge(f *testing.F) {
	f.Add(uint16(1438), uint16(1454), 1e6, 5e5, 0.01, 0.01)
	f.Fuzz(func(t *testing.T, a, b uint16, rateA, rateB, spreadA, spreadB float64) {
		got := Judge(Input{Predictions: own, Readings: []Reading{
			{InnerSize: int(a), InnerBitsPerSecond: rateA, Spread: spreadA},
			{InnerSize: int(b), InnerBitsPerSecond: rateB, Spread: spreadB},
		}})
		if got.Verdict.Summary == "" || got.Verdict.Cause == Cause && (got.Step == nil || got.Whole || len(got.Step.PredictedBy) == 0) {
			t.Errorf("got %+v", got)
		}
		if _, err := json.Marshal(got); err != nil {
			t.Error(err)
		}
	})
}
