//go:build kernel

package xfrm_test

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
	"tunnelmark/tunnel/tunneltest"
	"tunnelmark/tunnel/xfrm"
)

// victim is set in the environment of the process that TestKernelLifetime kills.
const victim = "XFRM_TEST_VICTIM"

// After SIGKILL the kernel removes by itself whatever stood outside the session's
// namespace.
func TestKernelLifetime(t *testing.T) {
	if os.Getenv(victim) != "" {
		beVictim(t)
		return
	}
	link := tunneltest.NewLink(t, tunneltest.PathMTU)
	collectGarbageSoon(t, link.Left.Outer)
	before := inventory(t, link.Left.Outer)
	startAndKill(t, link.Left.Outer)
	// Three forms: two SAs each; two policies for each IP version inside, and for
	// the one flow of transport mode; addresses and routes of the policy-based one.
	want := 3*2 + (4 + 4 + 2) + 2 + 2
	if left := inventory(t, link.Left.Outer); len(left) != len(before)+want {
		t.Errorf("right after the kill: got %q, want %d things more than %q", left, want, before)
	}
	var now []string
	eventually(t, "removal by the kernel", func() bool {
		now = inventory(t, link.Left.Outer)
		return cmp.Equal(before, now)
	})
}

// collectGarbageSoon lets the kernel forget expired IPv6 routes after a second,
// not half a minute. They serve nobody in between.
func collectGarbageSoon(t *testing.T, outer *tunnel.Namespace) {
	t.Helper()
	err := outer.Do(func() error {
		return os.WriteFile("/proc/sys/net/ipv6/route/gc_interval", []byte("1"), 0)
	})
	if err != nil {
		t.Fatalf("set interval of garbage collection: %v", err)
	}
}

// startAndKill runs this test as a process of the namespace until its halves are
// up.
func startAndKill(t *testing.T, outer *tunnel.Namespace) {
	t.Helper()
	command := exec.Command(os.Args[0], "-test.run=^TestKernelLifetime$")
	command.Env = append(os.Environ(), victim+"=1")
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := outer.Do(command.Start); err != nil {
		t.Fatalf("start victim: %v", err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil || line != "up\n" {
		t.Errorf("victim says %q, %v", line, err)
	}
	if err := command.Process.Kill(); err != nil {
		t.Fatalf("kill victim: %v", err)
	}
	_ = command.Wait()
}

// beVictim opens one half of each form that can stand beside the others.
func beVictim(t *testing.T) {
	here, err := tunnel.CurrentNamespace()
	if err != nil {
		t.Fatal(err)
	}
	inner, err := tunnel.NewNamespace()
	if err != nil {
		t.Fatal(err)
	}
	link := &tunneltest.Link{Left: site("192.0.2.1", "2001:db8::1", here, inner), Right: site("192.0.2.2", "2001:db8::2", nil, nil)}
	for i, form := range []xfrm.Form{xfrm.Interface, xfrm.Policy, xfrm.Transport} {
		v := variant{form, tunnel.AES128GCM, tunnel.Raw, overhead.IPv4, false}
		spec, _ := link.Specs(v.spec(t), false)
		spec = numbered(v, spec, i)
		spec.Lifetime = 2 * time.Second
		keys, _ := tunneltest.Keys("lifetime")
		if _, err := (xfrm.Driver{Form: form}).Open(context.Background(), spec, keys, place(t, link.Left, spec)); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Println("up")
	select {}
}

func site(addr4, addr6 string, outer, inner *tunnel.Namespace) *tunneltest.Site {
	return &tunneltest.Site{Outer: outer, Inner: inner, Addr4: netip.MustParseAddr(addr4), Addr6: netip.MustParseAddr(addr6)}
}
