package scenario

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/controller"
	"tunnelmark/cmd/internal/strictyaml"
	"tunnelmark/cmd/internal/unit"
	"tunnelmark/lab"
)

// Parse reads a scenario; errors name the file and the line.
func Parse(name string, text []byte) (Scenario, error) {
	r := reader{scenario: Scenario{
		Tunnel: controller.DefaultSpec(),
		Text:   text,
	}}
	if err := strictyaml.Parse(name, text, r.read); err != nil {
		return Scenario{}, err
	}
	return r.scenario, nil
}

// reader fills a scenario, and keeps the nodes of what can be checked only once
// all has been read, so that those errors have a line too.
type reader struct {
	scenario Scenario
	version  int
	links    []*yaml.Node
	find     *yaml.Node
}

func (r *reader) read(node *yaml.Node) error {
	s := &r.scenario
	keys := strictyaml.Keys{
		"version":  strictyaml.Int(&r.version, Version, Version),
		"name":     strictyaml.Name(&s.Name),
		"about":    strictyaml.Text(&s.About),
		"sites":    r.readSites,
		"links":    strictyaml.List(8, r.readLink),
		"limits":   strictyaml.NotYet("limiting a site"),
		"gateways": strictyaml.NotYet("a gateway in front of a site"),
		"tunnel":   readTunnel(&s.Tunnel),
		"find":     r.readFind,
		"truth":    r.readTruth,
	}
	if err := keys.Read(node); err != nil {
		return err
	}
	return r.check(node)
}

func (r *reader) readSites(node *yaml.Node) error {
	sites := &r.scenario.Topology.Sites
	err := strictyaml.List(64, func(item *yaml.Node) error {
		var site string
		if err := strictyaml.Name(&site)(item); err != nil {
			return err
		}
		if slices.Contains(*sites, site) {
			return strictyaml.At(item, "%q is given twice", site)
		}
		*sites = append(*sites, site)
		return nil
	})(node)
	switch {
	case err != nil:
		return err
	case len(*sites) < 2:
		return strictyaml.At(node, "want two sites, not %d", len(*sites))
	case len(*sites) > 2:
		return strictyaml.At(node, "more than two sites are not yet supported")
	}
	return nil
}

func (r *reader) readLink(node *yaml.Node) error {
	link := lab.Link{MTU: 1500}
	icmp := "pass"
	keys := strictyaml.Keys{
		"between":   readPair(&link.Between),
		"mtu":       strictyaml.Int(&link.MTU, 1280, 65535), // IPv6 needs 1280 (RFC 8200, Section 5).
		"icmp":      strictyaml.OneOf(&icmp, "pass", "blackhole"),
		"device":    readDevice(&link.Device),
		"delay":     strictyaml.NotYet("delay on a link"),
		"jitter":    strictyaml.NotYet("jitter on a link"),
		"loss":      strictyaml.NotYet("loss on a link"),
		"reorder":   strictyaml.NotYet("reordering on a link"),
		"duplicate": strictyaml.NotYet("duplication on a link"),
	}
	if err := keys.Read(node); err != nil {
		return err
	}
	link.ICMPBlackhole = icmp == "blackhole"
	r.scenario.Topology.Links = append(r.scenario.Topology.Links, link)
	r.links = append(r.links, node)
	return nil
}

func readPair(into *[2]string) strictyaml.Reader {
	return func(node *yaml.Node) error {
		var names []string
		err := strictyaml.List(2, strictyaml.Append(&names))(node)
		if err != nil {
			return err
		}
		if len(names) != 2 || names[0] == names[1] {
			return strictyaml.At(node, "want two different sites")
		}
		*into = [2]string(names)
		return nil
	}
}

func readDevice(device *lab.Device) strictyaml.Reader {
	return func(node *yaml.Node) error {
		kind, rate := "none", (*yaml.Node)(nil)
		keys := strictyaml.Keys{
			"kind":   strictyaml.OneOf(&kind, "policer", "shaper", "pps", "none"),
			"rate":   func(value *yaml.Node) error { rate = value; return nil },
			"burst":  strictyaml.Bytes(&device.BurstBytes),
			"toward": strictyaml.Text(&device.Toward),
		}
		if err := keys.Read(node); err != nil {
			return err
		}
		if device.Toward == "both" {
			device.Toward = ""
		}
		return readDeviceRate(device, kind, rate, node)
	}
}

// readDeviceRate reads the rate in the unit that the kind limits.
func readDeviceRate(device *lab.Device, kind string, rate, node *yaml.Node) error {
	if kind == "none" {
		if rate != nil || device.BurstBytes != 0 {
			return strictyaml.At(node, "a device of kind none has no rate and no burst")
		}
		return nil
	}
	device.Kind = lab.DeviceKind(kind)
	if rate == nil {
		return strictyaml.At(node, "rate is missing")
	}
	if device.Kind == lab.PacketLimit {
		if device.BurstBytes != 0 {
			return strictyaml.At(node, "a device of kind pps counts packets and has no burst in bytes")
		}
		return strictyaml.Scalar(&device.PacketsPerSecond, unit.PacketRate)(rate)
	}
	if device.BurstBytes == 0 {
		return strictyaml.At(node, "burst is missing, for instance 64KiB")
	}
	return strictyaml.BitRate(&device.OuterBitsPerSecond)(rate)
}

func readTunnel(spec *controller.Spec) strictyaml.Reader {
	return func(node *yaml.Node) error {
		*spec = controller.Spec{Driver: spec.Driver}
		keys := strictyaml.Keys{
			"driver":        strictyaml.Text(&spec.Driver),
			"suite":         strictyaml.Text(&spec.Suite),
			"encapsulation": strictyaml.Text(&spec.Encapsulation),
			"count":         strictyaml.Int(&spec.Tunnels, 1, control.MaxTunnels),
			"mtu":           strictyaml.Int(&spec.InnerMTU, 1, 65535),
			"no-esn":        strictyaml.Bool(&spec.NoESN),
			"replay-window": strictyaml.Int(&spec.ReplayWindow, 1, control.MaxReplayWindow),
		}
		if err := keys.Read(node); err != nil {
			return err
		}
		complete, err := spec.Complete()
		if err != nil {
			return strictyaml.At(node, "%v", err)
		}
		*spec = complete
		return nil
	}
}

func (r *reader) readFind(node *yaml.Node) error {
	find := &r.scenario.Find
	r.find = node
	return strictyaml.Keys{
		"from": strictyaml.Text(&find.From),
		"to":   strictyaml.Text(&find.To),
		"sizes": strictyaml.List(16, func(item *yaml.Node) error {
			var size int
			// The least holds IPv4, UDP and the probe's header, the most is what
			// an IP packet can be.
			if err := strictyaml.Int(&size, 64, 65535)(item); err != nil {
				return err
			}
			find.Sizes = append(find.Sizes, size)
			return nil
		}),
	}.Read(node)
}

func (r *reader) readTruth(node *yaml.Node) error {
	truth := Truth{Tolerance: 0.005}
	keys := strictyaml.Keys{
		"outer":     strictyaml.BitRate(&truth.OuterBitsPerSecond),
		"tolerance": strictyaml.Ratio(&truth.Tolerance),
		"cause":     strictyaml.Text(&truth.Cause),
	}
	r.scenario.Truth = &truth
	return keys.Read(node)
}

// check looks at what needs the whole file.
func (r *reader) check(top *yaml.Node) error {
	s := &r.scenario
	s.Topology.Name = s.Name
	for _, missing := range []struct {
		key    string
		absent bool
	}{
		{"version", r.version == 0}, {"name", s.Name == ""},
		{"sites", len(s.Topology.Sites) == 0}, {"links", len(s.Topology.Links) == 0},
	} {
		if missing.absent {
			return strictyaml.At(top, "key %q is missing", missing.key)
		}
	}
	if err := r.checkTopology(top); err != nil {
		return err
	}
	return r.checkFind(top)
}

// checkTopology lets the lab say what it cannot build, link by link so that the
// error has the link's line.
func (r *reader) checkTopology(top *yaml.Node) error {
	whole := r.scenario.Topology
	for i := range len(whole.Links) + 1 {
		part, node := whole, top
		part.Links = whole.Links[:i]
		if i > 0 {
			node = r.links[i-1]
		}
		if err := part.Validate(); err != nil {
			return strictyaml.At(node, "%v", err)
		}
	}
	return nil
}

// checkFind fills the defaults: from the first site to the second, at 1400 bytes.
func (r *reader) checkFind(top *yaml.Node) error {
	find, sites := &r.scenario.Find, r.scenario.Topology.Sites
	if r.find == nil {
		r.find = top
	}
	if find.From == "" {
		find.From = sites[0]
	}
	if find.To == "" {
		find.To = sites[1]
	}
	if len(find.Sizes) == 0 {
		find.Sizes = []int{1400}
	}
	if find.From == find.To {
		return strictyaml.At(r.find, "find: from and to are the same site %q", find.From)
	}
	if err := r.knownSite("find: from", find.From, r.find); err != nil {
		return err
	}
	return r.knownSite("find: to", find.To, r.find)
}

func (r *reader) knownSite(key, site string, node *yaml.Node) error {
	sites := r.scenario.Topology.Sites
	if slices.Contains(sites, site) {
		return nil
	}
	return strictyaml.At(node, "%s: %q is not one of the sites %s", key, site, strings.Join(sites, ", "))
}
