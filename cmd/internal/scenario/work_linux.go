package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
	"tunnelmark/cmd/internal/controller"
	"tunnelmark/lab"
)

// work is what a scenario measures in the lab that stands.
type work struct {
	scenario Scenario
	options  Options
	built    *lab.Lab
	ends     map[string]controller.End
	results  []report.Result
}

// all measures each path with each size, and then all paths together.
func (w *work) all(ctx context.Context) error {
	find := w.scenario.Find
	for _, size := range find.Sizes {
		var plans []controller.FindPlan
		var alone []float64 // Inner bit/s.
		for i, path := range find.Paths {
			plan, err := w.plan(path, size)
			if err != nil {
				return err
			}
			w.options.Tell(fmt.Sprintf("measuring from %s to %s", path.From, path.To))
			err = w.measure([]Path{path}, w.scenario.Truth.of(i), func() (report.Result, error) { return controller.Find(ctx, plan) })
			if err != nil {
				return err
			}
			plans = append(plans, plan)
			alone = append(alone, passes(*w.results[len(w.results)-1].Ceiling))
		}
		if !find.Together {
			continue
		}
		if silent := slices.Index(alone, 0); silent >= 0 {
			path := find.Paths[silent]
			w.options.Tell(fmt.Sprintf("the tunnels are not measured together: that from %s to %s showed no rate of its own", path.From, path.To))
			continue
		}
		err := w.measure(find.Paths, w.scenario.Truth.together(), func() (report.Result, error) { return controller.FindTogether(ctx, plans, alone) })
		if err != nil {
			return err
		}
	}
	return nil
}

// passes is the rate of a ceiling, inner bit/s, or where no load met its goal what
// passed under overload.
func passes(c analysis.Ceiling) float64 {
	if c.InnerBitsPerSecond == 0 && c.Plateau != nil {
		return c.Plateau.InnerBitsPerSecond
	}
	return c.InnerBitsPerSecond
}

func (w *work) plan(path Path, size int) (controller.FindPlan, error) {
	s, o := w.scenario, w.options
	search, err := s.options()
	search.Progress = o.Progress
	return controller.FindPlan{
		Plan: controller.Plan{
			From: w.ends[path.From], To: w.ends[path.To], Spec: s.Tunnel,
			Reproduce: report.Reproduce{CommandLine: o.CommandLine, Scenario: string(s.Text)},
			Tell:      o.Tell,
		},
		Size: size, Search: search, Gateway: w.gatewayCounter(path),
		Baseline: !o.NoBaseline && s.Tunnel.Builds(), Latency: !o.NoLatency,
	}, err
}

// gatewayCounter reads how much the gateway before FROM has put on its link, which
// is nothing but its tunnel's: gateways route nothing else. It is nil where there is
// no gateway, or the tunnel is the agents' own.
func (w *work) gatewayCounter(path Path) controller.GatewayCounter {
	if _, found := w.built.Gateway(path.From); !found || !w.scenario.Tunnel.IsExisting() {
		return nil
	}
	return func(context.Context) (uint64, error) {
		counters, err := w.built.Counters()
		for _, c := range counters {
			if c.Toward == path.To && slices.Contains(c.Between[:], path.From) {
				return c.PassedPackets + c.DroppedPackets, err
			}
		}
		return 0, errors.Join(err, fmt.Errorf("no link of %s leads to %s", path.From, path.To))
	}
}

// measure searches one ceiling of one path or several; the truth is looked at when the search is over.
func (w *work) measure(paths []Path, expected report.Expected, search func() (report.Result, error)) error {
	before, err := readCounters(w.built)
	if err != nil {
		return err
	}
	result, err := search()
	if err != nil {
		return err
	}
	after, err := readCounters(w.built)
	if err != nil {
		return err
	}
	result.Scenario = w.scenario.Name
	if w.scenario.Truth != nil {
		truth := report.Compare(expected, *result.Ceiling, result.Verdict.Cause)
		truth.Devices = devices(w.scenario.Topology, paths, before.devices, after.devices)
		result.Truth = &truth
	}
	result.Notes = append(result.Notes, wanNotes(w.scenario.Topology, paths, before.wans, after.wans)...)
	w.results = append(w.results, result)
	return nil
}

// counters are the lab's ground truth at one moment.
type counters struct {
	devices []lab.DeviceCounters
	wans    []lab.WANCounters
}

func readCounters(built *lab.Lab) (c counters, err error) {
	if c.devices, err = built.Counters(); err != nil {
		return c, err
	}
	c.wans, err = built.WANCounters()
	return c, err
}

// of is what the i-th path shall show.
func (t *Truth) of(i int) (expected report.Expected) {
	if t == nil {
		return expected
	}
	expected.Tolerance, expected.Cause = t.Tolerance, analysis.Cause(t.Cause)
	if len(t.InnerBitsPerSecond) > 0 {
		expected.InnerBitsPerSecond = t.InnerBitsPerSecond[i]
	}
	if len(t.OuterBitsPerSecond) > 0 {
		expected.OuterBitsPerSecond = t.OuterBitsPerSecond[i]
	}
	return expected
}

// together is what all paths shall show at once.
func (t *Truth) together() (expected report.Expected) {
	if t == nil {
		return expected
	}
	expected.Tolerance, expected.Cause = t.Tolerance, analysis.Cause(t.Cause)
	if len(t.InnerBitsPerSecond) > 0 {
		expected.InnerBitsPerSecond = t.TogetherBitsPerSecond
	} else {
		expected.OuterBitsPerSecond = t.TogetherBitsPerSecond
	}
	return expected
}
