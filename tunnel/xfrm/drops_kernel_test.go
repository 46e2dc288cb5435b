//go:build kernel

package xfrm_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
	"tunnelmark/tunnel/tunneltest"
	"tunnelmark/tunnel/xfrm"
)

// Where ESP stands in a frame of the link without UDP encapsulation, in bytes.
const (
	spiAt      = 14 + 20
	sequenceAt = spiAt + 4
)

// Every packet that is dropped is counted once, by its reason.
func TestKernelDrops(t *testing.T) {
	link := tunneltest.NewLink(t, tunneltest.PathMTU)
	v := variant{xfrm.Interface, tunnel.AES128GCM, tunnel.Raw, overhead.IPv4, false}
	template := v.spec(t)
	template.ReplayWindow = 32
	template.NoESN = true // With ESN, what is left of the window looks like 2^32 packets later, and forged.
	pair := link.OpenPair(t, xfrm.Driver{}, template, false, "drops")
	frames := record(t, link, pair, 40)
	tests := []struct {
		name string
		send func(*testing.T)
		want tunnel.Counters
	}{
		{"seen before", func(t *testing.T) { inject(t, link, frames[39]) }, tunnel.Counters{Replayed: 1}},
		{"left of the window", func(t *testing.T) { inject(t, link, frames[7]) }, tunnel.Counters{Replayed: 1}},
		{"another SPI", func(t *testing.T) { inject(t, link, altered(frames[0], spiAt, 0xbad)) }, tunnel.Counters{UnknownSPI: 1}},
		{"forged", func(t *testing.T) { inject(t, link, altered(frames[0], sequenceAt, 100)) }, tunnel.Counters{BadICV: 1}},
		{"another inner address", func(t *testing.T) { sendFromStranger(t, pair) }, tunnel.Counters{WrongSelectors: 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			want, err := pair.Right.Counters()
			if err != nil {
				t.Fatal(err)
			}
			want = want.Add(test.want)
			test.send(t)
			var got tunnel.Counters
			eventually(t, "drop", func() bool {
				got, err = pair.Right.Counters()
				return err != nil || drops(got) == drops(want)
			})
			if diff := cmp.Diff(drops(want), drops(got)); diff != "" || err != nil {
				t.Errorf("%v, counters (-want +got):\n%s", err, diff)
			}
		})
	}
}

// What no SA counts the kernel counts for the whole namespace: the first of several
// tunnels tells it, so that their sum has it once.
func TestKernelDropsOfSeveral(t *testing.T) {
	link := tunneltest.NewLink(t, tunneltest.PathMTU)
	v := variant{xfrm.Interface, tunnel.AES128GCM, tunnel.Raw, overhead.IPv4, false}
	first := v.open(t, link)
	frames := record(t, link, first, 1)
	second := openAt(t, link, v, 1)
	inject(t, link, altered(frames[0], spiAt, 0xbad))
	eventually(t, "drop", func() bool {
		counters, err := first.Right.Counters()
		return err != nil || counters.UnknownSPI == 1
	})
	for i, half := range []tunnel.Tunnel{first.Right, second.right} {
		got, err := half.Counters()
		if want := uint64(1 - i); err != nil || got.UnknownSPI != want {
			t.Errorf("tunnel %d: %d packets of an unknown SPI, %v; want %d", i, got.UnknownSPI, err, want)
		}
	}
}

// drops are the counters of packets that did not pass.
func drops(c tunnel.Counters) tunnel.Counters {
	c.OutPackets, c.OutInnerBytes, c.InPackets, c.InInnerBytes = 0, 0, 0, 0
	return c
}

// record returns the frames of as many datagrams that have passed.
func record(t *testing.T, link *tunneltest.Link, pair *tunneltest.Pair, count int) [][]byte {
	t.Helper()
	left, right := pair.DialPath(t)
	capture := tunneltest.NewCapture(t, link.Left.Outer)
	for range count {
		exchange(t, left, right, 100)
	}
	frames := slices.DeleteFunc(capture.Sent(t), func(frame []byte) bool { return !isESP(frame) })
	if len(frames) != count {
		t.Fatalf("captured %d frames of ESP, want %d", len(frames), count)
	}
	return frames
}

// isESP leaves out what the kernel says of itself on a link that has just come up,
// such as to which multicast groups it listens.
func isESP(frame []byte) bool {
	const protocolAt = 14 + 9 // RFC 791, Section 3.1.
	return len(frame) > sequenceAt && binary.BigEndian.Uint16(frame[12:]) == unix.ETH_P_IP && frame[protocolAt] == unix.IPPROTO_ESP
}

func altered(frame []byte, at int, value uint32) []byte {
	frame = append([]byte(nil), frame...)
	binary.BigEndian.PutUint32(frame[at:], value)
	return frame
}

// inject puts a frame on the wire at the left.
func inject(t *testing.T, link *tunneltest.Link, frame []byte) {
	t.Helper()
	wan, err := handle(t, link.Left.Outer).LinkByName(tunneltest.Interface)
	if err != nil {
		t.Fatal(err)
	}
	err = link.Left.Outer.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: wan.Attrs().Index})
	})
	if err != nil {
		t.Fatalf("inject frame: %v", err)
	}
}

// sendFromStranger gives the left end another inner address, from which it sends
// under the same SA.
func sendFromStranger(t *testing.T, pair *tunneltest.Pair) {
	t.Helper()
	stranger := netip.MustParseAddr("198.18.0.99")
	addInner(t, pair.Left, stranger)
	widenPolicy(t, pair.Left, stranger)
	path := pair.Left.Path()
	socket := tunneltest.Dial(t, path.Namespace, netip.AddrPortFrom(stranger, path.Local.Port()), path.Remote)
	if _, err := socket.Write(make([]byte, 100)); err != nil {
		t.Fatalf("send from a stranger's address: %v", err)
	}
}

// addInner adds an address to the tunnel's interface.
func addInner(t *testing.T, half *tunneltest.Half, address netip.Addr) {
	t.Helper()
	h := handle(t, half.Site.Inner)
	link, err := h.LinkByName(half.Path().Interface)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.AddrAdd(link, &netlink.Addr{IPNet: one(address)}); err != nil {
		t.Fatalf("add inner address: %v", err)
	}
}

// widenPolicy lets the sender's kernel send what the receiver has to refuse.
func widenPolicy(t *testing.T, half *tunneltest.Half, address netip.Addr) {
	t.Helper()
	h := handle(t, half.Site.Outer)
	local, remote := half.Spec.Local, half.Spec.Remote
	err := h.XfrmPolicyAdd(&netlink.XfrmPolicy{
		Src: one(address), Dst: one(remote.Inner4), Dir: netlink.XFRM_DIR_OUT, Ifid: int(local.SPI),
		Tmpls: []netlink.XfrmPolicyTmpl{{
			Src: local.Outer.Addr().AsSlice(), Dst: remote.Outer.Addr().AsSlice(),
			Proto: netlink.XFRM_PROTO_ESP, Mode: netlink.XFRM_MODE_TUNNEL, Spi: int(remote.SPI), Reqid: int(local.SPI | 1<<31),
		}},
	})
	if err != nil {
		t.Fatalf("widen policy: %v", err)
	}
}

func one(address netip.Addr) *net.IPNet {
	return &net.IPNet{IP: address.AsSlice(), Mask: net.CIDRMask(address.BitLen(), address.BitLen())}
}
