// Package hoststat reads what a host did while a trial ran: how busy each core
// was and with what, what its network stack carried and dropped, and what was
// left of its memory.
//
//  1. Reader.Read takes a Snapshot before the trial and one after it: of the
//     host and of the process (hoststat.go), and of the network namespace that
//     the calling thread is in (network.go).
//  2. Snapshot.Since makes a Delta of the two (delta.go).
//
// It reads /proc through a root that the caller names, so that tests have one
// of their own.
package hoststat

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// Root is where the kernel's proc file system is mounted on most hosts.
const Root = "/proc"

// Reader says what a snapshot is of.
type Reader struct {
	// Root is where the kernel's proc file system is mounted.
	Root string
	// Interfaces are the names of those that carry the trial. Optional: none are
	// counted unless named. One that is not there is not in a Delta either.
	Interfaces []string
}

// Snapshot is the host's counters at one moment. Only differences between two
// snapshots mean anything.
type Snapshot struct {
	cores    []coreCount // By ID.
	switches uint64
	memory   Memory
	process  processCount
	network  networkCount
}

// coreCount is what one core has counted since it started.
type coreCount struct {
	id                                  int
	user, system, softirq, steal, idle  float64 // Seconds.
	softnetDropped, softnetTimeSqueezed uint32
}

// processCount is what this process has counted since it started.
type processCount struct {
	cpu                    time.Duration
	voluntary, involuntary uint64
	residentBytes          uint64
}

// Read takes a snapshot. Its network part is of the calling thread's network
// namespace: for one that is not the process's own, the caller must have locked
// its goroutine to a thread in it. A trial whose load enters a tunnel in another
// namespace than the tunnel's packets leave from takes a snapshot in each.
func (r Reader) Read() (Snapshot, error) {
	runtime.LockOSThread() // All files are to be of one thread.
	defer runtime.UnlockOSThread()
	t, err := thisThread(r.Root)
	if err != nil {
		return Snapshot{}, err
	}
	var s Snapshot
	if s.cores, s.switches, err = t.cores(); err != nil {
		return Snapshot{}, err
	}
	if s.memory, err = t.memory(); err != nil {
		return Snapshot{}, err
	}
	if s.process, err = t.usage(); err != nil {
		return Snapshot{}, err
	}
	if s.network, err = t.network(r.Interfaces); err != nil {
		return Snapshot{}, err
	}
	return s, nil
}

// thread is the calling one, as the proc file system shows it.
type thread struct {
	root    string
	host    procfs.FS
	process procfs.Proc
	// /proc/net is the thread-group leader's; these are the thread's own.
	own  procfs.FS
	task procfs.Proc
}

// thisThread finds the calling thread by the link "thread-self", which reads
// like "71/task/73".
func thisThread(root string) (thread, error) {
	t := thread{root: root}
	link, err := os.Readlink(filepath.Join(root, "thread-self"))
	if err != nil {
		return thread{}, fmt.Errorf("find the thread: %w", err)
	}
	id, err := strconv.Atoi(filepath.Base(link))
	if err != nil {
		return thread{}, fmt.Errorf("find the thread: link to %q: %w", link, err)
	}
	process, err := strconv.Atoi(filepath.Dir(filepath.Dir(link)))
	if err != nil {
		return thread{}, fmt.Errorf("find the process: link to %q: %w", link, err)
	}
	if t.host, err = procfs.NewFS(root); err != nil {
		return thread{}, fmt.Errorf("open the proc file system: %w", err)
	}
	if t.process, err = t.host.Proc(process); err != nil {
		return thread{}, fmt.Errorf("open the process's part of the proc file system: %w", err)
	}
	if t.task, err = t.process.Thread(id); err != nil {
		return thread{}, fmt.Errorf("open the thread's part of the proc file system: %w", err)
	}
	if t.own, err = procfs.NewFS(filepath.Join(root, link)); err != nil {
		return thread{}, fmt.Errorf("open the thread's part of the proc file system: %w", err)
	}
	return t, nil
}

// cores reads what all cores did, and how often they changed from one task to
// another.
func (t thread) cores() (cores []coreCount, switches uint64, err error) {
	stat, err := t.host.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("read the cores' times: %w", err)
	}
	softnet, err := t.own.NetSoftnetStat()
	if err != nil {
		return nil, 0, fmt.Errorf("read the cores' network backlog: %w", err)
	}
	return joinCores(stat, softnet), stat.ContextSwitches, nil
}

// joinCores puts both sources together. Kernels before 5.14 do not say which
// core a line of softnet_stat is of; procfs then numbers them in order.
func joinCores(stat procfs.Stat, softnet []procfs.SoftnetStat) []coreCount {
	var cores []coreCount
	for id, t := range stat.CPU {
		c := coreCount{
			id:      int(id),
			user:    t.User + t.Nice, // Guests are within these (proc_stat(5)).
			system:  t.System,
			softirq: t.SoftIRQ + t.IRQ,
			steal:   t.Steal,
			idle:    t.Idle + t.Iowait,
		}
		for _, s := range softnet {
			if int64(s.Index) == id {
				c.softnetDropped, c.softnetTimeSqueezed = s.Dropped, s.TimeSqueezed
			}
		}
		cores = append(cores, c)
	}
	slices.SortFunc(cores, func(a, b coreCount) int { return cmp.Compare(a.id, b.id) })
	return cores
}

func (t thread) memory() (Memory, error) {
	info, err := t.host.Meminfo()
	if err != nil {
		return Memory{}, fmt.Errorf("read the host's memory: %w", err)
	}
	return Memory{TotalBytes: valueOf(info.MemTotalBytes), AvailableBytes: valueOf(info.MemAvailableBytes)}, nil
}

// valueOf is zero for what the kernel does not tell, such as MemAvailable before
// 3.14.
func valueOf(v *uint64) uint64 {
	if v == nil {
		return 0
	}
	return *v
}

// usage reads what this process has used. Its counts come from getrusage(2): it
// adds up all threads, ended ones included, and counts in microseconds, while
// /proc has the switches of living threads one by one and the time in ticks.
func (t thread) usage() (processCount, error) {
	status, err := t.process.NewStatus()
	if err != nil {
		return processCount{}, fmt.Errorf("read the process's memory: %w", err)
	}
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		return processCount{}, fmt.Errorf("read the process's use of the CPU: %w", err)
	}
	return processCount{
		cpu:           time.Duration(used.Utime.Nano() + used.Stime.Nano()),
		voluntary:     uint64(used.Nvcsw),
		involuntary:   uint64(used.Nivcsw),
		residentBytes: status.VmRSS,
	}, nil
}
