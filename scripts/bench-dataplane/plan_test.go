package main

import (
	"slices"
	"strings"
	"testing"

	"tunnelmark/tunnel"
)

func TestPlan(t *testing.T) {
	suites := len(tunnel.Suites()) + 1
	for _, tt := range []struct {
		only          []string
		planes, loads int
	}{
		{nil, suites + 2, 5},
		{[]string{"tcp"}, suites + 2, 2},
		{[]string{"udp/1400", "tcp/1"}, suites + 2, 2},
		{[]string{"esp"}, suites, 5},
		{[]string{"esp/aes-128-gcm", "wireguard-go", "tcp/4"}, 2, 1},
	} {
		p, err := newPlan(tt.only)
		if err != nil || len(p.planes) != tt.planes || len(p.loads) != tt.loads {
			t.Errorf("-only %q: got %d data planes and %d loads, error %v; want %d and %d", tt.only, len(p.planes), len(p.loads), err, tt.planes, tt.loads)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	for _, only := range []string{"", "sctp", "udp/6", "tcp/1/", "esp/aes"} {
		if _, err := newPlan([]string{"tcp", only}); err == nil || !strings.Contains(err.Error(), "udp/64") || !strings.Contains(err.Error(), "wireguard-go") {
			t.Errorf("-only tcp,%s: got error %v, want one that lists the names", only, err)
		}
	}
}

// Each job is there once, and a load is over with before the next begins.
func TestJobs(t *testing.T) {
	p := plan{loads: loads}
	list := p.jobs([]string{"esp/aes-128-gcm", "wireguard-go"})
	if len(list) != 2*len(loads) {
		t.Errorf("got %d jobs, want %d", len(list), 2*len(loads))
	}
	for i, j := range list {
		if slices.Contains(list[:i], j) {
			t.Errorf("job %q is there twice", j)
		}
		if j.Load != loads[i/2] {
			t.Errorf("job %d is %q, want one of %s", i, j, loads[i/2])
		}
	}
}

// A target of a job that does not exist would never be shown.
func TestTargetsAreOfJobs(t *testing.T) {
	p, err := newPlan(nil)
	if err != nil {
		t.Fatal(err)
	}
	for j := range targets {
		if !slices.Contains(p.names(), j.Plane) || !slices.Contains(p.loads, j.Load) {
			t.Errorf("there is no job %q", j)
		}
	}
}

// Both ends of every data plane have to agree.
func TestHalvesFaceEachOther(t *testing.T) {
	for _, p := range planes() {
		sender, receiver := p.half(true), p.half(false)
		if sender.Local != receiver.Remote || sender.Remote != receiver.Local || sender.Suite != receiver.Suite || sender.MTU != receiver.MTU {
			t.Errorf("%s: sender %+v, receiver %+v", p, sender, receiver)
		}
	}
}
