package main

import (
	"context"
	"io"
	"net/netip"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/esp"
	"tunnelmark/tunnel/strongswan"
)

const (
	// innerMTU is that of every tunnel that takes it, in bytes.
	innerMTU = 1420
	// strongSwanMTU is as much as charon's user-space ESP reads from its device.
	strongSwanMTU = 1400
	// outerMTU holds innerMTU with the longest headers and trailers of any suite, in
	// bytes.
	outerMTU = 1600

	wireguardGoName = "wireguard-go"
	strongSwanName  = "strongswan"
)

// plane is a data plane.
type plane struct {
	name  string // As -only takes it.
	spec  tunnel.Spec
	check func(tunnel.Spec) error
	open  opener
}

// String is its name.
func (p plane) String() string { return p.name }

// opener opens one half of a tunnel, as tunnel.Driver says. It lives until Close.
type opener func(context.Context, tunnel.Spec, tunnel.Keys, tunnel.Place) (io.Closer, error)

// planes are all. Whether this machine has them is not looked at.
func planes() (all []plane) {
	for _, suite := range append(tunnel.Suites(), tunnel.NullNull) {
		spec := tunnel.Spec{Suite: suite, Encapsulation: tunnel.UDP, MTU: innerMTU}
		all = append(all, ofDriver(espName(suite), esp.Driver{}, spec))
	}
	return append(all,
		plane{name: wireguardGoName, spec: tunnel.Spec{MTU: innerMTU}, check: checkWireGuardGo, open: openWireGuardGo},
		ofDriver(strongSwanName, strongswan.Driver{UserSpace: true}, tunnel.Spec{
			Suite: tunnel.AES128GCM, Encapsulation: tunnel.UDP, NoESN: true, MTU: strongSwanMTU,
		}))
}

func espName(suite tunnel.Suite) string { return "esp/" + string(suite) }

func ofDriver(name string, driver tunnel.Driver, spec tunnel.Spec) plane {
	open := func(ctx context.Context, spec tunnel.Spec, keys tunnel.Keys, place tunnel.Place) (io.Closer, error) {
		return driver.Open(ctx, spec, keys, place)
	}
	return plane{name: name, spec: spec, check: driver.Check, open: open}
}

// The outer addresses are of documentation (RFC 5737), the inner ones for
// benchmarks (RFC 2544, Section C.2.2); the port is ESP's (RFC 3948, Section 4).
var (
	sendingEnd = tunnel.End{
		Outer: netip.MustParseAddrPort("192.0.2.1:4500"), SPI: 0x1001, Inner4: netip.MustParseAddr("198.18.0.1"),
	}
	receivingEnd = tunnel.End{
		Outer: netip.MustParseAddrPort("192.0.2.2:4500"), SPI: 0x2002, Inner4: netip.MustParseAddr("198.18.0.2"),
	}
)

// half is the spec of one end.
func (p plane) half(sender bool) tunnel.Spec {
	spec := p.spec
	spec.Local, spec.Remote = receivingEnd, sendingEnd
	if sender {
		spec.Local, spec.Remote = sendingEnd, receivingEnd
	}
	return spec
}
