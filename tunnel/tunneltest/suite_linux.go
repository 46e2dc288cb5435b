package tunneltest

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
)

// PathMTU is the MTU of the suite's outer link, in bytes.
const PathMTU = 1500

// patience is how long the suite waits for what takes microseconds.
const patience = 10 * time.Second

// marker stands in the payload of every datagram that the suite sends.
var marker = []byte("in clear: tunneltest")

// Subject is the driver that Run checks.
type Subject struct {
	Driver tunnel.Driver
	// Spec is a template: its ends are filled in. Packets of its MTU must fit
	// PathMTU, and ones a byte longer must not pass.
	Spec     tunnel.Spec
	Outer6   bool // Optional. The outer network is IPv6.
	Encrypts bool // Nothing of the inner packets may be seen outside.
}

// Run checks that a driver keeps what package tunnel promises. It needs root,
// and that the test's package locks its first thread in an init function (see
// tunnel.NewNamespace).
func Run(t *testing.T, subject Subject) {
	checks := []struct {
		name  string
		check func(*testing.T, Subject)
	}{
		{"Sizes", checkSizes},
		{"Oversize", checkOversize},
		{"Close", checkClose},
		{"Reopen", checkReopen},
		{"BadSpec", checkBadSpec},
		{"BadPlace", checkBadPlace},
		{"Unprivileged", checkUnprivileged},
	}
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) { c.check(t, subject) })
	}
}

func (s Subject) open(t *testing.T, link *Link, secret string) *Pair {
	t.Helper()
	return link.OpenPair(t, s.Driver, s.Spec, s.Outer6, secret)
}

// checkSizes sends packets of every size class both ways, by each IP version
// that the tunnel has, and compares counters and capture with what was sent.
func checkSizes(t *testing.T, subject Subject) {
	link := NewLink(t, PathMTU)
	pair := subject.open(t, link, "sizes")
	// What either end sent is all that was on the wire.
	leftWire, rightWire := NewCapture(t, link.Left.Outer), NewCapture(t, link.Right.Outer)
	var sent tunnel.Counters // One way; the other is the same.
	for _, family := range pair.families() {
		left, right := family.dial(t, pair)
		for _, size := range family.sizes(pair.Left.Path().MTU) {
			exchange(t, left, right, size-family.headers)
			exchange(t, right, left, size-family.headers)
			sent.OutPackets++
			sent.OutInnerBytes += uint64(size)
		}
	}
	sent.InPackets, sent.InInnerBytes = sent.OutPackets, sent.OutInnerBytes
	for name, half := range map[string]*Half{"left": pair.Left, "right": pair.Right} {
		expectCounters(t, name, half, sent)
	}
	if subject.Encrypts {
		expectNothingClear(t, slices.Concat(leftWire.Sent(t), rightWire.Sent(t)), pair)
	}
}

// family is a pair of addresses between which packets go.
type family struct {
	left, right netip.AddrPort
	headers     int // Of IP and UDP, in bytes.
}

// families is the path's own, and IPv6 inside where the spec's inner addresses
// are used at all.
func (p *Pair) families() []family {
	path := p.Left.Path()
	families := []family{newFamily(path.Local, path.Remote)}
	local, remote := p.Left.Spec.Local, p.Left.Spec.Remote
	if path.Local.Addr() == local.Inner4 && local.Inner6.IsValid() {
		families = append(families, newFamily(
			netip.AddrPortFrom(local.Inner6, path.Local.Port()),
			netip.AddrPortFrom(remote.Inner6, path.Remote.Port())))
	}
	return families
}

func newFamily(left, right netip.AddrPort) family {
	headers := 20 + 8
	if left.Addr().Is6() {
		headers = 40 + 8
	}
	return family{left, right, headers}
}

func (f family) dial(t *testing.T, pair *Pair) (left, right *net.UDPConn) {
	t.Helper()
	return Dial(t, pair.Left.Path().Namespace, f.left, f.right), Dial(t, pair.Right.Path().Namespace, f.right, f.left)
}

// sizes are inner IP lengths: the least, every alignment, the usual, the most.
func (f family) sizes(mtu int) []int {
	sizes := []int{f.headers}
	for i := range 5 {
		sizes = append(sizes, 64+i)
	}
	sizes = append(sizes, 128, 576, 1024, 1280)
	for i := range 4 {
		sizes = append(sizes, mtu-3+i)
	}
	return sizes
}

// exchange sends one datagram and expects it at the other end as it was.
func exchange(t *testing.T, from, to *net.UDPConn, length int) {
	t.Helper()
	want := payload(length)
	if _, err := from.Write(want); err != nil {
		t.Fatalf("send %d bytes: %v", length, err)
	}
	if err := to.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, length+1)
	n, err := to.Read(got)
	if err != nil {
		t.Fatalf("receive %d bytes: %v", length, err)
	}
	if diff := cmp.Diff(want, got[:n]); diff != "" {
		t.Fatalf("payload of %d bytes (-want +got):\n%s", length, diff)
	}
}

func payload(length int) []byte {
	data := bytes.Repeat(marker, length/len(marker)+1)
	return data[:length]
}

// expectCounters waits until the counters are as wanted: a loop may count a
// moment after a packet has reached its reader. A driver that cannot count has
// to say so.
func expectCounters(t *testing.T, name string, half *Half, want tunnel.Counters) {
	t.Helper()
	var got tunnel.Counters
	var err error
	eventually(func() bool {
		got, err = half.Counters()
		return err != nil || got == want
	})
	switch {
	case errors.Is(err, tunnel.ErrNotSupported):
		t.Logf("%s: counters: %v", name, err)
	case err != nil:
		t.Errorf("%s: counters: %v", name, err)
	case got != want:
		t.Errorf("%s: counters (-want +got):\n%s", name, cmp.Diff(want, got))
	}
}

// eventually calls done until it is true or patience ends.
func eventually(done func() bool) bool {
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(time.Millisecond)
	}
	return true
}

// expectNothingClear looks for payload and inner addresses in every frame.
func expectNothingClear(t *testing.T, frames [][]byte, pair *Pair) {
	t.Helper()
	if len(frames) == 0 {
		t.Error("nothing was captured on the outer link")
	}
	secrets := map[string][]byte{"payload": marker}
	for _, end := range []tunnel.End{pair.Left.Spec.Local, pair.Left.Spec.Remote} {
		secrets["inner IPv4 address"] = end.Inner4.AsSlice()
		secrets["inner IPv6 address"] = end.Inner6.AsSlice()
		for i, frame := range frames {
			for name, secret := range secrets {
				// Four bytes may be met by chance in ciphertext, not in the headers.
				if name == "inner IPv4 address" {
					frame = frame[:min(len(frame), 14+40)]
				}
				if bytes.Contains(frame, secret) {
					t.Fatalf("frame %d of %d shows the %s", i, len(frames), name)
				}
			}
		}
	}
}

// checkOversize expects that a packet longer than the MTU is refused aloud.
func checkOversize(t *testing.T, subject Subject) {
	pair := subject.open(t, NewLink(t, PathMTU), "oversize")
	for _, family := range pair.families() {
		left, _ := family.dial(t, pair)
		forbidFragments(t, left)
		_, err := left.Write(payload(pair.Left.Path().MTU + 1 - family.headers))
		if !errors.Is(err, unix.EMSGSIZE) {
			t.Errorf("%s: packet longer than the MTU: got %v, want %v", family.left.Addr(), err, unix.EMSGSIZE)
		}
	}
}

func forbidFragments(t *testing.T, socket *net.UDPConn) {
	t.Helper()
	raw, err := socket.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// checkClose expects that nothing is left of a pair, and that its namespaces
// still are: they are the caller's.
func checkClose(t *testing.T, subject Subject) {
	link := NewLink(t, PathMTU)
	before := takeStock(t, link)
	pair := subject.open(t, link, "close")
	for range 2 {
		for name, half := range map[string]*Half{"left": pair.Left, "right": pair.Right} {
			if err := half.Close(); err != nil {
				t.Errorf("%s: close: %v", name, err)
			}
		}
	}
	before.expectSame(t, link)
	if _, err := pair.Left.Counters(); err != nil && !errors.Is(err, tunnel.ErrNotSupported) {
		t.Errorf("counters after close: %v", err)
	}
}

// checkReopen expects that a half survives its peer's absence, and that both
// open again where they were.
func checkReopen(t *testing.T, subject Subject) {
	link := NewLink(t, PathMTU)
	pair := subject.open(t, link, "first session")
	left, right := pair.DialPath(t)
	exchange(t, left, right, 100)
	_ = right.Close()
	if err := pair.Right.Close(); err != nil {
		t.Fatalf("close right half: %v", err)
	}
	for range 3 { // ICMP says that nobody is there; that is not the end.
		_, _ = left.Write(payload(100))
	}

	// The same keys again is what no session does: it is done here, in one
	// direction only, because the left half has no others.
	_, rightKeys := Keys("first session")
	pair.Right = link.Right.open(t, subject.Driver, pair.Right.Spec, rightKeys)
	path := pair.Right.Path()
	exchangeAfterErrors(t, left, Dial(t, path.Namespace, path.Local, path.Remote))

	_ = left.Close()
	if err := errors.Join(pair.Left.Close(), pair.Right.Close()); err != nil {
		t.Fatalf("close both halves: %v", err)
	}
}

// exchangeAfterErrors sends until a datagram arrives: a path without a tunnel
// hands the ICMP errors to the probe's own socket, once each.
func exchangeAfterErrors(t *testing.T, from, to *net.UDPConn) {
	t.Helper()
	got := make([]byte, 1000)
	arrived := eventually(func() bool {
		if _, err := from.Write(payload(100)); err != nil {
			return false
		}
		_ = to.SetReadDeadline(time.Now().Add(patience / 10))
		n, err := to.Read(got)
		return err == nil && bytes.Equal(got[:n], payload(100))
	})
	if !arrived {
		t.Error("nothing arrives after the peer was gone and came back")
	}
}

// checkBadSpec expects a refusal that leaves nothing.
func checkBadSpec(t *testing.T, subject Subject) {
	link := NewLink(t, PathMTU)
	good, _ := link.Specs(subject.Spec, subject.Outer6)
	keys, _ := Keys("bad spec")
	tests := []struct {
		name  string
		spoil func(*tunnel.Spec)
	}{
		{"no MTU", func(s *tunnel.Spec) { s.MTU = 0 }},
		{"negative MTU", func(s *tunnel.Spec) { s.MTU = -1 }},
		{"MTU that the path does not take", func(s *tunnel.Spec) { s.MTU = PathMTU + 1 }},
		{"MTU beyond IP", func(s *tunnel.Spec) { s.MTU = 1 << 20 }},
		{"no local address", func(s *tunnel.Spec) { s.Local.Outer = netip.AddrPort{} }},
		{"no remote address", func(s *tunnel.Spec) { s.Remote.Outer = netip.AddrPort{} }},
		{"no remote port", func(s *tunnel.Spec) { s.Remote.Outer = netip.AddrPortFrom(s.Remote.Outer.Addr(), 0) }},
		{"tunnel to itself", func(s *tunnel.Spec) { s.Remote.Outer = s.Local.Outer }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := takeStock(t, link)
			place := link.Left.place(t, good)
			spec := good
			test.spoil(&spec)
			expectRefusal(t, subject.Driver, spec, keys, place)
			before.expectSame(t, link)
		})
	}
}

func expectRefusal(t *testing.T, driver tunnel.Driver, spec tunnel.Spec, keys tunnel.Keys, place tunnel.Place) {
	t.Helper()
	half, err := driver.Open(context.Background(), spec, keys, place)
	if err == nil {
		t.Errorf("opened, want an error")
		_ = half.Close()
	}
}

// checkBadPlace expects the same where the spec is good and the rest is not.
func checkBadPlace(t *testing.T, subject Subject) {
	link := NewLink(t, PathMTU)
	spec, _ := link.Specs(subject.Spec, subject.Outer6)
	keys, _ := Keys("bad place")

	t.Run("no socket", func(t *testing.T) {
		before := takeStock(t, link)
		expectRefusal(t, subject.Driver, spec, keys, tunnel.Place{Outer: link.Left.Outer, Inner: link.Left.Inner})
		before.expectSame(t, link)
	})
	t.Run("context is over", func(t *testing.T) {
		before := takeStock(t, link)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		half, err := subject.Driver.Open(ctx, spec, keys, link.Left.place(t, spec))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, %v; want %v", half, err, context.Canceled)
		}
		before.expectSame(t, link)
	})
	if !subject.Encrypts {
		return
	}
	t.Run("no keys", func(t *testing.T) {
		before := takeStock(t, link)
		expectRefusal(t, subject.Driver, spec, noKeys{}, link.Left.place(t, spec))
		before.expectSame(t, link)
	})
}

// noKeys is a session that has ended.
type noKeys struct{}

var errNoKeys = fmt.Errorf("session has no keys: %w", os.ErrClosed)

func (noKeys) Key(tunnel.Direction, int, int) ([]byte, error) { return nil, errNoKeys }

func (noKeys) Shared(int) ([]byte, error) { return nil, errNoKeys }

func (noKeys) KeyPair() (*ecdh.PrivateKey, *ecdh.PublicKey, error) { return nil, nil, errNoKeys }
