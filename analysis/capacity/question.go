package capacity

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"tunnelmark/analysis"
)

// Question is what a plan is made from.
type Question struct {
	// At is the day to plan for; zero: when the demand ends.
	At time.Time
	// Demand is from From to To of the first measurement; Reverse is the other way. Optional.
	Demand  analysis.Demand
	Reverse *analysis.Demand
	// Measured holds today's tunnel first. What differs from it in
	// more than direction and packet size is a remedy.
	Measured []Measured
	// Links is how many tunnels like today's share the demand; zero: one.
	Links int
	// LeadTime is how long it takes from an order to service.
	LeadTime time.Duration
	// Shares of a capacity, 0 to 1, whose dates are wanted; none: 0.7, 0.8 and 1.
	Shares []float64
	// Directions says whether both ways share one limit; empty: as measured.
	Directions Directions
	// Overhead in bytes is what the tunnel adds to each packet, where no
	// measurement knows. Optional.
	Overhead int
	// Datasheet is what the vendor of today's device promises. Optional.
	Datasheet *Claim
	// Candidates are remedies that were named. Optional.
	Candidates []Candidate
}

// Directions says whether the demand of both ways is held against one ceiling.
type Directions string

// AsMeasured plans each way by itself only where a measurement loaded both at once and
// both together carried more than one ceiling.
const (
	AsMeasured Directions = ""
	Shared     Directions = "shared"
	Apart      Directions = "apart"
)

// Measured is one measurement, reduced to what a plan needs.
type Measured struct {
	Name     string // Of its file, for messages.
	From, To string
	Setup    Setup
	// Ceiling is nil where fixed loads were run.
	Ceiling *analysis.Ceiling
	// BothWaysInnerBitsPerSecond is the highest sum of both directions that fixed loads in both at
	// once carried within the loss goal; zero: none were. BothWaysInnerSize, in bytes, is
	// that of their packets; zero: not known.
	BothWaysInnerBitsPerSecond float64
	BothWaysInnerSize          int
	Latency                    bool // It holds latency under load.
}

// Setup is what a remedy changes.
type Setup struct {
	Driver, Suite, Encapsulation string
	Tunnels                      int
	InnerMTU                     int
}

// Claim is a rate that a vendor states.
type Claim struct {
	BitsPerSecond float64
	Layer         analysis.Layer
	InnerSize     int    // In bytes; zero: the size of the plan.
	Source        string // "datasheet".
}

// Candidate is a remedy that was named: claimed by a vendor, or measured.
type Candidate struct {
	Name  string
	Claim *Claim
	// Measured are its ceilings at one packet size or several: the first is the one that
	// compares with today's.
	Measured []Measured
	Price    *analysis.Price // Currency, Once and Monthly. Optional.
}

// What a question may hold: more is a mistake, and would only make sums overflow.
const (
	leastBits  = 1    // In bit/s.
	mostBits   = 1e15 // Likewise.
	mostLinks  = 64
	mostLead   = 5 * 365 * 24 * time.Hour
	mostShares = 16
	mostOffers = 100
	mostAdded  = 1000 // Bytes that a tunnel adds to a packet.
	mostPrice  = 1e15
	mostStep   = 24 * time.Hour
	// stale is how old demand may be before a plan says so, and mostStale before it is
	// worth none.
	stale = 30 * 24 * time.Hour
	// lateEnd is how much earlier than the rest one direction's demand may end before a
	// plan says so.
	lateEnd   = 2 * 24 * time.Hour
	mostStale = 5 * 365 * 24 * time.Hour
	firstYear = 1970
	lastYear  = 2200
)

// today is the measurement of the tunnel that the demand passes.
func (q Question) today() Measured { return q.Measured[0] }

// withDefaults fills in what was left open, and forgets demand from after the day that is
// planned for.
func (q Question) withDefaults() Question {
	if q.At.IsZero() {
		q.At = q.Demand.End()
	}
	q.At = q.At.In(q.Demand.Start.Location())
	q.Links = max(1, q.Links)
	if len(q.Shares) == 0 {
		q.Shares = []float64{0.7, 0.8, 1}
	}
	q.Demand = until(q.Demand, q.At)
	if q.Reverse != nil {
		reverse := until(*q.Reverse, q.At)
		q.Reverse = &reverse
	}
	return q
}

// check refuses what cannot be planned, and names the flag that changes it.
func (q Question) check() error {
	for _, check := range []func() error{
		q.checkToday, q.checkMeasured, q.checkDemand, q.checkReverse, q.checkAt, q.checkWishes, q.checkDatasheet, q.checkCandidates, q.checkLayers,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (q Question) checkToday() error {
	switch {
	case len(q.Measured) == 0:
		return errors.New("there is no measurement of today's tunnel: give the result of tunnelmark find first")
	case q.today().Ceiling == nil:
		return fmt.Errorf("%s: holds no ceiling of today's tunnel: give the result of tunnelmark find first, others after it", q.today().Name)
	case q.today().From == "" || q.today().From == q.today().To:
		return fmt.Errorf("%s: is of no direction (from %q to %q)", q.today().Name, q.today().From, q.today().To)
	}
	return nil
}

func (q Question) checkMeasured() error {
	for _, m := range q.Measured {
		if err := m.check(); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	return nil
}

func (m Measured) check() error {
	if m.BothWaysInnerBitsPerSecond != 0 && !sane(m.BothWaysInnerBitsPerSecond) {
		return fmt.Errorf("both directions carried %g bit/s: %w", m.BothWaysInnerBitsPerSecond, errRate)
	}
	if m.Ceiling == nil {
		return nil
	}
	c := *m.Ceiling
	if c.InnerSize < leastIP || c.InnerSize > mostIP || c.OuterSize != 0 && (c.OuterSize < c.InnerSize || c.OuterSize > c.InnerSize+mostAdded) {
		return fmt.Errorf("its packets of %d B inside and %d B outside of the tunnel are none of IP", c.InnerSize, c.OuterSize)
	}
	if !sane(c.InnerBitsPerSecond) {
		return fmt.Errorf("a ceiling of %g bit/s: %w; no load may have met the loss goal: measure again", c.InnerBitsPerSecond, errRate)
	}
	for _, bound := range []float64{c.InnerLowerBitsPerSecond, c.InnerUpperBitsPerSecond} {
		if bound != 0 && !sane(bound) {
			return fmt.Errorf("a ceiling with a bound of %g bit/s: %w", bound, errRate)
		}
	}
	return nil
}

var errRate = fmt.Errorf("want a rate of %g to %g bit/s", float64(leastBits), float64(mostBits))

// sane is false of what is no number, too.
func sane(bitsPerSecond float64) bool { return bitsPerSecond >= leastBits && bitsPerSecond <= mostBits }

func (q Question) checkDemand() error { return checkDemand(q.Demand, true) }

func (q Question) checkReverse() error {
	switch {
	case q.Reverse == nil:
		return nil
	case q.Reverse.Layer != q.Demand.Layer:
		return fmt.Errorf("--demand-layer: one direction is counted in layer %q, the other in %q; want one layer", q.Demand.Layer, q.Reverse.Layer)
	}
	if err := checkDemand(*q.Reverse, false); err != nil {
		return fmt.Errorf("reverse demand: %w", err)
	}
	return nil
}

// checkDemand wants sound bins; busy wants some traffic in them, which one way may lack.
func checkDemand(d analysis.Demand, busy bool) error {
	bins := len(d.BitsPerSecond)
	switch {
	case checkLayer(d.Layer) != nil:
		return fmt.Errorf("--demand-layer: %w", checkLayer(d.Layer))
	case d.Step <= 0 || d.Step > mostStep:
		return fmt.Errorf("demand with a sample every %v: want one a day or more", d.Step)
	case d.Start.Year() < firstYear || d.End().Year() > lastYear:
		return fmt.Errorf("demand from %s to %s: want years from %d to %d", date(d.Start), date(d.End()), firstYear, lastYear)
	case d.PacketsPerSecond != nil && len(d.PacketsPerSecond) != bins, d.PeakBitsPerSecond != nil && len(d.PeakBitsPerSecond) != bins:
		return fmt.Errorf("internal error: demand of %d bins with %d of packets and %d of peaks", bins, len(d.PacketsPerSecond), len(d.PeakBitsPerSecond))
	}
	return checkBins(d, busy)
}

// checkBins wants no bin to be out of all bounds and, where it is to be busy, some to
// have traffic.
func checkBins(d analysis.Demand, busy bool) error {
	for _, rates := range [][]float64{d.BitsPerSecond, d.PacketsPerSecond, d.PeakBitsPerSecond} {
		for bin, rate := range rates {
			if rate < 0 || rate > mostBits {
				return fmt.Errorf("demand of %g bit/s or packet/s at %s: want 0 to %g; other units or --scale?", rate, d.Start.Add(time.Duration(bin)*d.Step).Format(time.RFC3339), float64(mostBits))
			}
		}
	}
	if len(d.BitsPerSecond) == 0 || busy && !carries(d) {
		return errors.New("demand is empty: it has no bin with a rate above zero")
	}
	return nil
}

// carries says whether a demand has any traffic.
func carries(d analysis.Demand) bool {
	return slices.ContainsFunc(d.BitsPerSecond, func(rate float64) bool { return rate > 0 })
}

// checkAt wants a day that the demand can say something about.
func (q Question) checkAt() error {
	switch {
	case q.At.IsZero():
		return nil
	case q.At.Sub(q.Demand.Start) < q.Demand.Step:
		return fmt.Errorf("--at %s: the demand begins only on %s", date(q.At), date(q.Demand.Start))
	case q.At.Sub(q.Demand.End()) > mostStale:
		return fmt.Errorf("--at %s: the demand ends on %s, years before; give newer demand", date(q.At), date(q.Demand.End()))
	}
	return nil
}

func (q Question) checkWishes() error {
	switch {
	case q.Links < 0 || q.Links > mostLinks:
		return fmt.Errorf("--links %d: want 1 to %d", q.Links, mostLinks)
	case q.LeadTime < 0 || q.LeadTime > mostLead:
		return fmt.Errorf("--lead-time %v: want 0 to 5 years", q.LeadTime)
	case q.Overhead < 0 || q.Overhead > mostAdded:
		return fmt.Errorf("--overhead %d: want 0 to %d bytes", q.Overhead, mostAdded)
	case q.Directions != AsMeasured && q.Directions != Shared && q.Directions != Apart:
		return fmt.Errorf("--directions %q: want %s or %s", q.Directions, Shared, Apart)
	case len(q.Shares) > mostShares:
		return fmt.Errorf("--share: %d are more than %d", len(q.Shares), mostShares)
	}
	for _, share := range q.Shares {
		if !(share > 0 && share <= 1) {
			return fmt.Errorf("--share %g: want more than 0 and at most 1", share)
		}
	}
	return nil
}

func (q Question) checkDatasheet() error {
	if q.Datasheet == nil {
		return nil
	}
	if err := q.Datasheet.check(); err != nil {
		return fmt.Errorf("--datasheet: %w", err)
	}
	return nil
}

func (c Claim) check() error {
	switch {
	case !sane(c.BitsPerSecond):
		return fmt.Errorf("%g bit/s: %w", c.BitsPerSecond, errRate)
	case c.InnerSize != 0 && (c.InnerSize < leastIP || c.InnerSize > mostIP):
		return fmt.Errorf("size %d: want %d to %d bytes", c.InnerSize, leastIP, mostIP)
	}
	return checkLayer(c.Layer)
}

func checkLayer(layer analysis.Layer) error {
	switch layer {
	case analysis.InnerLayer, analysis.OuterLayer, analysis.EthernetLayer:
		return nil
	}
	return fmt.Errorf("layer %q: want %s, %s or %s", layer, analysis.InnerLayer, analysis.OuterLayer, analysis.EthernetLayer)
}

// checkCandidates wants prices in one currency, since they are held against one another.
func (q Question) checkCandidates() error {
	if len(q.Candidates) > mostOffers {
		return fmt.Errorf("--option: %d are more than %d", len(q.Candidates), mostOffers)
	}
	currency := ""
	for _, c := range q.Candidates {
		if err := c.check(); err != nil {
			return fmt.Errorf("--option %s: %w", c.Name, err)
		}
		if c.Price == nil {
			continue
		}
		if currency = cmp.Or(currency, c.Price.Currency); currency != c.Price.Currency {
			return fmt.Errorf("--option %s: its price is in %s, another's in %s; give all in one currency", c.Name, c.Price.Currency, currency)
		}
	}
	return nil
}

func (c Candidate) check() error {
	switch {
	case c.Name == "":
		return errors.New("has no name")
	case (c.Claim == nil) == (len(c.Measured) == 0):
		return errors.New("want a rate that a vendor claims or a result that was measured, one of them")
	case c.Price != nil && !(c.Price.Once >= 0 && c.Price.Once <= mostPrice && c.Price.Monthly >= 0 && c.Price.Monthly <= mostPrice):
		return fmt.Errorf("a price of %g and %g a month: want none below 0", c.Price.Once, c.Price.Monthly)
	case c.Claim != nil:
		return c.Claim.check()
	case c.Measured[0].Ceiling == nil:
		return fmt.Errorf("%s holds no ceiling: give the result of tunnelmark find", c.Measured[0].Name)
	}
	for _, m := range c.Measured {
		if err := m.check(); err != nil {
			return err
		}
	}
	return nil
}

// checkLayers wants to know what the tunnel adds to a packet where layers differ.
func (q Question) checkLayers() error {
	l := q.layers()
	const unknown = "what the tunnel adds to a packet was not measured; give it as --overhead BYTES"
	if !l.converts(analysis.InnerLayer, q.Demand.Layer) {
		return fmt.Errorf("hold the inner ceiling against demand in layer %s: %s", q.Demand.Layer, unknown)
	}
	if q.Datasheet != nil && !l.converts(analysis.InnerLayer, q.Datasheet.Layer) {
		return fmt.Errorf("--datasheet in layer %s: %s", q.Datasheet.Layer, unknown)
	}
	for _, c := range q.Candidates {
		if c.Claim != nil && !l.converts(c.Claim.Layer, q.Demand.Layer) {
			return fmt.Errorf("--option %s in layer %s: %s", c.Name, c.Claim.Layer, unknown)
		}
	}
	return nil
}

func date(t time.Time) string { return t.Format(time.DateOnly) }
