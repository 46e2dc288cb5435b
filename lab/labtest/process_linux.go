package labtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// scanProcesses adds the living descendants of this process, and the network
// namespaces that they and it keep alive. Processes that end meanwhile hold
// nothing, so what cannot be read any more is passed over.
func scanProcesses(things Things) {
	self := os.Getpid()
	for _, p := range descendants(self) {
		who := fmt.Sprintf("process %d %s", p.pid, p.name)
		if p.pid != self {
			things[who] = ""
		}
		for inode, how := range namespacesOf(p.pid) {
			things[fmt.Sprintf("network namespace %d", inode)] = "held by " + who + ", " + how
		}
	}
}

type process struct {
	pid, parent int
	name        string
}

// descendants lists a process and all that descend from it, zombies excepted.
func descendants(root int) []process {
	var found []process
	children := make(map[int][]process)
	for _, path := range glob("/proc/[0-9]*/stat") {
		if p, ok := readProcess(path); ok {
			children[p.parent] = append(children[p.parent], p)
			if p.pid == root {
				found = append(found, p)
			}
		}
	}
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i].pid]...)
	}
	return found
}

// readProcess reads /proc/PID/stat: pid (name) state parent ... (proc_pid_stat(5)).
func readProcess(path string) (process, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return process{}, false
	}
	stat := string(text)
	open, closing := strings.IndexByte(stat, '('), strings.LastIndexByte(stat, ')')
	if open < 0 || closing < open {
		return process{}, false
	}
	fields := strings.Fields(stat[closing+1:])
	if len(fields) < 2 || fields[0] == "Z" || fields[0] == "X" {
		return process{}, false
	}
	pid, pidErr := strconv.Atoi(strings.TrimSpace(stat[:open]))
	parent, parentErr := strconv.Atoi(fields[1])
	return process{pid: pid, parent: parent, name: stat[open+1 : closing]}, pidErr == nil && parentErr == nil
}

// namespacesOf finds by inode the network namespaces that a process keeps alive: by
// a thread in them, a descriptor of them, a socket or a TUN device. Neither
// "ip netns" nor lsns sees them all.
func namespacesOf(pid int) map[uint64]string {
	found := make(map[uint64]string)
	base := fmt.Sprintf("/proc/%d", pid)
	for _, path := range glob(base + "/task/*/ns/net") {
		addLinked(found, path)
	}
	handle, err := opened(unix.PidfdOpen(pid, 0))
	if err != nil {
		return found
	}
	defer handle.Close()
	for _, path := range glob(base + "/fd/*") {
		target, err := os.Readlink(path)
		switch {
		case err != nil:
		case strings.HasPrefix(target, "net:["):
			addLinked(found, path)
		case strings.HasPrefix(target, "socket:["):
			addBehind(found, handle, path, unix.SIOCGSKNS)
		case target == "/dev/net/tun":
			const tunGetDevNetNS = 'T'<<8 | 227 // TUNGETDEVNETNS, linux/if_tun.h
			addBehind(found, handle, path, tunGetDevNetNS)
		}
	}
	return found
}

// addLinked adds the namespace that a link in /proc, "net:[INODE]", leads to.
func addLinked(found map[uint64]string, path string) {
	var stat unix.Stat_t
	if unix.Stat(path, &stat) == nil {
		found[stat.Ino] = path
	}
}

// addBehind adds the namespace that a process's socket or device is in, which an
// ioctl on a duplicate of its descriptor opens.
func addBehind(found map[uint64]string, handle *os.File, path string, request uint) {
	number, err := strconv.Atoi(filepath.Base(path))
	if err != nil {
		return
	}
	duplicate, err := opened(unix.PidfdGetfd(int(handle.Fd()), number, 0))
	if err != nil {
		return
	}
	defer duplicate.Close()
	namespace, err := opened(unix.IoctlRetInt(int(duplicate.Fd()), request))
	if err != nil {
		return
	}
	defer namespace.Close()
	var stat unix.Stat_t
	if unix.Fstat(int(namespace.Fd()), &stat) == nil {
		found[stat.Ino] = path
	}
}

// opened makes a file of what a system call has opened.
func opened(fd int, err error) (*os.File, error) {
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "descriptor"), nil
}

// glob expands a pattern that is known to be well formed.
func glob(pattern string) []string {
	paths, _ := filepath.Glob(pattern)
	return paths
}
