// Package lab builds datacenters, a WAN and the devices that limit it out of
// network namespaces and veth pairs on one machine.
//
// Every site is a namespace. Every link is a namespace of its own too, the
// link's middle, which routes IPv4 and IPv6 between its two sites; the device
// that limits the link sits there, where it cannot push back into a sender's
// socket, and so does the WAN, which delays, loses, reorders and duplicates. All
// of them are held by descriptors only: when the process that built the lab
// ends, however it ends, the kernel removes the lab. Only Up and Lab.Name give
// names that outlive the process.
//
// The links behave like wires: no segmentation or receive offload makes packets
// larger than they are, neighbours are static, and IPv6 does not configure
// itself, so a link carries nothing but what the sites send.
package lab

// Topology describes a lab. Validate says what is allowed.
type Topology struct {
	// Name is part of the names that Up gives.
	Name string
	// Sites names the datacenters, two or more.
	Sites []string
	// Links joins sites, at most one link between any two.
	Links []Link
	// Gateways names the sites that have a router of their own between them and
	// their links. What joins the sites behind gateways is the gateways' affair:
	// they route nothing to one another's sites by themselves.
	Gateways []string
}

// Link is a path between two sites.
type Link struct {
	Between [2]string
	// MTU is the largest IP packet in bytes that the link carries; zero means
	// DefaultMTU. A site's own interface takes DefaultMTU or more, so a smaller
	// link is found out by "fragmentation needed", or not at all.
	MTU int
	// ICMPBlackhole drops every "fragmentation needed" and "packet too big".
	ICMPBlackhole bool
	// ClearDF takes the IPv4 header's "don't fragment" from packets that are larger
	// than the link's MTU, which the middle then fragments: as bad gateways do. IPv6
	// has no such bit, and is answered with "packet too big" as ever.
	ClearDF bool
	// Device limits the link; the zero Device does not.
	Device Device
	// WAN is what else the way does to packets; the zero WAN does nothing.
	WAN WAN
}

// Device is what limits a link. Each direction that it limits has a bucket, or a
// queue, of its own.
type Device struct {
	Kind DeviceKind
	// OuterBitsPerSecond is the rate of a Policer or Shaper, counted in IP
	// packets: headers of the tunnel included, Ethernet's not.
	OuterBitsPerSecond float64
	// PacketsPerSecond is the rate of a PacketLimit.
	PacketsPerSecond float64
	// BurstBytes is the bucket of a Policer or Shaper in outer IP bytes, at least
	// the link's MTU. Zero gives a Shaper a millisecond's worth.
	BurstBytes int
	// BurstPackets is the bucket of a PacketLimit; zero means 10 ms' worth.
	BurstPackets int
	// Toward is the site that the limited traffic flows to; empty means both.
	Toward string
}

// DeviceKind says how a Device treats what exceeds its rate.
type DeviceKind string

// The kinds of devices.
const (
	// NoDevice lets everything pass, and counts it.
	NoDevice DeviceKind = ""
	// Policer drops what exceeds a token bucket of bytes.
	Policer DeviceKind = "policer"
	// Shaper queues what exceeds a token bucket of bytes, up to 50 ms.
	Shaper DeviceKind = "shaper"
	// PacketLimit drops what exceeds a token bucket of packets.
	PacketLimit DeviceKind = "pps"
)

// DefaultMTU is Ethernet's.
const DefaultMTU = 1500

// DeviceCounters is the truth about one direction of a link, counted where its
// device stands. Bytes are outer IP bytes; other protocols are not counted.
type DeviceCounters struct {
	Between [2]string
	Toward  string
	// Kind is NoDevice in a direction that the link's device does not limit.
	Kind DeviceKind
	// Passed and dropped by the device. What waits in a Shaper's queue is neither,
	// so its counters are exact once the link is at rest.
	PassedPackets, PassedOuterBytes   uint64
	DroppedPackets, DroppedOuterBytes uint64
}

// mtu returns the link's MTU in bytes with the default filled in.
func (l Link) mtu() int {
	if l.MTU == 0 {
		return DefaultMTU
	}
	return l.MTU
}

// legMTU is that of the link's interfaces, which a smaller link's routes go below.
func (l Link) legMTU() int { return max(DefaultMTU, l.mtu()) }

// device returns the device that stands in the way toward a site.
func (l Link) device(toward string) Device {
	if l.Device.Toward == "" || l.Device.Toward == toward {
		return l.Device
	}
	return Device{}
}
