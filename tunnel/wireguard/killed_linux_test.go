package wireguard_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/lab/labtest"
	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
	"tunnelmark/tunnel/tunneltest"
	"tunnelmark/tunnel/wireguard"
)

// victim is set in the environment of the process that checkKilled kills.
const victim = "WIREGUARD_TEST_VICTIM"

func TestKilled(t *testing.T) { checkKilled(t, wireguard.User{}) }

// checkKilled kills a process that holds a half, and expects nothing of it in the
// outer namespace, on disk, or anywhere that labtest looks.
func checkKilled(t *testing.T, driver tunnel.Driver) {
	labtest.NeedRoot(t)
	if os.Getenv(victim) != "" {
		waitToBeKilled(t, driver)
		return
	}
	labtest.CheckLeaks(t)
	link := tunneltest.NewLink(t, tunneltest.PathMTU)
	before := look(t, link.Left.Outer)
	command := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	command.Env = append(os.Environ(), victim+"=1")
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	// The process starts in its starter's namespace.
	if err := link.Left.Outer.Do(command.Start); err != nil {
		t.Fatal(err)
	}
	awaitLine(t, output, victim+": open")
	if slices.Equal(before.Free, look(t, link.Left.Outer).Free) {
		t.Error("the half does not hold its port")
	}
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = command.Wait() // Says that it was killed.
	expectBack(t, link.Left.Outer, before)
}

// traces are what a half could leave in the outer namespace and on disk.
type traces struct {
	Interfaces []string
	Sockets    []string // Of user-space WireGuard, on disk.
	Free       []string // Address and port that can be bound.
}

func look(t *testing.T, outer *tunnel.Namespace) (found traces) {
	t.Helper()
	err := outer.Do(func() error {
		links, err := net.Interfaces()
		for _, link := range links {
			found.Interfaces = append(found.Interfaces, link.Name)
		}
		if socket, err := net.ListenPacket("udp4", ":4500"); err == nil {
			found.Free = append(found.Free, socket.LocalAddr().String())
			_ = socket.Close()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	files, _ := os.ReadDir("/var/run/wireguard") // There may be none.
	for _, file := range files {
		found.Sockets = append(found.Sockets, file.Name())
	}
	return found
}

func expectBack(t *testing.T, outer *tunnel.Namespace, want traces) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		got := look(t, outer)
		diff := cmp.Diff(want, got)
		if diff == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left behind (-want +got):\n%s", diff)
		}
	}
}

func awaitLine(t *testing.T, output interface{ Read([]byte) (int, error) }, want string) {
	t.Helper()
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if lines.Text() == want {
			return
		}
		t.Log(lines.Text())
	}
	t.Fatalf("the process ended without saying %q", want)
}

// waitToBeKilled opens a half between the namespace that it was started in and a
// new one.
func waitToBeKilled(t *testing.T, driver tunnel.Driver) {
	outer, err := tunnel.CurrentNamespace()
	if err != nil {
		t.Fatal(err)
	}
	inner, err := tunnel.NewNamespace()
	if err != nil {
		t.Fatal(err)
	}
	site := &tunneltest.Site{Outer: outer, Inner: inner, Addr4: netip.MustParseAddr("192.0.2.1"), Addr6: netip.MustParseAddr("2001:db8::1")}
	peer := &tunneltest.Site{Addr4: netip.MustParseAddr("192.0.2.2"), Addr6: netip.MustParseAddr("2001:db8::2")}
	spec, _ := (&tunneltest.Link{Left: site, Right: peer}).Specs(template(t, overhead.IPv4), false)
	keys, _ := tunneltest.Keys("victim")
	half := openHalf(t, driver, site, spec, keys)
	fmt.Println(victim + ": open")
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience) // Longer than the test waits.
	defer cancel()
	t.Errorf("not killed, but %v", half.(tunnel.Awaiter).Await(ctx))
}
