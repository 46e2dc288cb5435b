package capacity

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"tunnelmark/analysis"
)

const (
	// meanMonth is one of 365.25 / 12 = 30.44 days.
	meanMonth = 30.44 * 24 * float64(time.Hour)
	// termMonths is the time for which an option is priced, and should last.
	termMonths = 36
	// smaller is how much smaller, as a ratio, the demand's packets may be than those of a
	// claim before the claim says little about them.
	smaller = 0.8
	// ownMTU is by how many bytes the inner MTUs of two tunnels differ because their headers
	// and padding do; beyond, somebody chose another.
	ownMTU = 100
)

// market is what options are held against: the outlook that is full first.
type market struct {
	question Question
	lane     lane
	capacity analysis.Capacity // Today's, of all links together.
	size     float64           // Mean inner size of the demand; zero: not known.
	layers   layers
	derating float64 // Zero: no data sheet was given.

	today   analysis.Crossing                         // At all of today's capacity.
	full    func(analysis.Capacity) analysis.Crossing // At all of that one.
	horizon time.Time                                 // The plan's day, where growth is not known.
}

// options are all remedies, those that were measured and those that were named, best
// first. A remedy that was both stands under the name that it was given.
func (k market) options() []analysis.Option {
	var all []analysis.Option
	for _, c := range k.question.Candidates {
		all = append(all, k.candidate(c))
	}
	for _, m := range k.remedies() {
		all = append(all, k.measured(newTunnel(m, k.question.Measured), strings.Join(differences(k.lane.tunnel.setup, m.Setup), " and ")))
	}
	for i := range all {
		k.complete(&all[i])
	}
	k.rank(all)
	return all
}

// remedies are the first measurements of every other setup, in the direction of the
// outlook.
func (k market) remedies() []Measured {
	var found []Measured
	for _, m := range k.question.Measured {
		if m.Ceiling == nil || m.From != k.lane.tunnel.from || m.To != k.lane.tunnel.to ||
			sameSetup(m.Setup, k.lane.tunnel.setup) || k.named(m) ||
			slices.ContainsFunc(found, func(f Measured) bool { return sameSetup(f.Setup, m.Setup) }) {
			continue
		}
		found = append(found, m)
	}
	return found
}

// named says whether a candidate is that setup, measured.
func (k market) named(m Measured) bool {
	return slices.ContainsFunc(k.question.Candidates, func(c Candidate) bool {
		return c.Claim == nil && sameSetup(c.Measured[0].Setup, m.Setup)
	})
}

// candidate is a remedy that was named, with its price.
func (k market) candidate(c Candidate) analysis.Option {
	var o analysis.Option
	if c.Claim == nil {
		o = k.measured(newTunnel(c.Measured[0], c.Measured), c.Name) // Another device may have the same setup.
	} else {
		o = k.claimed(*c.Claim, c.Name)
	}
	if c.Price != nil {
		price := *c.Price
		o.Price = &price
	}
	return o
}

// measured is a remedy as it was measured, for as many links as today's.
func (k market) measured(t tunnel, name string) analysis.Option {
	inner := k.likeToday(t.capacity(k.size))
	c := k.layers.capacity(inner, k.question.Demand.Layer).Scaled(float64(k.question.Links))
	c.Shared = k.lane.shared
	if k.question.Links > 1 {
		c.Basis += fmt.Sprintf(", for each of %d links", k.question.Links)
	}
	return analysis.Option{Name: name, Capacity: c, Note: strings.Join(t.doubts(k.size), " ")}
}

// likeToday tells a capacity of packets of one size for those of the demand, as if it bent with
// the size as today's does: what else would be known of a size that was not measured?
func (k market) likeToday(c analysis.Capacity) analysis.Capacity {
	model := k.lane.tunnel.model
	if model == nil || k.size == 0 || math.Abs(c.InnerSize-k.size) < 1 {
		return c
	}
	bent := c.Scaled(model.InnerBitsPerSecond(k.size) / model.InnerBitsPerSecond(c.InnerSize))
	bent.InnerSize = k.size
	bent.Basis += fmt.Sprintf(", told for %.0f B as today's tunnel bends with the size", k.size)
	return bent
}

// claimed is a remedy of which a vendor says what it carries, all links together: less
// what today's device misses of its own data sheet.
func (k market) claimed(claim Claim, name string) analysis.Option {
	size := claim.sizeOr(k.capacity.InnerSize)
	promised := k.layers.convert(claim.BitsPerSecond, size, claim.Layer, analysis.InnerLayer)
	c := k.layers.capacity(k.likeToday(analysis.Capacity{
		LowBitsPerSecond: promised, LikelyBitsPerSecond: promised, HighBitsPerSecond: promised,
		InnerSize: size, Claimed: true, Shared: k.lane.shared,
		Basis: fmt.Sprintf("claimed by the vendor (%s): %s with %.0f B packets", cmp.Or(claim.Source, "no source given"), rate(claim.BitsPerSecond, claim.Layer), size),
	}), k.question.Demand.Layer)
	if k.derating > 0 && k.derating < 1 {
		c.LowBitsPerSecond, c.LikelyBitsPerSecond = c.LowBitsPerSecond*k.derating, c.LikelyBitsPerSecond*k.derating
		c.Basis += fmt.Sprintf(", times the %.0f %% that today's device reaches of its own data sheet", 100*k.derating)
	}
	return analysis.Option{Name: name, Capacity: c, Note: strings.Join(k.claimDoubts(size), " ")}
}

func (k market) claimDoubts(size float64) []string {
	var doubts []string
	if k.derating == 0 {
		doubts = append(doubts, "This is the vendor's word: what today's device promises (--datasheet) would tell how much to believe of it.")
	}
	if k.size > 0 && k.size < smaller*size && k.lane.tunnel.model == nil {
		doubts = append(doubts, fmt.Sprintf("It is for packets of %.0f B; the demand's have %.0f B on average, of which a device carries less.", size, k.size))
	}
	if k.question.Links > 1 {
		doubts = append(doubts, fmt.Sprintf("It is taken for all %d links together.", k.question.Links))
	}
	return doubts
}

// sizeOr is the claim's inner size in bytes, or that of the plan where it names none.
func (c Claim) sizeOr(size float64) float64 {
	if c.InnerSize > 0 {
		return float64(c.InnerSize)
	}
	return size
}

// derating is what today's device reaches of its own data sheet, in its layer and, as far
// as is known, with its packets.
func (l layers) derating(today tunnel, sheet Claim, planSize float64) float64 {
	size := sheet.sizeOr(planSize)
	c := today.capacity(size)
	reached := l.convert(c.LikelyBitsPerSecond, c.InnerSize, analysis.InnerLayer, sheet.Layer)
	return reached / sheet.BitsPerSecond
}

// complete says what an option brings, and what that costs.
func (k market) complete(o *analysis.Option) {
	o.Factor = o.Capacity.LikelyBitsPerSecond / k.capacity.LikelyBitsPerSecond
	o.Full = k.full(o.Capacity)
	o.Months, o.AtLeast = k.monthsBought(o.Full)
	if o.Price == nil {
		return
	}
	o.Price.ThreeYears = o.Price.Once + termMonths*o.Price.Monthly
	o.Price.PerMonth = 0
	if o.Months > 0 {
		o.Price.PerMonth = o.Price.ThreeYears / min(o.Months, termMonths)
	}
}

// monthsBought is from when today's tunnel is full, or now if it is already, until an
// option is; none where today's tunnel lasts beyond the horizon, or longer than the
// option.
func (k market) monthsBought(option analysis.Crossing) (months float64, atLeast bool) {
	if k.today.Likely.IsZero() {
		return 0, false
	}
	from, until := later(k.today.Likely, k.question.At), option.Likely
	if until.IsZero() {
		until, atLeast = k.horizon, true
	}
	months = max(0, float64(until.Sub(from))/meanMonth)
	return months, atLeast && months > 0
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// rank sorts options, best first:
//
//  1. Those that last three years from the plan's day come before those that do not.
//  2. Of those that do, what costs less in three years comes first, and what has a
//     price before what has none.
//  3. Then what buys more months comes first.
//  4. On a tie, what carries more comes first where none buys time; else cost decides as
//     in 2, then what was measured comes before what is claimed, then names decide.
func (k market) rank(all []analysis.Option) {
	slices.SortStableFunc(all, func(a, b analysis.Option) int {
		months, cost := cmp.Compare(b.Months, a.Months), compareCost(a.Price, b.Price)
		first, then := months, cost
		if k.lasts(a) && k.lasts(b) {
			first, then = cost, months
		}
		if a.Months == 0 && b.Months == 0 && !k.lasts(a) {
			then = cmp.Compare(b.Factor, a.Factor)
		}
		return cmp.Or(compareBool(!k.lasts(a), !k.lasts(b)), first, then,
			compareBool(a.Capacity.Claimed, b.Capacity.Claimed), strings.Compare(a.Name, b.Name))
	})
}

// lasts says whether an option is not full within three years, as far as the forecast
// goes.
func (k market) lasts(o analysis.Option) bool {
	until := o.Full.Likely
	if until.IsZero() {
		until = k.horizon
	}
	return !until.Before(k.question.At.AddDate(0, termMonths, 0))
}

func compareCost(a, b *analysis.Price) int {
	if a == nil || b == nil {
		return compareBool(a == nil, b == nil)
	}
	return cmp.Compare(a.ThreeYears, b.ThreeYears)
}

// compareBool puts what does not hold first.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func sameSetup(a, b Setup) bool { return len(differences(a, b)) == 0 }

// differences says in a user's words what one setup has other than today's. What is not
// known of either is no difference, and an inner MTU that follows from other headers is
// not one of its own.
func differences(today, other Setup) []string {
	var found []string
	differ := func(a, b, words string) {
		if a != "" && b != "" && a != b {
			found = append(found, words+b)
		}
	}
	if tunnels := max(1, other.Tunnels); tunnels != max(1, today.Tunnels) {
		found = append(found, count(tunnels, "tunnel"))
	}
	differ(today.Driver, other.Driver, "other driver: ")
	differ(today.Suite, other.Suite, "other cipher: ")
	differ(today.Encapsulation, other.Encapsulation, "other encapsulation: ")
	if today.InnerMTU > 0 && other.InnerMTU > 0 && today.InnerMTU != other.InnerMTU {
		if apart := other.InnerMTU - today.InnerMTU; len(found) == 0 || max(apart, -apart) > ownMTU {
			found = append(found, fmt.Sprintf("inner MTU %d", other.InnerMTU))
		}
	}
	return found
}

// count is "1 tunnel" or "2 tunnels".
func count(n int, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return fmt.Sprintf("%d %ss", n, of)
}

// rate is "350.0 Mbit/s outer".
func rate(bitsPerSecond float64, in analysis.Layer) string {
	return fmt.Sprintf("%.1f Mbit/s %s", bitsPerSecond/1e6, in)
}
