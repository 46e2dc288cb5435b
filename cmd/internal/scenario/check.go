package scenario

import (
	"errors"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"tunnelmark/cmd/internal/kind"
	"tunnelmark/cmd/internal/strictyaml"
	"tunnelmark/tunnel"
)

// strongSwan is the kind of gateways, and the kind of tunnel whose suites they have.
const strongSwan = "strongswan"

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
	for _, next := range []func() error{
		r.readSeed,
		r.readGateways,
		func() error { return r.checkTopology(top) },
		r.checkGateways,
		func() error { return r.checkFind(top) },
		r.checkTruth,
	} {
		if err := next(); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) keepGateways(node *yaml.Node) error {
	r.gateways = node
	return nil
}

// readGateways reads them, now that the sites are known which may have one.
func (r *reader) readGateways() error {
	if r.gateways == nil {
		return nil
	}
	read, keys := map[string]Gateway{}, strictyaml.Keys{}
	for _, site := range r.scenario.Topology.Sites {
		keys[site] = func(node *yaml.Node) (err error) {
			read[site], err = readGateway(site, node)
			return err
		}
	}
	if err := under("gateways", keys.Read(r.gateways)); err != nil {
		return err
	}
	for _, site := range r.scenario.Topology.Sites {
		if gateway, found := read[site]; found {
			r.scenario.Topology.Gateways = append(r.scenario.Topology.Gateways, site)
			r.scenario.Gateways = append(r.scenario.Gateways, gateway)
		}
	}
	return nil
}

func readGateway(site string, node *yaml.Node) (Gateway, error) {
	var name, suite string
	keys := strictyaml.Keys{
		"kind":  strictyaml.OneOf(&name, strongSwan),
		"suite": strictyaml.Text(&suite),
	}
	if err := keys.Read(node); err != nil {
		return Gateway{}, err
	}
	if name == "" {
		return Gateway{}, strictyaml.At(node, "kind is missing; there is: %s", strongSwan)
	}
	k, err := kind.Find(name)
	if err != nil {
		return Gateway{}, strictyaml.At(node, "%v", err)
	}
	chosen, _, err := k.Choose(tunnel.Suite(suite), "")
	if err != nil {
		return Gateway{}, strictyaml.At(node, "%v", err)
	}
	return Gateway{Site: site, Suite: chosen}, nil
}

// checkGateways wants a peer for every gateway, and one suite for both. A gateway
// has one peer, to whose networks all leads that is not its own.
func (r *reader) checkGateways() error {
	joined := map[string]bool{}
	for i, link := range r.scenario.Topology.Links {
		near, atNear := r.scenario.gateway(link.Between[0])
		far, atFar := r.scenario.gateway(link.Between[1])
		switch {
		case !atNear && !atFar:
			continue
		case !atNear || !atFar:
			return strictyaml.At(r.links[i], "links: one of %s and %s has a gateway: want two or none, since a gateway has to have a peer", link.Between[0], link.Between[1])
		case near.Suite != far.Suite:
			return strictyaml.At(r.links[i], "links: the gateways of %s and %s have the suites %s and %s: want the same", near.Site, far.Site, near.Suite, far.Suite)
		case joined[near.Site] || joined[far.Site]:
			return strictyaml.At(r.links[i], "links: the gateway of %s or %s has a link already: want one for each", near.Site, far.Site)
		}
		joined[near.Site], joined[far.Site] = true, true
	}
	for _, gateway := range r.scenario.Gateways {
		if !joined[gateway.Site] {
			return strictyaml.At(r.gateways, "gateways: no link leads to that of %s", gateway.Site)
		}
	}
	return nil
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

func (r *reader) knownSite(key, site string, node *yaml.Node) error {
	sites := r.scenario.Topology.Sites
	if slices.Contains(sites, site) {
		return nil
	}
	return strictyaml.At(node, "%s: %q is not one of the sites %s", key, site, strings.Join(sites, ", "))
}

// under puts a key's name before the error of its value.
func under(key string, err error) error {
	var at *strictyaml.Error
	if errors.As(err, &at) {
		return &strictyaml.Error{Line: at.Line, Text: key + ": " + at.Text}
	}
	return err
}
