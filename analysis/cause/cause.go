// Package cause judges what limits a path from the ceiling that a search found.
//
// The order of the decision:
//
//  1. the generator: could it not offer more than the path carried?
//  2. the ends: did a socket, a tunnel driver or a saturated core lose packets,
//     so that the path is not to blame?
//  3. a policer: the rate that passes is the same however high the overload, the
//     loss is exactly the rest, and the delay does not grow;
//  4. else the cause is unknown. Nothing is guessed.
//
// A search that climbed from below ends after the second question: without an
// overload there is no evidence for the third.
//
// What a policer shows at its knee and with bursts is listed beside that, but
// does not decide: through a small bucket, uneven arrival loses packets already
// below the rate.
package cause

import (
	"fmt"
	"strings"

	"tunnelmark/analysis"
)

// Judge says what limits the path, with all evidence, whether it holds or not.
func Judge(c analysis.Ceiling) analysis.Verdict {
	if c.Manner == analysis.Climb {
		return judgeClimb(c)
	}
	generator := generatorEvidence(c)
	ends := endsEvidence(c)
	required := policerEvidence(c)
	support := kneeEvidence(c)
	v := analysis.Verdict{Evidence: listed(generator, ends, required, lossEvidence(c), support)}
	switch {
	case c.GeneratorLimited && generator[0].Holds:
		v.Cause, v.Summary = analysis.Generator, generatorSummary(c)
	case holds(ends) && holds(required):
		v.Cause, v.Summary = analysis.Policer, policerSummary(c, support)
	default:
		v.Cause, v.Summary = analysis.Unknown, unknownSummary(c, append(ends, required...))
	}
	return v
}

func listed(groups ...[]analysis.Evidence) []analysis.Evidence {
	var all []analysis.Evidence
	for _, g := range groups {
		all = append(all, g...)
	}
	return all
}

func holds(all []analysis.Evidence) bool { return len(missing(all)) == 0 }

// missing are the signals that do not hold.
func missing(all []analysis.Evidence) []string {
	var signals []string
	for _, e := range all {
		if !e.Holds {
			signals = append(signals, e.Signal)
		}
	}
	return signals
}

// generatorSummary names what was offered, since the ceiling is above it.
func generatorSummary(c analysis.Ceiling) string {
	return fmt.Sprintf("The load generator is the limit: it could not offer more than %s, and the path lost no more than the goal of %s of that; the tunnel's ceiling is higher.",
		rates(c, c.InnerLowerBitsPerSecond), share(c.LossGoal))
}

func policerSummary(c analysis.Ceiling, support []analysis.Evidence) string {
	s := fmt.Sprintf("A policer limits the path to %s: under overload exactly this passes, the rest is dropped, and the delay does not grow", rates(c, c.InnerBitsPerSecond))
	if c.Bucket != nil {
		s += fmt.Sprintf("; its bucket holds about %.0f KiB of outer packets", c.Bucket.OuterBytes/1024)
	}
	if not := missing(support); len(not) > 0 {
		s += "; not seen, as may be with a small bucket or a busy host: " + strings.Join(not, "; ")
	}
	return s + "."
}

func unknownSummary(c analysis.Ceiling, tried []analysis.Evidence) string {
	if c.InnerBitsPerSecond == 0 {
		return "The cause is unknown: no load met the loss goal."
	}
	if c.InnerUpperBitsPerSecond == 0 {
		return fmt.Sprintf("The cause is unknown: no load missed the loss goal up to %s.", rates(c, c.InnerLowerBitsPerSecond))
	}
	return fmt.Sprintf("The cause of the ceiling at %s is unknown: for a policer this is missing: %s.",
		rates(c, c.InnerBitsPerSecond), strings.Join(missing(tried), "; "))
}

// rates is one inner rate in both layers, as far as they are known.
func rates(c analysis.Ceiling, inner float64) string {
	if c.InnerSize == 0 || c.OuterSize == 0 {
		return fmt.Sprintf("%.1f Mbit/s inner", inner/1e6)
	}
	outer := inner * float64(c.OuterSize) / float64(c.InnerSize)
	return fmt.Sprintf("%.1f Mbit/s inner (%.1f Mbit/s outer)", inner/1e6, outer/1e6)
}

func share(ratio float64) string { return fmt.Sprintf("%.2g %%", 100*ratio) }
