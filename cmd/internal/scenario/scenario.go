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

	"tunnelmark/cmd/internal/controller"
	"tunnelmark/cmd/internal/strictyaml"
	"tunnelmark/lab"
)

// Version is the version of the format that this program reads.
const Version = 1

// Scenario is one file.
type Scenario struct {
	Name     string
	About    string
	Topology lab.Topology
	Tunnel   controller.Spec // What is under test.
	Find     Find
	Truth    *Truth // Nil where the file states none.
	Text     []byte // The file as it was read.
}

// Find is the work: one search per size, each an inner IP length in bytes.
type Find struct {
	From, To string
	Sizes    []int
}

// Truth is what the result is compared with; the search never sees it.
type Truth struct {
	OuterBitsPerSecond float64
	Tolerance          float64 // Ratio.
	Cause              string
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
