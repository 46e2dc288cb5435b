package scenario

import (
	"context"
	"errors"
	"fmt"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
	"tunnelmark/analysis/search"
	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/controller"
	"tunnelmark/lab"
)

// Options say how to run a scenario.
type Options struct {
	// AgentProgram is the path of tunnelmark-agent.
	AgentProgram string
	// CommandLine is what the user typed, for the report.
	CommandLine string
	// Tell is told what is going on, Progress of each trial.
	Tell     func(string)
	Progress func(search.Progress)
	// NoBaseline leaves the path without the tunnel unmeasured.
	NoBaseline bool
	// Built is called once the lab stands and before any load. Optional.
	Built func(*lab.Lab) error
}

// Run does the whole job of a scenario, in this order, and removes everything
// in the reverse order whatever happens:
//
//  1. build the sites, links and devices;
//  2. start one agent in each site, as a process of its own;
//  3. pair with all of them and introduce them to each other;
//  4. for each size, search the ceiling of the tunnel between two of them;
//  5. hold each result against the truth of the scenario.
func Run(ctx context.Context, s Scenario, o Options) (results []report.Result, err error) {
	o.Tell(fmt.Sprintf("building the lab %q: %s", s.Name, s.About))
	built, err := lab.Build(ctx, s.Topology)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, built.Close()) }()
	if o.Built != nil {
		if err := o.Built(built); err != nil {
			return nil, err
		}
	}
	fleet, err := startFleet(ctx, s, built, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, fleet.stop()) }()
	ends, err := fleet.pair()
	if err != nil {
		return nil, fleet.whyGone(err)
	}
	for _, size := range s.Find.Sizes {
		result, err := find(fleet.ctx, s, built, ends, size, o)
		if err != nil {
			return results, fleet.whyGone(err)
		}
		results = append(results, result)
	}
	return results, nil
}

// find searches one ceiling; the truth is looked at when the search is over.
func find(ctx context.Context, s Scenario, built *lab.Lab, ends map[string]controller.End, size int, o Options) (report.Result, error) {
	before, err := built.Counters()
	if err != nil {
		return report.Result{}, err
	}
	result, err := controller.Find(ctx, controller.FindPlan{
		Plan: controller.Plan{
			From: ends[s.Find.From], To: ends[s.Find.To], Spec: s.Tunnel,
			Reproduce: report.Reproduce{CommandLine: o.CommandLine, Scenario: string(s.Text)},
			Tell:      o.Tell,
		},
		Size: size, Search: search.Options{Progress: o.Progress},
		Baseline: !o.NoBaseline && s.Tunnel.Builds(),
	})
	result.Scenario = s.Name
	if err != nil || s.Truth == nil {
		return result, err
	}
	after, err := built.Counters()
	if err != nil {
		return result, err
	}
	truth := report.Compare(report.Expected{
		OuterBitsPerSecond: s.Truth.OuterBitsPerSecond, Tolerance: s.Truth.Tolerance, Cause: analysis.Cause(s.Truth.Cause),
	}, *result.Ceiling, result.Verdict.Cause)
	truth.Devices = devices(s.Topology, before, after)
	result.Truth = &truth
	return result, nil
}

// devices is the lab's ground truth: how each direction was set, and what it
// counted while the search ran.
func devices(t lab.Topology, before, after []lab.DeviceCounters) []report.Device {
	var all []report.Device
	for i, c := range after {
		device := deviceOf(t, c)
		all = append(all, report.Device{
			Link: c.Between[0] + "-" + c.Between[1], Toward: c.Toward, Kind: string(c.Kind),
			OuterBitsPerSecond: device.OuterBitsPerSecond, PacketsPerSecond: device.PacketsPerSecond,
			BurstOuterBytes:   float64(device.BurstBytes),
			PassedPackets:     c.PassedPackets - before[i].PassedPackets,
			PassedOuterBytes:  c.PassedOuterBytes - before[i].PassedOuterBytes,
			DroppedPackets:    c.DroppedPackets - before[i].DroppedPackets,
			DroppedOuterBytes: c.DroppedOuterBytes - before[i].DroppedOuterBytes,
		})
	}
	return all
}

func deviceOf(t lab.Topology, c lab.DeviceCounters) lab.Device {
	for _, link := range t.Links {
		if link.Between == c.Between && c.Kind != lab.NoDevice {
			return link.Device
		}
	}
	return lab.Device{}
}

// endOf is an agent as its controller reaches it.
func endOf(pin control.Pin, identity *control.Identity) (controller.End, func(), error) {
	agent, disconnect, err := control.Dial(pin.Address, identity, pin.Fingerprint)
	if err != nil {
		return controller.End{}, nil, err
	}
	return controller.End{Name: pin.Name, Fingerprint: pin.Fingerprint, Agent: agent}, disconnect, nil
}
