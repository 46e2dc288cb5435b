package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"tunnelmark/analysis"
	"tunnelmark/analysis/fragment"
	"tunnelmark/analysis/search"
	"tunnelmark/cmd/internal/kind"
	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
)

const (
	// fragmentTraffic and fragmentWidth are those of the search at each size: a step
	// of interest is some per cent.
	fragmentTraffic = 5 * time.Second
	fragmentWidth   = 0.01
)

// fragments reads the rate that passes at sizes about those beyond which a tunnel on
// the way would cut packets in two, and judges whether one does.
func (s *Session) fragments(ctx context.Context, p PathMTUPlan, largest int) (*analysis.Verdict, error) {
	predictions := predict(overhead.PathMTU(s.OuterMTU), s.outer)
	var sizes []int
	for _, q := range predictions {
		sizes = append(sizes, q.InnerSize)
	}
	in := fragment.Input{Predictions: predictions, LargestWithDF: largest}
	for _, size := range fragment.Plan(sizes, LeastSize, min(s.InnerMTU, largest)) {
		p.Tell(fmt.Sprintf("reading the rate of packets of %d B", size))
		reading, err := s.reading(ctx, p.Search, size)
		if err != nil {
			return nil, fmt.Errorf("read the rate of packets of %d B: %w", size, err)
		}
		if reading.InnerBitsPerSecond > 0 { // A busy host may have shown none; that such packets pass is known.
			in.Readings = append(in.Readings, reading)
		}
	}
	verdict := fragment.Judge(in).Verdict
	return &verdict, nil
}

// reading is the rate that passes at one size.
func (s *Session) reading(ctx context.Context, o search.Options, size int) (fragment.Reading, error) {
	o.Traffic, o.Width = fragmentTraffic, fragmentWidth
	found, err := search.Find(ctx, func(ctx context.Context, load analysis.Load) (analysis.Trial, error) {
		return s.Trial(ctx, load, size)
	}, o)
	if err != nil {
		return fragment.Reading{}, err
	}
	rate := found.InnerBitsPerSecond
	if rate == 0 && found.Plateau != nil {
		rate = found.Plateau.InnerBitsPerSecond
	}
	r := fragment.Reading{
		InnerSize: size, OuterSize: s.outerLength(size), InnerBitsPerSecond: rate,
		AtLeast: found.InnerUpperBitsPerSecond == 0, Spread: fragmentWidth,
	}
	if found.Flat {
		r.Spread = flatSpread(found)
	}
	return r, nil
}

// flatSpread is by which share the readings of a flat limit differ.
func flatSpread(c analysis.Ceiling) float64 {
	const least = 0.001
	spread := least
	for _, o := range c.Overloads {
		spread = max(spread, abs(o.InnerBitsPerSecond/c.InnerBitsPerSecond-1))
	}
	return min(spread, fragmentWidth)
}

func abs(x float64) float64 { return max(x, -x) }

// predict says beyond which inner size each kind of tunnel would cut packets up on a
// path of that MTU, and what the pieces would cost. Kinds of one size are one
// prediction.
func predict(path overhead.PathMTU, outer overhead.IPVersion) (all []fragment.Prediction) {
	for _, k := range kind.All() {
		for _, suite := range orNone(k.Suites) {
			for _, encapsulation := range orNone(k.Encapsulations) {
				added, err := k.Overhead(suite, encapsulation, outer)
				if size := int(added.TunnelMTU(path)); err == nil && size > 0 && size < int(path) {
					all = include(all, size, added.OuterLength(size)-size, words(k.Name, suite, encapsulation), outer)
				}
			}
		}
	}
	return all
}

func orNone[T ~string](list []T) []T {
	if len(list) == 0 {
		return []T{""}
	}
	return list
}

func words(name string, suite tunnel.Suite, encapsulation tunnel.Encapsulation) string {
	return strings.Join(slices.DeleteFunc([]string{name, string(suite), string(encapsulation)}, func(word string) bool { return word == "" }), ", ")
}

// include adds a prediction, or another reason to one that is there.
func include(all []fragment.Prediction, size, added int, by string, outer overhead.IPVersion) []fragment.Prediction {
	for i, q := range all {
		if q.InnerSize == size && q.OverheadBytes == added {
			all[i].By += " or " + by
			return all
		}
	}
	// A second piece has a header of its own: outer ones that of IPv4 (RFC 791), or
	// that of IPv6 with both pieces' fragment headers (RFC 8200, Section 4.5).
	const v4, v6, fragmentHeader = 20, 40, 8
	outerCut := v4
	if outer == overhead.IPv6 {
		outerCut = v6 + 2*fragmentHeader
	}
	return append(all, fragment.Prediction{
		InnerSize: size, By: by, OverheadBytes: added,
		Cuts: []fragment.Cut{
			{Name: "outer packets", AddedOuterBytes: outerCut},
			{Name: "inner packets", AddedOuterBytes: added + v4},
		},
	})
}
