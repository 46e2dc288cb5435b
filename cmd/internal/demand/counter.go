package demand

import (
	"fmt"
	"time"
)

// A counter that falls has wrapped or has been reset.
const (
	// wrap is where a Counter32 begins anew (RFC 2578, Section 7.1.6), such as ifInOctets
	// (RFC 2863, Section 6). A Counter64 does not live to.
	wrap = 1 << 32
	// mostJump is how far above the highest rate before it a wrap may lie. A reset, from
	// where the counter happened to be, is likely to look like more.
	mostJump = 2
	// longGap, in usual spacings, is the longest interval over which a counter's
	// difference is spread.
	longGap = 3
	// Falls in more than one of fallShare intervals, and more than fewFalls, are not those
	// of a counter that can be read.
	fallShare = 4
	fewFalls  = 2
)

// counter folds the differences of a total.
type counter struct {
	bins
	factor  float64 // Bits or packets in one count.
	spacing time.Duration

	at      time.Time // Of the sample before.
	value   float64
	highest float64 // Of all values.
	fastest float64 // In counts per second, of all intervals that were plain.

	intervals, wraps, resets, long int
}

// add spreads what was counted between two samples over the bins between them.
func (c *counter) add(at time.Time, value float64) error {
	from, to, before, after := c.at, at, c.value, value
	first := c.at.IsZero()
	c.at, c.value, c.highest = at, value, max(c.highest, value)
	if first {
		return nil
	}
	if c.grid.backward {
		from, to, before, after = to, from, after, before
	}
	c.intervals++
	if to.Sub(from) > longGap*c.spacing {
		c.long++
		return nil
	}
	counted, known := c.counted(after-before, to.Sub(from))
	if !known {
		return nil
	}
	rate := counted / to.Sub(from).Seconds() * c.factor
	if rate > mostRate {
		return fmt.Errorf("the counter grows by %.4g in %v, which is more than a petabit per second: is the unit right?", counted, to.Sub(from))
	}
	c.spread(from, to, rate)
	return nil
}

// counted is what a counter counted while it changed by a difference. It is not known where the counter
// was reset: whatever it counted before is lost.
func (c *counter) counted(difference float64, elapsed time.Duration) (count float64, known bool) {
	if difference >= 0 {
		c.fastest = max(c.fastest, difference/elapsed.Seconds())
		return difference, true
	}
	wrapped := difference + wrap
	if c.highest < wrap && wrapped/elapsed.Seconds() <= mostJump*c.fastest {
		c.wraps++
		return wrapped, true
	}
	c.resets++
	return 0, false
}

// notes counts what was not plain.
func (c *counter) notes() ([]string, error) {
	falls := c.wraps + c.resets
	if falls > fewFalls && falls*fallShare > c.intervals {
		return nil, fmt.Errorf("the counter falls in %d of %d intervals: if it has 32 bits it wraps too often to be read, so take a 64-bit one (ifHCInOctets); "+
			"if it is an amount for each interval, give --demand-unit B/s and --scale 1 / seconds of the interval", falls, c.intervals)
	}
	var notes []string
	if c.wraps > 0 {
		// One that wraps twice between two samples cannot be told from one that does not.
		notes = append(notes, fmt.Sprintf("the counter wrapped at 2^32 %s, which was made up for; where it counted more than 2^32 between two samples, rates are too low, and nothing shows it: "+
			"a 64-bit counter (ifHCInOctets) would", times(c.wraps)))
	}
	if c.resets > 0 {
		notes = append(notes, fmt.Sprintf("the counter was reset %s; each is a gap", times(c.resets)))
	}
	if c.long > 0 {
		notes = append(notes, fmt.Sprintf("%s longer than %d times the usual %v; each is a gap", intervals(c.long), longGap, c.spacing))
	}
	return notes, nil
}

func times(count int) string {
	if count == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", count)
}

func intervals(count int) string {
	if count == 1 {
		return "one interval is"
	}
	return fmt.Sprintf("%d intervals are", count)
}
