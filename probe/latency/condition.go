package latency

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Metric is what a condition is about.
type Metric string

// The metrics.
const (
	RTT  Metric = "rtt"  // The round-trip time of pings.
	Loss Metric = "loss" // The share of pings without an answer.
)

// MaxRTTLimit is the longest round trip that a condition may name: what takes longer is
// seen too late.
const MaxRTTLimit = time.Second

// Condition says when a load must stop, such as "rtt>30ms" or "loss>=1%".
type Condition struct {
	Metric Metric
	// OrEqual is ">=" instead of ">".
	OrEqual bool
	// RTT is the limit of a condition on RTT, LossRatio, 0 to 1, of one on Loss.
	RTT       time.Duration
	LossRatio float64
}

const conditionForm = `write it like "rtt>30ms" or "loss>1%"`

// ParseCondition reads a condition: rtt or loss, then > or >=, and then a duration with
// its unit, or a percentage or ratio.
func ParseCondition(text string) (Condition, error) {
	c, err := parseCondition(text)
	if err != nil {
		return Condition{}, fmt.Errorf("take condition %q: %w", text, err)
	}
	return c, nil
}

func parseCondition(text string) (Condition, error) {
	metric, limit, found := strings.Cut(text, ">")
	if !found {
		return Condition{}, fmt.Errorf("it has no > or >=: %s", conditionForm)
	}
	c := Condition{Metric: Metric(strings.TrimSpace(metric))}
	limit, c.OrEqual = strings.CutPrefix(limit, "=")
	limit = strings.TrimSpace(limit)
	var err error
	switch c.Metric {
	case RTT:
		c.RTT, err = parseRTT(limit)
	case Loss:
		c.LossRatio, err = parseLoss(limit)
	}
	if err != nil {
		return c, err
	}
	return c, c.check()
}

func parseRTT(text string) (time.Duration, error) {
	limit, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is no duration with a unit, like 30ms", text)
	}
	return limit, nil
}

func parseLoss(text string) (float64, error) {
	number, percent := strings.CutSuffix(text, "%")
	ratio, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no share, like 1%% or 0.01", text)
	}
	if percent {
		ratio /= 100
	}
	return ratio + 0, nil // -0 becomes 0.
}

// check refuses what cannot be measured, and what holds always or never.
func (c Condition) check() error {
	switch {
	case c.Metric != RTT && c.Metric != Loss:
		return fmt.Errorf("%q cannot be measured, rtt and loss can: %s", string(c.Metric), conditionForm)
	case c.Metric == RTT && (c.RTT <= 0 || c.RTT > MaxRTTLimit):
		return fmt.Errorf("a round trip of %v: allowed are up to %v", c.RTT, MaxRTTLimit)
	case c.Metric == RTT:
		return nil
	case !(c.LossRatio >= 0 && c.LossRatio <= 1):
		return fmt.Errorf("a loss of %s: allowed are 0%% to 100%%, and a share without %% is a ratio", percent(c.LossRatio))
	case c.LossRatio == 0 && c.OrEqual:
		return fmt.Errorf("no loss at all would hold it: write loss>0%%")
	case c.LossRatio == 1 && !c.OrEqual:
		return fmt.Errorf("more than all cannot be lost: write loss>=100%%")
	}
	return nil
}

// String is what ParseCondition reads.
func (c Condition) String() string {
	operator := ">"
	if c.OrEqual {
		operator = ">="
	}
	if c.Metric == RTT {
		return string(c.Metric) + operator + c.RTT.String()
	}
	return string(c.Metric) + operator + percent(c.LossRatio)
}

func percent(ratio float64) string {
	return strconv.FormatFloat(ratio*100, 'g', 6, 64) + "%"
}

// exceeds compares a value with its limit.
func exceeds[T time.Duration | float64](value, limit T, orEqual bool) bool {
	return value > limit || orEqual && value == limit
}
