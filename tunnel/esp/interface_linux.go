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
// routes. Where it fails nothing remains.
func openInterface(ctx context.Context, namespace *tunnel.Namespace, spec tunnel.Spec) (*clearInterface, error) {
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
	// The kernel never hands over more segments than one batch holds.
	if err := side.LimitSegments(mostSegments); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
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
