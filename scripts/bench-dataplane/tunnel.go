package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"tunnelmark/scripts/internal/bench"
	"tunnelmark/tunnel"
)

const (
	// upPatience is how long a tunnel may take until packets pass.
	upPatience = 20 * time.Second
	upPoll     = 50 * time.Millisecond
	// dialPatience is for one attempt: a lost SYN is not sent again for 1 s.
	dialPatience = 500 * time.Millisecond
)

// built is a tunnel that is up, with namespaces of its own.
type built struct {
	outer, inner     *bench.Pair
	sender, receiver *bench.Process
	stop             context.CancelFunc // Ends both.
	details          []tunnel.Detail    // Of the sender.
}

// build builds a tunnel; both halves live until close or until ctx ends.
func build(ctx context.Context, p plane) (*built, error) {
	ctx, stop := context.WithCancel(ctx)
	b := &built{stop: stop}
	if err := b.build(ctx, p); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *built) build(ctx context.Context, p plane) (err error) {
	if b.outer, err = bench.NewPair(); err != nil {
		return err
	}
	if b.inner, err = bench.NewPair(); err != nil {
		return err
	}
	if err := b.outer.Join(ctx, outerMTU, sendingEnd.Outer.Addr(), receivingEnd.Outer.Addr()); err != nil {
		return err
	}
	if err := b.start(ctx, p); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, upPatience)
	defer cancel()
	if err := b.awaitHalves(ctx); err != nil {
		return err
	}
	return b.awaitPackets(ctx)
}

// start starts both halves, which may have to meet before either is ready.
func (b *built) start(ctx context.Context, p plane) error {
	secret := rand.Text()
	for _, end := range []struct {
		process      **bench.Process
		outer, inner *tunnel.Namespace
		sender       bool
	}{
		{&b.receiver, b.outer.Receiver, b.inner.Receiver, false},
		{&b.sender, b.outer.Sender, b.inner.Sender, true},
	} {
		text, err := json.Marshal(order{Plane: p.name, Sender: end.sender, Secret: secret, Inner: bench.NamespacePath(end.inner), Rekey: p.spec.Rekey})
		if err != nil {
			return fmt.Errorf("write the order: %w", err)
		}
		*end.process = bench.Start(ctx, end.outer, bench.End{Name: "/proc/self/exe", Args: []string{halfCommand}, Stdin: text, Closes: true}, ready)
	}
	return nil
}

func (b *built) awaitHalves(ctx context.Context) error {
	if _, err := b.receiver.Ready(ctx); err != nil {
		return err
	}
	said, err := b.sender.Ready(ctx)
	if err != nil {
		return err
	}
	if err := json.NewDecoder(bytes.NewReader(said)).Decode(&b.details); err != nil {
		return fmt.Errorf("read how the half was built: %w", err)
	}
	return nil
}

// awaitPackets returns once a packet has passed and been answered: nobody listens
// at the receiver's end, so the kernel there refuses a connection.
func (b *built) awaitPackets(ctx context.Context) error {
	const nobody = 1
	to := netip.AddrPortFrom(receivingEnd.Inner4, nobody).String()
	for {
		err := b.inner.Sender.Do(func() error {
			dialer := net.Dialer{Timeout: dialPatience}
			conn, err := dialer.DialContext(ctx, "tcp", to)
			if err == nil {
				conn.Close()
			}
			return err
		})
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("await packets through the tunnel: %w: %w", context.Cause(ctx), err)
		case <-time.After(upPoll):
		}
	}
}

// close ends both halves, which remove what they have made, and lets go of the
// namespaces. What was not built is passed over.
func (b *built) close() error {
	b.stop()
	var errs []error
	for _, process := range []*bench.Process{b.sender, b.receiver} {
		if process == nil {
			continue
		}
		if err := process.Wait(); !errors.Is(err, context.Canceled) {
			errs = append(errs, err)
		}
	}
	for _, pair := range []*bench.Pair{b.inner, b.outer} {
		if pair != nil {
			pair.Close()
		}
	}
	return errors.Join(errs...)
}

// spent is the CPU time of the processes at both ends so far.
func (b *built) spent() (sender, receiver time.Duration, err error) {
	sender, senderErr := spent("/proc", b.sender.Number())
	receiver, receiverErr := spent("/proc", b.receiver.Number())
	return sender, receiver, errors.Join(senderErr, receiverErr)
}
