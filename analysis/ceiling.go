package analysis

import "time"

// Manner is how a search may load the path.
type Manner string

const (
	// Overload may load the path beyond its ceiling: agents and lab own it.
	Overload Manner = "overload"
	// Climb comes from below, since production shares the path: overload is
	// bounded in height and in seconds of loss.
	Climb Manner = "climb"
)

// Meaning is what a found rate stands for.
type Meaning string

const (
	// TrueCeiling is what the path carries: nothing else used it.
	TrueCeiling Meaning = "ceiling"
	// Available is what the path had left at one time: other traffic may have
	// shared it.
	Available Meaning = "available"
)

// Purpose says what a search ran a trial for.
type Purpose string

// The purposes, in the order of a search.
const (
	Explore  Purpose = "explore"  // Find the order of magnitude.
	Floor    Purpose = "floor"    // The loss of the path itself, far below the ceiling.
	Plateaus Purpose = "plateau"  // Overload, to read the rate that passes.
	Burst    Purpose = "burst"    // Back to back, to read a bucket.
	Confirm  Purpose = "confirm"  // Just below and just above the estimate.
	Bisect   Purpose = "bisect"   // Narrow the interval.
	Qualify  Purpose = "qualify"  // The result, held for longer.
	Fixed    Purpose = "fixed"    // A load that a user asked for.
	Baseline Purpose = "baseline" // The same path without the tunnel.
)

// Step is one trial of a search and what it was for.
type Step struct {
	Purpose Purpose `json:"purpose"`
	Trial   Trial   `json:"trial"`
}

// Ceiling is what a search found: an interval of inner rates, with the loss
// goal that it stands for.
type Ceiling struct {
	Manner Manner `json:"manner"`
	// Meaning is empty in results of old: TrueCeiling. At is when Available
	// was found.
	Meaning Meaning   `json:"meaning,omitempty"`
	At      time.Time `json:"at,omitzero"`
	// LossGoal is the loss ratio, 0 to 1, that a load must not exceed.
	LossGoal float64 `json:"loss_goal_ratio"`
	// InnerLowerBitsPerSecond is the highest load that met the goal below every load that
	// did not, InnerUpperBitsPerSecond the lowest that did not; the latter is zero
	// where no load failed (then the ceiling is at least Lower).
	InnerLowerBitsPerSecond float64 `json:"inner_lower_bits_per_second"`
	InnerUpperBitsPerSecond float64 `json:"inner_upper_bits_per_second"`
	// InnerBitsPerSecond is the best single figure: the plateau where the limit
	// is flat, else Lower less what was lost there. It is inside the interval
	// unless Note says why not.
	InnerBitsPerSecond float64 `json:"inner_bits_per_second"`
	// InnerSize and OuterSize, in bytes, convert it to the outer layer; the latter
	// is zero where it is not known.
	InnerSize int `json:"inner_size_bytes"`
	OuterSize int `json:"outer_size_bytes"`
	// LossFloor is the loss ratio of the path far below its ceiling.
	LossFloor float64 `json:"loss_floor_ratio"`
	// Flat says that the rate that passes is the same at every overload.
	Flat bool `json:"flat"`
	// Note says, in words, what the figures alone do not.
	Note string `json:"note,omitempty"`
	// Qualified says that a last, longer trial at Lower met the goal.
	Qualified bool `json:"qualified"`
	// GeneratorLimited says that the generator could not offer more than Lower.
	GeneratorLimited bool     `json:"generator_limited"`
	Plateau          *Plateau `json:"plateau,omitempty"`
	// Overloads are the rates that passed at each height of overload, in the
	// order of their trials; Plateau is the summary of those from 1.3 on.
	Overloads []Plateau `json:"overloads,omitempty"`
	Bucket    *Bucket   `json:"bucket,omitempty"`
	Steps     []Step    `json:"steps"`
}

// OuterBitsPerSecond is the best figure in the outer layer.
func (c Ceiling) OuterBitsPerSecond() float64 {
	return c.outer(c.InnerBitsPerSecond)
}

// OuterLowerBitsPerSecond and OuterUpperBitsPerSecond are the interval in the
// outer layer.
func (c Ceiling) OuterLowerBitsPerSecond() float64 { return c.outer(c.InnerLowerBitsPerSecond) }

// OuterUpperBitsPerSecond is documented with OuterLowerBitsPerSecond.
func (c Ceiling) OuterUpperBitsPerSecond() float64 { return c.outer(c.InnerUpperBitsPerSecond) }

func (c Ceiling) outer(inner float64) float64 {
	if c.InnerSize == 0 {
		return 0
	}
	return inner * float64(c.OuterSize) / float64(c.InnerSize)
}

// TrafficTime is for how long the search sent.
func (c Ceiling) TrafficTime() time.Duration {
	var total time.Duration
	for _, s := range c.Steps {
		total += s.Trial.Elapsed
	}
	return total
}

// IsAvailable says that the figure is what was left beside other traffic.
func (c Ceiling) IsAvailable() bool { return c.Meaning == Available }

// LossyTime is for how long loads lost more than the goal: each that did counts as
// a whole.
func (c Ceiling) LossyTime() time.Duration {
	var total time.Duration
	for _, s := range c.Steps {
		if s.Trial.Lossy(c.LossGoal) {
			total += s.Trial.Elapsed
		}
	}
	return total
}

// Plateau is the rate that still passes under overload: the mean over those
// receive windows that are near the median.
type Plateau struct {
	InnerBitsPerSecond float64 `json:"inner_bits_per_second"`
	// Spread is the interquartile range of the windows' rates over their median.
	Spread  float64 `json:"spread_ratio"`
	Windows int     `json:"windows"`
	// OfferedRatio is the load over the plateau, for instance 1.3.
	OfferedRatio float64 `json:"offered_ratio"`
	// LossRatio is the share of the packets that were lost meanwhile, those
	// that a bucket let pass at first included.
	LossRatio float64 `json:"loss_ratio"`
}

// SteadySpread of the windows, as a ratio, is that of a host that lets both ends
// work.
const SteadySpread = 0.03

// Unsteady says that the windows of a reading differ so much that the host stalled
// an end: it says little about the path.
func (p Plateau) Unsteady() bool { return p.Spread > SteadySpread }

// Bucket is a token bucket's depth, read from short bursts.
type Bucket struct {
	OuterBytes float64 `json:"outer_bytes"` // Median over the bursts.
	Spread     float64 `json:"spread_ratio"`
	Bursts     int     `json:"bursts"`
}

// Cause is what limits a tunnel.
type Cause string

// The causes that are known so far. Unknown is an allowed verdict, a guess is not.
const (
	Policer   Cause = "policer"
	Generator Cause = "generator"
	Unknown   Cause = "unknown"
)

// Verdict is the cause of a ceiling with its evidence.
type Verdict struct {
	Cause   Cause  `json:"cause"`
	Summary string `json:"summary"` // One sentence for people.
	// Evidence is listed whether it holds or not, in the order of the decision.
	Evidence []Evidence `json:"evidence"`
}

// Evidence is one signal held against its threshold.
type Evidence struct {
	Signal    string  `json:"signal"`    // What was looked at, in words.
	Value     float64 `json:"value"`     // What was measured.
	Unit      string  `json:"unit"`      // "ratio", "s", "bit/s", "packets", "B".
	Threshold string  `json:"threshold"` // For instance "at most 0.005".
	Holds     bool    `json:"holds"`
	For       Cause   `json:"for"` // The cause that it speaks for if it holds.
}
