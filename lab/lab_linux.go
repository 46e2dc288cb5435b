package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
)

// Lab is a topology that has been built. Its methods may be called from several
// goroutines, Close excepted.
type Lab struct {
	name  string
	sites map[string]*namespace
	order []string // the sites as the topology lists them
	links []*link
}

// link is a Link that has been built.
type link struct {
	Link
	middle     *namespace
	legs       [2]leg
	directions []direction
}

// Addresses are a site's on one link.
type Addresses struct {
	V4, V6 netip.Addr
}

// Addresses returns those by which peer reaches site, from the documentation
// ranges (RFC 5737, RFC 3849).
func (l *Lab) Addresses(site, peer string) (Addresses, error) {
	k, err := l.link([2]string{site, peer})
	if err != nil {
		return Addresses{}, err
	}
	near := k.legs[0]
	if near.site != site {
		near = k.legs[1]
	}
	return Addresses{V4: near.outer.v4.Addr(), V6: near.outer.v6.Addr()}, nil
}

// Start starts the command in the site's namespace. The caller waits for it, and
// ends it before Close: a process keeps its namespace. Its SysProcAttr must have
// no Pdeathsig, which means the thread that forks.
func (l *Lab) Start(site string, cmd *exec.Cmd) error {
	ns, err := l.site(site)
	if err != nil {
		return err
	}
	return ns.start(cmd)
}

// StartInMiddle starts the command, a packet capture for instance, in the middle
// of the link. There the interface toward site s is called "to-s".
func (l *Lab) StartInMiddle(between [2]string, cmd *exec.Cmd) error {
	k, err := l.link(between)
	if err != nil {
		return err
	}
	return k.middle.start(cmd)
}

// Do calls f on a thread inside the site's namespace. Sockets that f opens stay
// there; goroutines that f starts do not.
func (l *Lab) Do(site string, f func() error) error {
	ns, err := l.site(site)
	if err != nil {
		return err
	}
	return ns.do(f)
}

// FD returns the descriptor of the site's namespace, which is the lab's and valid
// until Close.
func (l *Lab) FD(site string) (int, error) {
	ns, err := l.site(site)
	if err != nil {
		return -1, err
	}
	return ns.fd(), nil
}

// Counters reads the devices: for each link in the topology's order two entries,
// toward its first site and toward its second.
func (l *Lab) Counters() ([]DeviceCounters, error) {
	var all []DeviceCounters
	for _, k := range l.links {
		for _, d := range k.directions {
			c, err := k.counters(d)
			if err != nil {
				return nil, fmt.Errorf("count on link %q toward %s: %w", k.Between, d.to.site, err)
			}
			all = append(all, c)
		}
	}
	return all, nil
}

// Close lets go of the lab, and the kernel removes it unless Name named it or a
// process is still in it.
func (l *Lab) Close() error {
	var errs []error
	for _, k := range l.links {
		for _, d := range k.directions {
			errs = append(errs, d.meter.state.Close())
		}
		errs = append(errs, k.middle.close())
	}
	for _, name := range l.order {
		errs = append(errs, l.sites[name].close())
	}
	return errors.Join(errs...)
}

func (l *Lab) site(name string) (*namespace, error) {
	if ns, ok := l.sites[name]; ok {
		return ns, nil
	}
	return nil, fmt.Errorf("lab %s has no site %q: it has %q", l.name, name, l.order)
}

func (l *Lab) link(between [2]string) (*link, error) {
	for _, k := range l.links {
		if k.joins(between) {
			return k, nil
		}
	}
	return nil, fmt.Errorf("lab %s has no link between %q and %q", l.name, between[0], between[1])
}
