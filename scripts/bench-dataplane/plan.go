package main

import (
	"fmt"
	"slices"
	"strings"

	"tunnelmark/scripts/internal/bench"
	"tunnelmark/tunnel"
)

// load is what iperf3 offers. Equal loads are the same one.
type load struct {
	Flows     int // Of TCP; zero is UDP.
	InnerSize int // Length of UDP's IP packets, in bytes.
}

// loads are all, in the order in which they are offered.
var loads = []load{{Flows: 1}, {Flows: 4}, {InnerSize: 64}, {InnerSize: 512}, {InnerSize: 1400}}

func (l load) isTCP() bool { return l.Flows > 0 }

// String is its name, which -only takes.
func (l load) String() string {
	if l.isTCP() {
		return fmt.Sprintf("tcp/%d", l.Flows)
	}
	return fmt.Sprintf("udp/%d", l.InnerSize)
}

// job is one load over one data plane.
type job struct {
	Plane string
	Load  load
}

// String names a job for progress and failures.
func (j job) String() string { return fmt.Sprintf("%s over %s", j.Load, j.Plane) }

// plan is what to measure.
type plan struct {
	planes []plane
	loads  []load
}

// newPlan takes those data planes whose names are one of only, or are under one of
// them, and those loads; all of a kind of which only names none.
func newPlan(only []string) (plan, error) {
	p := plan{planes: planes(), loads: loads}
	for _, name := range only {
		if !slices.ContainsFunc(p.names(), func(known string) bool { return bench.Under(known, name) }) {
			return plan{}, fmt.Errorf("-only %s: there is no such load or data plane; the names are %s", name, strings.Join(p.names(), " "))
		}
	}
	return plan{planes: named(p.planes, plane.String, only), loads: named(p.loads, load.String, only)}, nil
}

func (p plan) names() (names []string) {
	for _, l := range p.loads {
		names = append(names, l.String())
	}
	for _, plane := range p.planes {
		names = append(names, plane.name)
	}
	return names
}

// named are those of a kind that only names, or all.
func named[T any](all []T, name func(T) string, only []string) (some []T) {
	for _, one := range all {
		if slices.ContainsFunc(only, func(o string) bool { return bench.Under(name(one), o) }) {
			some = append(some, one)
		}
	}
	if len(some) == 0 {
		return all
	}
	return some
}

// jobs lists what is measured in each round: a load over all data planes, one soon
// after the other, before the next load.
func (p plan) jobs(names []string) (list []job) {
	for _, l := range p.loads {
		for _, name := range names {
			list = append(list, job{Plane: name, Load: l})
		}
	}
	return list
}

// target is the least ratio to each of the others that performance.md asks for, and
// the most CPU; zero means that it asks for none.
type target struct {
	wireguardGo, strongSwan, nullNull float64
	coresPerGbit                      float64 // Of each end.
}

// targets are those of TCP. For UDP there are none.
var targets = map[job]target{
	{espName(tunnel.AES128GCM), load{Flows: 1}}:        {wireguardGo: 2.2, strongSwan: 7, nullNull: 0.65, coresPerGbit: 0.16},
	{espName(tunnel.AES128GCM), load{Flows: 4}}:        {wireguardGo: 2.5, strongSwan: 7, nullNull: 0.6, coresPerGbit: 0.16},
	{espName(tunnel.ChaCha20Poly1305), load{Flows: 1}}: {wireguardGo: 1.4},
	{espName(tunnel.ChaCha20Poly1305), load{Flows: 4}}: {wireguardGo: 1.4},
}
