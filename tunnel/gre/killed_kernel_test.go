//go:build kernel

package gre_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/gre"
	"tunnelmark/tunnel/tunneltest"
)

// TestKernelKilled: the agent is killed with a tunnel up; the interface goes with
// the session's namespace, and its place can be taken again.
func TestKernelKilled(t *testing.T) {
	const victim = "GRE_TEST_VICTIM"
	if os.Getenv(victim) != "" {
		openAndWait(t)
		return
	}
	link := tunneltest.NewLink(t, tunneltest.PathMTU)
	command := exec.Command(os.Args[0], "-test.run=^TestKernelKilled$")
	command.Env = append(os.Environ(), victim+"=1")
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := link.Left.Outer.Do(command.Start); err != nil {
		t.Fatal(err)
	}
	said, err := bufio.NewReader(stdout).ReadString('\n')
	t.Logf("victim: %s", strings.TrimSpace(said))
	if killErr := command.Process.Kill(); err != nil || killErr != nil {
		t.Fatal(err, killErr)
	}
	_ = command.Wait() // It says that the process was killed.

	h := handleAt(t, link.Left.Outer)
	attributes := netlink.NewLinkAttrs()
	attributes.Name = "again"
	spec := goodSpec()
	again := &netlink.Gretun{
		LinkAttrs: attributes, IKey: spec.Local.SPI, OKey: spec.Remote.SPI,
		Local: spec.Local.Outer.Addr().AsSlice(), Remote: spec.Remote.Outer.Addr().AsSlice(),
	}
	deadline := time.Now().Add(10 * time.Second)
	for err = h.LinkAdd(again); errors.Is(err, unix.EEXIST) && time.Now().Before(deadline); err = h.LinkAdd(again) {
		time.Sleep(10 * time.Millisecond) // The kernel removes a namespace in its own time.
	}
	if err != nil {
		t.Errorf("same tunnel again: %v", err)
	}
}

// openAndWait is what the victim does, in the outer namespace that it was started
// in.
func openAndWait(t *testing.T) {
	outer, err := tunnel.CurrentNamespace()
	if err != nil {
		t.Fatal(err)
	}
	session, err := tunnel.NewNamespace()
	if err != nil {
		t.Fatal(err)
	}
	p := tunnel.Place{Outer: outer, Inner: session}
	spec := goodSpec()
	if p.Socket, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(spec.Local.Outer)); err != nil {
		t.Fatal(err)
	}
	if _, err := (gre.Driver{}).Open(context.Background(), spec, nil, p); err != nil {
		t.Fatal(err)
	}
	fmt.Println("tunnel is up")
	time.Sleep(time.Minute) // It is killed long before.
}
