package capacity

import (
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
	Name     string
	Claim    *Claim
	Measured *Measured
	Price    *analysis.Price // Currency, Once and Monthly. Optional.
}
