package capacity

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"tunnelmark/analysis"
)

// Make makes a plan. Errors say which flag of the command line to change.
//
//  1. What cannot be planned is refused.
//  2. Each direction, or both together, becomes a lane: its demand and its tunnel.
//  3. Each lane gets an outlook; the one that is full first comes first.
//  4. Remedies are held against that one.
//  5. What was not measured is named.
func Make(q Question) (analysis.Plan, error) {
	if err := q.check(); err != nil {
		return analysis.Plan{}, err
	}
	given := q.Demand.End()
	q = q.withDefaults()
	lanes, err := q.lanes()
	if err != nil {
		return analysis.Plan{}, err
	}
	views, err := q.views(lanes)
	if err != nil {
		return analysis.Plan{}, err
	}
	first := views[0]
	market := q.market(first)
	plan := analysis.Plan{
		At: q.At, Layer: q.Demand.Layer, From: q.today().From, To: q.today().To,
		Options: market.options(), SizeModel: first.tunnel.model, MeanInnerSize: first.size,
		Links: q.Links, LeadTime: q.LeadTime, Derating: market.derating,
	}
	for _, v := range views {
		plan.Outlooks = append(plan.Outlooks, v.outlook)
		plan.Notes = append(plan.Notes, q.endNotes(v, given)...)
		plan.Notes = append(plan.Notes, q.notes(v)...)
	}
	plan.Notes = append(q.timeNotes(given), plan.Notes...)
	plan.Notes = append(plan.Notes, market.notes()...)
	plan.Missing = q.missing(views, plan.Options)
	return plan, nil
}

// view is a lane with all that can be said of it.
type view struct {
	lane
	size     float64           // Mean inner size of its demand in busy hours; zero: not known.
	packets  bool              // What was counted as packets can be packets.
	capacity analysis.Capacity // Of one link, in the layer of the demand.
	model    model
	full     analysis.Crossing // At all of what the links carry together.
	outlook  analysis.Outlook
}

// views are of all lanes, the one that is full first before the others.
func (q Question) views(lanes []lane) ([]view, error) {
	var views []view
	for _, l := range lanes {
		if err := checkBins(l.demand, true); err != nil {
			return nil, fmt.Errorf("%s until %s: %w", l.direction, date(q.At), err)
		}
		views = append(views, q.view(l))
	}
	slices.SortStableFunc(views, func(a, b view) int {
		return cmp.Or(compareDates(a.full.Likely, b.full.Likely), cmp.Compare(b.outlook.Use, a.outlook.Use))
	})
	return views, nil
}

// compareDates puts the earlier date first; none is later than all.
func compareDates(a, b time.Time) int {
	if a.IsZero() || b.IsZero() {
		return compareBool(a.IsZero(), b.IsZero())
	}
	return a.Compare(b)
}

func (q Question) view(l lane) view {
	v := view{lane: l}
	v.size, v.packets = q.layers().meanInnerSize(l.demand)
	v.capacity = q.layers().capacity(l.tunnel.capacity(v.size), l.demand.Layer)
	v.capacity.Shared = l.shared
	links := float64(q.Links)
	together := v.capacity.Scaled(links)
	v.model = newModel(l.demand, q.At, l.tunnel.clips(together))
	v.full = v.model.crossing(1, together, q.LeadTime)
	busy := v.model.busyHour()
	v.outlook = analysis.Outlook{
		Direction: l.direction, Capacity: v.capacity,
		BusyHourBitsPerSecond: busy, Use: busy / together.LikelyBitsPerSecond,
		Forecast:  v.model.forecast(),
		Crossings: q.crossings(&v.model, together),
	}
	if q.Links > 1 {
		v.outlook.OneDown = q.crossings(&v.model, v.capacity.Scaled(links-1))
	}
	if v.model.knowsGrowth() {
		v.outlook.DoingNothing = doingNothing(&v.model, together)
	}
	return v
}

// clips is the capacity at which demand is cut off. One that may be higher, or that was left
// beside the demand, cuts nothing off.
func (t tunnel) clips(together analysis.Capacity) analysis.Capacity {
	if together.HighBitsPerSecond == 0 || t.ceilings[0].IsAvailable() {
		return analysis.Capacity{}
	}
	return together
}

func (q Question) crossings(m *model, c analysis.Capacity) []analysis.Crossing {
	var all []analysis.Crossing
	for _, share := range q.Shares {
		all = append(all, m.crossing(share, c, q.LeadTime))
	}
	return all
}

// doingNothing looks 3, 6 and 12 months ahead.
func doingNothing(m *model, c analysis.Capacity) []analysis.Shortfall {
	var all []analysis.Shortfall
	for _, months := range []int{3, 6, 12} {
		all = append(all, m.shortfall(m.at.AddDate(0, months, 0), c))
	}
	return all
}

// market is where remedies for one view are compared.
func (q Question) market(v view) market {
	k := market{
		question: q, lane: v.lane, size: v.size, layers: q.layers(),
		capacity: v.capacity.Scaled(float64(q.Links)), today: v.full, horizon: v.model.horizon(),
		full: func(c analysis.Capacity) analysis.Crossing { return v.model.crossing(1, c, q.LeadTime) },
	}
	if !v.model.knowsGrowth() {
		k.horizon = q.At
	}
	if q.Datasheet != nil {
		k.derating = k.layers.derating(v.tunnel, *q.Datasheet, v.capacity.InnerSize)
	}
	return k
}
