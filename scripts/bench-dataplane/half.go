package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/tunneltest"
)

const (
	// halfCommand is how this program calls itself for one end of a tunnel.
	halfCommand = "half"
	// ready is what a half writes once it is up, after its details.
	ready = "ready\n"
)

// order is what one end is to build; it comes on its standard input.
type order struct {
	Plane  string
	Sender bool
	Secret string // Both ends derive their keys from it.
	Inner  string // Path of the inner namespace; the outer one is the process's own.
	Rekey  tunnel.Lifetime
}

// runHalf carries out one order: it opens the half, tells so, and closes it when
// ctx ends.
func runHalf(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	var o order
	if err := json.NewDecoder(stdin).Decode(&o); err != nil {
		return fmt.Errorf("read the order: %w", err)
	}
	i := slices.IndexFunc(planes(), func(p plane) bool { return p.name == o.Plane })
	if i < 0 {
		return fmt.Errorf("read the order: there is no data plane %q", o.Plane)
	}
	half, err := o.open(ctx, planes()[i])
	if err != nil {
		return err
	}
	err = tell(ctx, half, stdout)
	if err == nil {
		<-ctx.Done()
	}
	return errors.Join(err, half.Close())
}

// open opens the half as an agent does. The namespaces are the process's until its
// end.
func (o order) open(ctx context.Context, p plane) (io.Closer, error) {
	outer, err := tunnel.CurrentNamespace()
	if err != nil {
		return nil, err
	}
	file, err := os.Open(o.Inner)
	if err != nil {
		return nil, fmt.Errorf("open the inner namespace: %w", err)
	}
	defer file.Close()
	inner, err := tunnel.NamespaceFrom(int(file.Fd()))
	if err != nil {
		return nil, err
	}
	spec := p.half(o.Sender)
	spec.Rekey = o.Rekey
	socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(spec.Local.Outer))
	if err != nil {
		return nil, fmt.Errorf("reserve the outer port: %w", err)
	}
	return p.open(ctx, spec, o.keys(), tunnel.Place{Outer: outer, Inner: inner, Socket: socket})
}

func (o order) keys() tunnel.Keys {
	sender, receiver := tunneltest.Keys(o.Secret)
	if o.Sender {
		return sender
	}
	return receiver
}

// tell waits for the peer, where the ends have to meet, and writes how the half was
// built and that it is ready.
func tell(ctx context.Context, half io.Closer, stdout io.Writer) error {
	if awaiter, ok := half.(tunnel.Awaiter); ok {
		if err := awaiter.Await(ctx); err != nil {
			return err
		}
	}
	var details []tunnel.Detail
	if detailed, ok := half.(tunnel.Detailed); ok {
		details = detailed.Details()
	}
	if err := json.NewEncoder(stdout).Encode(details); err != nil {
		return err
	}
	_, err := io.WriteString(stdout, ready)
	return err
}
