package pmtu

import (
	"maps"
	"slices"
)

// finder decides which size is tried next, from what became of those before:
//
//  1. the least, without which there is nothing to search;
//  2. the greatest, which most often passes;
//  3. between the two, first what ICMP said and one more, then by halves;
//  4. some sizes in between, and those that were asked for: where one is lost below
//     one that passes, size alone does not decide, and the search goes on below it;
//  5. the result and the size after it once more.
//
// What becomes of a size later counts more than what became of it before: chance
// must mislead twice, at the same size, to change the result.
type finder struct {
	least, most int
	also        []int
	hint        int // What ICMP said: worth a try.
	sizes       map[int]outcome
}

// outcome is what became of a size, and how often in a row.
type outcome struct {
	passed bool
	times  int
}

// agreed is how often in a row the result must turn out the same.
const agreed = 2

func newFinder(o Options) *finder {
	return &finder{least: o.Least, most: o.Most, sizes: make(map[int]outcome), also: o.Also}
}

// note takes down what became of a size.
func (f *finder) note(size int, passed bool) {
	o := f.sizes[size]
	if o.passed != passed {
		o.times = 0
	}
	f.sizes[size] = outcome{passed: passed, times: o.times + 1}
}

// limit lowers the greatest size to what can be sent at all, and the least with it.
func (f *finder) limit(most int) {
	f.most = min(f.most, most)
	f.least = min(f.least, f.most)
	maps.DeleteFunc(f.sizes, func(size int, _ outcome) bool { return size > f.most })
}

// bounds are the least size that was lost, one more than the greatest where none
// was, and the largest that passed below it, zero where none did.
func (f *finder) bounds() (low, high int) {
	high = f.most + 1
	for size, o := range f.sizes {
		if !o.passed {
			high = min(high, size)
		}
	}
	for size, o := range f.sizes {
		if o.passed && size < high {
			low = max(low, size)
		}
	}
	return low, high
}

// next is the size to try; more is false when the result is settled.
func (f *finder) next() (size int, more bool) {
	for _, end := range []int{f.least, f.most} {
		if f.sizes[end].times == 0 {
			return end, true
		}
		if !f.sizes[f.least].passed {
			return f.least, f.sizes[f.least].times < agreed
		}
	}
	low, high := f.bounds()
	if high-low > 1 {
		return f.between(low, high), true
	}
	for _, size := range slices.Concat(f.also, f.spots()) {
		if size >= f.least && size <= f.most && f.sizes[size].times == 0 {
			return size, true
		}
	}
	for _, size := range []int{low, high} {
		if size <= f.most && f.sizes[size].times < agreed {
			return size, true
		}
	}
	return 0, false
}

// spots are the sizes that are tried in any case.
func (f *finder) spots() (sizes []int) {
	const parts = 5
	for i := 1; i < parts; i++ {
		sizes = append(sizes, f.least+(f.most-f.least)*i/parts)
	}
	return sizes
}

// between is a size between two others that are further apart than one.
func (f *finder) between(low, high int) int {
	for _, size := range []int{f.hint, f.hint + 1} {
		if size > low && size < high {
			return size
		}
	}
	return low + (high-low)/2
}

// result is the largest size that passed below every one that was lost, the least
// that was lost, zero where none was, and those that passed above it.
func (f *finder) result() (low, high int, above []int) {
	low, high = f.bounds()
	if high > f.most {
		return low, 0, nil
	}
	for size, o := range f.sizes {
		if o.passed && size > high {
			above = append(above, size)
		}
	}
	slices.Sort(above)
	return low, high, above
}
