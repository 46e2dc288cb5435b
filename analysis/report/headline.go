package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tunnelmark/analysis"
)

// headline is what a reader sees first; text and page show the same one.
type headline struct {
	inner float64 // Bit/s, zero where nothing was measured.
	Title string  // "Ceiling"
	When  string  // "at 2026-11-23 05:10 UTC". Often empty.
	// Aside says what the rate is not. Often empty.
	Aside string
	Bound string // "", "at least" or "below".
	// Rate is of Layer, Outer always outer; both are empty where nothing was
	// measured, Outer also where what the tunnel adds is not known.
	Rate    string // "334.8 Mbit/s"
	Layer   string // "inner", or "goodput" of TCP.
	Outer   string // "350.1 Mbit/s"
	Packets string // "29,893 packet/s". Empty of TCP.
	Facts   []fact // Interval, loss goal and the like.
	// Caution says why the rate is not what it seems to be. Often empty.
	Caution string
}

// fact is one labelled figure.
type fact struct {
	Name, Value string
	// Note is a second value or an explanation. Often empty.
	Note string
}

const nothingKnown = "No trial was run, so nothing is known about this tunnel."

func (r Result) headline() headline {
	switch {
	case r.Kind == PathMTU && r.PathMTU != nil:
		return r.PathMTU.headline()
	case r.Ceiling == nil && len(r.Trials) == 0 && len(r.TCP) > 0:
		return tcpHeadline(r.TCP)
	case r.Ceiling == nil:
		return runHeadline(r.Trials)
	}
	h := ceilingHeadline(*r.Ceiling)
	if r.Ceiling.IsAvailable() {
		h.Title, h.When = "Available", "at "+r.foundAt().UTC().Format("2006-01-02 15:04 UTC")
		h.Aside = "production may share the path; not a ceiling"
	}
	return h
}

// foundAt is when a search came to its result.
func (r Result) foundAt() time.Time {
	if r.Ceiling.At.IsZero() {
		return r.Finished
	}
	return r.Ceiling.At
}

// figureName is what a found rate is called in a sentence.
func figureName(c *analysis.Ceiling) string {
	if c != nil && c.IsAvailable() {
		return "available rate"
	}
	return "ceiling"
}

// ceilingHeadline tells the three kinds of ceiling apart: between two bounds,
// without an upper one, and without a lower one.
func ceilingHeadline(c analysis.Ceiling) headline {
	inner, bound := c.InnerBitsPerSecond, ""
	switch {
	case c.InnerUpperBitsPerSecond == 0 && c.InnerLowerBitsPerSecond == 0:
		inner = 0
	case c.InnerUpperBitsPerSecond == 0:
		inner, bound = c.InnerLowerBitsPerSecond, "at least"
	case c.InnerLowerBitsPerSecond == 0 && !c.Flat:
		inner, bound = c.InnerUpperBitsPerSecond, "below"
	}
	h := rateHeadline("Ceiling", bound, inner, c.InnerSize, c.OuterSize)
	h.Facts = []fact{interval(c), lossGoal(c), effort(c)}
	h.Caution = strings.TrimSpace(caution(c) + " " + Clean(c.Note))
	return h
}

func rateHeadline(title, bound string, inner float64, innerSize, outerSize int) headline {
	if inner <= 0 {
		return headline{Title: title}
	}
	sizes := analysis.Trial{InnerSize: innerSize, OuterSize: outerSize}
	h := headline{
		inner: inner, Title: title, Bound: bound,
		Rate: formatRate(inner), Layer: "inner",
		Packets: grouped(packetsPerSecond(inner, innerSize)) + nbsp + "packet/s",
	}
	if outerSize > 0 {
		h.Outer = formatRate(sizes.Outer(inner))
	}
	return h
}

func interval(c analysis.Ceiling) fact {
	f := fact{Name: "Interval"}
	switch {
	case c.InnerUpperBitsPerSecond == 0 && c.InnerLowerBitsPerSecond == 0:
		f.Value = "none: no valid trial"
	case c.InnerUpperBitsPerSecond == 0:
		f.Value = formatRate(c.InnerLowerBitsPerSecond) + " inner or more"
		f.Note = "no load failed"
	case c.InnerLowerBitsPerSecond == 0:
		f.Value = "below " + formatRate(c.InnerUpperBitsPerSecond) + " inner"
		f.Note = "no load met the goal"
	default:
		f.Value = span(c.InnerLowerBitsPerSecond, c.InnerUpperBitsPerSecond) + " inner"
		if c.OuterSize > 0 {
			f.Note = span(c.OuterLowerBitsPerSecond(), c.OuterUpperBitsPerSecond()) + " outer"
		}
	}
	return f
}

// span writes "334.2 to 336.1 Mbit/s", naming the unit once where both have it.
func span(lower, upper float64) string {
	from, to := formatRate(lower), formatRate(upper)
	figure, unit, _ := strings.Cut(from, nbsp)
	if strings.HasSuffix(to, nbsp+unit) {
		from = figure
	}
	return from + " to " + to
}

func lossGoal(c analysis.Ceiling) fact {
	f := fact{Name: "Loss goal", Value: "at most " + formatGoal(c.LossGoal)}
	if c.LossFloor > 0 {
		f.Value += ", floor " + formatShare(c.LossFloor)
	}
	if !c.Qualified {
		f.Note = "not qualified by a longer trial"
		return f
	}
	f.Note = strings.TrimSuffix("qualified: "+qualification(c), ": ")
	return f
}

// qualification is what was held in the end: one load, in one trial or in several.
func qualification(c analysis.Ceiling) string {
	var held analysis.Trial
	trials := 0
	for _, s := range slices.Backward(c.Steps) {
		if s.Purpose != analysis.Qualify || trials > 0 && s.Trial.Load.InnerBitsPerSecond != held.Load.InnerBitsPerSecond {
			continue
		}
		if trials > 0 && s.Trial.Lossy(c.LossGoal) {
			break
		}
		held.Load, held.InnerSize = s.Trial.Load, s.Trial.InnerSize
		held.Sent, held.Received, held.Elapsed = held.Sent+s.Trial.Sent, held.Received+s.Trial.Received, held.Elapsed+s.Trial.Elapsed
		trials++
	}
	if trials == 0 {
		return ""
	}
	text := fmt.Sprintf("%s lost in %s at %s inner", formatShare(held.LossRatio()), formatDuration(held.Elapsed), formatRate(held.InnerSentBitsPerSecond()))
	if trials > 1 {
		text += fmt.Sprintf(", in %d trials", trials)
	}
	return text
}

func effort(c analysis.Ceiling) fact {
	f := fact{
		Name:  "Effort",
		Value: fmt.Sprintf("%s of traffic in %s trials", formatDuration(c.TrafficTime()), formatCount(len(c.Steps))),
		Note:  "manner: " + Clean(string(c.Manner)),
	}
	if c.Manner == analysis.Climb {
		f.Note += "; " + formatDuration(c.LossyTime()) + " with more loss than the goal"
	}
	return f
}

func caution(c analysis.Ceiling) string {
	switch {
	case len(c.Steps) == 0:
		return nothingKnown
	case c.GeneratorLimited:
		return "The generator could not offer more: this is a limit of the test, not of the tunnel."
	case c.InnerUpperBitsPerSecond == 0:
		return "No load failed: the tunnel may carry more than was offered."
	}
	return ""
}

// runHeadline is the most that any of the fixed loads brought through.
func runHeadline(trials []analysis.Trial) headline {
	if len(trials) == 0 {
		return headline{Title: "Delivered", Caution: nothingKnown}
	}
	best := trials[0]
	for _, t := range trials[1:] {
		if t.InnerReceivedBitsPerSecond() > best.InnerReceivedBitsPerSecond() {
			best = t
		}
	}
	h := rateHeadline("Delivered", "", best.InnerReceivedBitsPerSecond(), best.InnerSize, best.OuterSize)
	h.Facts = []fact{
		{Name: "Sent", Value: formatRate(best.InnerSentBitsPerSecond()) + " inner"},
		{Name: "Loss", Value: formatShare(best.LossRatio()), Note: formatCount(best.Lost()) + " of " + formatCount(best.Sent) + " packets"},
		{Name: "Effort", Value: formatDuration(best.Elapsed), Note: bestOf(len(trials))},
	}
	if !best.Valid() {
		h.Caution = "The generator sent less than it was asked for: this trial says little about the tunnel."
	}
	return h
}

// bestOf says among how many trials one was chosen.
func bestOf(trials int) string {
	if trials == 1 {
		return ""
	}
	return fmt.Sprintf("the best of %d trials", trials)
}

// baselineFact holds the tunnel against the clear path.
func (r Result) baselineFact() (fact, bool) {
	if r.Baseline == nil {
		return fact{}, false
	}
	f := fact{Name: "Baseline", Value: formatRate(r.Baseline.InnerBitsPerSecond) + " inner"}
	switch {
	case r.Baseline.InnerBitsPerSecond <= 0:
		f.Value = "not known" // No load met its goal.
	case r.Baseline.AtLeast:
		f.Value = "at least " + f.Value
	}
	f.Note = "the clear path" + r.share()
	return f, true
}

// share says what the tunnel carries of what the path carries without it, as
// far as two figures that may be open upwards can say.
func (r Result) share() string {
	if r.Ceiling == nil || r.Ceiling.InnerBitsPerSecond <= 0 || r.Baseline.InnerBitsPerSecond <= 0 {
		return ""
	}
	ratio := formatShare(r.Ceiling.InnerBitsPerSecond / r.Baseline.InnerBitsPerSecond)
	switch open := r.Ceiling.InnerUpperBitsPerSecond == 0; {
	case open && r.Baseline.AtLeast:
		return ""
	case open:
		ratio = "at least " + ratio
	case r.Baseline.AtLeast:
		ratio = "at most " + ratio
	}
	return "; the tunnel carries " + ratio + " of it"
}

// bucketFact is a policer's depth, held against the lab's device where there is
// one.
func (r Result) bucketFact() (fact, bool) {
	if r.Ceiling == nil || r.Ceiling.Bucket == nil {
		return fact{}, false
	}
	b := r.Ceiling.Bucket
	f := fact{
		Name:  "Bucket",
		Value: formatBytes(b.OuterBytes) + " outer",
		Note:  fmt.Sprintf("median of %d bursts, spread %s", b.Bursts, formatShare(b.Spread)),
	}
	if burst := r.burst(); burst > 0 {
		f.Note += "; device has " + formatBytes(burst) + ", " + formatDifference(b.OuterBytes/burst-1)
	}
	return f, true
}

// burst is the bucket, in outer bytes, of the device that the load met.
func (r Result) burst() float64 {
	if r.Truth == nil {
		return 0
	}
	for _, d := range r.Truth.Devices {
		if d.Toward == r.Path.To {
			return d.BurstOuterBytes
		}
	}
	return 0
}

// plateauFact is the rate that passes under overload.
func (r Result) plateauFact() (fact, bool) {
	if r.Ceiling == nil || r.Ceiling.Plateau == nil {
		return fact{}, false
	}
	p := r.Ceiling.Plateau
	return fact{
		Name:  "Plateau",
		Value: formatRate(p.InnerBitsPerSecond) + " inner",
		Note: fmt.Sprintf("%s x overload, %s windows, spread %s",
			trimmed(p.OfferedRatio, 2), formatCount(p.Windows), formatShare(p.Spread)),
	}, true
}
