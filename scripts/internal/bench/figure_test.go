package bench

import (
	"math"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		figures []float64
		want    float64
	}{
		{[]float64{7}, 7},
		{[]float64{9, 1, 4}, 4},
		{[]float64{9, 1, 4, 6}, 5},
		{[]float64{-1, 1, 1000, 0, 2}, 1},
	} {
		if got := Median(tt.figures); got != tt.want {
			t.Errorf("median of %v: got %g, want %g", tt.figures, got, tt.want)
		}
	}
	if got := Median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing: got %g", got)
	}
}

func TestQuantity(t *testing.T) {
	for _, tt := range []struct {
		v    float64
		want string
	}{
		{0, "0.00 "}, {1, "1.00 "}, {89.31, "89.3 "}, {999.4, "999 "}, {999.6, "1.00 k"},
		{255_312, "255 k"}, {9_994_000, "9.99 M"}, {9_996_000, "10.0 M"}, {31.4e9, "31.4 G"},
		{-120_000, "-120 k"}, {5e15, "5000 T"}, {math.NaN(), "– "}, {math.Inf(1), "– "},
	} {
		if got := Quantity(tt.v); got != tt.want {
			t.Errorf("%g: got %q, want %q", tt.v, got, tt.want)
		}
	}
}
