package doctor

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Host is one machine as it is examined: its files, and what no file tells.
type Host struct {
	// Files is the root directory; of it proc, sys, dev, lib and boot are read.
	Files fs.FS
	// PerCPUSAs says that the kernel's ESP can have one SA for each CPU.
	PerCPUSAs bool
	// FirstPort to LastPort are the UDP ports that tunnels may take here.
	FirstPort, LastPort uint16
	// Outer is the address on which tunnels arrive; not valid where it is not known.
	Outer netip.Addr
	// Interface has the outer address. Nil where none has it.
	Interface *Interface
	// Path leads to the peer. Nil where no peer was named.
	Path *Path
	// Clock is the system's. Nil where the kernel does not tell of it.
	Clock *Clock
}

// Interface is the one that has the outer address.
type Interface struct {
	Name          string
	MTU           int     // Largest IP packet, in bytes.
	BitsPerSecond float64 // Of the link, on the wire. 0: the driver does not tell.
	Driver        string  // "" where it does not tell.
	// Offloads says by the kernel's names which are on. Nil: they could not be asked.
	Offloads map[string]bool
	// RxRing and RxRingMost are its size and the largest possible, in packets.
	RxRing, RxRingMost int
	// Exceeded counts the packets that a cloud held back, by the allowance that
	// was used up.
	Exceeded map[string]uint64
	// InSys says that sys describes this interface, not one of another namespace.
	InSys bool
}

// Path is the way to the peer.
type Path struct {
	Peer      netip.Addr
	MTU       int    // Largest IP packet that the kernel sends there whole, in bytes.
	Interface string // By which it leaves, and
	LinkMTU   int    // that one's MTU.
	Problem   string // Why there is no way; "" where there is one.
}

// Clock is the system's clock.
type Clock struct {
	Now          func() time.Time
	Began        time.Time // When the examination did.
	Synchronised bool
	MaxError     time.Duration // By which the time may be wrong, as the kernel reckons.
}

// topics are examined in this order; the clock is read last, so that the asker can
// tell how long the examination took from how long the answer took.
var topics = []struct {
	name    string
	examine func(Host) []Finding
}{
	{topicKernel, kernel},
	{"modules", modules},
	{"privilege", privilege},
	{"crypto", crypto},
	{"cpu", processor},
	{"machine", machine},
	{topicNIC, nic},
	{topicPath, route},
	{"ports", ports},
	{"sysctl", sysctls},
	{topicClock, clock},
}

// The topics whose findings are compared between two ends.
const (
	topicKernel = "kernel"
	topicNIC    = "nic"
	topicPath   = "path"
	topicClock  = "clock"
)

// Examine looks at a host. What cannot be read is a finding too, never an error.
func Examine(host Host) []Finding {
	var all []Finding
	for _, topic := range topics {
		for _, f := range topic.examine(host) {
			f.Topic = topic.name
			all = append(all, f)
		}
	}
	return all
}

// maxFile bounds what is read of one file, in bytes: a distribution's modules.dep
// has about one million.
const maxFile = 4 << 20

// text reads a file, without the white space around it; "" where it cannot be
// read. What is longer than maxFile is cut off.
func (h Host) text(name string) string {
	file, err := h.Files.Open(name)
	if err != nil {
		return ""
	}
	defer letGo(file)
	text, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return "" // sysfs refuses to read some files, such as the speed of a link that is down.
	}
	return string(bytes.ToValidUTF8(bytes.TrimSpace(text), []byte("?")))
}

// letGo closes what was only read or asked: nothing can be lost.
func letGo(c io.Closer) { _ = c.Close() }

// has says whether there is something of that name, even if it may not be read.
func (h Host) has(name string) bool {
	_, err := fs.Stat(h.Files, name)
	return err == nil || errors.Is(err, fs.ErrPermission)
}

// list names what a directory holds, in order; nothing where it cannot be read.
func (h Host) list(dir string) []string {
	entries, _ := fs.ReadDir(h.Files, dir) // Those that could be read.
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// number reads a file that holds a whole number.
func (h Host) number(name string) (int, bool) {
	value, err := strconv.Atoi(h.text(name))
	return value, err == nil
}

// field returns what stands behind "name" and a colon in a text of such lines,
// in its first occurrence.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// release is the running kernel's.
func (h Host) release() string { return oneLine(h.text("proc/sys/kernel/osrelease")) }

// oneLine keeps the first line: what is shown beside other things has no more.
func oneLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimSpace(line)
}
