package wireguard

import (
	"errors"
	"math"
	"net/netip"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/tun"

	"tunnelmark/tunnel"
)

func TestWideGoesRound(t *testing.T) {
	var w wide
	var got []uint64
	for _, now := range []uint32{0, 10, math.MaxUint32, 4} {
		got = append(got, w.advance(now))
	}
	want := []uint64{0, 10, math.MaxUint32, math.MaxUint32 + 5}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("totals (-want +got):\n%s", diff)
	}
}

// fakeTUN reads and writes what it is told.
type fakeTUN struct {
	tun.Device
	sizes []int
	err   error
}

func (f fakeTUN) Read(_ [][]byte, sizes []int, _ int) (int, error) {
	return copy(sizes, f.sizes), f.err
}

func (f fakeTUN) Write(buffers [][]byte, offset int) (int, error) {
	buffers[0] = buffers[0][:offset] // As the real one, which puts packets together.
	return 0, f.err
}

// fakeBind refuses or takes whatever is sent.
type fakeBind struct {
	conn.Bind
	err error
}

func (f fakeBind) Send([][]byte, conn.Endpoint) error { return f.err }

func TestCounts(t *testing.T) {
	const offset = 16
	packets := func() [][]byte { return [][]byte{make([]byte, offset+100), make([]byte, offset+40)} }
	data := append([]byte{4}, make([]byte, 47)...) // WireGuard whitepaper, Section 5.4.6.
	keepalive := data[:32]
	handshake := append([]byte{1}, make([]byte, 147)...)
	messages := [][]byte{data, keepalive, handshake}
	tests := []struct {
		name string
		do   func(*counts) error
		want tunnel.Counters
	}{
		{"read", func(c *counts) error {
			_, err := (&clearSide{Device: fakeTUN{sizes: []int{100, 40}}, counts: c}).Read(nil, make([]int, 8), offset)
			return err
		}, tunnel.Counters{OutPackets: 2, OutInnerBytes: 140}},
		{"write", func(c *counts) error {
			_, err := (&clearSide{Device: fakeTUN{}, counts: c}).Write(packets(), offset)
			return err
		}, tunnel.Counters{InPackets: 2, InInnerBytes: 140}},
		{"write refused", func(c *counts) error {
			_, err := (&clearSide{Device: fakeTUN{err: os.ErrClosed}, counts: c}).Write(packets(), offset)
			return err
		}, tunnel.Counters{DeliverRefused: 2}},
		{"send", func(c *counts) error {
			return (&outerSide{Bind: fakeBind{}, counts: c}).Send(messages, nil)
		}, tunnel.Counters{}},
		{"send refused", func(c *counts) error {
			return (&outerSide{Bind: fakeBind{err: syscall.EPERM}, counts: c}).Send(messages, nil)
		}, tunnel.Counters{SendRefused: 1}},
		{"sent one by one", func(c *counts) error {
			return (&outerSide{Bind: fakeBind{err: conn.ErrUDPGSODisabled{}}, counts: c}).Send(messages, nil)
		}, tunnel.Counters{}},
		{"refused one by one", func(c *counts) error {
			return (&outerSide{Bind: fakeBind{err: conn.ErrUDPGSODisabled{RetryErr: syscall.EPERM}}, counts: c}).Send(messages, nil)
		}, tunnel.Counters{SendRefused: 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := &counts{}
			err := test.do(c)
			var single conn.ErrUDPGSODisabled
			if err != nil && !errors.Is(err, os.ErrClosed) && !errors.Is(err, syscall.EPERM) && !errors.As(err, &single) {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, c.read()); diff != "" {
				t.Errorf("counters (-want +got):\n%s", diff)
			}
		})
	}
}

func TestModuleVersion(t *testing.T) {
	info := &debug.BuildInfo{Deps: []*debug.Module{
		{Path: "golang.zx2c4.com/wireguard/wgctrl", Version: "v0.0.0-2"},
		{Path: "golang.zx2c4.com/wireguard", Version: "v0.0.0-1"},
	}}
	if got, want := moduleVersion(info, true), "wireguard-go v0.0.0-1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

const header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"

func TestSumDrops(t *testing.T) {
	tests := []struct {
		name, table string
		want        uint64
	}{
		{"empty", "", 0},
		{"header only", header, 0},
		{"IPv4", header +
			"  431: 00000000:1194 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 23456 2 0000000000000000 17\n", 17},
		{"IPv6", header +
			"  431: 00000000000000000000000000000000:1194 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 23456 2 0000000000000000 17\n", 17},
		{"another port", header +
			"  431: 00000000:1195 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 23456 2 0000000000000000 17\n", 0},
		{"one address", header +
			"  431: 0100007F:1194 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 23456 2 0000000000000000 17\n", 0},
		{"cut short", header + "  431: 00000000:1194 00000000:0000 07", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := sumDrops(strings.NewReader(test.table), 0x1194)
			if err != nil || got != test.want {
				t.Errorf("got %d, %v; want %d", got, err, test.want)
			}
		})
	}
}

// FuzzSumDrops expects that a socket of ours adds its drops to whatever stands
// before it.
func FuzzSumDrops(f *testing.F) {
	const ours = "  1: 00000000:1194 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 1 2 0 5\n"
	f.Add(header)
	f.Add(ours)
	f.Add("  1: 00000000:1194 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 1 2 0 x\n")
	f.Fuzz(func(t *testing.T, table string) {
		before, err := sumDrops(strings.NewReader(table+"\n"), 0x1194)
		if err != nil {
			return
		}
		after, err := sumDrops(strings.NewReader(table+"\n"+ours), 0x1194)
		if err != nil || after != before+5 {
			t.Errorf("got %d, %v; want %d", after, err, before+5)
		}
	})
}

// A packet from another address than the peer's is not taken, whatever it holds:
// the tunnel's other end cannot move to a third party.
func TestOnlyPeer(t *testing.T) {
	endpoint := func(text string) conn.Endpoint {
		return &conn.StdNetEndpoint{AddrPort: netip.MustParseAddrPort(text)}
	}
	receive := func(_ [][]byte, sizes []int, from []conn.Endpoint) (int, error) {
		copy(sizes, []int{100, 101, 102, 0})
		copy(from, []conn.Endpoint{endpoint("192.0.2.2:4500"), endpoint("203.0.113.9:4500"), endpoint("[::ffff:192.0.2.2]:9"), nil})
		return 4, nil
	}
	side := &outerSide{peer: netip.MustParseAddr("192.0.2.2")}
	sizes, from := make([]int, 4), make([]conn.Endpoint, 4)
	n, err := side.onlyPeer(receive)(make([][]byte, 4), sizes, from)
	if diff := cmp.Diff([]int{100, 0, 102, 0}, sizes); n != 4 || err != nil || diff != "" {
		t.Errorf("%d packets, %v; sizes (-want +got):\n%s", n, err, diff)
	}
}
