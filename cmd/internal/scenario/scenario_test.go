package scenario

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
	"tunnelmark/analysis/search"
	"tunnelmark/cmd/internal/controller"
	"tunnelmark/cmd/internal/kind"
	"tunnelmark/lab"
	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
)

// whole is the example of the design, with all keys that are supported.
const whole = `version: 1
name: srx-350
about: an appliance
sites: [a, b]
links:
  - between: [a, b]
    mtu: 1500
    icmp: blackhole
    device:
      kind: policer
      rate: 350Mbps
      burst: 64KiB
      toward: b
limits: {}
gateways: {}
tunnel:
  driver: esp
  suite: aes-256-gcm
  encapsulation: udp
  count: 1
find:
  from: b
  to: a
  sizes: [512, 1400]
truth:
  outer: 350Mbps
  tolerance: 0.5%
  cause: policer
`

func TestParse(t *testing.T) {
	got, err := Parse("test.yaml", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	want := Scenario{
		Name: "srx-350", About: "an appliance",
		Topology: lab.Topology{
			Name: "srx-350", Sites: []string{"a", "b"},
			Links: []lab.Link{{
				Between: [2]string{"a", "b"}, MTU: 1500, ICMPBlackhole: true,
				Device: lab.Device{Kind: lab.Policer, OuterBitsPerSecond: 350e6, BurstBytes: 65536, Toward: "b"},
			}},
		},
		Tunnel: controller.Spec{Driver: "esp", Suite: "aes-256-gcm", Encapsulation: "udp", Tunnels: 1},
		Find:   Find{Paths: []Path{{"b", "a"}}, Sizes: []int{512, 1400}},
		Truth:  &Truth{OuterBitsPerSecond: []float64{350e6}, Tolerance: 0.005, Cause: "policer"},
		Text:   []byte(whole),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Parse (-want +got):\n%s", diff)
	}
}

func TestParseDefaults(t *testing.T) {
	got := mustParse(t, "version: 1\nname: x\nsites: [dc1, dc2]\nlinks: [{between: [dc1, dc2]}]\n")
	if diff := cmp.Diff(Find{Paths: []Path{{"dc1", "dc2"}}, Sizes: []int{1400}}, got.Find); diff != "" {
		t.Errorf("Find (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(controller.DefaultSpec(), got.Tunnel); diff != "" {
		t.Errorf("Tunnel (-want +got):\n%s", diff)
	}
}

func TestParseRekey(t *testing.T) {
	got := mustParse(t, "version: 1\nname: x\nsites: [dc1, dc2]\nlinks: [{between: [dc1, dc2]}]\n"+
		"tunnel: {rekey-time: 1s, rekey-packets: 10000, rekey-bytes: 1GiB}\n")
	want := tunnel.Lifetime{Time: time.Second, Packets: 10000, Bytes: 1 << 30}
	if got.Tunnel.Rekey != want {
		t.Errorf("got %v, want %v", got.Tunnel.Rekey, want)
	}
}

func mustParse(t *testing.T, text string) Scenario {
	t.Helper()
	s, err := Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// hub is a scenario of several sites, but for its find and truth.
const hub = `version: 1
name: hub
sites: [a, b, c]
links:
  - between: [a, b]
  - between: [c, a]
`

// Where load flows follows from what the file names.
func TestPaths(t *testing.T) {
	const pair = "version: 1\nname: x\nsites: [a, b]\nlinks: [{between: [b, a]}]\n"
	for name, c := range map[string]struct {
		text string
		want []Path
	}{
		"two sites":        {pair, []Path{{"a", "b"}}},
		"from the second":  {pair + "find: {from: b}", []Path{{"b", "a"}}},
		"to the first":     {pair + "find: {to: a}", []Path{{"b", "a"}}},
		"all links":        {hub, []Path{{"a", "b"}, {"c", "a"}}},
		"one against link": {hub + "find: {from: a, to: c}", []Path{{"a", "c"}}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, mustParse(t, c.text).Find.Paths); diff != "" {
				t.Errorf("paths (-want +got):\n%s", diff)
			}
		})
	}
}

// Gateways stand in the order of their sites, and a rate is that of each path.
func TestParseGateways(t *testing.T) {
	got := mustParse(t, `version: 1
name: x
gateways: {b: {kind: strongswan}, a: {kind: strongswan, suite: aes-128-gcm}}
sites: [a, b]
links: [{between: [a, b]}]
tunnel: {driver: existing}
find: {idle: true, budget: 12s}
truth: {inner: 40Mbps}
`)
	if diff := cmp.Diff([]Gateway{{"a", tunnel.AES128GCM}, {"b", tunnel.AES128GCM}}, got.Gateways); diff != "" {
		t.Errorf("gateways (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a", "b"}, got.Topology.Gateways); diff != "" {
		t.Errorf("gateways of the topology (-want +got):\n%s", diff)
	}
	want := search.Options{Manner: analysis.Climb, Idle: true, Traffic: 12 * time.Second}
	options, err := got.options()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, options, cmpopts.IgnoreFields(search.Options{}, "Progress")); diff != "" {
		t.Errorf("search (-want +got):\n%s", diff)
	}
}

// The seed is that of all links that draw anything.
func TestParseWAN(t *testing.T) {
	got := mustParse(t, `version: 1
name: x
sites: [a, b, c]
seed: 7
links:
  - {between: [a, b], delay: 40ms, jitter: 2ms, loss: 0.01%, reorder: 1%, duplicate: 0.5%}
  - {between: [a, c], delay: 1ms, icmp: clear-df}
`)
	want := []lab.Link{
		{Between: [2]string{"a", "b"}, MTU: 1500, WAN: lab.WAN{
			Delay: 40 * time.Millisecond, Jitter: 2 * time.Millisecond,
			LossRatio: 0.0001, ReorderRatio: 0.01, DuplicateRatio: 0.005, Seed: 7,
		}},
		{Between: [2]string{"a", "c"}, MTU: 1500, ClearDF: true, WAN: lab.WAN{Delay: time.Millisecond}},
	}
	if diff := cmp.Diff(want, got.Topology.Links); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
}

func TestTruth(t *testing.T) {
	const find = "find: {together: true}\n"
	for name, c := range map[string]struct {
		truth string
		want  []report.Expected // Of each path, and of all together.
	}{
		"none": {"", []report.Expected{{}, {}, {}}},
		"one rate for all": {"truth: {outer: 10Mbps, together: 15Mbps, tolerance: 1%}", []report.Expected{
			{OuterBitsPerSecond: 10e6, Tolerance: 0.01}, {OuterBitsPerSecond: 10e6, Tolerance: 0.01}, {OuterBitsPerSecond: 15e6, Tolerance: 0.01},
		}},
		"one rate each": {"truth: {inner: [10Mbps, 20Mbps], together: 30Mbps}", []report.Expected{
			{InnerBitsPerSecond: 10e6, Tolerance: 0.005}, {InnerBitsPerSecond: 20e6, Tolerance: 0.005}, {InnerBitsPerSecond: 30e6, Tolerance: 0.005},
		}},
		"cause only": {"truth: {cause: policer}", []report.Expected{
			{Tolerance: 0.005, Cause: "policer"}, {Tolerance: 0.005, Cause: "policer"}, {Tolerance: 0.005, Cause: "policer"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			truth := mustParse(t, hub+find+c.truth).Truth
			if diff := cmp.Diff(c.want, []report.Expected{truth.of(0), truth.of(1), truth.together()}); diff != "" {
				t.Errorf("expected (-want +got):\n%s", diff)
			}
		})
	}
}

// What is wrong is refused with file, line, and what is allowed.
func TestParseRefuses(t *testing.T) {
	change := func(old, new string) string {
		if !strings.Contains(whole, old) {
			t.Fatalf("%q is not in the example", old)
		}
		return strings.Replace(whole, old, new, 1)
	}
	for name, c := range map[string]struct{ text, want string }{
		"empty":             {"", "test.yaml: the file is empty"},
		"not YAML":          {"a: [", "test.yaml: line 1"},
		"a list":            {"[a]", "test.yaml:1: want a mapping with the keys about, "},
		"unknown key":       {change("about:", "abuot:"), `test.yaml:3: unknown key "abuot"; allowed: about, `},
		"key in a link":     {change("icmp: blackhole", "icmpp: pass"), `test.yaml:8: links: unknown key "icmpp"; allowed: between, `},
		"twice":             {change("name: srx-350", "name: x\nname: y"), `test.yaml:3: key "name" is given twice`},
		"version":           {change("version: 1", "version: 2"), `test.yaml:1: version: "2" is not a whole number from 1 to 1`},
		"no version":        {change("version: 1\n", ""), `key "version" is missing`},
		"one site":          {change("[a, b]\nlinks", "[a]\nlinks"), "test.yaml:4: sites: want two sites or more, not 1"},
		"site twice":        {change("[a, b]\nlinks", "[a, a]\nlinks"), `"a" is given twice`},
		"bad site":          {change("[a, b]\nlinks", "[a, ../b]\nlinks"), "lower-case letters"},
		"link to nowhere":   {change("between: [a, b]", "between: [a, z]"), `test.yaml:6: link 1: between: "z"`},
		"icmp":              {change("icmp: blackhole", "icmp: fragment"), `test.yaml:8: links: icmp: "fragment" is not one of pass, blackhole, clear-df`},
		"delay":             {change("icmp: blackhole", "delay: 11s"), "test.yaml:6: link 1: delay: 11s: allowed are 0 to 10s"},
		"delay of yore":     {change("icmp: blackhole", "delay: -5ms"), `test.yaml:8: links: delay: "-5ms" is not a time`},
		"jitter alone":      {change("icmp: blackhole", "jitter: 5ms"), "test.yaml:6: link 1: jitter: 5ms: allowed are 0 to the delay (0s)"},
		"much loss":         {change("icmp: blackhole", "loss: 60%"), "test.yaml:6: link 1: loss: 0.6: allowed are 0 to 0.5"},
		"loss in packets":   {change("icmp: blackhole", "loss: 10"), `test.yaml:8: links: loss: "10" is not a share`},
		"seed of nothing":   {change("limits: {}", "seed: 1"), "test.yaml:14: seed: nothing is drawn by it"},
		"negative seed":     {change("limits: {}", "seed: -1"), `test.yaml:14: seed: "-1" is not a whole number from 0`},
		"limits":            {change("limits: {}", "limits: {a: {cpu: 1}}"), "test.yaml:14: limits: limiting a site is not yet supported"},
		"one gateway":       {change("gateways: {}", "gateways: {a: {kind: strongswan}}"), "test.yaml:6: links: one of a and b has a gateway: want two or none"},
		"gateway nowhere":   {change("gateways: {}", "gateways: {z: {kind: strongswan}}"), `test.yaml:15: gateways: unknown key "z"; allowed: a, b`},
		"gateway's kind":    {change("gateways: {}", "gateways: {a: {kind: srx}}"), `test.yaml:15: gateways: a: kind: "srx" is not one of strongswan`},
		"no kind":           {change("gateways: {}", "gateways:\n  a: {suite: aes-128-gcm}"), "test.yaml:16: gateways: a: kind is missing"},
		"gateway's suite":   {change("gateways: {}", "gateways: {a: {kind: strongswan, suite: des}}"), `gateways: a: suite "des": allowed with driver strongswan are aes-128-gcm`},
		"two suites":        {change("gateways: {}", "gateways: {a: {kind: strongswan}, b: {kind: strongswan, suite: aes-256-gcm}}"), "have the suites aes-128-gcm and aes-256-gcm: want the same"},
		"hub of gateways":   {hub + "gateways: {a: {kind: strongswan}, b: {kind: strongswan}, c: {kind: strongswan}}", "test.yaml:6: links: the gateway of c or a has a link already"},
		"gateway alone":     {change("sites: [a, b]", "sites: [a, b, c]") + "gateways: {c: {kind: strongswan}}", `key "gateways" is given twice`},
		"gateway unlinked":  {strings.Replace(hub, "  - between: [c, a]\n", "", 1) + "gateways: {c: {kind: strongswan}}", "test.yaml:6: gateways: no link leads to that of c"},
		"rate without unit": {change("rate: 350Mbps", "rate: fast"), `test.yaml:11: links: device: "fast" is not a rate`},
		"rate of zero":      {change("rate: 350Mbps", "rate: 0"), "test.yaml:11"},
		"no rate":           {change("      rate: 350Mbps\n", ""), "rate is missing"},
		"no burst":          {change("      burst: 64KiB\n", ""), "burst is missing"},
		"tiny burst":        {change("64KiB", "100"), "test.yaml:6: link 1: device: "},
		"pps with bytes":    {change("rate: 350Mbps", "rate: 30000pps"), "is not a rate"},
		"toward nowhere":    {change("toward: b", "toward: z"), `"z"`},
		"mtu":               {change("mtu: 1500", "mtu: 100"), "test.yaml:7: links: mtu: \"100\" is not a whole number from 1280"},
		"mtu is a list":     {change("mtu: 1500", "mtu: [1500]"), "test.yaml:7"},
		"raw":               {change("encapsulation: udp", "encapsulation: tcp"), `test.yaml:17: tunnel: encapsulation "tcp": allowed with driver esp are udp, raw`},
		"eager rekeying":    {change("count: 1", "rekey-time: 1ms"), "rekeying after 1ms: want 100ms or more"},
		"few packets":       {change("count: 1", "rekey-packets: 10"), `tunnel: rekey-packets: "10" is not a whole number from 8192`},
		"two tunnels":       {change("driver: esp", "driver: xfrm-policy\n  count: 2\nx:"), "driver xfrm-policy builds one"},
		"from itself":       {change("from: b", "from: a"), "find: from and to are the same site"},
		"from nowhere":      {change("from: b", "from: z"), `find: from: "z" is not one of the sites a, b`},
		"from alone":        {hub + "find: {from: a}", "test.yaml:7: find: with more than two sites want from and to, or neither"},
		"no link":           {hub + "find: {from: b, to: c}", "test.yaml:7: find: no link joins b and c"},
		"together alone":    {change("from: b", "together: true"), "test.yaml:22: find: together: there is one path; want two or more"},
		"idle":              {change("from: b", "idle: true"), "find: idle: nothing else can use a tunnel of driver esp"},
		"overload":          {strings.Replace(hub, "links", "tunnel: {driver: existing}\nfind: {manner: overload}\nlinks", 1), "test.yaml:5: find: an existing tunnel may carry production"},
		"tiny budget":       {change("from: b", "budget: 1s"), "find: traffic (s) is 1: must be from 5"},
		"two truths":        {change("cause: policer", "inner: 300Mbps"), "test.yaml:26: truth: want inner or outer, not both"},
		"foreign truth":     {strings.Replace(hub, "links", "tunnel: {driver: existing}\ntruth: {outer: 1Mbps}\nlinks", 1), "test.yaml:5: truth: outer packets of driver existing are not the agents' own; give inner"},
		"truth of many":     {change("outer: 350Mbps", "outer: [1Mbps, 2Mbps]"), "truth: 2 rates for 1 paths: want one for all"},
		"truth together":    {change("cause: policer", "together: 300Mbps"), "truth: together: nothing is measured together; set find: together: true"},
		"tiny size":         {change("[512, 1400]", "[20]"), "test.yaml:24: find: sizes: \"20\" is not a whole number from 64"},
		"tolerance":         {change("0.5%", "150%"), "test.yaml:27: truth: tolerance"},
		"alias":             {change("about: an appliance", "about: &x y\nlinks: *x"), "aliases are not allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("test.yaml", []byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Parse: %v, want it to contain %q", err, c.want)
			}
		})
	}
}

func TestShipped(t *testing.T) {
	all, err := Shipped()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range all {
		names = append(names, s.Name)
		if s.About == "" {
			t.Errorf("%s does not say what it is about", s.Name)
		}
		if loaded, err := Load(s.Name); err != nil || loaded.Name != s.Name {
			t.Errorf("Load(%q) = %q, %v", s.Name, loaded.Name, err)
		}
	}
	want := []string{"appliance", "four-dc", "no-device", "srx-350", "wan"}
	for _, k := range kind.All() {
		if k.Name != kind.Existing { // That one is behind an appliance.
			want = append(want, k.Name)
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("shipped scenarios (-want +got):\n%s", diff)
	}
}

// A scenario that is called like a driver measures through it, and states a truth.
func TestShippedDrivers(t *testing.T) {
	for _, name := range kind.Names() {
		if name == kind.Existing {
			continue
		}
		if s, err := Load(name); err != nil || s.Tunnel.Driver != name || s.Truth == nil {
			t.Errorf("scenario %s: driver %q, truth %+v, %v", name, s.Tunnel.Driver, s.Truth, err)
		}
	}
}

// appliance: what is inside follows from what the policer lets pass and from what
// the gateways add.
func TestApplianceTruth(t *testing.T) {
	s, err := Load("appliance")
	if err != nil {
		t.Fatal(err)
	}
	esp, err := overhead.ESP(s.Gateways[0].Suite, tunnel.UDP, overhead.IPv4)
	if err != nil {
		t.Fatal(err)
	}
	size := s.Find.Sizes[0]
	want := s.Topology.Links[0].Device.OuterBitsPerSecond * float64(size) / float64(esp.OuterLength(size))
	if got := s.Truth.InnerBitsPerSecond[0]; math.Abs(got/want-1) > 1e-4 {
		t.Errorf("truth is %.6g bit/s inner, want %.6g", got, want)
	}
}

// four-dc: what the policers of all links let pass together.
func TestFourDCTruth(t *testing.T) {
	s, err := Load("four-dc")
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for i, link := range s.Topology.Links {
		sum += link.Device.OuterBitsPerSecond
		if got := s.Truth.OuterBitsPerSecond[i]; got != link.Device.OuterBitsPerSecond {
			t.Errorf("truth of link %d is %g bit/s outer, want its policer's %g", i+1, got, link.Device.OuterBitsPerSecond)
		}
	}
	if s.Truth.TogetherBitsPerSecond != sum || !s.Find.Together {
		t.Errorf("together %v: truth is %g bit/s, want the sum of all policers, %g", s.Find.Together, s.Truth.TogetherBitsPerSecond, sum)
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mine.yaml")
	if err := os.WriteFile(path, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := Load(path); err != nil || s.Name != "srx-350" {
		t.Errorf("Load = %q, %v", s.Name, err)
	}
	if _, err := Load("no-such"); err == nil || !strings.Contains(err.Error(), "lab list") {
		t.Errorf("Load(no-such): %v, want it to say where to look", err)
	}
}

// Whatever is read is refused or can be built.
func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(hub + "gateways: {a: {kind: strongswan}, b: {kind: strongswan}}\nfind: {together: true}\ntruth: {outer: [1Mbps, 2Mbps], together: 3Mbps}"))
	f.Add([]byte("version: 1\nname: x\nsites: [a, b]\nlinks: [{between: [a, b], device: {kind: pps, rate: 3kpps}}]"))
	f.Add([]byte("version: 1\nname: x\nseed: 3\nsites: [a, b]\nlinks: [{between: [a, b], delay: 5ms, jitter: 1ms, loss: 0.1%, icmp: clear-df}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse("fuzz.yaml", text)
		if err != nil {
			return
		}
		if err := s.Topology.Validate(); err != nil {
			t.Errorf("Parse accepts what the lab refuses: %v", err)
		}
		if len(s.Find.Sizes) == 0 || len(s.Find.Paths) == 0 {
			t.Errorf("Parse accepts a search without work: %+v", s.Find)
		}
		for i, path := range s.Find.Paths {
			if path.From == path.To {
				t.Errorf("Parse accepts a path from %s to itself", path.From)
			}
			_ = s.Truth.of(i) // Every path has a rate, or none has.
		}
	})
}
