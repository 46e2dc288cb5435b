package scenario

import (
	"slices"

	"go.yaml.in/yaml/v3"

	"tunnelmark/analysis"
	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/controller"
	"tunnelmark/cmd/internal/strictyaml"
	"tunnelmark/lab"
	"tunnelmark/tunnel"
)

func readTunnel(spec *controller.Spec) strictyaml.Reader {
	return func(node *yaml.Node) error {
		*spec = controller.Spec{Driver: spec.Driver}
		var packets, bytes int
		keys := strictyaml.Keys{
			"driver":        strictyaml.Text(&spec.Driver),
			"suite":         strictyaml.Text(&spec.Suite),
			"encapsulation": strictyaml.Text(&spec.Encapsulation),
			"count":         strictyaml.Int(&spec.Tunnels, 1, control.MaxTunnels),
			"mtu":           strictyaml.Int(&spec.InnerMTU, 1, 65535),
			"no-esn":        strictyaml.Bool(&spec.NoESN),
			"replay-window": strictyaml.Int(&spec.ReplayWindow, 1, control.MaxReplayWindow),
			"rekey-time":    strictyaml.Duration(&spec.Rekey.Time),
			"rekey-packets": strictyaml.Int(&packets, tunnel.LeastRekeyPackets, tunnel.MostRekeyPackets),
			"rekey-bytes":   strictyaml.Bytes(&bytes),
		}
		if err := keys.Read(node); err != nil {
			return err
		}
		spec.Rekey.Packets, spec.Rekey.Bytes = uint64(packets), uint64(bytes)
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
		"from":     strictyaml.Text(&r.from),
		"to":       strictyaml.Text(&r.to),
		"sizes":    strictyaml.List(mostSizes, r.readSize),
		"together": strictyaml.Bool(&find.Together),
		"idle":     strictyaml.Bool(&find.Idle),
		"manner":   strictyaml.OneOf((*string)(&find.Manner), string(analysis.Overload), string(analysis.Climb)),
		"budget":   strictyaml.Duration(&find.Traffic),
	}.Read(node)
}

func (r *reader) readSize(item *yaml.Node) error {
	var size int
	if err := strictyaml.Int(&size, controller.LeastSize, controller.MostSize)(item); err != nil {
		return err
	}
	r.scenario.Find.Sizes = append(r.scenario.Find.Sizes, size)
	return nil
}

func (r *reader) readTruth(node *yaml.Node) error {
	truth := Truth{Tolerance: 0.005}
	keys := strictyaml.Keys{
		"inner":     readRates(&truth.InnerBitsPerSecond),
		"outer":     readRates(&truth.OuterBitsPerSecond),
		"together":  strictyaml.BitRate(&truth.TogetherBitsPerSecond),
		"tolerance": strictyaml.Ratio(&truth.Tolerance),
		"cause":     strictyaml.Text(&truth.Cause),
	}
	r.scenario.Truth, r.truth = &truth, node
	return keys.Read(node)
}

// readRates takes one rate, or a list of them.
func readRates(into *[]float64) strictyaml.Reader {
	one := func(node *yaml.Node) error {
		var rate float64
		err := strictyaml.BitRate(&rate)(node)
		*into = append(*into, rate)
		return err
	}
	return func(node *yaml.Node) error {
		if node.Kind == yaml.SequenceNode {
			return strictyaml.List(mostLinks, one)(node)
		}
		return one(node)
	}
}

// checkFind fills in what is left out: the paths, and packets of 1400 bytes.
func (r *reader) checkFind(top *yaml.Node) error {
	find := &r.scenario.Find
	if r.find == nil {
		r.find = top
	}
	if len(find.Sizes) == 0 {
		find.Sizes = []int{1400}
	}
	var err error
	if find.Paths, err = r.paths(); err != nil {
		return err
	}
	for _, path := range find.Paths {
		if err := r.checkPath(path); err != nil {
			return err
		}
	}
	switch spec := r.scenario.Tunnel; {
	case find.Together && len(find.Paths) < 2:
		return strictyaml.At(r.find, "find: together: there is one path; want two or more")
	case find.Idle && !spec.IsExisting():
		return strictyaml.At(r.find, "find: idle: nothing else can use a tunnel of driver %s; it is for tunnels that are already there", spec.Driver)
	}
	options, err := r.scenario.options()
	if err == nil {
		err = options.Check()
	}
	if err != nil {
		return strictyaml.At(r.find, "find: %v", err)
	}
	return nil
}

// paths are the one that the file names, or all links in turn. Where there are
// two sites, each end follows from the other.
func (r *reader) paths() ([]Path, error) {
	sites := r.scenario.Topology.Sites
	switch path := (Path{r.from, r.to}); {
	case path.From != "" && path.To != "":
		return []Path{path}, nil
	case len(sites) == 2:
		return []Path{between(sites, path)}, nil
	case path == Path{}:
		var all []Path
		for _, link := range r.scenario.Topology.Links {
			all = append(all, Path{link.Between[0], link.Between[1]})
		}
		return all, nil
	}
	return nil, strictyaml.At(r.find, "find: with more than two sites want from and to, or neither: then every link is measured in turn, from its first site to its second")
}

// between completes a path of which one end may be given.
func between(sites []string, path Path) Path {
	first, second := sites[0], sites[1]
	if path.From == second || path.To == first {
		first, second = second, first
	}
	if path.From == "" {
		path.From = first
	}
	if path.To == "" {
		path.To = second
	}
	return path
}

func (r *reader) checkPath(path Path) error {
	if path.From == path.To {
		return strictyaml.At(r.find, "find: from and to are the same site %q", path.From)
	}
	if err := r.knownSite("find: from", path.From, r.find); err != nil {
		return err
	}
	if err := r.knownSite("find: to", path.To, r.find); err != nil {
		return err
	}
	if !slices.ContainsFunc(r.scenario.Topology.Links, func(link lab.Link) bool { return path.joins(link.Between) }) {
		return strictyaml.At(r.find, "find: no link joins %s and %s", path.From, path.To)
	}
	return nil
}

// checkTruth gives each path its rate.
func (r *reader) checkTruth() error {
	truth, find := r.scenario.Truth, r.scenario.Find
	if truth == nil {
		return nil
	}
	inner, outer := &truth.InnerBitsPerSecond, &truth.OuterBitsPerSecond
	switch {
	case len(*inner) > 0 && len(*outer) > 0:
		return strictyaml.At(r.truth, "truth: want inner or outer, not both")
	case r.scenario.Tunnel.IsExisting() && (len(*outer) > 0 || len(*inner) == 0 && truth.TogetherBitsPerSecond > 0):
		return strictyaml.At(r.truth, "truth: outer packets of driver %s are not the agents' own; give inner", r.scenario.Tunnel.Driver)
	case truth.TogetherBitsPerSecond > 0 && !find.Together:
		return strictyaml.At(r.truth, "truth: together: nothing is measured together; set find: together: true")
	}
	for _, rates := range []*[]float64{inner, outer} {
		switch {
		case len(*rates) == 1:
			*rates = slices.Repeat(*rates, len(find.Paths))
		case len(*rates) > 0 && len(*rates) != len(find.Paths):
			return strictyaml.At(r.truth, "truth: %d rates for %d paths: want one for all, or one for each in their order", len(*rates), len(find.Paths))
		}
	}
	return nil
}
