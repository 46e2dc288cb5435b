package capacity

import (
	"fmt"
	"time"
)

// What makes a note.
const (
	// farAbove is by how much demand must exceed a capacity to say that it never passed
	// through it: far more than bursts and errors of ceilings explain.
	farAbove = 1.5
	// fuller is by how much the use by packets must exceed that by bits to be told.
	fuller = 1.1
)

// notes of a market are about all options at once.
func (k market) notes() []string {
	var notes []string
	switch {
	case k.horizon.Equal(k.question.At):
		notes = append(notes, "Nothing is known of how the demand grows, so no option is said to buy any time.")
	case k.today.Likely.IsZero():
		notes = append(notes, fmt.Sprintf("Today's capacity is not expected to be full before %s, where the forecast ends, so no option buys any time until then.", date(k.horizon)))
	}
	if k.derating > 1 {
		notes = append(notes, fmt.Sprintf("Today's device reaches %.0f %% of its data sheet (--datasheet): is it in another layer, or of another device? Claims are taken as they are.", 100*k.derating))
	}
	if sheet := k.question.Datasheet; sheet != nil {
		notes = append(notes, k.lane.tunnel.sheetDoubts(sheet.sizeOr(k.capacity.InnerSize))...)
	}
	return notes
}

// sheetDoubts are about what today's device reaches of its data sheet with packets of that
// size, in bytes.
func (t tunnel) sheetDoubts(size float64) []string {
	var doubts []string
	c := t.capacity(size)
	if c.InnerSize != size {
		doubts = append(doubts, fmt.Sprintf("Today's data sheet is for packets of %.0f B, and the ceiling that is held against it for %.0f B.", size, c.InnerSize))
	}
	if c.HighBitsPerSecond == 0 || t.ceilings[0].IsAvailable() {
		doubts = append(doubts, "Today's device may reach more of its data sheet than was seen, and so may other vendors' of theirs.")
	}
	return doubts
}

// timeNotes are about the day that is planned for; given is when the demand ended.
func (q Question) timeNotes(given time.Time) []string {
	switch {
	case q.At.Sub(given) > stale:
		return []string{fmt.Sprintf("The demand ends on %s, %.0f days before the plan's day: what came since is not known.", date(given), q.At.Sub(given).Hours()/24)}
	case given.After(q.At):
		return []string{fmt.Sprintf("Demand from after the plan's day, %s, was left out.", date(q.At))}
	}
	return nil
}

// notes are what is odd about a view.
func (q Question) notes(v view) []string {
	notes := v.tunnel.doubts(v.size)
	notes = append(notes, q.aboveNotes(v)...)
	notes = append(notes, v.shiftNotes()...)
	notes = append(notes, q.packetNotes(v)...)
	if v.tunnel.model != nil && v.size == 0 {
		notes = append(notes, fmt.Sprintf("Packets of several sizes were measured, but not counted: the capacity (%s) is that of %d B, which stood first.", v.direction, v.tunnel.ceilings[0].InnerSize))
	}
	if !v.packets {
		notes = append(notes, fmt.Sprintf("The packets that were counted beside the demand (%s) would have %.0f B each, which no packet of IP has: they were not used.", v.direction, meanSize(v.demand)))
	}
	if v.borrowed {
		notes = append(notes, fmt.Sprintf("The ceiling from %s is the one that was measured the other way.", v.direction))
	}
	if v.shared && q.Directions == AsMeasured && len(q.bothWays()) == 0 {
		notes = append(notes, "Both directions may share one engine, so the sum of their demand is held against one ceiling.")
	}
	return notes
}

// aboveNotes are about demand that was above what the tunnel is said to carry.
func (q Question) aboveNotes(v view) []string {
	together := v.tunnel.clips(v.capacity.Scaled(float64(q.Links))).LikelyBitsPerSecond
	if together == 0 {
		return nil
	}
	if times := v.outlook.Use; times > farAbove {
		return []string{tooMuch(v, times)}
	}
	if share := shareBeyond(v.demand, together); share > beyondShare {
		return []string{fmt.Sprintf("For %.2g %% of the time the demand (%s) was more than 10 %% above what the tunnel was measured to carry: "+
			"it passed elsewhere, or the ceiling is no longer what it was. No demand is taken as cut off by it.", 100*share, v.direction)}
	}
	return nil
}

// shiftNotes are about last days that are like none before.
func (v view) shiftNotes() []string {
	shift := v.model.past.shift()
	if shift == 0 {
		return nil
	}
	return []string{fmt.Sprintf("For a week and more the demand (%s) has been %+.0f %% from its trend: likely dates take it that half of that is gone in five weeks; "+
		"the interval, that it may as well stay.", v.direction, 100*shift)}
}

// packetNotes are about hours that are fuller than they look, since their packets are
// smaller than those of the hours with most bits.
func (q Question) packetNotes(v view) []string {
	if v.tunnel.model == nil || v.size == 0 {
		return nil
	}
	links, layers := float64(q.Links), q.layers()
	var byTime, byBits []float64
	for bin := lately(v.demand); bin < len(v.demand.BitsPerSecond); bin++ {
		bits, packets := v.demand.BitsPerSecond[bin], v.demand.PacketsPerSecond[bin]
		if !(bits > 0 && packets > 0) {
			continue
		}
		size := max(leastIP, bits/8/packets-layers.above(v.demand.Layer))
		byTime = append(byTime, packets*v.tunnel.model.Seconds(size)/links)
		byBits = append(byBits, bits/(links*v.capacity.LikelyBitsPerSecond))
	}
	full, told := nearestRank(byTime, percentile), nearestRank(byBits, percentile)
	if full <= fuller*told {
		return nil
	}
	return []string{fmt.Sprintf("By its packets the tunnel (%s) is fuller than by its bits: the size model says %.0f %% used where the dates rest on %.0f %%, since other hours have smaller packets than those with most bits. The dates are too late.",
		v.direction, 100*full, 100*told)}
}

// endNotes are about demand that is known for less time than was given.
func (q Question) endNotes(v view, given time.Time) []string {
	end := v.model.demand.End()
	if q.At.Before(given) {
		given = q.At
	}
	if given.Sub(end) < lateEnd {
		return nil
	}
	return []string{fmt.Sprintf("The demand (%s) is known until %s only.", v.direction, date(end))}
}

func tooMuch(v view, times float64) string {
	said := fmt.Sprintf("The demand (%s) is %.1f times what this tunnel carries: it did not pass through it; other units or --scale?", v.direction, times)
	if v.shared {
		said += " Or the directions share no limit (--directions apart)."
	}
	return said
}

// doubts are what makes a tunnel's capacity less sure than its figures look, one sentence
// each.
func (t tunnel) doubts(meanInnerSize float64) []string {
	c := t.ceilings[0]
	ceiling := fmt.Sprintf("The ceiling from %s to %s", t.from, t.to)
	if t.file != "" {
		ceiling += " (" + t.file + ")"
	}
	var doubts []string
	doubt := func(holds bool, words string) {
		if holds {
			doubts = append(doubts, ceiling+" "+words)
		}
	}
	doubt(!c.Qualified, "was not held in a last, longer trial.")
	doubt(c.InnerLowerBitsPerSecond == 0, "is the rate that passes under overload: no load met the loss goal for long enough.")
	doubt(c.IsAvailable(), "is what was left beside production"+atTime(c.At)+": what production took then comes on top.")
	doubt(c.GeneratorLimited, "was set by the load generator: the tunnel carries that much or more.")
	doubt(!c.GeneratorLimited && c.InnerUpperBitsPerSecond == 0, "was not reached: no load failed, and the tunnel carries that much or more.")
	if t.outside(meanInnerSize) {
		doubts = append(doubts, fmt.Sprintf("The demand's mean packet of %.0f B lies outside of the measured sizes (%s B): the size model is stretched.", meanInnerSize, list(pointSizes(t.model.Points))))
	}
	return doubts
}

func atTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " at " + t.Format(time.RFC3339)
}
