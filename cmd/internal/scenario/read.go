package scenario

import (
	"math"
	"slices"

	"go.yaml.in/yaml/v3"

	"tunnelmark/cmd/internal/controller"
	"tunnelmark/cmd/internal/strictyaml"
	"tunnelmark/cmd/internal/unit"
	"tunnelmark/lab"
)

// A file describes no more than this; what addresses there are bounds labs, too.
const mostSites, mostLinks, mostSizes = 64, 64, 16

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
	seed     *yaml.Node
	gateways *yaml.Node
	find     *yaml.Node
	from, to string
	truth    *yaml.Node
}

func (r *reader) read(node *yaml.Node) error {
	s := &r.scenario
	keys := strictyaml.Keys{
		"version":  strictyaml.Int(&r.version, Version, Version),
		"name":     strictyaml.Name(&s.Name),
		"about":    strictyaml.Text(&s.About),
		"sites":    r.readSites,
		"links":    strictyaml.List(mostLinks, r.readLink),
		"seed":     func(value *yaml.Node) error { r.seed = value; return nil },
		"limits":   strictyaml.NotYet("limiting a site"),
		"gateways": r.keepGateways,
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
	err := strictyaml.List(mostSites, func(item *yaml.Node) error {
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
		return strictyaml.At(node, "want two sites or more, not %d", len(*sites))
	}
	return nil
}

func (r *reader) readLink(node *yaml.Node) error {
	link := lab.Link{MTU: 1500}
	icmp := "pass"
	keys := strictyaml.Keys{
		"between":   readPair(&link.Between),
		"mtu":       strictyaml.Int(&link.MTU, 1280, 65535), // IPv6 needs 1280 (RFC 8200, Section 5).
		"icmp":      strictyaml.OneOf(&icmp, "pass", "blackhole", "clear-df"),
		"device":    readDevice(&link.Device),
		"delay":     strictyaml.Duration(&link.WAN.Delay),
		"jitter":    strictyaml.Duration(&link.WAN.Jitter),
		"loss":      strictyaml.Ratio(&link.WAN.LossRatio),
		"reorder":   strictyaml.Ratio(&link.WAN.ReorderRatio),
		"duplicate": strictyaml.Ratio(&link.WAN.DuplicateRatio),
	}
	if err := keys.Read(node); err != nil {
		return err
	}
	link.ICMPBlackhole, link.ClearDF = icmp == "blackhole", icmp == "clear-df"
	r.scenario.Topology.Links = append(r.scenario.Topology.Links, link)
	r.links = append(r.links, node)
	return nil
}

// readSeed begins the fates of all links whose WAN draws any.
func (r *reader) readSeed() error {
	if r.seed == nil {
		return nil
	}
	var seed int
	if err := under("seed", strictyaml.Int(&seed, 0, math.MaxInt)(r.seed)); err != nil {
		return err
	}
	var used bool
	for i := range r.scenario.Topology.Links {
		wan := &r.scenario.Topology.Links[i].WAN
		if wan.Jitter > 0 || wan.LossRatio > 0 || wan.ReorderRatio > 0 || wan.DuplicateRatio > 0 {
			wan.Seed, used = uint64(seed), true
		}
	}
	if !used {
		return strictyaml.At(r.seed, "seed: nothing is drawn by it: no link has jitter, loss, reorder or duplicate")
	}
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
