package doctor

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"tunnelmark/cmd/internal/unit"
)

// The subjects that are compared between two ends.
const (
	subjectSpeed = "speed"
	subjectMTU   = "MTU"
)

// nic tells of the interface that has the outer address.
func nic(h Host) []Finding {
	i := h.Interface
	if i == nil {
		return []Finding{noInterface(h)}
	}
	found := []Finding{
		{Subject: "interface", State: OK, Figure: i.Name + ", driver " + cmp.Or(i.Driver, "not told")},
		speed(i), linkMTU(i),
	}
	found = append(found, offloads(i)...)
	found = append(found, queues(h)...)
	if i.RxRingMost > 0 {
		found = append(found, ring(i))
	}
	return append(found, exceeded(i)...)
}

func noInterface(h Host) Finding {
	if !h.Outer.IsValid() {
		return Finding{
			Subject: "interface", State: Note, Figure: "none: there is no outer address",
			Cost: "offloads, queues and link are not examined", Remedy: "ip route show default",
		}
	}
	return Finding{
		Subject: "interface", State: Note, Figure: fmt.Sprintf("none has %s", h.Outer),
		Cost:   "offloads, queues and link are not examined, and an MTU of 1500 is taken for granted",
		Remedy: "ip address show; give the agent an address of its machine by --outer",
	}
}

func speed(i *Interface) Finding {
	if i.BitsPerSecond > 0 {
		return Finding{Subject: subjectSpeed, State: OK, Figure: unit.FormatBitRate(i.BitsPerSecond)}
	}
	return Finding{
		Subject: subjectSpeed, State: Note, Figure: "the driver does not tell",
		Cost:   "what the link allows at most cannot be reckoned here",
		Remedy: "look up what the provider allows this kind of machine, per flow too",
	}
}

func linkMTU(i *Interface) Finding {
	const ethernet = 1500
	f := Finding{Subject: subjectMTU, State: OK, Figure: formatMTU(i.MTU)}
	if i.MTU < ethernet {
		f.State = Note
		f.Cost = "smaller packets than Ethernet's: more of them for the same bytes, and less of each is payload"
		f.Remedy = fmt.Sprintf("ip link set %s mtu 1500, if the network carries that", i.Name)
	}
	return f
}

func formatMTU(bytes int) string { return fmt.Sprintf("%d bytes", bytes) }

// wanted are the offloads that matter, by the kernel's names.
var wanted = []struct {
	name, about string
	without     State
	cost        string
}{
	{"tx-checksum", "transmit checksum", Warning, "UDP segmentation is refused (EIO): one system call for each datagram, a fifth of the packets per second (measured over veth)"},
	{"tx-generic-segmentation", "GSO", Note, "large packets are cut earlier on their way out: more work for each"},
	{"tx-udp-segmentation", "UDP segmentation in hardware", Note, "a core cuts trains of datagrams into packets, at the last moment"},
	{"tx-tcp-segmentation", "TSO", Note, "a core cuts TCP's segments: matters to load outside of tunnels only"},
	{"rx-gro", "GRO", Warning, "packets are received one by one: a sixth of the packets per second of one core (measured over veth)"},
}

func offloads(i *Interface) []Finding {
	if i.Offloads == nil {
		return []Finding{{
			Subject: "offloads", State: Note, Figure: "not known",
			Cost: "whether packets are handled one by one, at a fifth of the rate, is not known", Remedy: "ethtool -k " + i.Name,
		}}
	}
	var found []Finding
	for _, w := range wanted {
		f := Finding{Subject: w.about, State: OK, Figure: "on"}
		if !i.isOn(w.name) {
			f.State, f.Figure, f.Cost = w.without, "off", w.cost
			f.Remedy = fmt.Sprintf("ethtool -K %s %s on, where the driver can", i.Name, w.name)
		}
		found = append(found, f)
	}
	return append(found, hardwareESP(i))
}

// isOn says whether an offload is; some have a name for each IP version.
func (i *Interface) isOn(name string) bool {
	for offload, on := range i.Offloads {
		if on && (offload == name || name == "tx-checksum" && strings.HasPrefix(offload, "tx-checksum-ip")) {
			return true
		}
	}
	return false
}

// hardwareESP is no loss where it is not there: no driver here uses it.
func hardwareESP(i *Interface) Finding {
	on, present := i.Offloads["esp-hw-offload"]
	return Finding{Subject: "ESP in hardware", State: OK, Figure: choose(present && on, "on, and not used by tunnelmark: ceilings are of the CPU", "none")}
}

// queues tells on how many cores packets arrive. sys may be of another network
// namespace; then nothing is said.
func queues(h Host) []Finding {
	if !h.Interface.InSys {
		return nil
	}
	dir := path.Join("sys/class/net", h.Interface.Name, "queues")
	var rx []string
	for _, name := range h.list(dir) {
		if strings.HasPrefix(name, "rx-") {
			rx = append(rx, name)
		}
	}
	steered := slices.ContainsFunc(rx, func(queue string) bool {
		return strings.Trim(h.text(path.Join(dir, queue, "rps_cpus")), "0,") != ""
	})
	f := Finding{Subject: "receive queues", State: OK, Figure: fmt.Sprintf("%d, RPS %s", len(rx), choose(steered, "on", "off"))}
	if len(rx) == 1 && !steered && h.cores() > 1 {
		f.State = Warning
		f.Cost = "one core takes in all packets, of many tunnels too"
		f.Remedy = fmt.Sprintf("ethtool -L %s combined %d, or echo %s > /%s/%s/rps_cpus", h.Interface.Name, h.cores(), coreMask(h.cores()), dir, rx[0])
	}
	return []Finding{f}
}

// coreMask has one bit for each core, in groups of 32 as rps_cpus wants them.
func coreMask(cores int) string {
	groups := []string{fmt.Sprintf("%x", uint64(1)<<(cores%32)-1)}
	if cores%32 == 0 {
		groups = nil
	}
	for range cores / 32 {
		groups = append(groups, "ffffffff")
	}
	return strings.Join(groups, ",")
}

func ring(i *Interface) Finding {
	f := Finding{Subject: "receive ring", State: OK, Figure: fmt.Sprintf("%d of at most %d packets", i.RxRing, i.RxRingMost)}
	if i.RxRing < min(i.RxRingMost, 1024) {
		f.State = Note
		f.Cost = "a burst that arrives while the core is away is lost in the interface"
		f.Remedy = fmt.Sprintf("ethtool -G %s rx %d", i.Name, i.RxRingMost)
	}
	return f
}

// exceeded tells of what AWS' ENA counts: packets queued or dropped because an
// allowance of the instance was used up.
func exceeded(i *Interface) []Finding {
	if len(i.Exceeded) == 0 {
		return nil
	}
	var counts []string
	var total uint64
	for name, packets := range i.Exceeded {
		if packets > 0 {
			counts = append(counts, fmt.Sprintf("%s %d", name, packets))
		}
		total += packets
	}
	if total == 0 {
		return []Finding{{Subject: "cloud allowances", State: OK, Figure: "none exceeded since the start"}}
	}
	slices.Sort(counts)
	return []Finding{{
		Subject: "cloud allowances", State: Warning, Figure: strings.Join(counts, ", "),
		Cost:   "the cloud has held packets of this machine back: a ceiling may be the instance's, not the path's",
		Remedy: "watch it over a trial: ethtool -S " + i.Name + " | grep allowance; use a larger instance",
	}}
}
