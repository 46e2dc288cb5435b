package doctor

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"
)

// What probes and user-space tunnels ask for their sockets, in bytes.
const (
	receiveBuffer = 32 << 20
	sendBuffer    = 1 << 20
)

// sysctls are those that matter to tunnels and to what measures them. One that
// this network namespace does not show is left out.
func sysctls(h Host) []Finding {
	var found []Finding
	for _, one := range []func(Host) (Finding, bool){receiveLimit, sendLimit, backlog, backlogDrops, conntrack, reversePath} {
		if f, known := one(h); known {
			found = append(found, f)
		}
	}
	return found
}

func (h Host) sysctl(name string) (int, bool) { return h.number(path.Join("proc/sys/net", name)) }

// bufferLimit holds a limit against what is asked. CAP_NET_ADMIN lifts it
// (socket(7), SO_RCVBUFFORCE).
func (h Host) bufferLimit(sysctl string, asked int) (f Finding, binding, known bool) {
	limit, known := h.sysctl("core/" + sysctl)
	f = Finding{Subject: "net.core." + sysctl, State: OK, Figure: formatKiB(limit)}
	if limit >= asked {
		return f, false, known
	}
	f.Figure += ", asked for are " + formatKiB(asked)
	if held, _ := h.capabilities(); held.has(capNetAdmin) {
		f.Figure += ", which CAP_NET_ADMIN gets"
		return f, false, known
	}
	f.State, f.Remedy = Warning, fmt.Sprintf("sysctl -w net.core.%s=%d, or give the process CAP_NET_ADMIN", sysctl, asked)
	return f, true, known
}

func receiveLimit(h Host) (Finding, bool) {
	f, binding, known := h.bufferLimit("rmem_max", receiveBuffer)
	if binding {
		limit, _ := h.sysctl("core/rmem_max")
		f.Cost = fmt.Sprintf("at 1 Gbit/s a receiver that is off the CPU for %v loses packets that the path has carried", atGigabit(limit))
	}
	return f, known
}

// atGigabit is how long 1 Gbit/s takes to fill a buffer.
func atGigabit(bytes int) time.Duration {
	return (time.Duration(bytes) * 8 * time.Nanosecond).Round(100 * time.Microsecond)
}

func sendLimit(h Host) (Finding, bool) {
	f, binding, known := h.bufferLimit("wmem_max", sendBuffer)
	if binding {
		f.Cost = "a sender of 64 KiB trains waits for the interface more often, and sends less than was asked"
	}
	return f, known
}

func formatKiB(bytes int) string { return fmt.Sprintf("%d KiB", bytes>>10) }

// backlog is the queue between a virtual interface, or RPS, and the stack.
func backlog(h Host) (Finding, bool) {
	const usual = 1000
	packets, known := h.sysctl("core/netdev_max_backlog")
	f := Finding{Subject: "net.core.netdev_max_backlog", State: OK, Figure: count(packets, "packet")}
	if packets <= usual {
		f.State = Note
		f.Cost = fmt.Sprintf("at a million packets per second it is full after %.1f ms; what comes then is lost in this machine", float64(packets)/1000)
		f.Remedy = "sysctl -w net.core.netdev_max_backlog=10000"
	}
	return f, known
}

// backlogDrops counts what was lost in that queue: the second field of each core's
// line, in hexadecimal.
func backlogDrops(h Host) (Finding, bool) {
	var dropped uint64
	table := h.text("proc/self/net/softnet_stat")
	for line := range strings.Lines(table) {
		if fields := strings.Fields(line); len(fields) > 1 {
			packets, _ := strconv.ParseUint(fields[1], 16, 32)
			dropped += packets
		}
	}
	f := Finding{Subject: "lost in that backlog", State: OK, Figure: fmt.Sprintf("%d packets since the start", dropped)}
	if dropped > 0 {
		f.State = Note
		f.Cost = "some load has been more than a core of this machine could take in"
		f.Remedy = "raise net.core.netdev_max_backlog, or spread the load over cores (receive queues, RPS)"
	}
	return f, table != ""
}

// conntrack tells whether each packet is looked up in a table, and how full that
// is. Entries are made only in namespaces whose firewall asks for them.
func conntrack(h Host) (Finding, bool) {
	const nearlyFull = 0.8
	entries, known := h.sysctl("netfilter/nf_conntrack_count")
	most, limited := h.sysctl("netfilter/nf_conntrack_max")
	f := Finding{Subject: "connection tracking", State: OK, Figure: "not in use"}
	if !known || !limited || entries == 0 {
		return f, h.has("proc/sys/net")
	}
	f.Figure = fmt.Sprintf("%d of %d entries", entries, most)
	f.State = Note
	f.Cost = "every packet of a tunnel is looked up, and each tunnel holds an entry: a cost per packet that the ceiling includes"
	f.Remedy = fmt.Sprintf("to leave tunnels out: iptables -t raw -A PREROUTING -p udp --dport %d:%d -j NOTRACK, the like in OUTPUT", max(h.FirstPort, portIKENAT), max(h.LastPort, portIKENAT))
	if float64(entries) > nearlyFull*float64(most) {
		f.State = Warning
		f.Cost = "when it is full the kernel drops the packets of every new flow"
		f.Remedy = fmt.Sprintf("sysctl -w net.netfilter.nf_conntrack_max=%d", 4*most)
	}
	return f, true
}

// reversePath is strict where the larger of the two values is 1 (ip-sysctl).
func reversePath(h Host) (Finding, bool) {
	value, known := h.sysctl("ipv4/conf/all/rp_filter")
	if h.Interface != nil {
		own, _ := h.sysctl(path.Join("ipv4/conf", h.Interface.Name, "rp_filter"))
		value = max(value, own)
	}
	f := Finding{Subject: "rp_filter", State: OK, Figure: []string{"off", "strict", "loose"}[min(max(value, 0), 2)]}
	if value == 1 {
		f.State = Note
		f.Cost = "where the peer's packets arrive by another interface than the answers leave by, they are dropped without a word"
		f.Remedy = "sysctl -w net.ipv4.conf.all.rp_filter=2"
	}
	return f, known
}
