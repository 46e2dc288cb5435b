package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"tunnelmark/analysis/report"
	"tunnelmark/analysis/search"
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
	// NoLatency leaves round trips idle and under load unmeasured.
	NoLatency bool
	// Built is called once the lab stands and before any load. Optional.
	Built func(*lab.Lab) error
}

// Run does the whole job of a scenario, in this order, and removes everything
// in the reverse order whatever happens:
//
//  1. build the sites, gateways, links and devices, and tell what this machine can
//     carry where a link's WAN is a process;
//  2. join the gateways by strongSwan;
//  3. start one agent in each site, as a process of its own;
//  4. pair with all of them and introduce them to each other;
//  5. for each size, search the ceiling of the tunnel on each path in turn, and
//     then of all together, where that is asked for;
//  6. hold each result against the truth of the scenario.
func Run(ctx context.Context, s Scenario, o Options) (results []report.Result, err error) {
	if err := checkGateways(s); err != nil {
		return nil, err
	}
	o.Tell(fmt.Sprintf("building the lab %q: %s", s.Name, s.About))
	built, err := lab.Build(ctx, s.Topology)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, built.Close()) }()
	if err := tellCeiling(ctx, built, s.Topology, o.Tell); err != nil {
		return nil, err
	}
	if o.Built != nil {
		if err := o.Built(built); err != nil {
			return nil, err
		}
	}
	gateways, err := startGateways(ctx, s, built, o.Tell)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, gateways.stop()) }()
	fleet, err := startFleet(ctx, s, built, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, fleet.stop()) }()
	ends, err := fleet.pair()
	if err != nil {
		return nil, fleet.whyGone(err)
	}
	w := &work{scenario: s, options: o, built: built, ends: ends}
	if err := w.all(fleet.ctx); err != nil {
		return w.results, fleet.whyGone(err)
	}
	return w.results, nil
}

// devices is the lab's ground truth on some paths: how each direction was set, and
// what it counted while the search ran.
func devices(t lab.Topology, paths []Path, before, after []lab.DeviceCounters) []report.Device {
	var all []report.Device
	for i, c := range after {
		if !slices.ContainsFunc(paths, func(p Path) bool { return p.joins(c.Between) }) {
			continue
		}
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
