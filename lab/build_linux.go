package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Build makes the topology, or nothing:
//
//  1. the topology is validated, and the privileges are checked;
//  2. every site becomes a namespace with its loopback up, and so does every
//     gateway;
//  3. every link becomes a namespace in the middle of two veth pairs, which
//     forwards between them;
//  4. the devices and WANs are put into the middles.
//
// The caller must Close the lab. An error that says what privilege is missing is
// an os.ErrPermission.
func Build(ctx context.Context, t Topology) (*Lab, error) {
	if err := t.Validate(); err != nil {
		return nil, fmt.Errorf("build lab: %w", err)
	}
	if err := checkPrivilege(); err != nil {
		return nil, fmt.Errorf("build lab %s: %w", t.Name, err)
	}
	l := &Lab{name: t.Name, sites: make(map[string]*namespace), gateways: make(map[string]*namespace)}
	if err := l.build(ctx, t); err != nil {
		return nil, errors.Join(fmt.Errorf("build lab %s: %w", t.Name, err), l.Close())
	}
	return l, nil
}

func (l *Lab) build(ctx context.Context, t Topology) error {
	for _, name := range t.Sites {
		if err := l.addSite(name); err != nil {
			return fmt.Errorf("site %s: %w", name, err)
		}
	}
	for _, name := range t.Gateways {
		if err := l.addGateway(ctx, name); err != nil {
			return fmt.Errorf("gateway of %s: %w", name, err)
		}
	}
	for i, link := range t.Links {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.addLink(ctx, i, link); err != nil {
			return fmt.Errorf("link %q: %w", link.Between, err)
		}
	}
	for i, name := range t.Sites {
		if err := l.addOwn(i, name); err != nil {
			return fmt.Errorf("site %s: %w", name, err)
		}
	}
	return nil
}

func (l *Lab) addSite(name string) error {
	site, err := newNamespace()
	if err != nil {
		return err
	}
	l.sites[name] = site
	l.order = append(l.order, name)
	return site.prepare()
}

// prepare makes a namespace quiet, with its loopback up.
func (n *namespace) prepare() error {
	if err := n.do(func() error { return setSysctls(quiet) }); err != nil {
		return err
	}
	return n.configure(func(h *netlink.Handle) error {
		loopback, err := h.LinkByName("lo")
		if err != nil {
			return fmt.Errorf("find loopback: %w", err)
		}
		return h.LinkSetUp(loopback)
	})
}

func (l *Lab) addLink(ctx context.Context, i int, description Link) error {
	middle, err := newNamespace()
	if err != nil {
		return err
	}
	k := &link{Link: description, middle: middle, legs: legs(i, description)}
	l.links = append(l.links, k)
	if err := middle.do(func() error { return setSysctls(quiet) }); err != nil {
		return err
	}
	for side := range k.legs {
		if err := l.addLeg(k, side); err != nil {
			return err
		}
	}
	if err := middle.do(k.prepareMiddle); err != nil {
		return err
	}
	if err := k.addDevices(); err != nil {
		return err
	}
	if err := k.startWAN(2 * uint64(i)); err != nil {
		return err
	}
	return l.awaitCarrier(ctx, k)
}

// awaitCarrier waits until all interfaces of a link pass packets.
func (l *Lab) awaitCarrier(ctx context.Context, k *link) error {
	for _, near := range k.legs {
		await := func(name string) func(*netlink.Handle) error {
			return func(h *netlink.Handle) error { return awaitCarrier(ctx, h, name) }
		}
		if err := l.edge(near.site).configure(await(near.outer.name)); err != nil {
			return err
		}
		for _, name := range []string{near.middle.name, near.way.name} {
			if err := k.middle.configure(await(name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// addLeg joins one site with the link's middle, and tells each the way to the
// other's far side. The leg itself carries what a site may send; the link's MTU is
// that of the middle's routes.
func (l *Lab) addLeg(k *link, side int) error {
	near, far := k.legs[side], k.legs[1-side]
	site := l.edge(near.site)
	err := site.configure(func(h *netlink.Handle) error {
		if err := addVeth(h, k.middle, near, k.legMTU()); err != nil {
			return err
		}
		to, err := bringUp(h, near.outer, near.middle)
		if err != nil {
			return err
		}
		return errors.Join(
			addRoute(h, to, far.outer.v4, near.middle.v4.Addr(), 0),
			addRoute(h, to, far.outer.v6, near.middle.v6.Addr(), 0))
	})
	if err != nil {
		return err
	}
	if err := site.do(func() error { return wireLike(near.outer.name) }); err != nil {
		return err
	}
	return k.middle.configure(func(h *netlink.Handle) error {
		to, err := bringUp(h, near.middle, near.outer)
		if err != nil {
			return err
		}
		if k.WAN.changes() {
			if to, err = k.addWAN(h, near); err != nil {
				return err
			}
		}
		return errors.Join(
			addRoute(h, to, single(near.outer.v4.Addr()), netip.Addr{}, k.mtu()),
			addRoute(h, to, single(near.outer.v6.Addr()), netip.Addr{}, k.mtu()))
	})
}

func (k *link) prepareMiddle() error {
	for _, l := range k.legs {
		if err := wireLike(l.middle.name, l.way.name); err != nil {
			return err
		}
	}
	return setSysctls(forwarding)
}
