package bench

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Median is the middle one of the figures, or the mean of both middle ones.
func Median(figures []float64) float64 {
	sorted := slices.Sorted(slices.Values(figures))
	n := len(sorted)
	if n == 0 {
		return math.NaN()
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// Quotients divides figures of the same round.
func Quotients(ours, theirs []float64) []float64 {
	q := make([]float64, len(ours))
	for i := range ours {
		q[i] = ours[i] / theirs[i]
	}
	return q
}

// Missing stands for a figure that could not be had.
const Missing = "–"

// Quantity writes three digits and the prefix of the unit that follows.
func Quantity(v float64) string {
	if !finite(v) {
		return Missing + " "
	}
	for _, step := range []struct {
		from   float64
		prefix string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if math.Abs(v) >= 0.9995*step.from {
			return digits(v/step.from) + " " + step.prefix
		}
	}
	return digits(v) + " "
}

// digits writes three of them, without an exponent.
func digits(v float64) string {
	decimals := 2
	for limit := 9.995; math.Abs(v) >= limit && decimals > 0; limit *= 10 {
		decimals--
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}

// Percent writes a ratio.
func Percent(v float64) string { return formatted("%.2f %%", 100*v) }

// Whole writes no decimals, Decimal one, Hundredths two and Thousandths three.
func Whole(v float64) string { return formatted("%.0f", v) }

// Decimal is as Whole says.
func Decimal(v float64) string { return formatted("%.1f", v) }

// Hundredths is as Whole says.
func Hundredths(v float64) string { return formatted("%.2f", v) }

// Thousandths is as Whole says.
func Thousandths(v float64) string { return formatted("%.3f", v) }

func formatted(layout string, v float64) string {
	if !finite(v) {
		return Missing
	}
	return fmt.Sprintf(layout, v)
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
