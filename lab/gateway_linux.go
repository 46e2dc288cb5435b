package lab

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
)

// addGateway puts a router before a site: the site has one way, to the gateway, and
// the links end at the gateway.
func (l *Lab) addGateway(ctx context.Context, name string) error {
	gateway, err := newNamespace()
	if err != nil {
		return err
	}
	l.gateways[name] = gateway
	if err := gateway.prepare(); err != nil {
		return err
	}
	atSite, atGateway := own(slices.Index(l.order, name))
	if err := l.joinGateway(l.sites[name], gateway, atSite, atGateway); err != nil {
		return err
	}
	if err := gateway.do(func() error { return setSysctls(forwarding) }); err != nil {
		return err
	}
	await := func(h *netlink.Handle) error { return awaitCarrier(ctx, h, atSite.name) }
	return errors.Join(l.sites[name].configure(await), gateway.configure(await))
}

func (l *Lab) joinGateway(site, gateway *namespace, atSite, atGateway port) error {
	err := site.configure(func(h *netlink.Handle) error {
		if err := addVeth(h, gateway, leg{outer: atSite, middle: atGateway}, DefaultMTU); err != nil {
			return err
		}
		to, err := bringUp(h, atSite, atGateway)
		if err != nil {
			return err
		}
		return errors.Join(
			addRoute(h, to, netip.PrefixFrom(netip.IPv4Unspecified(), 0), atGateway.v4.Addr(), 0),
			addRoute(h, to, netip.PrefixFrom(netip.IPv6Unspecified(), 0), atGateway.v6.Addr(), 0))
	})
	if err != nil {
		return err
	}
	err = gateway.configure(func(h *netlink.Handle) error {
		_, err := bringUp(h, atGateway, atSite)
		return err
	})
	if err != nil {
		return err
	}
	return errors.Join(
		site.do(func() error { return wireLike(atSite.name) }),
		gateway.do(func() error { return wireLike(atGateway.name) }))
}

// Gateway is the router before a site.
type Gateway struct {
	Descriptor int // Of its namespace; the lab's, valid until Close.
	// Networks are those behind it.
	Networks []netip.Prefix
}

// Gateway returns a site's; found is false where it has none.
func (l *Lab) Gateway(site string) (gateway Gateway, found bool) {
	ns := l.gateways[site]
	if ns == nil {
		return Gateway{}, false
	}
	behind, _ := own(slices.Index(l.order, site))
	return Gateway{Descriptor: ns.fd(), Networks: []netip.Prefix{behind.v4.Masked(), behind.v6.Masked()}}, true
}

// addOwn gives a site with several links an address that is none of theirs, so that
// all its neighbours know it by one.
func (l *Lab) addOwn(i int, name string) error {
	links := l.linksOf(name)
	if l.gateways[name] != nil || len(links) < 2 {
		return nil
	}
	host, _ := own(i)
	err := l.sites[name].configure(func(h *netlink.Handle) error {
		loopback, err := h.LinkByName("lo")
		if err != nil {
			return err
		}
		return errors.Join(addAddress(h, loopback, single(host.v4.Addr())), addAddress(h, loopback, single(host.v6.Addr())))
	})
	for _, k := range links {
		err = errors.Join(err, l.leadTo(host, k, k.near(name)))
	}
	return err
}

// leadTo makes the middle of a link and the site at its other end send what is for
// a host behind the near leg there.
func (l *Lab) leadTo(host port, k *link, near leg) error {
	far := k.near(near.far)
	err := k.middle.configure(func(h *netlink.Handle) error {
		return routeHost(h, near.way.name, host, near.outer, k.mtu())
	})
	return errors.Join(err, l.edge(far.site).configure(func(h *netlink.Handle) error {
		return routeHost(h, far.outer.name, host, far.middle, 0)
	}))
}

func routeHost(h *netlink.Handle, through string, host, by port, mtu int) error {
	link, err := h.LinkByName(through)
	if err != nil {
		return err
	}
	return errors.Join(
		addRoute(h, link, single(host.v4.Addr()), by.v4.Addr(), mtu),
		addRoute(h, link, single(host.v6.Addr()), by.v6.Addr(), mtu))
}
