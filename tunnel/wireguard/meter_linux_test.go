package wireguard

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/tunneltest"
)

func TestLacksFilters(t *testing.T) {
	for err, want := range map[error]bool{
		unix.ENOENT:     true,
		unix.EOPNOTSUPP: true,
		unix.EPERM:      false,
		unix.EINVAL:     false,
	} {
		if got := lacksFilters(fmt.Errorf("add filter: %w", err)); got != want {
			t.Errorf("%v: got %t, want %t", err, got, want)
		}
	}
}

// TestMeterOrReason: a kernel has the filters, or reading says that it has not.
func TestMeterOrReason(t *testing.T) {
	link := tunneltest.NewLink(t, tunneltest.PathMTU)
	handle, err := reach(link.Left.Outer)
	if err != nil {
		t.Fatal(err)
	}
	defer handle.Close()
	device, err := handle.LinkByName(tunneltest.Interface)
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMeter(handle, device)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.read(); err != nil && !errors.Is(err, tunnel.ErrNotSupported) {
		t.Errorf("got %v, want counters or an error that wraps %v", err, tunnel.ErrNotSupported)
	}
	if _, err := newMeter(handle, &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: "gone", Index: 1 << 20}}); err == nil {
		t.Error("got a meter for an interface that is not there")
	}
}

// TestSocketDrops fills the queue of a socket that nobody reads.
func TestSocketDrops(t *testing.T) {
	const sent, port = 64, 4500
	link := tunneltest.NewLink(t, tunneltest.PathMTU)
	var full *net.UDPConn
	err := link.Left.Outer.Do(func() (err error) {
		full, err = net.ListenUDP("udp4", &net.UDPAddr{Port: port})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = full.Close() }()
	if err := full.SetReadBuffer(1); err != nil { // The kernel makes it its least.
		t.Fatal(err)
	}
	to := netip.AddrPortFrom(link.Left.Addr4, port)
	from := tunneltest.Dial(t, link.Right.Outer, netip.AddrPortFrom(link.Right.Addr4, port), to)
	for range sent {
		if _, err := from.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	queued := uint64(0)
	for { // What was not dropped is there by now: veth delivers before Write returns.
		_ = full.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := full.Read(make([]byte, 1000)); err != nil {
			break
		}
		queued++
	}
	got, err := socketDrops(link.Left.Outer, port)
	if err != nil || got != sent-queued || got == 0 {
		t.Errorf("got %d drops, %v; want %d: %d of %d datagrams were queued", got, err, sent-queued, queued, sent)
	}
}
