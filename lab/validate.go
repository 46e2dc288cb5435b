package lab

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// The limits of what can be asked for. Rates are bounded by the arithmetic of
// bucket.go, names by what they become part of.
const (
	// An interface's name is "to-" and a site's, and holds 15 bytes (IFNAMSIZ).
	maxSiteName     = 15 - len("to-")
	maxTopologyName = 40
	// Each end of a link, and each site, takes 4 addresses of 3 * 256 (RFC 5737).
	maxSites      = 64
	maxLinks      = (3*256/4 - maxSites) / 2
	firstOwnBlock = 2 * maxLinks
	// IPv6 needs 1280 (RFC 8200, Section 5).
	minMTU, maxMTU                 = 1280, 9216
	minBitsPerSecond               = 10e3
	maxBitsPerSecond               = 100e9
	minPacketRate, maxPacketRate   = 1, 1e9
	maxFill                        = time.Hour
	maxBurstBytes, maxBurstPackets = 1 << 30, 1 << 30
	maxDelay                       = 10 * time.Second
	maxRatio                       = 0.5
)

var (
	goodName  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	namesRule = "lower-case letters, digits and hyphens, at most %d"
)

// Validate says what in the topology cannot be built, and what is allowed.
func (t Topology) Validate() error {
	if err := checkName("name", t.Name, maxTopologyName); err != nil {
		return err
	}
	if err := t.checkSites(); err != nil {
		return err
	}
	if len(t.Links) > maxLinks {
		return fmt.Errorf("links: %d are too many: at most %d have addresses", len(t.Links), maxLinks)
	}
	for i, site := range t.Gateways {
		if !slices.Contains(t.Sites, site) || slices.Contains(t.Gateways[:i], site) {
			return fmt.Errorf("gateways: %q is not one of the sites %q, or has two", site, t.Sites)
		}
	}
	for i, link := range t.Links {
		if err := t.checkLink(i, link); err != nil {
			return fmt.Errorf("link %d: %w", i+1, err)
		}
	}
	return nil
}

func checkName(what, name string, longest int) error {
	if len(name) > longest || !goodName.MatchString(name) {
		return fmt.Errorf("%s %q: allowed are "+namesRule, what, name, longest)
	}
	return nil
}

func (t Topology) checkSites() error {
	if len(t.Sites) > maxSites {
		return fmt.Errorf("sites: %d are too many: at most %d have addresses", len(t.Sites), maxSites)
	}
	if len(t.Sites) < 2 {
		return fmt.Errorf("sites: need at least 2, got %d", len(t.Sites))
	}
	for i, site := range t.Sites {
		if err := checkName("site", site, maxSiteName); err != nil {
			return err
		}
		if slices.Contains(t.Sites[:i], site) {
			return fmt.Errorf("site %q is named twice", site)
		}
	}
	return nil
}

func (t Topology) checkLink(i int, link Link) error {
	for _, site := range link.Between {
		if !slices.Contains(t.Sites, site) {
			return fmt.Errorf("between: %q is not one of the sites %q", site, t.Sites)
		}
	}
	if link.Between[0] == link.Between[1] {
		return fmt.Errorf("between: %q is at both ends", link.Between[0])
	}
	joins := func(other Link) bool { return other.joins(link.Between) }
	if slices.ContainsFunc(t.Links[:i], joins) {
		return fmt.Errorf("between: %q are joined by an earlier link", link.Between)
	}
	if mtu := link.mtu(); mtu < minMTU || mtu > maxMTU {
		return fmt.Errorf("mtu: %d bytes: allowed are %d to %d", mtu, minMTU, maxMTU)
	}
	if err := link.checkDevice(); err != nil {
		return fmt.Errorf("device: %w", err)
	}
	return link.WAN.check()
}

// joins reports whether the link's ends are these two, in either order.
func (l Link) joins(ends [2]string) bool {
	return l.Between == ends || l.Between == [2]string{ends[1], ends[0]}
}

func (l Link) checkDevice() error {
	d := l.Device
	if d.Toward != "" && !slices.Contains(l.Between[:], d.Toward) {
		return fmt.Errorf("toward: %q is not an end of the link %q", d.Toward, l.Between)
	}
	switch d.Kind {
	case NoDevice:
		if d != (Device{}) {
			return errors.New("kind: none has neither rate, burst nor direction")
		}
		return nil
	case Policer, Shaper:
		return d.checkByteRate(l.mtu())
	case PacketLimit:
		return d.checkPacketRate()
	default:
		return fmt.Errorf("kind: %q: allowed are policer, shaper, pps or none", d.Kind)
	}
}

func (d Device) checkByteRate(mtu int) error {
	// Written so that NaN is refused too.
	if !(d.OuterBitsPerSecond >= minBitsPerSecond && d.OuterBitsPerSecond <= maxBitsPerSecond) {
		return fmt.Errorf("rate: %g bit/s: a %s allows %g to %g", d.OuterBitsPerSecond, d.Kind, minBitsPerSecond, maxBitsPerSecond)
	}
	if d.PacketsPerSecond != 0 || d.BurstPackets != 0 {
		return fmt.Errorf("a %s counts bytes: packet rate and burst in packets are for kind pps", d.Kind)
	}
	if d.Kind == Shaper && d.BurstBytes == 0 {
		return nil
	}
	if d.BurstBytes < mtu || d.BurstBytes > maxBurstBytes {
		return fmt.Errorf("burst: %d bytes: allowed are one packet of the link's MTU (%d) to %d", d.BurstBytes, mtu, maxBurstBytes)
	}
	return checkFill(float64(d.BurstBytes) * 8 / d.OuterBitsPerSecond)
}

func (d Device) checkPacketRate() error {
	if !(d.PacketsPerSecond >= minPacketRate && d.PacketsPerSecond <= maxPacketRate) {
		return fmt.Errorf("rate: %g packet/s: kind pps allows %d to %g", d.PacketsPerSecond, minPacketRate, maxPacketRate)
	}
	if d.OuterBitsPerSecond != 0 || d.BurstBytes != 0 {
		return errors.New("kind pps counts packets: bit rate and burst in bytes are for policer and shaper")
	}
	if d.BurstPackets < 0 || d.BurstPackets > maxBurstPackets {
		return fmt.Errorf("burst: %d packets: allowed are 0 (10 ms' worth) to %d", d.BurstPackets, maxBurstPackets)
	}
	return checkFill(float64(d.BurstPackets) / d.PacketsPerSecond)
}

func checkFill(seconds float64) error {
	if seconds > maxFill.Seconds() {
		return fmt.Errorf("burst: takes %.0f s to fill at the rate: allowed are at most %.0f s", seconds, maxFill.Seconds())
	}
	return nil
}

func (w WAN) check() error {
	if w.Delay < 0 || w.Delay > maxDelay {
		return fmt.Errorf("delay: %s: allowed are 0 to %s", w.Delay, maxDelay)
	}
	if w.Jitter < 0 || w.Jitter > w.Delay {
		return fmt.Errorf("jitter: %s: allowed are 0 to the delay (%s)", w.Jitter, w.Delay)
	}
	for _, ratio := range []struct {
		name  string
		value float64
	}{{"loss", w.LossRatio}, {"reorder", w.ReorderRatio}, {"duplicate", w.DuplicateRatio}} {
		if !(ratio.value >= 0 && ratio.value <= maxRatio) {
			return fmt.Errorf("%s: %g: allowed are 0 to %g", ratio.name, ratio.value, maxRatio)
		}
	}
	return nil
}
