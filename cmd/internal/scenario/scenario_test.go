package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/lab"
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
		Tunnel: Tunnel{Driver: "esp", Suite: "aes-256-gcm", Encapsulation: "udp", Count: 1},
		Find:   Find{From: "b", To: "a", Sizes: []int{512, 1400}},
		Truth:  &Truth{OuterBitsPerSecond: 350e6, Tolerance: 0.005, Cause: "policer"},
		Text:   []byte(whole),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Parse (-want +got):\n%s", diff)
	}
}

func TestParseDefaults(t *testing.T) {
	got, err := Parse("test.yaml", []byte("version: 1\nname: x\nsites: [dc1, dc2]\nlinks: [{between: [dc1, dc2]}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Find{From: "dc1", To: "dc2", Sizes: []int{1400}}, got.Find); diff != "" {
		t.Errorf("Find (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Tunnel{Driver: "esp", Suite: "aes-128-gcm", Encapsulation: "udp", Count: 1}, got.Tunnel); diff != "" {
		t.Errorf("Tunnel (-want +got):\n%s", diff)
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
		"one site":          {change("[a, b]\nlinks", "[a]\nlinks"), "test.yaml:4: sites: want two sites, not 1"},
		"three sites":       {change("[a, b]\nlinks", "[a, b, c]\nlinks"), "more than two sites are not yet supported"},
		"site twice":        {change("[a, b]\nlinks", "[a, a]\nlinks"), `"a" is given twice`},
		"bad site":          {change("[a, b]\nlinks", "[a, ../b]\nlinks"), "lower-case letters"},
		"link to nowhere":   {change("between: [a, b]", "between: [a, z]"), `test.yaml:6: link 1: between: "z"`},
		"delay":             {change("icmp: blackhole", "delay: 5ms"), "test.yaml:8: links: delay: delay on a link is not yet supported"},
		"loss":              {change("icmp: blackhole", "loss: 0.1%"), "loss on a link is not yet supported"},
		"limits":            {change("limits: {}", "limits: {a: {cpu: 1}}"), "test.yaml:14: limits: limiting a site is not yet supported"},
		"gateways":          {change("gateways: {}", "gateways: {a: {kind: strongswan}}"), "not yet supported"},
		"rate without unit": {change("rate: 350Mbps", "rate: fast"), `test.yaml:11: links: device: "fast" is not a rate`},
		"rate of zero":      {change("rate: 350Mbps", "rate: 0"), "test.yaml:11"},
		"no rate":           {change("      rate: 350Mbps\n", ""), "rate is missing"},
		"no burst":          {change("      burst: 64KiB\n", ""), "burst is missing"},
		"tiny burst":        {change("64KiB", "100"), "test.yaml:6: link 1: device: "},
		"pps with bytes":    {change("rate: 350Mbps", "rate: 30000pps"), "is not a rate"},
		"toward nowhere":    {change("toward: b", "toward: z"), `"z"`},
		"mtu":               {change("mtu: 1500", "mtu: 100"), "test.yaml:7: links: mtu: \"100\" is not a whole number from 1280"},
		"mtu is a list":     {change("mtu: 1500", "mtu: [1500]"), "test.yaml:7"},
		"raw":               {change("encapsulation: udp", "encapsulation: tcp"), `"tcp" is not one of udp, raw`},
		"two tunnels":       {change("count: 1", "count: 2"), "not yet supported"},
		"from itself":       {change("from: b", "from: a"), "find: from and to are the same site"},
		"from nowhere":      {change("from: b", "from: z"), `find: from: "z" is not one of the sites a, b`},
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
	if diff := cmp.Diff([]string{"no-device", "srx-350"}, names); diff != "" {
		t.Errorf("shipped scenarios (-want +got):\n%s", diff)
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
	f.Add([]byte("version: 1\nname: x\nsites: [a, b]\nlinks: [{between: [a, b], device: {kind: pps, rate: 3kpps}}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse("fuzz.yaml", text)
		if err != nil {
			return
		}
		if err := s.Topology.Validate(); err != nil {
			t.Errorf("Parse accepts what the lab refuses: %v", err)
		}
		if len(s.Find.Sizes) == 0 || s.Find.From == s.Find.To {
			t.Errorf("Parse accepts a search without work: %+v", s.Find)
		}
	})
}
