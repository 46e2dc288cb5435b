package fragment

import (
	"fmt"
	"math"
	"slices"

	"tunnelmark/analysis"
)

// nearEnough is how well a step must have the size that a limit predicts, beside what
// the readings leave in doubt: a limit of bytes may count Ethernet's, too.
const nearEnough = 0.005

// packetRatio is what is left of a rate of packets where each becomes two.
const packetRatio = 0.5

// limit is a kind of limit and the ratio of the packet rates that it makes of one packet
// cut in two.
type limit struct {
	name  string
	ratio float64
}

// limitsOf are those that a prediction allows for.
//
//   - Of packets: each counts twice, so half as many pass.
//   - Of bytes: each is longer by what the cut adds.
func limitsOf(p pair, q Prediction) []limit {
	all := []limit{{"a limit of packets per second", packetRatio}}
	for _, c := range q.Cuts {
		below, above := outerSize(p.below, q), outerSize(p.above, q)
		all = append(all, limit{
			name:  fmt.Sprintf("a limit of bytes and %s cut up (%d B more each)", c.Name, c.AddedOuterBytes),
			ratio: below / (above + float64(c.AddedOuterBytes)),
		})
	}
	return all
}

func outerSize(r Reading, q Prediction) float64 {
	if r.OuterSize > 0 {
		return float64(r.OuterSize)
	}
	return float64(r.InnerSize + q.OverheadBytes)
}

// fits says whether the step has the size that the limit would make.
func (l limit) fits(p pair) bool { return math.Abs(p.ratio/l.ratio-1) <= nearEnough+p.doubt }

// explain holds the step against every limit, and returns those that fit. None of them
// decides.
func explain(p pair, predictions []Prediction) (evidence []analysis.Evidence, fitting []string) {
	seen := make(map[string]bool)
	for _, q := range predictions {
		for _, l := range limitsOf(p, q) {
			if seen[l.name] {
				continue
			}
			seen[l.name] = true
			evidence = append(evidence, l.evidence(p))
			if l.fits(p) {
				fitting = append(fitting, l.name)
			}
		}
	}
	if len(fitting) == 0 && len(predictions) > 0 {
		fitting = []string{beside(p)}
	}
	return evidence, fitting
}

// beside names what makes steps of other sizes.
func beside(p pair) string {
	if p.ratio < packetRatio {
		return "more than two packets' work for one (fragments that are lost, or put together slowly)"
	}
	return "work for each packet and for each byte (a CPU)"
}

func (l limit) evidence(p pair) analysis.Evidence {
	return analysis.Evidence{
		Signal: fmt.Sprintf("packet rate at %d B over that at %d B, held against %s", p.above.InnerSize, p.below.InnerSize, l.name),
		Unit:   "ratio", Value: p.ratio,
		Threshold: fmt.Sprintf("for information: %.4f, within %.4f of itself", l.ratio, nearEnough+p.doubt),
		Holds:     l.fits(p), For: Cause,
	}
}

// visibleEvidence is whether each step that is predicted, and by each limit, would have
// been seen.
func visibleEvidence(predictions []Prediction, pairs []pair) (all []analysis.Evidence) {
	for _, q := range predictions {
		i := slices.IndexFunc(pairs, q.within)
		if i < 0 {
			all = append(all, analysis.Evidence{
				Signal: fmt.Sprintf("readings around %d B, predicted by %s", q.InnerSize, q.By), Unit: "count",
				Threshold: "two that can be compared", For: Cause,
			})
			continue
		}
		all = append(all, visible(q, pairs[i]))
	}
	return all
}

// visible holds the least step that a prediction allows for against what could be told
// from none.
func visible(q Prediction, p pair) analysis.Evidence {
	least := 1.0
	for _, l := range limitsOf(p, q) {
		least = min(least, 1-l.ratio/p.whole())
	}
	return analysis.Evidence{
		Signal: fmt.Sprintf("least drop that packets cut up would make between %d and %d B, by %s", p.below.InnerSize, p.above.InnerSize, q.By),
		Unit:   "ratio", Value: least,
		Threshold: fmt.Sprintf("more than %.4f, with a limit found at %d B", p.least(), p.above.InnerSize),
		Holds:     least > p.least() && !p.above.AtLeast, For: Cause,
	}
}
