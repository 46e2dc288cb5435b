package fragment

import (
	"fmt"
	"math"

	"tunnelmark/analysis"
)

// nearEnough is how well a step must have the size that a limit predicts, beside what
// the readings leave in doubt: a limit of bytes may count Ethernet's, too.
const nearEnough = 0.005

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
	all := []limit{{"a limit of packets per second", 0.5}}
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

// limitEvidence holds the step against every limit; none of them decides. What lies
// between those of bytes and that of packets is work of both kinds, as a CPU's is.
func limitEvidence(p pair, predictions []Prediction) (all []analysis.Evidence) {
	seen := make(map[limit]bool)
	bytes := 1.0
	fitted := false
	for _, q := range predictions {
		for _, l := range limitsOf(p, q) {
			bytes = min(bytes, max(l.ratio, 0.5+nearEnough))
			if !seen[l] {
				seen[l] = true
				fitted = fitted || l.fits(p)
				all = append(all, l.evidence(p))
			}
		}
	}
	return all
}
