package xfrm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
)

// protection is a plan at work: two SAs and the policies that demand them, in
// the outer namespace, and the clear side before them.
type protection struct {
	plan     plan
	kernel   *kernel
	socket   *net.UDPConn // Opens UDP encapsulation; else it only keeps the port. May be nil.
	states   []association
	policies []policy
	drops    *dropCounts // nil where another tunnel of the session tells them.
	clear    clearSide   // nil where packets come from the outer addresses themselves.

	mu     sync.Mutex // Guards what follows.
	closed bool
	last   tunnel.Counters
}

// protect installs the plan. It takes ownership of the socket, which is nil where
// the port is not needed; where it fails, nothing remains.
func protect(ctx context.Context, p plan, keys tunnel.Keys, outer *tunnel.Namespace, socket *net.UDPConn) (*protection, error) {
	s := &protection{plan: p, socket: socket}
	if err := s.install(ctx, keys, outer); err != nil {
		return nil, errors.Join(err, s.remove())
	}
	return s, nil
}

// install adds the policies last: they would hold back packets for which there
// is no SA, and tell every IKE daemon of them.
func (s *protection) install(ctx context.Context, keys tunnel.Keys, outer *tunnel.Namespace) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.kernel, err = openKernel(outer, unix.NETLINK_XFRM); err != nil {
		return err
	}
	if err := s.kernel.refuseOverlaps(s.plan); err != nil {
		return err
	}
	if s.plan.alone {
		if err := s.kernel.refuseStates(s.plan); err != nil {
			return err
		}
	}
	if s.plan.udp {
		if err := openEncapsulation(s.socket); err != nil {
			return err
		}
	}
	if s.plan.first {
		if s.drops, err = newDropCounts(outer); err != nil {
			return err
		}
	}
	for _, direction := range []tunnel.Direction{tunnel.Send, tunnel.Receive} {
		if err := s.addState(association{s.plan, direction}, keys); err != nil {
			return err
		}
	}
	for _, wanted := range s.plan.policies() {
		added, err := s.kernel.addPolicy(s.plan, wanted)
		if err != nil {
			return err
		}
		s.policies = append(s.policies, added)
	}
	return nil
}

func (s *protection) addState(a association, keys tunnel.Keys) error {
	material, err := a.material(keys, a.direction)
	if err != nil {
		return err
	}
	defer clear(material)
	if err := s.kernel.addState(a, material); err != nil {
		return err
	}
	s.states = append(s.states, a)
	return nil
}

// Counters are the SAs' own where they have them, so that nobody else's packets
// are among them. After Close they hold what they held before.
func (s *protection) Counters() (tunnel.Counters, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.countLocked()
}

func (s *protection) countLocked() (tunnel.Counters, error) {
	if s.closed {
		return s.last, nil
	}
	counters, err := s.drops.read()
	for _, a := range s.states {
		err = errors.Join(err, s.countState(a, &counters))
	}
	if s.clear != nil {
		err = errors.Join(err, s.clear.count(&counters))
	}
	if err != nil {
		return s.last, fmt.Errorf("count packets of kernel ESP: %w", err)
	}
	s.last = counters
	return counters, nil
}

func (s *protection) countState(a association, counters *tunnel.Counters) error {
	state, err := s.kernel.getState(a)
	if errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("the SA's lifetime of %s is over: %w", a.lifetime, err)
	}
	if err == nil {
		a.count(state, counters)
	}
	return err
}

// Close removes first the clear side, then the SAs, then the policies: until they
// are gone, what would go unprotected goes nowhere.
func (s *protection) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	_, _ = s.countLocked() // An SA that has expired has nothing to say.
	s.closed = true
	return s.remove()
}

// remove also cleans up after install.
func (s *protection) remove() error {
	var errs []error
	if s.clear != nil {
		errs = append(errs, s.clear.remove())
	}
	for _, a := range s.states {
		errs = append(errs, s.kernel.deleteState(a))
	}
	for _, p := range s.policies {
		errs = append(errs, s.kernel.deletePolicy(p))
	}
	if s.socket != nil {
		errs = append(errs, s.socket.Close())
	}
	if s.kernel != nil {
		s.kernel.close()
	}
	return errors.Join(errs...)
}
