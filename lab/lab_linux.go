package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
)

// Lab is a topology that has been built. Its methods may be called from several
// goroutines, Close excepted.
type Lab struct {
	name  string
	sites map[string]*namespace
	order []string // the sites as the topology lists them
	// gateways are the routers of the sites that have one.
	gateways map[string]*namespace
	links    []*link
}

// link is a Link that has been built.
type link struct {
	Link
	middle     *namespace
	legs       [2]leg
	directions []direction
	wans       []builtWAN // Toward each of the legs; none without a WAN.
}

// Addresses are a site's on one link.
type Addresses struct {
	V4, V6 netip.Addr
}

// Addresses returns those by which peer reaches site, or its gateway, from the documentation
// ranges (RFC 5737, RFC 3849).
func (l *Lab) Addresses(site, peer string) (Addresses, error) {
	k, err := l.link([2]string{site, peer})
	if err != nil {
		return Addresses{}, err
	}
	near := k.near(site)
	return Addresses{V4: near.outer.v4.Addr(), V6: near.outer.v6.Addr()}, nil
}

// Host returns a site's addresses by which all others reach it: those of its one
// link, of its loopback where it has several links, or of its network behind its
// gateway.
func (l *Lab) Host(site string) (Addresses, error) {
	if _, err := l.site(site); err != nil {
		return Addresses{}, err
	}
	if links := l.linksOf(site); l.gateways[site] == nil && len(links) == 1 {
		near := links[0].near(site)
		return Addresses{V4: near.outer.v4.Addr(), V6: near.outer.v6.Addr()}, nil
	}
	host, _ := own(slices.Index(l.order, site))
	return Addresses{V4: host.v4.Addr(), V6: host.v6.Addr()}, nil
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
// of the link. There the interface toward site s is called "to-s"; where the link has
// a WAN, "wan0" is before the first site's and "wan1" before the second's.
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
		for _, wan := range k.wans {
			errs = append(errs, wan.close())
		}
		for _, d := range k.directions {
			errs = append(errs, d.meter.state.Close())
		}
		errs = append(errs, k.middle.close())
	}
	for _, gateway := range l.gateways {
		errs = append(errs, gateway.close())
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

// edge is where a site's links end: at its gateway, if it has one.
func (l *Lab) edge(site string) *namespace {
	if gateway := l.gateways[site]; gateway != nil {
		return gateway
	}
	return l.sites[site]
}

func (l *Lab) linksOf(site string) (links []*link) {
	for _, k := range l.links {
		if slices.Contains(k.Between[:], site) {
			links = append(links, k)
		}
	}
	return links
}

// near is the leg at a site's side.
func (k *link) near(site string) leg {
	if k.legs[0].site == site {
		return k.legs[0]
	}
	return k.legs[1]
}

func (l *Lab) link(between [2]string) (*link, error) {
	for _, k := range l.links {
		if k.joins(between) {
			return k, nil
		}
	}
	return nil, fmt.Errorf("lab %s has no link between %q and %q", l.name, between[0], between[1])
}
