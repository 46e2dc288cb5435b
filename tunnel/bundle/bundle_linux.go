package bundle

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"tunnelmark/tunnel"
)

// Each reports what has passed through each of the tunnels, in their order. Of a
// tunnel that stands alone these are its own counters.
func Each(t tunnel.Tunnel) ([]tunnel.Counters, error) {
	halves := []tunnel.Tunnel{t}
	if b, several := t.(*bundle); several {
		halves = b.halves
	}
	counters := make([]tunnel.Counters, len(halves))
	for i, half := range halves {
		var err error
		if counters[i], err = half.Counters(); err != nil {
			return nil, fmt.Errorf("count tunnel %d: %w", i, err)
		}
	}
	return counters, nil
}

// bundle is this end's halves of several tunnels.
type bundle struct {
	halves []tunnel.Tunnel
}

var (
	_ tunnel.Tunnel   = (*bundle)(nil)
	_ tunnel.Detailed = (*bundle)(nil)
	_ tunnel.Awaiter  = (*bundle)(nil)
	_ tunnel.Rekeyer  = (*bundle)(nil)
)

// Path is the one that all share. It has no interface of its own, but several,
// and the least MTU of all.
func (b *bundle) Path() tunnel.Path {
	path := b.halves[0].Path()
	path.Interface = ""
	for _, half := range b.halves {
		path.MTU = min(path.MTU, half.Path().MTU)
	}
	return path
}

func (b *bundle) interfaces() []string {
	names := make([]string, len(b.halves))
	for i, half := range b.halves {
		names[i] = half.Path().Interface
	}
	return names
}

// Counters is the sum of all.
func (b *bundle) Counters() (sum tunnel.Counters, err error) {
	counters, err := Each(b)
	for _, c := range counters {
		sum = sum.Add(c)
	}
	return sum, err
}

// Details are the first tunnel's, since all are built alike, and how many there
// are.
func (b *bundle) Details() []tunnel.Detail {
	details := []tunnel.Detail{{Name: "tunnels side by side", Value: strconv.Itoa(len(b.halves))}}
	if first, ok := b.halves[0].(tunnel.Detailed); ok {
		details = append(details, first.Details()...)
	}
	return details
}

// Await returns once packets pass through all of them.
func (b *bundle) Await(ctx context.Context) error {
	for i, half := range b.halves {
		awaiter, ok := half.(tunnel.Awaiter)
		if !ok {
			continue // Packets passed when Open returned.
		}
		if err := awaiter.Await(ctx); err != nil {
			return fmt.Errorf("await tunnel %d: %w", i, err)
		}
	}
	return nil
}

// Rekey replaces the keys of all tunnels, one after the other, and returns how
// long all took. Tunnels that cannot rekey give an error that wraps
// tunnel.ErrNotSupported, before any is rekeyed.
func (b *bundle) Rekey(ctx context.Context) (took time.Duration, err error) {
	rekeyers := make([]tunnel.Rekeyer, len(b.halves))
	for i, half := range b.halves {
		rekeyer, ok := half.(tunnel.Rekeyer)
		if !ok {
			return 0, fmt.Errorf("rekey tunnel %d: %w by its driver", i, tunnel.ErrNotSupported)
		}
		rekeyers[i] = rekeyer
	}
	for i, rekeyer := range rekeyers {
		one, err := rekeyer.Rekey(ctx)
		took += one
		if err != nil {
			return took, fmt.Errorf("rekey tunnel %d: %w", i, err)
		}
	}
	return took, nil
}

// Close removes every half, whichever fails. The kernel removes their common
// route with the last interface.
func (b *bundle) Close() error {
	var errs []error
	for i, half := range b.halves {
		if err := half.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close tunnel %d: %w", i, err))
		}
	}
	return errors.Join(errs...)
}
