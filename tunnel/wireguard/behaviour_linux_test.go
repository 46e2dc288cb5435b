package wireguard_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
	"tunnelmark/tunnel/tunneltest"
	"tunnelmark/tunnel/wireguard"
)

// patience is how long a test waits for what takes milliseconds, or a handshake's
// second attempt where a busy emulator stands still.
const patience = 30 * time.Second

func TestNeighbours(t *testing.T)       { checkNeighbours(t, wireguard.User{}) }
func TestSegmentsCount(t *testing.T)    { checkSegmentsCount(t, wireguard.User{}) }
func TestTakenPort(t *testing.T)        { checkTakenPort(t, wireguard.User{}) }
func TestKeysAreNotShown(t *testing.T)  { checkKeysAreNotShown(t, wireguard.User{}) }
func TestDetails(t *testing.T)          { checkDetails(t, wireguard.User{}, "wireguard-go") }
func TestAwaitWithoutPeer(t *testing.T) { checkAwaitWithoutPeer(t, wireguard.User{}) }

// openHalf opens a half as an agent does. It is closed when the test ends.
func openHalf(t *testing.T, driver tunnel.Driver, site *tunneltest.Site, spec tunnel.Spec, keys tunnel.Keys) tunnel.Tunnel {
	t.Helper()
	half, err := driver.Open(t.Context(), spec, keys, reserve(t, site, spec))
	if err != nil {
		t.Fatalf("open half: %v", err)
	}
	t.Cleanup(func() {
		if err := half.Close(); err != nil {
			t.Errorf("close half: %v", err)
		}
	})
	return half
}

func reserve(t *testing.T, site *tunneltest.Site, spec tunnel.Spec) tunnel.Place {
	t.Helper()
	return tunnel.Place{Outer: site.Outer, Inner: site.Inner, Socket: bind(t, site.Outer, spec.Local.Outer)}
}

func bind(t *testing.T, namespace *tunnel.Namespace, local netip.AddrPort) *net.UDPConn {
	t.Helper()
	var socket *net.UDPConn
	err := namespace.Do(func() (err error) {
		socket, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(local))
		return err
	})
	if err != nil {
		t.Fatalf("bind %s: %v", local, err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	return socket
}

func await(t *testing.T, halves ...tunnel.Tunnel) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, half := range halves {
		if err := half.(tunnel.Awaiter).Await(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// numbered is one of several tunnels of a session: each has its own port, and all
// have the same inner addresses.
func numbered(spec tunnel.Spec, number int) tunnel.Spec {
	spec.Number = number
	for _, end := range []*tunnel.End{&spec.Local, &spec.Remote} {
		end.Outer = netip.AddrPortFrom(end.Outer.Addr(), end.Outer.Port()+uint16(number))
	}
	return spec
}

// checkNeighbours has tunnels side by side between the same inner namespaces,
// and then one fewer.
func checkNeighbours(t *testing.T, driver tunnel.Driver) {
	link := tunneltest.NewLink(t, tunneltest.PathMTU)
	left, right := link.Specs(template(t, overhead.IPv4), false)
	leftKeys, rightKeys := tunneltest.Keys("neighbours")
	var halves []tunnel.Tunnel
	names := map[string]bool{}
	for number := range 3 {
		l := openHalf(t, driver, link.Left, numbered(left, number), leftKeys)
		r := openHalf(t, driver, link.Right, numbered(right, number), rightKeys)
		await(t, l, r)
		names[l.Path().Interface] = true
		halves = append(halves, l)
	}
	if len(names) != 3 {
		t.Errorf("three tunnels have interfaces %v, want three different ones", names)
	}
	if err := halves[1].Close(); err != nil {
		t.Error(err)
	}
	await(t, halves[0], halves[2])
}

// checkSegmentsCount sends one packet of many segments, and expects it to count
// as what goes through the tunnel.
func checkSegmentsCount(t *testing.T, driver tunnel.Driver) {
	const segments, payload = 10, 1000
	pair := tunneltest.NewLink(t, tunneltest.PathMTU).OpenPair(t, driver, template(t, overhead.IPv4), false, "segments")
	from, to := pair.DialPath(t)
	segment(t, from, payload)
	if _, err := from.Write(make([]byte, segments*payload)); err != nil {
		t.Fatal(err)
	}
	_ = to.SetReadDeadline(time.Now().Add(patience))
	for i := range segments {
		if n, err := to.Read(make([]byte, 2*payload)); err != nil || n != payload {
			t.Fatalf("segment %d: got %d bytes, %v; want %d", i, n, err, payload)
		}
	}
	const length = segments * (20 + 8 + payload) // IPv4, UDP.
	expectCounters(t, pair.Left, tunnel.Counters{OutPackets: segments, OutInnerBytes: length})
	expectCounters(t, pair.Right, tunnel.Counters{InPackets: segments, InInnerBytes: length})
}

func segment(t *testing.T, socket *net.UDPConn, size int) {
	t.Helper()
	raw, err := socket.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var option error
	err = raw.Control(func(fd uintptr) { option = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, size) })
	if err := errors.Join(err, option); err != nil {
		t.Fatalf("set UDP_SEGMENT: %v", err)
	}
}

// expectCounters waits until the counters are as wanted: a packet may reach its
// reader a moment before it is counted.
func expectCounters(t *testing.T, half tunnel.Tunnel, want tunnel.Counters) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		got, err := half.Counters()
		if err != nil {
			t.Fatal(err)
		}
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("counters (-want +got):\n%s", cmp.Diff(want, got))
		}
	}
}

// checkTakenPort has another program hold the port at another address, which the
// reserved socket does not see.
func checkTakenPort(t *testing.T, driver tunnel.Driver) {
	link := tunneltest.NewLink(t, tunneltest.PathMTU)
	spec, _ := link.Specs(template(t, overhead.IPv4), false)
	keys, _ := tunneltest.Keys("taken port")
	other := bind(t, link.Left.Outer, netip.AddrPortFrom(link.Left.Addr6, spec.Local.Outer.Port()))
	half, err := driver.Open(t.Context(), spec, keys, reserve(t, link.Left, spec))
	if err == nil {
		_ = half.Close()
	}
	if !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), "UDP port 4500 is taken") {
		t.Errorf("got %v, want it to say that UDP port 4500 is taken", err)
	}
	_ = other.Close()
	_ = openHalf(t, driver, link.Left, spec, keys) // Nothing was left in its way.
}

// checkKeysAreNotShown prints what a careless caller could print.
func checkKeysAreNotShown(t *testing.T, driver tunnel.Driver) {
	pair := tunneltest.NewLink(t, tunneltest.PathMTU).OpenPair(t, driver, template(t, overhead.IPv4), false, "shown")
	shown := fmt.Sprint(pair.Left.Tunnel.(tunnel.Detailed).Details())
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		shown += fmt.Sprintf(verb+" "+verb+" ", driver, pair.Left.Tunnel)
	}
	keys, _ := tunneltest.Keys("shown")
	private, _, err := keys.KeyPair()
	if err != nil {
		t.Fatal(err)
	}
	shared, err := keys.Shared(32)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string][]byte{"private": private.Bytes(), "preshared": shared} {
		decimal := strings.Trim(fmt.Sprintf("%d", key), "[]")
		for _, form := range []string{hex.EncodeToString(key), base64.StdEncoding.EncodeToString(key), decimal} {
			if strings.Contains(shown, form) {
				t.Errorf("the %s key is shown", name)
			}
		}
	}
}

func checkDetails(t *testing.T, driver tunnel.Driver, implementation string) {
	pair := tunneltest.NewLink(t, tunneltest.PathMTU).OpenPair(t, driver, template(t, overhead.IPv4), false, "details")
	await(t, pair.Left.Tunnel, pair.Right.Tunnel)
	details := pair.Left.Tunnel.(tunnel.Detailed).Details()
	if len(details) != 2 || details[0].Name != "implementation" || details[1].Name != "last handshake" {
		t.Fatalf("got details %v, want the implementation and the last handshake", details)
	}
	if got := details[0].Value; !strings.HasPrefix(got, implementation) {
		t.Errorf("implementation %q, want %q", got, implementation)
	}
	at, err := time.Parse(time.RFC3339, details[1].Value)
	if err != nil || time.Since(at).Abs() > time.Minute {
		t.Errorf("last handshake %q (%v), want a time just past", details[1].Value, err)
	}
}

func checkAwaitWithoutPeer(t *testing.T, driver tunnel.Driver) {
	link := tunneltest.NewLink(t, tunneltest.PathMTU)
	spec, _ := link.Specs(template(t, overhead.IPv4), false)
	keys, _ := tunneltest.Keys("alone")
	half := openHalf(t, driver, link.Left, spec, keys)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := half.(tunnel.Awaiter).Await(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), spec.Remote.Outer.String()) {
		t.Errorf("got %v, want it to name the peer and wrap %v", err, context.DeadlineExceeded)
	}
	if err := half.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := half.(tunnel.Awaiter).Await(ctx); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v after Close, want an error at once", err)
	}
}
