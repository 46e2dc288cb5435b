package endtoend

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"tunnelmark/analysis/report"
	"tunnelmark/cmd/internal/agent"
	"tunnelmark/cmd/internal/scenario"
	"tunnelmark/lab"
	"tunnelmark/lab/labtest"
)

// The lab's threads enter namespaces and end; the process's first thread would not.
func init() { runtime.LockOSThread() }

// readme is what README.md shows, and files what is in its YAML blocks, by the
// name in the first line of each.
type readme struct {
	text     string
	commands []string
	files    map[string]string
}

// The first line of a YAML block is a comment that names the file.
var yamlName = regexp.MustCompile(`^# ([a-z-]+\.yaml)\n`)

func readReadme(t *testing.T) readme {
	t.Helper()
	text, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	r := readme{text: string(text), files: map[string]string{}}
	for _, block := range regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$").FindAllStringSubmatch(r.text, -1) {
		switch language, body := block[1], block[2]; language {
		case "sh":
			r.commands = append(r.commands, commandsIn(body)...)
		case "yaml":
			name := yamlName.FindStringSubmatch(body)
			if name == nil {
				t.Fatalf("a YAML block does not begin with the name of its file:\n%s", body)
			}
			r.files[name[1]] = body
		case "text":
		default:
			t.Errorf("a block is of the language %q: want sh, yaml or text", language)
		}
	}
	return r
}

// commandsIn are the lines of a shell block, less comments.
func commandsIn(block string) (commands []string) {
	for line := range strings.Lines(block) {
		command, _, _ := strings.Cut(line, "#")
		if command = strings.TrimSpace(command); command != "" {
			commands = append(commands, command)
		}
	}
	return commands
}

// What the YAML blocks show is read by what reads such files.
func TestReadmeFiles(t *testing.T) {
	r := readReadme(t)
	if _, err := scenario.Parse("branch.yaml", []byte(r.files["branch.yaml"])); err != nil {
		t.Error(err)
	}
	policy := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(policy, []byte(r.files["agent.yaml"]), 0o600); err != nil {
		t.Fatal(err)
	}
	read, err := agent.ReadPolicy(policy)
	if err == nil {
		err = read.Check()
	}
	if err != nil {
		t.Error(err)
	}
	if len(r.files) != 2 {
		t.Errorf("%d YAML blocks, want agent.yaml and branch.yaml alone", len(r.files))
	}
}

// What it links to inside the project exists.
func TestReadmeLinks(t *testing.T) {
	for _, link := range regexp.MustCompile(`\]\(([^):#]+)\)`).FindAllStringSubmatch(readReadme(t).text, -1) {
		if _, err := os.Stat(filepath.Join("../../..", link[1])); err != nil {
			t.Error(err)
		}
	}
}

// Every command is run, in the order in which it is shown. The two datacenters
// are those of a lab: their addresses are the ones that README.md shows.
func TestReadmeCommands(t *testing.T) {
	labtest.CheckLeaks(t)
	r := readReadme(t)
	u := newUser(t, r.files)
	for _, command := range r.commands {
		u.run(t, command)
		if t.Failed() {
			return
		}
	}
	for _, rule := range rules {
		if !slices.ContainsFunc(r.commands, rule.shows.MatchString) {
			t.Errorf("the rule for %q is stale: no command matches it", rule.shows)
		}
	}
}

// user follows README.md: two datacenters with a device between them, and a
// directory with the files that it shows and the demand that a user would have.
type user struct {
	lab    *lab.Lab
	dir    string
	tokens map[string]string // By their place in the text: TOKEN-A, TOKEN-B.
}

func newUser(t *testing.T, files map[string]string) *user {
	t.Helper()
	u := &user{dir: t.TempDir(), tokens: map[string]string{}}
	present := map[string]string{"tunnel.csv": string(growingDemand(180))}
	maps.Copy(present, files)
	for name, text := range present {
		if err := os.WriteFile(filepath.Join(u.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	u.lab = labtest.Build(t, lab.Topology{
		Name: "readme", Sites: []string{"a", "b"},
		Links: []lab.Link{{
			Between: [2]string{"a", "b"},
			Device:  lab.Device{Kind: lab.Policer, OuterBitsPerSecond: 40e6, BurstBytes: 64 << 10},
		}},
	})
	return u
}

// rule is how commands of one kind are run.
type rule struct {
	shows *regexp.Regexp
	how   func(*user, *testing.T, []string)
}

// rules are tried in this order. What they add only shortens a command or keeps
// it off this machine's own files and ports.
var rules = []rule{
	{regexp.MustCompile(`^make (demo|test|test-kernel)$`), (*user).makeDry},
	{regexp.MustCompile(`^make install$`), (*user).makeInstall},
	{regexp.MustCompile(`^tunnelmark-agent .*--outer 192\.0\.2\.1 `), serves("a", "--state", "state-a")},
	{regexp.MustCompile(`^tunnelmark-agent .*--outer 192\.0\.2\.5 `), serves("b", "--state", "state-b")},
	{regexp.MustCompile(`^tunnelmark-agent --policy `), serves("a", "--state", "memory", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")},
	{regexp.MustCompile(`^tunnelmark-agent (token|identity|trust) ?`), exits0("--state", "state-a")},
	{regexp.MustCompile(`^tunnelmark pair TOKEN-A TOKEN-B$`), exits0()},
	{regexp.MustCompile(`^tunnelmark find .*--dry-run`), exits0()},
	{regexp.MustCompile(`^tunnelmark find .*--driver existing`), measures("--budget", "8s", "--min-rate", "10M", "--no-latency")},
	{regexp.MustCompile(`^tunnelmark find `), measures("--budget", "8s", "--no-baseline", "--no-latency")},
	{regexp.MustCompile(`^tunnelmark hold `), (*user).hold},
	{regexp.MustCompile(`^tunnelmark run .* -u -b 200M`), measures("-t", "1", "-b", "10M")},
	{regexp.MustCompile(`^tunnelmark run `), measures("-t", "1")},
	{regexp.MustCompile(`^tunnelmark pmtu `), exits0()},
	{regexp.MustCompile(`^tunnelmark plan `), exits0("--scale", "0.1")},
	{regexp.MustCompile(`^tunnelmark (agents|doctor|trust|cleanup|lab (list|up|down))\b`), exits0()},
	{regexp.MustCompile(`^tunnelmark lab run `), (*user).labRun},
	{regexp.MustCompile(`^man tunnelmark`), (*user).man},
}

func (u *user) run(t *testing.T, command string) {
	t.Helper()
	for _, rule := range rules {
		if rule.shows.MatchString(command) {
			for place, token := range u.tokens {
				command = strings.ReplaceAll(command, place, token)
			}
			// A shell's quotes; none are around a blank.
			rule.how(u, t, strings.Fields(strings.ReplaceAll(command, "'", "")))
			return
		}
	}
	t.Errorf("README.md shows a command that no rule runs: %s", command)
}

// command runs in a site, as a user there who has installed the programs.
func (u *user) command(words []string) *exec.Cmd {
	if path := filepath.Join(programs, words[0]); strings.HasPrefix(words[0], "tunnelmark") {
		words = append([]string{path}, words[1:]...)
	}
	command := exec.Command(words[0], words[1:]...)
	command.Dir = u.dir
	command.Env = append(os.Environ(), "HOME="+u.dir, "XDG_CONFIG_HOME="+u.dir)
	return command
}

// start starts a command in a site; it is killed if the test ends before it. What it
// prints goes to a file, too, where the command says so.
func (u *user) start(t *testing.T, site string, words []string) *program {
	t.Helper()
	words, file := redirected(words)
	p := &program{command: u.command(words), stderr: newLineWatcher()}
	p.command.Stdout, p.command.Stderr = p.stderr, p.stderr
	if file != "" {
		into, err := os.Create(filepath.Join(u.dir, file))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { into.Close() })
		p.command.Stdout = io.MultiWriter(into, p.stderr)
	}
	if err := u.lab.Start(site, p.command); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.command.Process.Kill() }) // Fails where it has ended.
	return p
}

// redirected takes "> FILE" out of a command.
func redirected(words []string) (rest []string, file string) {
	at := slices.Index(words, ">")
	if at < 0 || at+1 == len(words) {
		return words, ""
	}
	return slices.Concat(words[:at], words[at+2:]), words[at+1]
}

// exits0 runs a command with more arguments and wants that it succeeds.
func exits0(more ...string) func(*user, *testing.T, []string) {
	return func(u *user, t *testing.T, words []string) {
		u.succeed(t, append(words, more...))
	}
}

// measured is part of every result, whatever it is of.
var measured = regexp.MustCompile(`bit/s inner|"inner_size_bytes"|bits/sec`)

// measures wants a result. On a busy host a short measurement may truthfully say
// that its result is not valid: exit code 4. What is kept in a file for a plan must hold
// a rate, and is measured again where the host let none pass.
func measures(more ...string) func(*user, *testing.T, []string) {
	return func(u *user, t *testing.T, words []string) {
		for range 3 {
			p := u.start(t, "a", append(words, more...))
			code, said := p.wait(t), p.stderr.String()
			if honest := code == 0 || code == 4 && strings.Contains(said, "the result is not valid"); !honest {
				t.Errorf("%s: exit code %d\n%s", strings.Join(words, " "), code, said)
			}
			if !measured.MatchString(said) {
				t.Errorf("%s: it has measured nothing:\n%s", strings.Join(words, " "), said)
			}
			if _, file := redirected(words); file == "" || u.holdsRate(t, file) {
				return
			}
			t.Logf("%s: no load passed; once more", strings.Join(words, " "))
		}
	}
}

// holdsRate says whether a file holds ceilings that are not zero.
func (u *user) holdsRate(t *testing.T, name string) bool {
	t.Helper()
	file, err := os.Open(filepath.Join(u.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	results, err := report.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	return !slices.ContainsFunc(results, func(r report.Result) bool { return r.Ceiling == nil || r.Ceiling.InnerBitsPerSecond == 0 })
}

func (u *user) succeed(t *testing.T, words []string) {
	t.Helper()
	p := u.start(t, "a", words)
	if code := p.wait(t); code != 0 {
		t.Errorf("%s: exit code %d\n%s", strings.Join(words, " "), code, p.stderr)
	}
}

// serves starts an agent in a site, keeps its token, and ends it with the test,
// as a service manager would.
func serves(site string, more ...string) func(*user, *testing.T, []string) {
	return func(u *user, t *testing.T, words []string) {
		p := u.start(t, site, append(words, more...))
		t.Cleanup(func() {
			_ = p.command.Process.Signal(syscall.SIGTERM)
			if code := p.wait(t); code != 0 {
				t.Errorf("%s: exit code %d after SIGTERM\n%s", strings.Join(words, " "), code, p.stderr)
			}
		})
		const before = "tunnelmark pair "
		p.stderr.until(t, before)
		for lines := bufio.NewScanner(strings.NewReader(p.stderr.String())); lines.Scan(); {
			if token, found := strings.CutPrefix(lines.Text(), before); found {
				u.tokens[fmt.Sprintf("TOKEN-%s", strings.ToUpper(site))] = token
			}
		}
	}
}

// makeDry wants that the Makefile has the target: to run it is what this test
// is part of, or what other tests here do.
func (u *user) makeDry(t *testing.T, words []string) {
	u.make(t, append(words, "--dry-run"))
}

func (u *user) makeInstall(t *testing.T, words []string) {
	u.make(t, append(words, "DESTDIR="+u.dir))
	for _, file := range []string{"bin/tunnelmark", "bin/tunnelmark-agent", "share/man/man1/tunnelmark.1", "share/man/man8/tunnelmark-agent.8"} {
		if _, err := os.Stat(filepath.Join(u.dir, "usr/local", file)); err != nil {
			t.Error(err)
		}
	}
}

func (u *user) make(t *testing.T, words []string) {
	t.Helper()
	command := exec.Command(words[0], words[1:]...)
	command.Dir = "../../.."
	if output, err := command.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", strings.Join(words, " "), err, output)
	}
}

// man wants that the page which is shown was installed.
func (u *user) man(t *testing.T, words []string) {
	found, err := filepath.Glob(filepath.Join(u.dir, "usr/local/share/man/man?", words[1]+".?"))
	if err != nil || len(found) != 1 {
		t.Errorf("%s: %v, %v: want one page", strings.Join(words, " "), found, err)
	}
}

// hold ends a held tunnel by Ctrl-C once it is up.
func (u *user) hold(t *testing.T, words []string) {
	p := u.start(t, "a", words)
	p.stderr.until(t, "Ctrl-C removes it")
	if err := p.command.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t); code != 0 {
		t.Errorf("%s: exit code %d after an interrupt, want 0\n%s", strings.Join(words, " "), code, p.stderr)
	}
}

// labRun interrupts a run once it has begun to search: other tests wait for ends.
func (u *user) labRun(t *testing.T, words []string) {
	p := u.start(t, "a", append(words, "--no-baseline", "--no-latency"))
	p.untilLoaded(t)
	if err := p.command.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t); code != 1 || !strings.Contains(p.stderr.String(), "interrupted") {
		t.Errorf("%s: exit code %d after an interrupt, want 1\n%s", strings.Join(words, " "), code, p.stderr)
	}
}
