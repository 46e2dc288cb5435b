// Package hoststat reads what a host did while a trial ran: how busy each core
// was and with what, and what its network stack dropped.
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

	"github.com/prometheus/procfs"
)

// Root is where the kernel's proc file system is mounted on most hosts.
const Root = "/proc"

// Snapshot is the host's counters at one moment. Only differences between two
// snapshots mean anything.
type Snapshot struct {
	cores            []coreCount // By ID.
	udpReceiveErrors uint64
}

// coreCount is what one core has counted since it started.
type coreCount struct {
	id                                  int
	user, system, softirq, steal, idle  float64 // Seconds.
	softnetDropped, softnetTimeSqueezed uint32
}

// Read takes a snapshot of the host whose proc file system is at root. UDP
// counters are those of the calling thread's network namespace: the caller
// must have locked its goroutine there if that is not the process's own.
func Read(root string) (Snapshot, error) {
	runtime.LockOSThread() // All files are to be of one thread.
	defer runtime.UnlockOSThread()
	stat, softnet, err := readCores(root)
	if err != nil {
		return Snapshot{}, err
	}
	errors, err := readUDP(root)
	if err != nil {
		return Snapshot{}, err
	}
	return Snapshot{cores: joinCores(stat, softnet), udpReceiveErrors: errors}, nil
}

func readCores(root string) (procfs.Stat, []procfs.SoftnetStat, error) {
	fs, err := procfs.NewFS(root)
	if err != nil {
		return procfs.Stat{}, nil, fmt.Errorf("open the proc file system: %w", err)
	}
	stat, err := fs.Stat()
	if err != nil {
		return procfs.Stat{}, nil, fmt.Errorf("read the cores' times: %w", err)
	}
	// /proc/net is the thread-group leader's; this one is the thread's.
	thread, err := procfs.NewFS(filepath.Join(root, "thread-self"))
	if err != nil {
		return procfs.Stat{}, nil, fmt.Errorf("open the thread's part of the proc file system: %w", err)
	}
	softnet, err := thread.NetSoftnetStat()
	if err != nil {
		return procfs.Stat{}, nil, fmt.Errorf("read the cores' network backlog: %w", err)
	}
	return stat, softnet, nil
}

// readUDP reads how many datagrams found a full socket, over IPv4 and IPv6, in
// the thread's namespace.
func readUDP(root string) (uint64, error) {
	thread, err := thisThread(root)
	if err != nil {
		return 0, err
	}
	v4, err := thread.Snmp()
	if err != nil {
		return 0, fmt.Errorf("read the UDP counters: %w", err)
	}
	v6, err := thread.Snmp6() // Empty where the kernel has no IPv6.
	if err != nil {
		return 0, fmt.Errorf("read the UDP counters of IPv6: %w", err)
	}
	return count(v4.Udp.RcvbufErrors) + count(v6.Udp6.RcvbufErrors), nil
}

// thisThread finds the calling thread by the link "thread-self", which reads
// like "71/task/73".
func thisThread(root string) (procfs.Proc, error) {
	link, err := os.Readlink(filepath.Join(root, "thread-self"))
	if err != nil {
		return procfs.Proc{}, fmt.Errorf("find the thread: %w", err)
	}
	id, err := strconv.Atoi(filepath.Base(link))
	if err != nil {
		return procfs.Proc{}, fmt.Errorf("find the thread: link to %q: %w", link, err)
	}
	tasks, err := procfs.NewFS(filepath.Join(root, filepath.Dir(link)))
	if err != nil {
		return procfs.Proc{}, fmt.Errorf("find the thread: %w", err)
	}
	return tasks.Proc(id)
}

func count(v *float64) uint64 {
	if v == nil || *v < 0 {
		return 0
	}
	return uint64(*v)
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
