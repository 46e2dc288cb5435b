package cause

import (
	"fmt"
	"strings"

	"tunnelmark/analysis"
)

// judgeClimb judges what was never overloaded by much, and perhaps not alone on the
// path: what the generator and the ends did can be said, what limits the path
// cannot. A policer and a queue differ in what they do to an overload.
func judgeClimb(c analysis.Ceiling) analysis.Verdict {
	generator, ends := generatorEvidence(c), endsEvidence(c)
	for i := range ends {
		ends[i].For = analysis.Unknown // Without it, the ends would be to blame.
	}
	v := analysis.Verdict{Cause: analysis.Unknown, Summary: climbSummary(c, ends), Evidence: listed(generator, ends)}
	if c.GeneratorLimited && generator[0].Holds {
		v.Cause, v.Summary = analysis.Generator, generatorSummary(c)
	}
	return v
}

func climbSummary(c analysis.Ceiling, ends []analysis.Evidence) string {
	what, beside := "Available capacity only, the cause is unknown", " beside whatever else used the path"
	if !c.IsAvailable() {
		what, beside = "The cause is unknown", ""
	}
	switch {
	case c.InnerBitsPerSecond == 0:
		return what + ": no load met the loss goal."
	case c.InnerUpperBitsPerSecond == 0:
		return fmt.Sprintf("%s: no load missed the loss goal up to %s.", what, rates(c, c.InnerLowerBitsPerSecond))
	}
	s := fmt.Sprintf("%s: %s passed%s, %s did not. The search came from below, and a path that is not overloaded does not show what limits it",
		what, rates(c, c.InnerLowerBitsPerSecond), beside, rates(c, c.InnerUpperBitsPerSecond))
	if not := missing(ends); len(not) > 0 {
		s += "; the ends themselves may be the limit, see " + strings.Join(not, "; ")
	}
	return s + "."
}
