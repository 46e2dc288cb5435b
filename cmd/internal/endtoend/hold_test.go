package endtoend

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tunnelmark/lab"
	"tunnelmark/lab/labtest"
)

// heldNatively are the drivers that need nothing of the kernel but TUN, and flags.
var heldNatively = []string{
	"esp", "wireguard-user", "strongswan-user", "existing", "clear",
	"esp --tunnels 3", "wireguard-user --tunnels 2", "esp --suite chacha20-poly1305 --mtu 1300",
}

func TestHold(t *testing.T) { testHold(t, ipv4, heldNatively) }

func TestHoldOverIPv6(t *testing.T) {
	testHold(t, ipv6, []string{"esp", "wireguard-user", "strongswan-user", "existing"})
}

// testHold carries iperf3 through a tunnel of each driver, as a user would.
func testHold(t *testing.T, outer family, drivers []string) {
	labtest.NeedProgram(t, "iperf3")
	labtest.CheckLeaks(t)
	sites := startSites(t, outer)
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			flags := strings.Fields("hold a b --state " + sites.state + " --driver " + driver)
			p := start(t, flags...)
			carryIperf3(t, sites.lab, p.held(t))
			if err := p.command.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			if code := p.wait(t); code != 0 {
				t.Errorf("exit code %d after Ctrl-C, want 0; it says %s", code, p.stderr)
			}
			if left, _ := filepath.Glob("/run/netns/tm-hold-*"); len(left) > 0 {
				t.Errorf("names are left: %q", left)
			}
		})
	}
}

// A held name outlives an agent that was killed, until the next one starts.
func TestHoldOfKilledAgents(t *testing.T) {
	for _, driver := range []string{"esp", "wireguard-user", "strongswan-user"} {
		t.Run(driver, func(t *testing.T) { testHoldOfKilledAgents(t, driver) })
	}
}

func testHoldOfKilledAgents(t *testing.T, driver string) {
	labtest.CheckLeaks(t)
	sites := startSites(t, ipv4)
	p := start(t, "hold", "a", "b", "--state", sites.state, "--driver", driver)
	p.held(t)
	for _, agent := range sites.agents {
		if err := agent.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = agent.Wait() // It says that it was killed.
	}
	if left, _ := filepath.Glob("/run/netns/tm-hold-*"); len(left) != 2 {
		t.Errorf("names %q, want both", left)
	}
	sites.startAgent(t, "a")
	if left, _ := filepath.Glob("/run/netns/tm-hold-*"); len(left) > 0 {
		t.Errorf("names are left after the start of an agent: %q", left)
	}
	_ = p.command.Process.Kill()
	p.wait(t)
}

// An agent that is told to end takes what it holds along.
func TestHoldOfStoppedAgents(t *testing.T) {
	labtest.CheckLeaks(t)
	sites := startSites(t, ipv4)
	p := start(t, "hold", "a", "b", "--state", sites.state, "--driver", "strongswan-user")
	p.held(t)
	for _, agent := range sites.agents {
		if err := agent.Process.Signal(unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := agent.Wait(); err != nil {
			t.Error(err)
		}
	}
	if left, _ := filepath.Glob("/run/netns/tm-hold-*"); len(left) > 0 {
		t.Errorf("names are left: %q", left)
	}
	_ = p.command.Process.Kill()
	p.wait(t)
}

// family is which of a site's addresses its agent takes for outer one.
type family func(lab.Addresses) netip.Addr

func ipv4(host lab.Addresses) netip.Addr { return host.V4 }
func ipv6(host lab.Addresses) netip.Addr { return host.V6 }

// sites are two agents in a lab, paired with one controller.
type sites struct {
	lab    *lab.Lab
	outer  family
	dir    string
	state  string // The controller's.
	agents []*exec.Cmd
}

func startSites(t *testing.T, outer family) *sites {
	t.Helper()
	return startSitesOn(t, lab.Link{Between: [2]string{"a", "b"}}, outer)
}

func startSitesOn(t *testing.T, link lab.Link, outer family) *sites {
	t.Helper()
	l := labtest.Build(t, lab.Topology{Name: "sites", Sites: link.Between[:], Links: []lab.Link{link}})
	s := &sites{lab: l, outer: outer, dir: t.TempDir()}
	s.pair(t)
	return s
}

// pair starts both agents and makes them known to a controller and to each other.
func (s *sites) pair(t *testing.T) {
	t.Helper()
	s.state = filepath.Join(s.dir, "controller")
	tokens := []string{"pair", "--state", s.state, s.startAgent(t, "a"), s.startAgent(t, "b")}
	if p := start(t, tokens...); p.wait(t) != 0 {
		t.Fatalf("pair: %s", p.stderr)
	}
}

// startAgent runs an agent in its site until the test ends, and returns its token.
func (s *sites) startAgent(t *testing.T, site string) (token string) {
	t.Helper()
	host, err := s.lab.Host(site)
	if err != nil {
		t.Fatal(err)
	}
	agent := exec.Command(filepath.Join(programs, "tunnelmark-agent"), "--name", site, "--outer", s.outer(host).String(),
		"--state", "memory", "--listen", "unix:"+filepath.Join(s.dir, site+".sock"), "--metrics", metricsAddress, "--end-with-stdin")
	stdin, err := agent.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := agent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	agent.Stderr = &log
	if err := s.lab.Start(site, agent); err != nil {
		t.Fatal(err)
	}
	s.agents = append(s.agents, agent)
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = agent.Wait() // Some tests have killed it.
		if t.Failed() {
			t.Logf("log of the agent of %s:\n%s", site, &log)
		}
	})
	token = readToken(t, stdout)
	go func() { _, _ = io.Copy(io.Discard, stdout) }() // Ends with the agent.
	return token
}

func readToken(t *testing.T, from io.Reader) string {
	t.Helper()
	for lines := bufio.NewScanner(from); lines.Scan(); {
		if token, found := strings.CutPrefix(strings.TrimSpace(lines.Text()), "tunnelmark pair "); found {
			return token
		}
	}
	t.Fatal("the agent prints no token")
	return ""
}

// example is how hold says that iperf3 is run: with the name of a namespace, or
// in the host's own.
var example = regexp.MustCompile(`at (\w+):  (?:ip netns exec (\S+) )?(iperf3 .*)`)

type command struct{ site, namespace, line string }

// held waits until the tunnel is up and returns the commands that it suggests.
func (p *program) held(t *testing.T) (commands []command) {
	t.Helper()
	eventually(t, "the tunnel is up", func() bool {
		if p.exited() {
			t.Fatalf("hold ended: %s", p.stderr)
		}
		return strings.Contains(p.stdout.String(), "Ctrl-C removes it")
	})
	for _, found := range example.FindAllStringSubmatch(p.stdout.String(), -1) {
		commands = append(commands, command{found[1], found[2], found[3]})
	}
	if len(commands) != 2 {
		t.Fatalf("it says\n%s, want two examples", p.stdout.String())
	}
	return commands
}

// exited looks at the process without waiting for it: a zombie has ended.
func (p *program) exited() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.command.Process.Pid))
	return err != nil || bytes.Contains(stat, []byte(") Z "))
}

// carryIperf3 runs what hold suggests: a server at one end, a client at the other.
func carryIperf3(t *testing.T, l *lab.Lab, commands []command) {
	t.Helper()
	server, told := commands[0].start(t, l, " --forceflush")
	told.until(t, "Server listening")
	client, report := commands[1].start(t, l, " -n 1M --connect-timeout 5000")
	if err := client.Wait(); err != nil {
		t.Fatalf("%s: %v\n%s", commands[1].line, err, report)
	}
	if err := server.Wait(); err != nil {
		t.Errorf("%s: %v\n%s", commands[0].line, err, told)
	}
}

func (c command) start(t *testing.T, l *lab.Lab, more string) (*exec.Cmd, *lineWatcher) {
	t.Helper()
	words := strings.Fields(c.line + more)
	if c.namespace != "" {
		words = append([]string{"nsenter", "--net=/run/netns/" + c.namespace}, words...)
	}
	running, output := exec.Command(words[0], words[1:]...), newLineWatcher()
	running.Stdout, running.Stderr = output, output
	if err := l.Start(c.site, running); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = running.Process.Kill() }) // Fails where it has ended.
	return running, output
}
