package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tunnelmark/analysis/search"
	"tunnelmark/cmd/internal/agent"
	"tunnelmark/cmd/internal/scenario"
	"tunnelmark/lab"
	"tunnelmark/lab/labtest"
	"tunnelmark/tunnel"
)

// keyFile names the environment variable that makes this test binary an agent
// which writes the keys of its SAs to a file. Only a test binary can: the
// product has no such hook.
const keyFile = "TUNNELMARK_TEST_KEY_FILE"

func TestMain(m *testing.M) {
	if path := os.Getenv(keyFile); path != "" {
		drivers := func(policy agent.Policy) map[string]tunnel.Driver {
			table := agent.Drivers(policy)
			table["esp"] = keyWriter{table["esp"], path}
			return table
		}
		os.Exit(exitCode(os.Stderr, run(context.Background(), drivers, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)))
	}
	os.Exit(m.Run())
}

// keyWriter is a driver that writes down each key that it is given.
type keyWriter struct {
	tunnel.Driver
	path string
}

func (k keyWriter) Open(ctx context.Context, spec tunnel.Spec, keys tunnel.Keys, place tunnel.Place) (tunnel.Tunnel, error) {
	return k.Driver.Open(ctx, spec, writingKeys{keys, spec, k.path}, place)
}

type writingKeys struct {
	tunnel.Keys
	spec tunnel.Spec
	path string
}

// Key appends one line of tshark's esp_sa table for what this end receives.
func (w writingKeys) Key(direction tunnel.Direction, generation, size int) ([]byte, error) {
	key, err := w.Keys.Key(direction, generation, size)
	if err != nil || direction != tunnel.Receive || generation != 0 { // Another is behind later keys.
		return key, err
	}
	line := fmt.Sprintf("\"IPv4\",\"%s\",\"%s\",\"0x%08x\",\"AES-GCM with 16 octet ICV [RFC4106]\",\"0x%s\",\"NULL\",\"\",\"64-bit\",\"0x0\"\n",
		w.spec.Remote.Outer.Addr(), w.spec.Local.Outer.Addr(), w.spec.Local.SPI, hex.EncodeToString(key))
	file, err := os.OpenFile(w.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	_, err = file.WriteString(line)
	return key, err
}

// While a tunnel is under test, the link between the sites carries nothing but
// UDP-encapsulated ESP, and that is what an independent program decrypts with
// the SAs' keys.
func TestOnlyESPBetweenTheSites(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.NeedProgram(t, "tcpdump")
	labtest.NeedProgram(t, "tshark")
	keys := filepath.Join(t.TempDir(), "keys")
	t.Setenv(keyFile, keys)
	s, err := scenario.Parse("capture", []byte(captured))
	if err != nil {
		t.Fatal(err)
	}
	capture := &capture{path: filepath.Join(t.TempDir(), "link.pcap")}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	trials := 0
	_, err = scenario.Run(ctx, s, scenario.Options{
		AgentProgram: self, Tell: func(string) {}, NoBaseline: true,
		Built: func(l *lab.Lab) error { return capture.start(l) },
		Progress: func(p search.Progress) {
			if p.Trial != nil {
				trials++
			}
			if trials == enoughTrials {
				cancel()
			}
		},
	})
	if err == nil || ctx.Err() == nil {
		t.Fatalf("run: %v, want it to end after some trials", err)
	}
	capture.stop(t)
	checkOutside(t, capture.path)
	checkInside(t, capture.path, keys)
}

// enoughTrials to look at.
const enoughTrials = 3

// captured is slow enough for a capture to miss nothing.
const captured = `version: 1
name: capture
sites: [a, b]
links:
  - between: [a, b]
    device: {kind: policer, rate: 20Mbps, burst: 64KiB}
`

// capture is a tcpdump in the middle of the link.
type capture struct {
	path    string
	command *exec.Cmd
	stderr  lockedBuffer
}

func (c *capture) start(l *lab.Lab) error {
	c.command = exec.Command("tcpdump", "-i", "to-a", "-w", c.path, "-U", "-s", "2000", "-B", "65536", "-Z", "root")
	c.command.Stderr = &c.stderr
	if err := l.StartInMiddle([2]string{"a", "b"}, c.command); err != nil {
		return err
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		if strings.Contains(c.stderr.String(), "listening on") {
			return nil
		}
	}
	return fmt.Errorf("tcpdump does not listen: %s", c.stderr.String())
}

func (c *capture) stop(t *testing.T) {
	t.Helper()
	_ = c.command.Process.Signal(syscall.SIGTERM)
	_ = c.command.Wait()
	if !strings.Contains(c.stderr.String(), "0 packets dropped by kernel") {
		t.Fatalf("tcpdump has missed packets: %s", c.stderr.String())
	}
}

// checkOutside: no packet but UDP between the ports of ESP.
func checkOutside(t *testing.T, path string) {
	t.Helper()
	if others := tshark(t, "-r", path, "-Y", "!(udp.port == 4500)"); others != "" {
		t.Errorf("the link carried something else than UDP-encapsulated ESP:\n%.2000s", others)
	}
	if esp := tshark(t, "-r", path, "-Y", "esp", "-T", "fields", "-e", "esp.spi"); strings.Count(esp, "\n") < 1000 {
		t.Errorf("only %d ESP packets were captured", strings.Count(esp, "\n"))
	}
}

// checkInside: tshark decrypts all of it, and sees the inner addresses.
func checkInside(t *testing.T, path, keyPath string) {
	t.Helper()
	keys, err := os.ReadFile(keyPath)
	if err != nil {
		t.Fatal(err)
	}
	arguments := []string{"-r", path, "-o", "esp.enable_encryption_decode:TRUE"}
	for line := range strings.Lines(string(keys)) {
		arguments = append(arguments, "-o", "uat:esp_sa:"+strings.TrimSpace(line))
	}
	all := tshark(t, append(arguments, "-Y", "esp", "-T", "fields", "-e", "frame.number")...)
	inside := tshark(t, append(arguments, "-Y", "ip.addr == 198.18.0.0/15 && udp.port == 51980", "-T", "fields", "-e", "frame.number")...)
	if got, want := strings.Count(inside, "\n"), strings.Count(all, "\n"); got != want {
		t.Errorf("tshark decrypts %d of %d ESP packets", got, want)
	}
}

func tshark(t *testing.T, arguments ...string) string {
	t.Helper()
	command := exec.Command("tshark", arguments...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("tshark %v: %v\n%s", arguments, err, stderr.String())
	}
	return string(output)
}

// lockedBuffer is written by a process and read by the test.
type lockedBuffer struct {
	mu     sync.Mutex // Guards buffer.
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
