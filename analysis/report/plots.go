package report

import (
	"fmt"
	"math"
	"time"

	"tunnelmark/analysis"
)

// look is how the trials of one purpose are drawn.
type look struct {
	Purpose analysis.Purpose
	Name    string
	Class   string // In page/style.css.
	shape   func(x, y float64) string
}

// looks are in the order of a search. Shapes differ too, for those who do not
// see the colours apart.
var looks = []look{
	{analysis.Explore, "explore", "p1", circle},
	{analysis.Floor, "floor", "p1", bar},
	{analysis.Plateaus, "plateau", "p2", square},
	{analysis.Confirm, "confirm", "p3", diamond},
	{analysis.Bisect, "bisect", "p4", triangle},
	{analysis.Qualify, "qualify", "p5", pointer},
	{analysis.Fixed, "fixed load", "p3", circle},
	{analysis.Baseline, "baseline", "p1", square},
	otherLook,
}

// otherLook is for purposes that a newer search may have.
var otherLook = look{Name: "other", Class: "p1", shape: plus}

func lookOf(purpose analysis.Purpose) look {
	for _, l := range looks {
		if l.Purpose == purpose {
			return l
		}
	}
	return otherLook
}

// plots draws the trials of a result. Rates are inner.
type plots struct {
	result Result
	paced  []analysis.Step // Without bursts, of which the bucket takes a good part.
	most   float64         // The highest rate of all, in bit/s.
	unit   scale           // Of all its rate axes.
}

func newPlots(r Result) plots {
	p := plots{result: r}
	for _, s := range r.steps() {
		if !isBurst(s) && s.Trial.Elapsed > 0 {
			p.paced = append(p.paced, s)
			p.most = max(p.most, s.Trial.InnerSentBitsPerSecond(), s.Trial.InnerReceivedBitsPerSecond())
		}
	}
	p.unit = scaleFor(p.most, bitRates)
	return p
}

// ceiling is the line that trials are held against, zero where there is none: a
// ceiling that is open upwards is no line.
func (p plots) ceiling() float64 {
	if c := p.result.Ceiling; c != nil && c.InnerUpperBitsPerSecond > 0 {
		return c.InnerBitsPerSecond
	}
	return 0
}

func (p plots) offeredAxis(from, to float64) domain {
	return domain{label: "Offered load, inner (" + p.unit.name + ")", min: from, max: to, unit: p.unit}
}

// delivered holds what arrived against what was sent.
func (p plots) delivered(id string, width, height float64) *chart {
	top := p.most * 1.05
	y := domain{label: "Delivered, inner (" + p.unit.name + ")", max: top, unit: p.unit}
	c := newChart(id, width, height, p.offeredAxis(0, top), y)
	c.Title = "Delivered rate against offered load"
	c.About = fmt.Sprintf("%d trials, inner rates. Points on the diagonal lost nothing; where they leave it for a level, the path's limit is reached.", len(p.paced))
	c.line("diagonal", point{0, 0}, point{top, top})
	if ceiling := p.ceiling(); ceiling > 0 {
		c.level("ceiling", ceiling)
	}
	for _, s := range p.paced {
		c.mark(lookOf(s.Purpose), point{s.Trial.InnerSentBitsPerSecond(), s.Trial.InnerReceivedBitsPerSecond()}, trialTitle(s))
	}
	return c
}

// loss holds the loss ratio against the load, over a range of loads.
func (p plots) loss(id, title string, width, height, from, to float64) *chart {
	worst := 0.0
	for _, s := range p.paced {
		if sent := s.Trial.InnerSentBitsPerSecond(); sent >= from && sent <= to {
			worst = max(worst, s.Trial.LossRatio())
		}
	}
	y := domain{label: "Loss (% of sent packets)", max: max(worst*1.12, 0.002), unit: scale{"%", 0.01}}
	c := newChart(id, width, height, p.offeredAxis(from, to), y)
	c.Title = title
	c.About = "Share of sent packets that were lost, against the offered inner load."
	if ceiling := p.ceiling(); ceiling > 0 && !p.result.Ceiling.IsAvailable() {
		c.About += " The curve is the loss of a path that passes the ceiling whatever is offered."
		c.curve("expected", func(x float64) float64 { return max(0, 1-ceiling/x) })
	}
	if p.ceiling() > 0 {
		c.level("goal", p.result.Ceiling.LossGoal)
	}
	for _, s := range p.paced {
		c.mark(lookOf(s.Purpose), point{s.Trial.InnerSentBitsPerSecond(), s.Trial.LossRatio()}, trialTitle(s))
	}
	return c
}

// nearby is how far from the ceiling the close view reaches, as a share of it.
const nearby = 0.03

// closeLoss is the loss around the ceiling, where a search decides, with the
// interval shaded; nil where too few trials are there.
func (p plots) closeLoss(id string, width, height float64) *chart {
	from, to := p.ceiling()*(1-nearby), p.ceiling()*(1+nearby)
	near := 0
	for _, s := range p.paced {
		if sent := s.Trial.InnerSentBitsPerSecond(); sent >= from && sent <= to {
			near++
		}
	}
	if near < 3 {
		return nil
	}
	c := p.loss(id, "Loss close to the "+figureName(p.result.Ceiling), width, height, from, to)
	c.band(p.result.Ceiling.InnerLowerBitsPerSecond, p.result.Ceiling.InnerUpperBitsPerSecond)
	return c
}

func trialTitle(s analysis.Step) string {
	return fmt.Sprintf("%s: sent %s inner, delivered %s inner, loss %s, %s", Clean(string(s.Purpose)),
		formatRate(s.Trial.InnerSentBitsPerSecond()), formatRate(s.Trial.InnerReceivedBitsPerSecond()),
		formatShare(s.Trial.LossRatio()), formatDuration(s.Trial.Elapsed))
}

// overload is the trial that shows best what happens above the ceiling: a
// plateau trial, or else the heaviest; the longest of them.
func (p plots) overload() (analysis.Step, bool) {
	var best analysis.Step
	for _, s := range p.paced {
		if len(s.Trial.Windows) >= minWindows && betterOverload(s, best) {
			best = s
		}
	}
	return best, len(best.Trial.Windows) > 0
}

// minWindows is how many windows a course over time needs.
const minWindows = 5

func betterOverload(s, best analysis.Step) bool {
	if isPlateau, was := s.Purpose == analysis.Plateaus, best.Purpose == analysis.Plateaus; isPlateau != was {
		return isPlateau
	}
	if s.Purpose == analysis.Plateaus {
		return s.Trial.Elapsed > best.Trial.Elapsed
	}
	return s.Trial.InnerSentBitsPerSecond() > best.Trial.InnerSentBitsPerSecond()
}

// course is the delivered rate of one trial over time, window by window.
func (p plots) course(id string, width, height float64, t analysis.Trial) *chart {
	points, most := windowRates(t)
	most = max(most, t.InnerSentBitsPerSecond())
	unit := scaleFor(most, bitRates)
	c := newChart(id, width, height, timeAxis(t), domain{label: "Delivered, inner (" + unit.name + ")", max: most * 1.08, unit: unit})
	c.Title = "Delivered rate over time under overload"
	c.About = fmt.Sprintf("%d windows of about 20 ms at an offered load of %s inner.", len(t.Windows), formatRate(t.InnerSentBitsPerSecond()))
	c.level("offered", t.InnerSentBitsPerSecond())
	if ceiling := p.result.Ceiling; ceiling != nil && ceiling.Plateau != nil {
		c.level("ceiling", ceiling.Plateau.InnerBitsPerSecond)
	}
	c.line("course", points...)
	return c
}

// windowRates are steps: each window's rate from its start to its end.
func windowRates(t analysis.Trial) (points []point, most float64) {
	for _, w := range t.Windows {
		if w.End <= w.Start {
			continue
		}
		rate := float64(w.Packets) * float64(t.InnerSize) * 8 / (w.End - w.Start).Seconds()
		points = append(points, point{w.Start.Seconds(), rate}, point{w.End.Seconds(), rate})
		most = max(most, rate)
	}
	return points, most
}

func timeAxis(t analysis.Trial) domain {
	var end time.Duration
	for _, w := range t.Windows {
		end = max(end, w.End)
	}
	return domain{label: "Time since the first packet (s)", max: end.Seconds(), unit: scale{"s", 1}}
}

// delays are the least one-way delays of the same windows. The axis reaches
// to a millisecond at least, so that noise does not look like growth.
func (p plots) delays(id string, width, height float64, t analysis.Trial) *chart {
	most := 0.001
	points := make([]point, len(t.Windows))
	for i, w := range t.Windows {
		points[i] = point{w.Start.Seconds(), math.Max(0, w.MinDelay.Seconds())}
		most = max(most, points[i].y*1.1)
	}
	c := newChart(id, width, height, timeAxis(t), domain{label: "One-way delay above the trial’s least (ms)", max: most, unit: scale{"ms", 1e-3}})
	c.Title = "One-way delay over time under overload"
	c.About = "The least one-way delay of each window, above the least of the trial. A queue that fills makes it grow; a policer does not."
	c.line("delay", points...)
	return c
}
