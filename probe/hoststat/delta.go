package hoststat

// Delta is what a host did between two snapshots.
type Delta struct {
	// Cores are those that were there in both snapshots and whose clocks moved,
	// by ID.
	Cores []Core
	// UDPReceiveErrors counts datagrams that found a full socket, of any
	// process in the namespace (RcvbufErrors of IPv4 and IPv6).
	UDPReceiveErrors uint64
}

// Core is what one core did. The shares are of its time, from 0 to 1, and add
// up to 1. The kernel counts in ticks of 10 ms: over 1 s they are exact to 1 %.
type Core struct {
	ID      int
	User    float64 // Programs, niced ones and guests included.
	System  float64
	Softirq float64 // Interrupts, soft and hard: most of the network stack.
	Steal   float64 // The hypervisor ran something else.
	Idle    float64 // Waiting for a disk included.
	// SoftnetDropped counts packets that found the core's backlog full, and
	// SoftnetTimeSqueezed how often it had to leave packets for later.
	SoftnetDropped, SoftnetTimeSqueezed uint64
}

// Since is what the host did between earlier and s. A counter that has gone
// back was reset, and counts from zero.
func (s Snapshot) Since(earlier Snapshot) Delta {
	d := Delta{UDPReceiveErrors: grown(s.udpReceiveErrors, earlier.udpReceiveErrors)}
	for _, now := range s.cores {
		for _, then := range earlier.cores {
			if c, ok := now.since(then); ok {
				d.Cores = append(d.Cores, c)
			}
		}
	}
	return d
}

// since is what a core did; false if then is another core or its clock did not
// move.
func (c coreCount) since(then coreCount) (Core, bool) {
	user, system := spent(c.user, then.user), spent(c.system, then.system)
	softirq, steal := spent(c.softirq, then.softirq), spent(c.steal, then.steal)
	idle := spent(c.idle, then.idle)
	total := user + system + softirq + steal + idle
	if c.id != then.id || total <= 0 {
		return Core{}, false
	}
	return Core{
		ID:   c.id,
		User: user / total, System: system / total, Softirq: softirq / total,
		Steal: steal / total, Idle: idle / total,
		SoftnetDropped:      grown(uint64(c.softnetDropped), uint64(then.softnetDropped)),
		SoftnetTimeSqueezed: grown(uint64(c.softnetTimeSqueezed), uint64(then.softnetTimeSqueezed)),
	}, true
}

// spent is the time between two readings. Idle time may go back by a tick when
// a core wakes (proc_stat(5), iowait); that is no reset.
func spent(now, then float64) float64 { return max(0, now-then) }

func grown(now, then uint64) uint64 {
	if now < then {
		return now
	}
	return now - then
}
