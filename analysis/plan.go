package analysis

import "time"

// Plan holds what a tunnel carries against what it will have to carry. Every rate in
// it is in Layer, the one in which the demand was counted.
type Plan struct {
	At    time.Time `json:"at"` // The day that it is made for.
	Layer Layer     `json:"layer"`
	From  string    `json:"from"`
	To    string    `json:"to"`
	// Outlooks are of each direction that is planned by itself, or one of both
	// together; the one that is full first comes first.
	Outlooks []Outlook `json:"outlooks"`
	// Options are what would raise the ceiling of the first outlook, best first.
	Options []Option `json:"options,omitempty"`
	// SizeModel is what the measured sizes say about any mix of them. Optional.
	SizeModel *SizeModel `json:"size_model,omitempty"`
	// MeanInnerSize of the demand's packets in busy hours, in bytes; zero where packets were not
	// counted: then rates are of packets of the measured size.
	MeanInnerSize float64 `json:"mean_inner_size_bytes,omitempty"`
	// Links is how many tunnels like the measured one share the demand.
	Links    int           `json:"links"`
	LeadTime time.Duration `json:"lead_time_ns"`
	// Derating is what today's device reached of its own data sheet, as a ratio; zero
	// where no data sheet was given.
	Derating float64 `json:"derating_ratio,omitempty"`
	// Missing is what was not measured, and what would measure it.
	Missing []Missing `json:"missing,omitempty"`
	Notes   []string  `json:"notes,omitempty"` // One sentence each.
}

// Missing is one thing that a plan would be better with.
type Missing struct {
	What    string `json:"what"`              // One sentence.
	Command string `json:"command,omitempty"` // That gets it.
}

// Outlook is demand held against one ceiling.
type Outlook struct {
	Direction string   `json:"direction"` // "a to b", or "both directions together".
	Capacity  Capacity `json:"capacity"`  // Of one link.
	// BusyHourBitsPerSecond is the highest mean over a clock hour in the last four weeks, and Use
	// that over what the links carry together, as a ratio.
	BusyHourBitsPerSecond float64  `json:"busy_hour_bits_per_second"`
	Use                   float64  `json:"busy_hour_use_ratio"`
	Forecast              Forecast `json:"forecast"`
	// Crossings are the dates with all links, OneDown those with one of them out of
	// service; the latter is empty where there is one link alone.
	Crossings []Crossing `json:"crossings"`
	OneDown   []Crossing `json:"crossings_one_link_down,omitempty"`
	// DoingNothing is what the coming weeks look like then. Optional.
	DoingNothing []Shortfall `json:"doing_nothing,omitempty"`
}

// Capacity is what a link carries, or all links together, as a range. High is zero where no load failed: it
// carries Low or more.
type Capacity struct {
	LowBitsPerSecond    float64 `json:"low_bits_per_second"`
	LikelyBitsPerSecond float64 `json:"likely_bits_per_second"`
	HighBitsPerSecond   float64 `json:"high_bits_per_second,omitempty"`
	// InnerSize of the packets, in bytes, that it holds for.
	InnerSize float64 `json:"inner_size_bytes"`
	// Basis says how it is known, in words: "measured with 1400 B packets".
	Basis string `json:"basis"`
	// Claimed: a vendor says so, nobody measured it.
	Claimed bool `json:"claimed,omitempty"`
	// Shared: demand of both directions is held against it.
	Shared bool `json:"directions_share,omitempty"`
}

// Scaled is the capacity of so many of it side by side.
func (c Capacity) Scaled(by float64) Capacity {
	c.LowBitsPerSecond *= by
	c.LikelyBitsPerSecond *= by
	c.HighBitsPerSecond *= by
	return c
}

// Crossing is when demand reaches a share of a capacity. A date that is zero is not
// reached within the horizon of the forecast; one that is not after the plan's own day
// has been reached already.
type Crossing struct {
	Share float64 `json:"share_ratio"` // 0.8.
	// Earliest and Latest are the ends of an 80 % interval.
	Earliest time.Time `json:"earliest,omitzero"`
	Likely   time.Time `json:"likely,omitzero"`
	Latest   time.Time `json:"latest,omitzero"`
	// OrderBy is Earliest less the lead time.
	OrderBy time.Time `json:"order_by,omitzero"`
}

// Option is one remedy.
type Option struct {
	Name     string   `json:"name"`
	Capacity Capacity `json:"capacity"` // Of all links together.
	// Factor is its likely capacity over today's.
	Factor float64  `json:"factor"`
	Full   Crossing `json:"full"` // At all of its capacity.
	// Months is for how much longer it lasts than today's tunnel, between the likely
	// dates; AtLeast says that it lasts beyond the horizon.
	Months  float64 `json:"months_bought"`
	AtLeast bool    `json:"at_least,omitempty"`
	// Price is absent where none was given.
	Price *Price `json:"price,omitempty"`
	Note  string `json:"note,omitempty"`
}

// Price is what an option costs.
type Price struct {
	Currency string  `json:"currency"` // "USD".
	Once     float64 `json:"once"`
	Monthly  float64 `json:"monthly,omitempty"`
	// ThreeYears is all that it costs in three years, and PerMonth that over
	// the months bought, of which three years at most count; zero where it buys none.
	ThreeYears float64 `json:"three_years"`
	PerMonth   float64 `json:"per_month_bought,omitempty"`
}

// Shortfall is what a week at one date looks like if nothing is done.
type Shortfall struct {
	At time.Time `json:"at"`
	// Hours of the week in which the expected demand is above the capacity.
	Hours float64 `json:"hours_per_week"`
	// Excess is the share of those hours' demand that does not fit, as a ratio.
	Excess float64 `json:"excess_ratio"`
}

// SizeModel is the time that a packet takes as a sum: 1/pps = PerPacket + PerByte x
// inner size. An ideal limit in packets has no PerByte, one in bits no PerPacket.
type SizeModel struct {
	PerPacket float64 `json:"seconds_per_packet"`
	PerByte   float64 `json:"seconds_per_inner_byte"`
	// Points were measured, by size, and Error is the greatest deviation of theirs
	// from the model, as a ratio.
	Points []SizePoint `json:"points"`
	Error  float64     `json:"worst_error_ratio"`
}

// SizePoint is a ceiling of packets of one size, in bytes.
type SizePoint struct {
	InnerSize          int     `json:"inner_size_bytes"`
	InnerBitsPerSecond float64 `json:"inner_bits_per_second"`
}

// Seconds is how long a packet of that mean inner length in bytes takes.
func (m SizeModel) Seconds(meanInnerSize float64) float64 {
	return m.PerPacket + m.PerByte*meanInnerSize
}

// InnerBitsPerSecond is what the model says of packets of that mean length in bytes.
func (m SizeModel) InnerBitsPerSecond(meanInnerSize float64) float64 {
	return 8 * meanInnerSize / m.Seconds(meanInnerSize)
}

// Trend is how demand changes in the long run.
type Trend string

// TooLittleData and AlreadyFull are not verdicts about growth: nothing can be said of it.
const (
	NoTrend       Trend = "none"
	Linear        Trend = "linear"
	Exponential   Trend = "exponential"
	TooLittleData Trend = "too little data"
	AlreadyFull   Trend = "already full, true demand unknown"
	ClippedTrend  Trend = "clipped, growth not known"
)

// Forecast is what demand was, and where it goes: the 95th percentile of each day's
// bins by nearest rank, as transit is billed.
type Forecast struct {
	Trend Trend `json:"trend"`
	// GrowthKnown: the past tells how demand goes on, also where there is no trend.
	GrowthKnown bool `json:"growth_known"`
	// GrowthPerMonth is the change over the next 30 days as a ratio of today's level, with the ends of its 80 %
	// interval.
	GrowthPerMonth     float64 `json:"growth_per_month_ratio"`
	GrowthPerMonthLow  float64 `json:"growth_per_month_low_ratio"`
	GrowthPerMonthHigh float64 `json:"growth_per_month_high_ratio"`
	// LevelBitsPerSecond is what the trend says of the busiest weekday now.
	LevelBitsPerSecond float64  `json:"level_bits_per_second"`
	Days               []Day    `json:"days"`
	Weeks              []Period `json:"weeks"`
	Months             []Period `json:"months"`
	// Ahead is the level of the busiest weekday from now to the horizon.
	Ahead []Ahead `json:"ahead,omitempty"`
	// Steps are days since which the level is another.
	Steps    []time.Time `json:"steps,omitempty"`
	BackTest *BackTest   `json:"back_test,omitempty"` // Absent where the series is too short.
	// ClippedShare is the share of the busy hours in which demand was at 95 % of the
	// capacity or above.
	ClippedShare float64 `json:"clipped_busy_hours_ratio"`
	// BurstsUnknown: no samples were finer than a minute; else BurstRatio is the highest
	// fine sample over the mean of its bin, as the median of the days' busiest bins.
	BurstsUnknown bool    `json:"bursts_unknown,omitempty"`
	BurstRatio    float64 `json:"burst_ratio,omitempty"`
}

// Day is one day's demand.
type Day struct {
	Date             time.Time `json:"date"`
	P95BitsPerSecond float64   `json:"p95_bits_per_second"`
	// BusyHourBitsPerSecond is the mean of its busiest clock hour.
	BusyHourBitsPerSecond float64 `json:"busy_hour_bits_per_second"`
	// Clipped: the capacity, not the demand, set it. Outlier: it says little about the
	// trend, like a holiday or an outage. Partial: too little of it is known.
	Clipped bool `json:"clipped,omitempty"`
	Outlier bool `json:"outlier,omitempty"`
	Partial bool `json:"partial,omitempty"`
}

// Period is a week, from Monday, or a calendar month.
type Period struct {
	Start                 time.Time `json:"start"`
	P95BitsPerSecond      float64   `json:"p95_bits_per_second"`
	BusyHourBitsPerSecond float64   `json:"busy_hour_bits_per_second"`
	// Known is the share of its bins that have a rate.
	Known float64 `json:"known_ratio"`
}

// Ahead is the expected level at one date, with the ends of its 80 % interval.
type Ahead struct {
	Date                time.Time `json:"date"`
	LowBitsPerSecond    float64   `json:"low_bits_per_second"`
	LikelyBitsPerSecond float64   `json:"likely_bits_per_second"`
	HighBitsPerSecond   float64   `json:"high_bits_per_second"`
}

// BackTest is how the same method would have done on this series: from each day of the
// last half year on, as if it were the last, for the seven days after it.
type BackTest struct {
	Forecasts int `json:"forecasts"`
	// Error is the mean absolute error as a ratio of what came (MAPE), and
	// RepeatError that of repeating the week before.
	Error       float64 `json:"error_ratio"`
	RepeatError float64 `json:"repeat_last_week_error_ratio"`
	// Intervals is how many of them had errors enough before them for an 80 % interval, and
	// Covered the share of those in which it held what came.
	Intervals int     `json:"intervals"`
	Covered   float64 `json:"covered_ratio"`
}
