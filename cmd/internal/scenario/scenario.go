// Package scenario reads lab scenario files and runs them: it builds what a
// file describes in the lab, starts real agents there, does the file's work and
// compares the result with the truth that the file states.
package scenario

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"tunnelmark/analysis"
	"tunnelmark/analysis/search"
	"tunnelmark/cmd/internal/controller"
	"tunnelmark/cmd/internal/strictyaml"
	"tunnelmark/lab"
	"tunnelmark/tunnel"
)

// Version is the version of the format that this program reads.
const Version = 1

// Scenario is one file.
type Scenario struct {
	Name     string
	About    string
	Topology lab.Topology
	Gateways []Gateway       // What runs on those of the topology, in its order.
	Tunnel   controller.Spec // What is under test.
	Find     Find
	Truth    *Truth // Nil where the file states none.
	Text     []byte // The file as it was read.
}

// Gateway is what a site's gateway runs: strongSwan, joined with each gateway at
// the other end of a link.
type Gateway struct {
	Site  string
	Suite tunnel.Suite
}

// Find is the work: on each path one search per size, each an inner IP length in
// bytes.
type Find struct {
	Paths []Path
	Sizes []int
	// Together measures all paths at once, after each by itself.
	Together bool
	// Idle asserts that nothing else uses a tunnel that is already there.
	Idle bool
	// Manner is how the paths may be loaded; empty: what is fit for the tunnel.
	Manner analysis.Manner
	// Traffic is for how long each search may send; zero is the search's own.
	Traffic time.Duration
}

// Path is where load flows, from site to site.
type Path struct {
	From, To string
}

// joins says whether the path's ends are these two, in either order.
func (p Path) joins(ends [2]string) bool {
	return ends == [2]string{p.From, p.To} || ends == [2]string{p.To, p.From}
}

// Truth is what results are compared with; the search never sees it.
type Truth struct {
	// InnerBitsPerSecond or OuterBitsPerSecond hold one rate for each path. None of
	// both is compared where both are empty.
	InnerBitsPerSecond, OuterBitsPerSecond []float64
	// TogetherBitsPerSecond is the sum when all are measured at once, in the layer
	// of the rates above. Zero: not compared.
	TogetherBitsPerSecond float64
	Tolerance             float64 // Ratio.
	Cause                 string
}

// gateway returns a site's; found is false where it has none.
func (s Scenario) gateway(site string) (gateway Gateway, found bool) {
	for _, gateway := range s.Gateways {
		if gateway.Site == site {
			return gateway, true
		}
	}
	return Gateway{}, false
}

// options are those of every search.
func (s Scenario) options() (search.Options, error) {
	return controller.ChooseManner(s.Tunnel, search.Options{Manner: s.Find.Manner, Idle: s.Find.Idle, Traffic: s.Find.Traffic})
}

//go:embed shipped/*.yaml
var shipped embed.FS

// Shipped returns the scenarios inside the binary, by name.
func Shipped() ([]Scenario, error) {
	files, err := fs.Glob(shipped, "shipped/*.yaml")
	if err != nil {
		return nil, err
	}
	var all []Scenario
	for _, file := range files {
		text, err := shipped.ReadFile(file)
		if err != nil {
			return nil, err
		}
		s, err := Parse(file, text)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Scenario) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Load returns the shipped scenario of that name, or reads the file at that path.
func Load(nameOrPath string) (Scenario, error) {
	if text, err := shipped.ReadFile(path.Join("shipped", nameOrPath+".yaml")); err == nil {
		return Parse(nameOrPath, text)
	}
	file, err := os.Open(nameOrPath)
	if errors.Is(err, fs.ErrNotExist) {
		return Scenario{}, fmt.Errorf("scenario %q is neither a shipped one (see: tunnelmark lab list) nor a file", nameOrPath)
	}
	if err != nil {
		return Scenario{}, fmt.Errorf("open scenario: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, strictyaml.MaxBytes+1))
	if err != nil {
		return Scenario{}, fmt.Errorf("read scenario: %w", err)
	}
	return Parse(nameOrPath, text)
}
