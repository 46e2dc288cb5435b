// Package scripts holds what builds, checks and packages the project; its test
// holds the code against the rules of the house.
package scripts

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// goPackage is what `go list -json` tells of one package.
type goPackage struct {
	ImportPath   string
	Doc          string
	Name         string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// owners are the third-party modules that only their owning packages may import.
var owners = map[string][]string{
	"github.com/spf13/pflag":                  {"cmd/"},
	"github.com/spf13/cobra":                  {"cmd/"},
	"github.com/prometheus/client_golang":     {"cmd/internal/metrics", "cmd/internal/demand"},
	"github.com/prometheus/common":            {"cmd/internal/demand"},
	"gonum.org/v1/gonum":                      {"analysis/capacity"},
	"github.com/vishvananda/netlink":          {"tunnel", "lab"},
	"golang.zx2c4.com/wireguard":              {"tunnel"},
	"golang.zx2c4.com/wireguard/wgctrl":       {"tunnel/wireguard"},
	"github.com/cilium/ebpf":                  {"lab"},
	"github.com/safchain/ethtool":             {"lab", "cmd/internal/doctor"},
	"connectrpc.com/connect":                  {"cmd/"},
	"google.golang.org/protobuf":              {"cmd/internal/"},
	"github.com/prometheus/procfs":            {"probe/hoststat"},
	"github.com/HdrHistogram/hdrhistogram-go": {"probe/"},
}

var islands = []string{"tunnel", "probe", "analysis", "lab"}

// sharedSiblings may be imported by their siblings.
var sharedSiblings = []string{"tunnel/checksum", "tunnel/inner", "tunnel/offload", "tunnel/overhead", "probe/wire", "probe/sockets"}

// pure packages do no I/O and read no clock.
var pure = []string{"analysis", "probe/wire", "tunnel/checksum", "tunnel/offload", "tunnel/overhead"}

// impure packages are those that only code with I/O needs.
var impure = []string{"os", "os/exec", "net", "net/http", "syscall", "golang.org/x/sys/unix", "log", "log/slog", "tunnelmark/probe/sockets"}

func TestImportRules(t *testing.T) {
	packages := list(t)
	seen := map[string]bool{}
	for _, p := range packages {
		for _, imported := range p.Imports {
			for _, problem := range problems(p.ImportPath, imported, seen) {
				t.Errorf("%s imports %s: %s", p.ImportPath, imported, problem)
			}
		}
		for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
			problem := islandProblem(short(p.ImportPath), short(imported))
			if problem != "" && problem != betweenSiblings && short(imported) != "lab/labtest" {
				t.Errorf("tests of %s import %s: %s", p.ImportPath, imported, problem)
			}
		}
	}
	for module := range owners {
		if !seen[module] {
			t.Errorf("no package imports %s any more: its rule is stale", module)
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range list(t) {
		if p.Doc == "" && p.Name != "" && len(p.Imports) > 0 && !strings.Contains(p.ImportPath, "/controlv1") {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

// problems says what is wrong with one import, and notes which owned modules it
// has seen.
func problems(importer, imported string, seen map[string]bool) []string {
	var found []string
	from, to := short(importer), short(imported)
	for module, allowed := range owners {
		if imported != module && !strings.HasPrefix(imported, module+"/") {
			continue
		}
		seen[module] = true
		if !slices.ContainsFunc(allowed, func(prefix string) bool { return strings.HasPrefix(from, prefix) }) {
			found = append(found, "only "+strings.Join(allowed, " and ")+" may")
		}
	}
	if problem := islandProblem(from, to); problem != "" {
		found = append(found, problem)
	}
	for _, p := range pure {
		if (from == p || strings.HasPrefix(from, p+"/")) && slices.Contains(impure, imported) {
			found = append(found, p+" does no I/O")
		}
	}
	return found
}

// betweenSiblings is a problem except in tests, which may check one sibling with
// another.
const betweenSiblings = "siblings do not import one another"

// islandProblem holds one import inside the module against the map of islands.
func islandProblem(from, to string) string {
	here, there := island(from), island(to)
	switch {
	case there == "cmd" && here != "cmd" && here != "scripts":
		return "nothing imports cmd"
	case here == "" || there == "" || here == "cmd" || here == "scripts":
		return ""
	case strings.HasSuffix(from, "test") && to == "lab/labtest":
		return "" // Test packages, as tests, work in the lab's namespaces.
	case here != there:
		return "islands do not import one another"
	case from == here && to != here:
		return "a parent does not import its child"
	case from != here && to != here && from != to && !slices.Contains(sharedSiblings, to) && to != here+"/"+here+"test":
		return betweenSiblings
	}
	return ""
}

// island returns the first folder of a path inside the module, "" elsewhere.
func island(path string) string {
	first, _, _ := strings.Cut(path, "/")
	if first == "cmd" || first == "scripts" || slices.Contains(islands, first) {
		return first
	}
	return ""
}

func short(path string) string {
	rest, inside := strings.CutPrefix(path, "tunnelmark/")
	if !inside {
		return "external:" + path
	}
	return rest
}

func list(t *testing.T) []goPackage {
	t.Helper()
	command := exec.Command("go", "list", "-json=ImportPath,Doc,Name,Imports,TestImports,XTestImports", "tunnelmark/...")
	command.Dir = ".."
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []goPackage
	decoder := json.NewDecoder(bytes.NewReader(output))
	for {
		var p goPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// A test that is skipped says why and fails where it should have run:
// lab/labtest does both, so nothing else may skip.
func TestOnlyLabtestSkips(t *testing.T) {
	command := exec.Command("git", "grep", "-nE", `\.(Skip|Skipf|SkipNow)\(`, "--", "*.go", ":!lab/labtest/labtest.go", ":!scripts/house_test.go")
	command.Dir = ".."
	output, err := command.CombinedOutput()
	var exit *exec.ExitError
	if err == nil || !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("want no test but labtest's helpers to skip, git grep: %v\n%s", err, output)
	}
}

// The rules themselves are tested with imports that must be refused.
func TestImportRulesRefuse(t *testing.T) {
	for _, bad := range [][2]string{
		{"tunnelmark/tunnel/esp", "tunnelmark/probe"},
		{"tunnelmark/analysis/search", "tunnelmark/lab"},
		{"tunnelmark/tunnel", "tunnelmark/tunnel/esp"},
		{"tunnelmark/analysis/search", "tunnelmark/analysis/cause"},
		{"tunnelmark/lab", "tunnelmark/cmd/internal/unit"},
		{"tunnelmark/probe/udp", "github.com/vishvananda/netlink"},
		{"tunnelmark/analysis/search", "os"},
		{"tunnelmark/probe/udp", "tunnelmark/probe/latency"},
		{"tunnelmark/probe/sockets", "tunnelmark/probe/udp"},
		{"tunnelmark/probe/wire", "tunnelmark/probe/sockets"},
	} {
		if len(problems(bad[0], bad[1], map[string]bool{})) == 0 {
			t.Errorf("%s may import %s: want it refused", bad[0], bad[1])
		}
	}
	for _, good := range [][2]string{
		{"tunnelmark/tunnel/esp", "tunnelmark/tunnel"},
		{"tunnelmark/tunnel/esp", "tunnelmark/tunnel/overhead"},
		{"tunnelmark/probe/udp", "tunnelmark/probe/wire"},
		{"tunnelmark/probe/udp", "tunnelmark/probe/sockets"},
		{"tunnelmark/cmd/internal/agent", "tunnelmark/tunnel/esp"},
		{"tunnelmark/lab", "github.com/vishvananda/netlink"},
	} {
		if found := problems(good[0], good[1], map[string]bool{}); len(found) > 0 {
			t.Errorf("%s imports %s: refused as %v", good[0], good[1], found)
		}
	}
}
