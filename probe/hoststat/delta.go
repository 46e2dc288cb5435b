package hoststat

import "time"

// Delta is what a host did between two snapshots.
type Delta struct {
	// Cores are those that were there in both snapshots and whose clocks moved,
	// by ID.
	Cores []Core
	// Busy is the time of all Cores together in which they were neither idle nor
	// stolen. It is exact to a tick of 10 ms per core.
	Busy time.Duration
	// ContextSwitches are those of all cores.
	ContextSwitches uint64
	Process         Process
	Memory          Memory // At the later snapshot.
	Network         Network
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

// Process is what the calling process did: all its threads, whatever they did.
type Process struct {
	// CPU is its time on the cores. Soft interrupts that came meanwhile are
	// within it, unless the kernel accounts for them (CONFIG_IRQ_TIME_ACCOUNTING).
	CPU time.Duration
	// Voluntary and Involuntary count how often a thread gave its core away, to
	// wait for something, and how often one was taken from it.
	Voluntary, Involuntary uint64
	ResidentBytes          uint64 // In memory at the later snapshot.
}

// Memory is the host's. What the kernel does not tell is zero.
type Memory struct {
	TotalBytes     uint64
	AvailableBytes uint64 // For new programs, without swapping (proc_meminfo(5)).
}

// Network is what a network namespace carried and dropped, of whatever programs
// use it.
type Network struct {
	// Interfaces are those named that were there in both snapshots.
	Interfaces []Interface
	UDP        UDP
	TCP        TCP
	// XFRM are the counters of kernel IPsec that grew, all but a few of errors, by
	// the kernel's names ("XfrmInStateSeqError"). It is nil where the kernel has
	// none, and empty where none grew.
	XFRM map[string]uint64
}

// Interface is what one interface carried. A train of segments that the stack
// hands on as one packet is counted as one by most interfaces.
type Interface struct {
	Name                           string
	ReceivedPackets, ReceivedBytes uint64
	ReceiveErrors, ReceiveDropped  uint64
	SentPackets, SentBytes         uint64
	SendErrors, SendDropped        uint64
}

// UDP counts datagrams over IPv4 and IPv6 together (RFC 4113). The kernel's names
// of the counters stand beside them.
type UDP struct {
	Received uint64 // InDatagrams.
	NoPort   uint64 // NoPorts: nobody listened.
	// ReceiveErrors (InErrors) holds all that follow which arrived.
	ReceiveErrors       uint64
	ReceiveBufferErrors uint64 // RcvbufErrors: found a full socket.
	SendBufferErrors    uint64 // SndbufErrors: refused to their sender.
	ChecksumErrors      uint64 // InCsumErrors.
}

// TCP counts segments over IPv4 and IPv6 together (RFC 4022).
type TCP struct {
	Retransmitted uint64 // RetransSegs.
}

// NanosecondsPerPacket is the CPU time that a packet of so many cost; zero where
// there were none. It divides Busy, so it holds whatever ran on the host: the
// probe, the tunnel, the kernel's network stack, and other programs' work, too.
// It is a cost per packet where the host did nothing else, and an upper bound of
// it elsewhere.
func (d Delta) NanosecondsPerPacket(packets uint64) float64 { return d.per(packets) }

// NanosecondsPerByte is the same for bytes, in whatever layer they were counted.
func (d Delta) NanosecondsPerByte(bytes uint64) float64 { return d.per(bytes) }

func (d Delta) per(count uint64) float64 {
	if count == 0 {
		return 0
	}
	return float64(d.Busy.Nanoseconds()) / float64(count)
}

// Since is what the host did between earlier and s, which one Reader read.
func (s Snapshot) Since(earlier Snapshot) Delta {
	d := Delta{
		ContextSwitches: grown(s.switches, earlier.switches),
		Process:         s.process.since(earlier.process),
		Memory:          s.memory,
		Network:         s.network.since(earlier.network),
	}
	for _, now := range s.cores {
		for _, then := range earlier.cores {
			if core, busy, ok := now.since(then); ok {
				d.Cores = append(d.Cores, core)
				d.Busy += busy
			}
		}
	}
	return d
}

// since is what a core did; false if then is another core or its clock did not
// move.
func (c coreCount) since(then coreCount) (core Core, busy time.Duration, ok bool) {
	user, system := spent(c.user, then.user), spent(c.system, then.system)
	softirq, steal := spent(c.softirq, then.softirq), spent(c.steal, then.steal)
	idle := spent(c.idle, then.idle)
	total := user + system + softirq + steal + idle
	if c.id != then.id || total <= 0 {
		return Core{}, 0, false
	}
	core = Core{
		ID:   c.id,
		User: user / total, System: system / total, Softirq: softirq / total,
		Steal: steal / total, Idle: idle / total,
		SoftnetDropped:      grown(uint64(c.softnetDropped), uint64(then.softnetDropped)),
		SoftnetTimeSqueezed: grown(uint64(c.softnetTimeSqueezed), uint64(then.softnetTimeSqueezed)),
	}
	return core, time.Duration((user + system + softirq) * float64(time.Second)), true
}

// spent is the time between two readings. Idle time may go back by a tick when
// a core wakes (proc_stat(5), iowait); that is no reset.
func spent(now, then float64) float64 { return max(0, now-then) }

func (p processCount) since(then processCount) Process {
	return Process{
		CPU:           max(0, p.cpu-then.cpu),
		Voluntary:     grown(p.voluntary, then.voluntary),
		Involuntary:   grown(p.involuntary, then.involuntary),
		ResidentBytes: p.residentBytes,
	}
}

func (n networkCount) since(then networkCount) Network {
	d := Network{
		UDP: n.udp.since(then.udp),
		TCP: TCP{Retransmitted: grown(n.tcp.Retransmitted, then.tcp.Retransmitted)},
	}
	for _, now := range n.interfaces {
		for _, was := range then.interfaces {
			if now.Name == was.Name {
				d.Interfaces = append(d.Interfaces, now.since(was))
			}
		}
	}
	if n.xfrm != nil {
		d.XFRM = make(map[string]uint64)
	}
	for name, now := range n.xfrm {
		if more := grown(now, then.xfrm[name]); more > 0 {
			d.XFRM[name] = more
		}
	}
	return d
}

func (i Interface) since(then Interface) Interface {
	return Interface{
		Name:            i.Name,
		ReceivedPackets: grown(i.ReceivedPackets, then.ReceivedPackets),
		ReceivedBytes:   grown(i.ReceivedBytes, then.ReceivedBytes),
		ReceiveErrors:   grown(i.ReceiveErrors, then.ReceiveErrors),
		ReceiveDropped:  grown(i.ReceiveDropped, then.ReceiveDropped),
		SentPackets:     grown(i.SentPackets, then.SentPackets),
		SentBytes:       grown(i.SentBytes, then.SentBytes),
		SendErrors:      grown(i.SendErrors, then.SendErrors),
		SendDropped:     grown(i.SendDropped, then.SendDropped),
	}
}

func (u UDP) since(then UDP) UDP {
	return UDP{
		Received:            grown(u.Received, then.Received),
		NoPort:              grown(u.NoPort, then.NoPort),
		ReceiveErrors:       grown(u.ReceiveErrors, then.ReceiveErrors),
		ReceiveBufferErrors: grown(u.ReceiveBufferErrors, then.ReceiveBufferErrors),
		SendBufferErrors:    grown(u.SendBufferErrors, then.SendBufferErrors),
		ChecksumErrors:      grown(u.ChecksumErrors, then.ChecksumErrors),
	}
}

const (
	// counter32 is where a counter of 32 bits begins again: those of softnet_stat
	// on all kernels, and all others on kernels of 32 bits.
	counter32 = 1 << 32
	// mostOverEdge is the most that a trial may have counted for a counter that
	// went back to have wrapped: 10 minutes at 1.7 million a second.
	mostOverEdge = 1 << 30
)

// grown is by how much a counter grew. One that went back wrapped at 32 bits
// where that is near; else it was reset, as that of an interface which was made
// anew is, and counts from zero.
func grown(now, then uint64) uint64 {
	if now >= then {
		return now - then
	}
	if over := now + counter32 - then; then < counter32 && over < mostOverEdge {
		return over
	}
	return now
}
