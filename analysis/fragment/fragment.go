// Package fragment judges, from the rates that pass at several sizes, whether packets
// beyond the size that a tunnel's overhead predicts travel in fragments.
//
// Path MTU probes alone do not show it: a gateway that clears DF, or does not copy it
// to the outer packet, lets every size pass, and cuts what is too large in two. But two
// packets cost more than one, so the rate drops at that size. Steps of a judgement:
//
//  1. Readings are compared in pairs of sizes that differ by the padding of no cipher
//     (pairs.go). Of each pair: by how much less is the packet rate at the larger
//     size, beyond what its bytes explain?
//  2. The greatest drop must be larger than what the readings leave in doubt, and all
//     others at most half of it: then it is a step.
//  3. A predicted size must lie between the two sizes of the step.
//  4. How large the step is says what limits the path: packets, or bytes and where
//     they were counted (limits.go).
//
// Without a step, packets are whole, if a step would have been seen. Else nothing is
// said. Which sizes to read, Plan says.
package fragment

import (
	"fmt"
	"slices"
	"strings"

	"tunnelmark/analysis"
)

// Cause is that of the verdict where packets are cut up.
const Cause analysis.Cause = "fragmentation"

// Reading is the rate that passed at one size.
type Reading struct {
	InnerSize int
	// OuterSize is the length of the outer packet, in bytes, were it not cut up;
	// zero where nobody knows.
	OuterSize int
	// InnerBitsPerSecond passed while more was offered, or is a ceiling; zero: nothing
	// passes.
	InnerBitsPerSecond float64
	// Spread is by which share of itself that may be wrong, either way.
	Spread float64
	// AtLeast says that all that could be offered passed: the path may carry more.
	AtLeast bool
}

// packetsPerSecond that passed.
func (r Reading) packetsPerSecond() float64 {
	return r.InnerBitsPerSecond / 8 / float64(r.InnerSize)
}

// Prediction is one reason to expect fragments. For a tunnel that somebody else built,
// there are several.
type Prediction struct {
	// InnerSize is the largest packet that leaves whole, in bytes.
	InnerSize int
	// By says what predicts it, for people: "ESP AES-GCM, UDP, IPv4 at link MTU
	// 1500".
	By string
	// OverheadBytes is what the tunnel adds to a packet of that size.
	OverheadBytes int
	// Cuts are the ways to cut a packet up.
	Cuts []Cut
}

// Cut is one way to make two packets of one.
type Cut struct {
	Name string // "outer packets": cut up behind the encapsulation; "inner packets": before it.
	// AddedOuterBytes is how much longer the two outer packets are than the one.
	AddedOuterBytes int
}

// Input is what is judged.
type Input struct {
	Readings    []Reading
	Predictions []Prediction
	// LargestWithDF is the largest inner packet, in bytes, that passed with DF set;
	// zero where none was sent.
	LargestWithDF int
}

// Finding is what the readings say.
type Finding struct {
	Verdict analysis.Verdict `json:"verdict"`
	// Whole says that packets of all sizes that were read are whole: a step would
	// have been seen. Where neither this is set nor Verdict.Cause is Cause, nothing
	// is known.
	Whole bool `json:"whole"`
	// Step is the greatest drop that is beyond doubt, whether it was predicted or
	// not. Nil where there is none.
	Step *Step `json:"step,omitempty"`
}

// Step is a drop of the packet rate between two sizes.
type Step struct {
	// Below and Above are the sizes on either side, in bytes.
	Below int `json:"below_bytes"`
	Above int `json:"above_bytes"`
	// Drop is which share of the packet rate is missing above, beyond what larger
	// packets explain, and Doubt by how much the readings may make it wrong.
	Drop  float64 `json:"drop_ratio"`
	Doubt float64 `json:"doubt_ratio"`
	// PredictedBy lists what predicts a step there, and Limits what kinds of limit
	// would make one of that size.
	PredictedBy []string `json:"predicted_by,omitempty"`
	Limits      []string `json:"limits,omitempty"`
}

// Judge says whether packets beyond a predicted size are cut up, with all evidence,
// whether it holds or not.
func Judge(in Input) Finding {
	if lost := lostAbove(in.Readings); lost > 0 {
		return unclear(nil, fmt.Sprintf("Packets of %d B do not pass at all: that is the path's MTU, not fragmentation.", lost))
	}
	pairs := compare(in.Readings)
	if len(pairs) == 0 {
		return unclear(nil, "Whether packets are cut up is not known: no two readings can be compared.")
	}
	greatest, others := split(pairs)
	required := []analysis.Evidence{dropEvidence(greatest), aloneEvidence(greatest, others), predictedEvidence(in.Predictions, greatest)}
	if !greatest.isStep() {
		return withoutStep(in, pairs, required)
	}
	return withStep(in, greatest, required)
}

// withStep says that packets are cut up where the step is what was predicted.
func withStep(in Input, p pair, required []analysis.Evidence) Finding {
	predicted := predictedIn(in.Predictions, p)
	limits, fitting := explain(p, predicted)
	step := &Step{Below: p.below.InnerSize, Above: p.above.InnerSize, Drop: p.drop, Doubt: p.doubt, Limits: fitting}
	for _, q := range predicted {
		step.PredictedBy = append(step.PredictedBy, q.By)
	}
	f := unclear(slices.Concat(required, limits, []analysis.Evidence{dfEvidence(in, p)}), "")
	f.Step = step
	if not := missing(required); len(not) > 0 {
		f.Verdict.Summary = fmt.Sprintf("Whether packets are cut up is not known: the packet rate drops by %s from %d to %d B, but for fragmentation this is missing: %s.",
			share(p.drop), step.Below, step.Above, strings.Join(not, "; "))
		return f
	}
	f.Verdict.Cause, f.Verdict.Summary = Cause, summary(in, step)
	return f
}

func summary(in Input, s *Step) string {
	text := fmt.Sprintf("Packets of %d B travel in fragments and those of %d B do not, as %s predicts: the packet rate drops by %s beyond what their bytes explain, as with %s",
		s.Above, s.Below, strings.Join(s.PredictedBy, " or "), share(s.Drop), strings.Join(s.Limits, " or "))
	if in.LargestWithDF >= s.Above {
		text += fmt.Sprintf("; packets of %d B pass although DF is set, so something on the way does not heed it", in.LargestWithDF)
	}
	return text + "."
}

// withoutStep says that packets are whole where any predicted step would have been
// seen.
func withoutStep(in Input, pairs []pair, required []analysis.Evidence) Finding {
	visible := visibleEvidence(in.Predictions, pairs)
	f := unclear(append(required, visible...), "")
	if not := missing(visible); len(not) > 0 || len(visible) == 0 {
		f.Verdict.Summary = "Whether packets are cut up is not known: the readings show no step, and would not show each one that is predicted."
		return f
	}
	f.Whole = true
	f.Verdict.Summary = "Packets are whole: the readings show no step at a predicted size, and would show one."
	return f
}

func unclear(evidence []analysis.Evidence, summary string) Finding {
	return Finding{Verdict: analysis.Verdict{Cause: analysis.Unknown, Summary: summary, Evidence: evidence}}
}

// missing are the signals that do not hold.
func missing(all []analysis.Evidence) (signals []string) {
	for _, e := range all {
		if !e.Holds {
			signals = append(signals, e.Signal)
		}
	}
	return signals
}

func share(ratio float64) string { return fmt.Sprintf("%.2g %%", 100*ratio) }
