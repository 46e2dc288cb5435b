package strongswan_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/lab/labtest"
	"tunnelmark/tunnel"
	"tunnelmark/tunnel/strongswan"
	"tunnelmark/tunnel/tunneltest"
)

// victim is set in the environment of the process that is killed.
const victim = "STRONGSWAN_TEST_VICTIM"

// After SIGKILL of the agent no charon, namespace, interface or file is left.
func TestKilledUserSpace(t *testing.T) {
	labtest.NeedRoot(t)
	spec := userSpaceSpec(tunnel.AES128GCM)
	if os.Getenv(victim) != "" {
		beVictim(t, strongswan.Driver{UserSpace: true}, spec)
		return
	}
	labtest.CheckLeaks(t)
	link := newLink(t)
	before := interfaces(t, link.Left.Outer)
	startAndKill(t, link, strongswan.Driver{UserSpace: true}, spec)
	var after []string
	if !eventually(func() bool { after = interfaces(t, link.Left.Outer); return cmp.Equal(before, after) }) {
		t.Errorf("left behind in the outer namespace (-before +after):\n%s", cmp.Diff(before, after))
	}
}

// startAndKill runs the calling test as a process of the left outer namespace
// until its half is up with one of ours.
func startAndKill(t *testing.T, link *tunneltest.Link, driver strongswan.Driver, spec tunnel.Spec) {
	t.Helper()
	_, right := link.Specs(spec, false)
	half := open(t, driver, link.Right, right, "killed")
	command := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	command.Env = append(os.Environ(), victim+"=1")
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := link.Left.Outer.Do(command.Start); err != nil {
		t.Fatalf("start victim: %v", err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil || line != "up\n" {
		t.Errorf("victim says %q, %v", line, err)
	}
	if err := command.Process.Kill(); err != nil {
		t.Fatalf("kill victim: %v", err)
	}
	_ = command.Wait() // Says that it was killed.
	if err := half.Close(); err != nil {
		t.Error(err)
	}
}

// beVictim opens the left half in the namespace that this process is in.
func beVictim(t *testing.T, driver strongswan.Driver, spec tunnel.Spec) {
	outer, err := tunnel.CurrentNamespace()
	if err != nil {
		t.Fatal(err)
	}
	inner, err := tunnel.NewNamespace()
	if err != nil {
		t.Fatal(err)
	}
	sites := tunneltest.Link{Left: &tunneltest.Site{Addr4: leftAddress}, Right: &tunneltest.Site{Addr4: rightAddress}}
	spec, _ = sites.Specs(spec, false)
	half := open(t, driver, &tunneltest.Site{Outer: outer, Inner: inner}, spec, "killed")
	if err := half.(tunnel.Awaiter).Await(soon(t)); err != nil {
		t.Fatal(err)
	}
	fmt.Println("up")
	select {} // Until it is killed.
}

func interfaces(t *testing.T, namespace *tunnel.Namespace) (names []string) {
	t.Helper()
	err := namespace.Do(func() error {
		links, err := net.Interfaces()
		for _, link := range links {
			names = append(names, link.Name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func eventually(done func() bool) bool {
	for deadline := time.Now().Add(patience); !done(); {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(10 * time.Millisecond)
	}
	return true
}
