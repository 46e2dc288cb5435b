package wireguard

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/inner"
)

// user is wireguard-go, between a TUN device in the inner namespace and sockets
// in the outer.
type user struct {
	device *device.Device
	counts *counts
	outer  *tunnel.Namespace
	port   uint16
}

var _ engine = (*user)(nil)

func newUser(spec tunnel.Spec, place tunnel.Place) (implementation, error) {
	native, _, err := inner.NewTUN(place.Inner, interfaceName(spec))
	if err != nil {
		return implementation{}, err
	}
	counts := &counts{}
	silent := device.NewLogger(device.LogLevelSilent, "")
	u := &user{
		device: device.NewDevice(
			&clearSide{Device: native, mtu: spec.MTU, counts: counts},
			&outerSide{Bind: conn.NewStdNetBind(), namespace: place.Outer, peer: spec.Remote.Outer.Addr().Unmap(), counts: counts},
			silent),
		counts: counts,
		outer:  place.Outer,
		port:   spec.Local.Outer.Port(),
	}
	serve := func(c net.Conn) { u.device.IpcHandle(c) }
	return implementation{engine: u, version: moduleVersion(debug.ReadBuildInfo()), serve: serve}, nil
}

// moduleVersion names wireguard-go as the binary's build says.
func moduleVersion(info *debug.BuildInfo, ok bool) string {
	if !ok {
		return "wireguard-go"
	}
	for _, module := range info.Deps {
		if module.Path == "golang.zx2c4.com/wireguard" {
			return "wireguard-go " + module.Version
		}
	}
	return "wireguard-go" // Test binaries know no modules.
}

// start opens the sockets.
func (u *user) start() error {
	if err := u.device.Up(); err != nil {
		return fmt.Errorf("open outer sockets: %w", err)
	}
	return nil
}

// count takes from the interface's statistics only what found its queue full: it
// counts a packet in segments as one.
func (u *user) count(statistics netlink.LinkStatistics) (tunnel.Counters, error) {
	counters := u.counts.read()
	counters.OutOverrun = statistics.TxDropped
	var err error
	counters.InOverrun, err = socketDrops(u.outer, u.port)
	return counters, err
}

// close also removes the interface: it lives as long as its descriptor.
func (u *user) close() error {
	u.device.Close()
	return nil
}

// counts are kept by clearSide and outerSide.
type counts struct {
	outPackets, outBytes, sendRefused  atomic.Uint64
	inPackets, inBytes, deliverRefused atomic.Uint64
}

func (c *counts) read() tunnel.Counters {
	return tunnel.Counters{
		OutPackets: c.outPackets.Load(), OutInnerBytes: c.outBytes.Load(),
		InPackets: c.inPackets.Load(), InInnerBytes: c.inBytes.Load(),
		SendRefused: c.sendRefused.Load(), DeliverRefused: c.deliverRefused.Load(),
	}
}

// clearSide is a TUN device that counts single packets, which the interface's
// statistics do not, and knows its MTU, which the device itself would ask the
// wrong namespace for.
type clearSide struct {
	tun.Device
	mtu    int
	counts *counts
}

// MTU is the spec's.
func (c *clearSide) MTU() (int, error) { return c.mtu, nil }

// Read counts what WireGuard takes from the clear side.
func (c *clearSide) Read(buffers [][]byte, sizes []int, offset int) (int, error) {
	n, err := c.Device.Read(buffers, sizes, offset)
	bytes := 0
	for _, size := range sizes[:n] {
		bytes += size
	}
	c.counts.outPackets.Add(uint64(n))
	c.counts.outBytes.Add(uint64(bytes))
	return n, err
}

// Write counts what reaches the clear side. Where a part of a batch is refused,
// all of it counts as refused: the device does not say which.
func (c *clearSide) Write(buffers [][]byte, offset int) (int, error) {
	packets, bytes := len(buffers), 0
	for _, buffer := range buffers {
		bytes += len(buffer) - offset
	}
	n, err := c.Device.Write(buffers, offset) // Puts buffers together.
	if err != nil {
		c.counts.deliverRefused.Add(uint64(packets))
		return n, err
	}
	c.counts.inPackets.Add(uint64(packets))
	c.counts.inBytes.Add(uint64(bytes))
	return n, nil
}

// outerSide is wireguard-go's own pair of sockets, opened in the outer namespace
// whichever thread asks for them.
type outerSide struct {
	conn.Bind
	namespace *tunnel.Namespace
	peer      netip.Addr
	counts    *counts
}

// Open opens the sockets. WireGuard answers to wherever an authentic packet came
// from, so a peer that forges its source address could aim our load at somebody
// else: packets from elsewhere than the address to which the peer agreed are not
// taken.
func (o *outerSide) Open(port uint16) (receive []conn.ReceiveFunc, actual uint16, err error) {
	err = o.namespace.Do(func() error {
		receive, actual, err = o.Bind.Open(port)
		return err
	})
	for i, from := range receive {
		receive[i] = o.onlyPeer(from)
	}
	return receive, actual, err
}

// onlyPeer empties what came from another address; the device passes it over.
func (o *outerSide) onlyPeer(receive conn.ReceiveFunc) conn.ReceiveFunc {
	return func(packets [][]byte, sizes []int, from []conn.Endpoint) (int, error) {
		n, err := receive(packets, sizes, from)
		for i := range n {
			if sizes[i] > 0 && from[i].DstIP().Unmap() != o.peer {
				sizes[i] = 0
			}
		}
		return n, err
	}
}

// Send counts the data that the sockets refuse. It was counted as taken before.
func (o *outerSide) Send(messages [][]byte, to conn.Endpoint) error {
	err := o.Bind.Send(messages, to)
	if refused(err) {
		o.counts.sendRefused.Add(dataMessages(messages))
	}
	return err
}

// refused is not that the socket would take messages only one by one, and then
// took them.
func refused(err error) bool {
	var single conn.ErrUDPGSODisabled
	if errors.As(err, &single) {
		return single.RetryErr != nil
	}
	return err != nil
}

// dataMessages is how many of the messages carry a packet: not handshakes, and
// not keepalives, which are empty (WireGuard whitepaper, Section 5.4.6).
func dataMessages(messages [][]byte) (n uint64) {
	for _, message := range messages {
		if len(message) > device.MessageKeepaliveSize && message[0] == device.MessageTransportType {
			n++
		}
	}
	return n
}
