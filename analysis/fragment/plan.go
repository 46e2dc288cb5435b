package fragment

import "slices"

// away is how far from the predicted sizes others are read, in bytes: far enough to show
// that the rate has no other steps near them, near enough to have the same limit.
const away = 4 * block

// mostPredicted is for how many sizes apart Plan plans: reading one takes seconds.
const mostPredicted = 6

// Plan says which inner sizes to read, in bytes and ascending, where fragments may begin
// beyond those predicted: each of them and one block above it, and one away from them on
// either side. Predictions within a block of a smaller one are read with it: padding may
// differ by as much. Those that do not fit between least and most with their block are
// left out; nil says that nothing can be told.
func Plan(predicted []int, least, most int) (sizes []int) {
	bases := apart(predicted, least, most-block)
	if len(bases) == 0 {
		return nil
	}
	for _, size := range bases {
		sizes = append(sizes, size, size+block)
	}
	for _, size := range []int{bases[0] - away, bases[len(bases)-1] + block + away} {
		if size >= least && size <= most {
			sizes = append(sizes, size)
		}
	}
	slices.Sort(sizes)
	return slices.Compact(sizes)
}

// apart are those of the predicted sizes from least to most that are a block or more
// apart; the largest, which most often are right, where there are too many.
func apart(predicted []int, least, most int) (bases []int) {
	for _, size := range slices.Sorted(slices.Values(predicted)) {
		near := len(bases) > 0 && size < bases[len(bases)-1]+block
		if size >= least && size <= most && !near {
			bases = append(bases, size)
		}
	}
	return bases[max(0, len(bases)-mostPredicted):]
}
