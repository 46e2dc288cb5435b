package controller

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
	"tunnelmark/analysis/search"
	"tunnelmark/cmd/internal/unit"
)

// together is several tunnels that are measured at the same time, as one:
//
//  1. each gets a session of one group, so that the agents let them stand side by
//     side;
//  2. one search looks for the ceiling of their sum, and each of its loads is split
//     by what each tunnel carried alone, so that all reach their own at once;
//  3. the trials of one load run at the same time, and merge makes one of them.
type together struct {
	plans    []FindPlan
	alone    []float64 // Inner bit/s.
	pending  []*pending
	sessions []*Session
	carried  []report.TunnelCount
}

// FindTogether searches how much the tunnels of several plans carry at the same
// time. alone is what each carried by itself, in inner bit/s. Packet size, tunnel
// and search are those of the first plan.
func FindTogether(ctx context.Context, plans []FindPlan, alone []float64) (report.Result, error) {
	t := &together{plans: slices.Clone(plans), alone: alone}
	if err := t.check(); err != nil {
		return report.Result{}, fmt.Errorf("measure tunnels together: %w", err)
	}
	if err := t.begin(ctx); err != nil {
		return report.Result{}, err
	}
	var ceiling analysis.Ceiling
	err := t.within(ctx, func() (err error) {
		if err = t.fits(); err != nil {
			return err
		}
		t.plans[0].Tell(fmt.Sprintf("%s of %d tunnels together", t.plans[0].wanted(), len(t.plans)))
		ceiling, err = search.Find(ctx, t.trial, t.options())
		return err
	})
	if err != nil {
		return report.Result{}, err
	}
	return t.result(ceiling), nil
}

func (t *together) check() (err error) {
	if len(t.plans) < 2 || len(t.alone) != len(t.plans) {
		return fmt.Errorf("%d tunnels and %d rates of them: want two or more of each", len(t.plans), len(t.alone))
	}
	for i, p := range t.plans {
		if !(t.alone[i] > 0) { // NaN is none, either.
			return fmt.Errorf("the tunnel from %s to %s carried nothing by itself", p.From.Name, p.To.Name)
		}
		t.plans[i].Size, t.plans[i].Spec = t.plans[0].Size, t.plans[0].Spec
	}
	first := &t.plans[0]
	first.Search, err = ChooseManner(first.Spec, first.Search)
	return err
}

// begin asks all ends what they are. The question is the same for each tunnel.
func (t *together) begin(ctx context.Context) error {
	var question []any
	for i, p := range t.plans {
		question = append(question, p.From.Name, p.To.Name, p.question(), t.alone[i])
	}
	for _, p := range t.plans {
		r, err := p.begin(ctx, report.Find, question)
		if err != nil {
			return err
		}
		t.pending = append(t.pending, r)
	}
	return nil
}

// within opens all sessions, does the work, and closes those that are open
// whatever happens.
func (t *together) within(ctx context.Context, work func() error) (err error) {
	group := make([]byte, 16)
	_, _ = rand.Read(group) // crypto/rand never fails.
	defer func() {
		for _, s := range t.sessions {
			err = errors.Join(err, s.Close(ctx))
		}
	}()
	for _, p := range t.plans {
		s, err := openBeside(ctx, p.From, p.To, p.Spec, group, p.Tell)
		if err != nil {
			return err
		}
		t.sessions = append(t.sessions, s)
	}
	return work()
}

// fits refuses packets that one of the tunnels would have to fragment, and tunnels
// whose packets differ: their rates could not be added up in the outer layer.
func (t *together) fits() error {
	size, first := t.plans[0].Size, t.sessions[0]
	for _, s := range t.sessions {
		if err := s.fits(size); err != nil {
			return fmt.Errorf("from %s to %s: %w", s.From.Name, s.To.Name, err)
		}
		if one, other := first.overhead.OuterLength(size), s.overhead.OuterLength(size); one != other {
			return fmt.Errorf("packets of %d B become %d B in the tunnel to %s and %d B in that to %s: want tunnels of one kind",
				size, one, first.To.Name, other, s.To.Name)
		}
	}
	return nil
}

// options keep each tunnel's part of a load within what its agents allow, and the
// parts of one sender together within what that allows.
func (t *together) options() search.Options {
	o := t.plans[0].Search
	for i, r := range t.pending {
		most := min(r.mostInner/t.share(i), r.mostSent/t.sentBy(t.plans[i].From))
		if o.MaxInnerBitsPerSecond == 0 || most < o.MaxInnerBitsPerSecond {
			o.MaxInnerBitsPerSecond = most
		}
	}
	return o
}

// sentBy is an end's part of every load.
func (t *together) sentBy(from End) (share float64) {
	for i, p := range t.plans {
		if p.From.Fingerprint == from.Fingerprint {
			share += t.share(i)
		}
	}
	return share
}

// share is a tunnel's part of every load.
func (t *together) share(i int) float64 { return t.alone[i] / sum(t.alone) }

func sum(rates []float64) (total float64) {
	for _, rate := range rates {
		total += rate
	}
	return total
}

// trial offers one load to all tunnels at the same time.
func (t *together) trial(ctx context.Context, load analysis.Load) (analysis.Trial, error) {
	trials := make([]analysis.Trial, len(t.sessions))
	all, ctx := errgroup.WithContext(ctx)
	for i, s := range t.sessions {
		all.Go(func() (err error) {
			part := load
			part.InnerBitsPerSecond *= t.share(i)
			trials[i], err = s.Trial(ctx, part, t.plans[i].Size)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return analysis.Trial{}, err
	}
	t.count(trials)
	return merge(load, trials), nil
}

// count adds up what each tunnel carried.
func (t *together) count(trials []analysis.Trial) {
	for i, trial := range trials {
		if i == len(t.carried) {
			t.carried = append(t.carried, report.TunnelCount{Number: i})
		}
		size := uint64(trial.InnerSize)
		t.carried[i].SentPackets += trial.Sent
		t.carried[i].SentInnerBytes += trial.Sent * size
		t.carried[i].ReceivedPackets += trial.Received
		t.carried[i].ReceivedInnerBytes += trial.Received * size
	}
}

// result draws up one result of all tunnels.
func (t *together) result(ceiling analysis.Ceiling) report.Result {
	whole := t.pending[0]
	tunnels := 0
	for i, s := range t.sessions {
		s.describe(t.pending[i], t.plans[i].Size)
		tunnels += t.pending[i].Tunnel.Count
		if i > 0 {
			whole.join(t.pending[i])
		}
	}
	whole.conclude(ceiling)
	whole.Tunnel.Count, whole.Tunnel.PerTunnel, whole.Tunnel.Most = tunnels, t.carried, nil
	whole.Notes = append(whole.Notes, t.legend(), t.comparison(ceiling), meaning)
	return whole.finish()
}

// join adds another tunnel's ends and evidence.
func (r *pending) join(other *pending) {
	r.Path.From = listOnce(r.Path.From, other.Path.From)
	r.Path.To = listOnce(r.Path.To, other.Path.To)
	for _, end := range other.Environment {
		known := func(e report.End) bool { return e.Site == end.Site }
		if !slices.ContainsFunc(r.Environment, known) {
			r.Environment = append(r.Environment, end)
		}
	}
	r.Evidence = append(r.Evidence, other.Evidence...)
}

// listOnce is "b+c" for b and c.
func listOnce(list, name string) string {
	const between = "+"
	if slices.Contains(strings.Split(list, between), name) {
		return list
	}
	return list + between + name
}

// meaning is what a verdict on the sum of several tunnels says.
const meaning = "the cause is judged on the sum of the tunnels: a policer there means that the same passes however high the overload of all, as with one policer for each tunnel, or one for all of them"

// sharedLoss is by how much less tunnels carry together, as a ratio, where they
// share a limit.
const sharedLoss = 0.03

// comparison says whether the tunnels hold one another up.
func (t *together) comparison(c analysis.Ceiling) string {
	ratio := c.InnerBitsPerSecond / sum(t.alone)
	text := fmt.Sprintf("all %d tunnels at once carry %s inner, which is %.1f %% of the %s that they carry one after the other: ",
		len(t.plans), unit.FormatBitRate(c.InnerBitsPerSecond), 100*ratio, unit.FormatBitRate(sum(t.alone)))
	if ratio < 1-sharedLoss {
		return text + "something that they share limits them, such as a processor or an uplink"
	}
	return text + "they share no limit"
}

// legend says which tunnel has which number.
func (t *together) legend() string {
	var names []string
	for i, p := range t.plans {
		names = append(names, fmt.Sprintf("%d is %s to %s with %.1f %% of each load", i+1, p.From.Name, p.To.Name, 100*t.share(i)))
	}
	return "of the tunnels, " + strings.Join(names, ", ")
}
