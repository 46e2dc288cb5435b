package esp

import (
	"context"
	"errors"
	"fmt"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/inner"
)

// interfaceName lets the kernel number the interfaces: several tunnels may share
// an inner namespace.
const interfaceName = "esp%d"

// clearInterface is the TUN device that stands in the inner namespace.
type clearInterface struct {
	port   *port
	device inner.TUN
	side   *inner.Side
}

// openInterface makes the TUN device and brings it up with its addresses and
// routes. Super-packets are longest bytes long at most. Where it fails nothing remains.
func openInterface(ctx context.Context, namespace *tunnel.Namespace, spec tunnel.Spec, longest int) (*clearInterface, error) {
	device, err := inner.OpenTUN(namespace, interfaceName)
	if err != nil {
		return nil, err
	}
	port, err := newPort(device.FD)
	if err != nil {
		return nil, err
	}
	side, err := inner.Configure(ctx, namespace, device.Name, spec)
	if err != nil {
		return nil, errors.Join(err, port.Close())
	}
	c := &clearInterface{port: port, device: device, side: side}
	if err := side.LimitSuperPackets(mostSegments, longest); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// longestSuper bounds super-packets, in bytes, so that TCP makes them of just as many
// segments as go into one message once they are sealed: the few that were left over
// would cost as much again as all the others. Applications that segment UDP by
// themselves are not bound to it; what is longer the kernel then segments itself.
// Raw packets have no message to fill.
func longestSuper(c carrier, l layout, mtu int) int {
	if c.raw {
		return superLength
	}
	const (
		headers = 20 + 20 + 12 // Of IPv4, and of TCP with timestamps (RFC 7323, Section 3.2).
		// What TCP sets aside: MAX_TCP_HEADER of include/net/tcp.h, 320 at most.
		reserve = 400
	)
	segments := min(maxPayload/l.packetLength(mtu), maxSegments)
	return min(max(segments, 1)*(mtu-headers)+reserve, superLength)
}

// close removes the interface: it lives as long as its descriptor.
func (c *clearInterface) close() error {
	c.side.Close()
	if err := c.port.Close(); err != nil {
		return fmt.Errorf("close TUN device: %w", err)
	}
	return nil
}

// drops is how many packets found the device's queue full.
func (c *clearInterface) drops() (uint64, error) {
	statistics, err := c.side.Statistics()
	return statistics.TxDropped, err
}
