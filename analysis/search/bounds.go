package search

import "slices"

// bounds are the loads, in inner bit/s, that were settled so far.
type bounds struct {
	met, missed []float64
}

func (b *bounds) add(load float64, met bool) {
	if met {
		b.met = append(b.met, load)
	} else {
		b.missed = append(b.missed, load)
	}
}

// upper is the lowest load that missed the goal; zero where none did.
func (b *bounds) upper() float64 {
	var upper float64
	for _, load := range b.missed {
		if upper == 0 || load < upper {
			upper = load
		}
	}
	return upper
}

// lower is the highest load that met the goal below every load that missed it:
// what a path did well above a load that it did badly does not count.
func (b *bounds) lower() float64 {
	var lower float64
	upper := b.upper()
	for _, load := range b.met {
		if load > lower && (upper == 0 || load < upper) {
			lower = load
		}
	}
	return lower
}

// lowerTo forgets the loads that met the goal above this one, which stands for
// them.
func (b *bounds) lowerTo(load float64) {
	b.met = slices.DeleteFunc(b.met, func(m float64) bool { return m > load })
	b.met = append(b.met, load)
}

// width is the interval relative to its lower end; zero where either end is
// missing, since then nothing can be narrowed.
func (b *bounds) width() float64 {
	lower, upper := b.lower(), b.upper()
	if lower == 0 || upper == 0 {
		return 0
	}
	return upper/lower - 1
}

// within says whether a load is far enough from both ends to narrow them.
func (b *bounds) within(load, margin float64) bool {
	upper := b.upper()
	return load > b.lower()*(1+margin) && (upper == 0 || load < upper*(1-margin))
}
