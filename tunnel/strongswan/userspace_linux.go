package strongswan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/inner"
)

const (
	standInName     = "tmike%d"
	installPatience = 5 * time.Second
	installPoll     = 10 * time.Millisecond
)

// userSpace puts the TUN device of charon's own ESP into the inner namespace.
//
// Charon makes the device in its namespace, the outer one, and installs a policy
// only where it sees an address of that policy in its namespace and can route
// to the peer's by its device. So it sees a stand-in: a device of ours that has
// the inner addresses, and is down, so that no packet finds them. For the moment
// in which charon installs its policies the stand-in is up; then charon's device
// moves to the inner namespace, which takes the routes away, and the stand-in
// goes down. The policies stay, whatever SAs come and go.
type userSpace struct {
	spec    tunnel.Spec
	session *tunnel.Namespace
	outer   *netlink.Handle
	tun     io.Closer // The stand-in, which lives as long as it.
	standIn netlink.Link
}

// prepare makes the stand-in.
func (u *userSpace) prepare(outer *tunnel.Namespace) error {
	if err := u.addStandIn(outer); err != nil {
		return fmt.Errorf("make stand-in for the inner addresses: %w", err)
	}
	return nil
}

func (u *userSpace) addStandIn(outer *tunnel.Namespace) error {
	device, name, err := inner.NewTUN(outer, standInName)
	if err != nil {
		return err
	}
	u.tun = device
	if err := outer.Do(func() error { return keepAddresses(name) }); err != nil {
		return err
	}
	if u.outer, err = netlink.NewHandleAt(netns.NsHandle(outer.FD()), unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("reach outer namespace by netlink: %w", err)
	}
	if u.standIn, err = u.outer.LinkByName(name); err != nil {
		return err
	}
	if err := u.outer.LinkSetMulticastOff(u.standIn); err != nil {
		return fmt.Errorf("switch multicast off: %w", err)
	}
	if err := u.addAddresses(); err != nil {
		return err
	}
	return u.outer.LinkSetUp(u.standIn)
}

func (u *userSpace) addAddresses() error {
	for _, prefix := range innerPrefixes(u.spec.Local) {
		address := &netlink.Addr{IPNet: ipNet(prefix), Flags: unix.IFA_F_NODAD}
		if err := u.outer.AddrAdd(u.standIn, address); err != nil {
			return fmt.Errorf("add address %s: %w", prefix, err)
		}
	}
	return nil
}

// keepAddresses makes IPv6 addresses survive that the interface goes down, as
// IPv4 ones do. A kernel without IPv6 has no such switch.
func keepAddresses(name string) error {
	err := os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/keep_addr_on_down", []byte("1"), 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func (u *userSpace) finish(ctx context.Context, c *charon) (*interfaceSide, error) {
	if err := install(ctx, c); err != nil {
		return nil, err
	}
	if err := u.outer.LinkSetDown(u.standIn); err != nil {
		return nil, fmt.Errorf("take stand-in down: %w", err)
	}
	name, err := c.tunName()
	if err != nil {
		return nil, err
	}
	link, err := u.outer.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find charon's interface %s: %w", name, err)
	}
	if err := u.outer.LinkSetNsFd(link, u.session.FD()); err != nil {
		return nil, fmt.Errorf("move charon's interface %s: %w", name, err)
	}
	return configureSide(ctx, u.session, name, u.spec)
}

// install waits for the kernel, which takes IPv6 addresses into use in its own
// time, even where duplicate address detection is off.
func install(ctx context.Context, c *charon) error {
	ctx, cancel := context.WithTimeout(ctx, installPatience)
	defer cancel()
	for {
		err := c.install(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("install charon's policies: %w: %w", ctx.Err(), err)
		case <-time.After(installPoll):
		}
	}
}

// remove takes the stand-in away.
func (u *userSpace) remove() error {
	if u.outer != nil {
		u.outer.Close()
	}
	if u.tun == nil {
		return nil
	}
	return u.tun.Close()
}

// tunName finds the TUN device that charon holds: others may have made an
// interface of a name like it.
func (c *charon) tunName() (string, error) {
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", c.process.Pid))
	if err != nil {
		return "", err
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // Closed since.
		}
		if _, rest, found := strings.Cut(string(text), "\niff:"); found {
			name, _, _ := strings.Cut(rest, "\n")
			return strings.TrimSpace(name), nil
		}
	}
	return "", fmt.Errorf("find charon's TUN device: it has none; it says: %s", c.journal.tail())
}

func ipNet(prefix netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())}
}
