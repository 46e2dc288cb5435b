package doctor

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Ports of IKE (RFC 7296, Section 2) and of IKE and ESP over UDP (RFC 3948,
// Section 2.1).
const (
	portIKE    = 500
	portIKENAT = 4500
)

// ports tells who holds the ports of IKE and those that tunnels may take: next to
// a production gateway tunnelmark takes others, and touches none of its SAs.
func ports(h Host) []Finding {
	if !h.has("proc/self/net/udp") {
		return []Finding{unknown("UDP")}
	}
	holders := h.udpHolders()
	found := []Finding{held(portIKE, holders), held(portIKENAT, holders)}
	if h.FirstPort == 0 {
		return found
	}
	taken := 0
	for port := int(h.FirstPort); port <= int(h.LastPort); port++ {
		if _, is := holders[uint16(port)]; is {
			taken++
		}
	}
	all := int(h.LastPort) - int(h.FirstPort) + 1
	f := Finding{Subject: "for tunnels", State: OK, Figure: fmt.Sprintf("UDP %d-%d, %d of %d free", h.FirstPort, h.LastPort, all-taken, all)}
	if taken == all {
		f.State = Missing
		f.Cost = "no tunnel can be built"
		f.Remedy = "give the agent other ones: --ports 14500-14510, or ports: in its policy"
	}
	return append(found, f)
}

func held(port uint16, holders map[uint16]string) Finding {
	f := Finding{Subject: fmt.Sprintf("UDP %d", port), State: OK, Figure: "free"}
	if holder, taken := holders[port]; taken {
		f.State, f.Figure = Note, "held by "+holder
		f.Cost = "driver strongswan brings a charon of its own, which cannot have it"
		if port == portIKENAT {
			f.Cost = "tunnelmark takes the next free one of its range; nothing of the holder is touched"
			f.Remedy = "let firewalls pass the whole range: tunnelmark doctor A B --ports"
		}
	}
	return f
}

// udpHolders names the process that has each UDP port bound.
func (h Host) udpHolders() map[uint16]string {
	inodes := map[string]uint16{}
	for _, file := range []string{"proc/self/net/udp", "proc/self/net/udp6"} {
		addBound(inodes, h.text(file))
	}
	wanted := map[string]string{}
	for inode := range inodes {
		wanted["socket:["+inode+"]"] = inode
	}
	owners := h.socketOwners(wanted)
	holders := map[uint16]string{}
	for inode, port := range inodes {
		holder, known := owners[inode]
		if !known {
			holder = "a process that cannot be seen from here"
		}
		holders[port] = holder
	}
	return holders
}

// addBound reads a table of sockets: the second field is the local address and
// port in hexadecimal, the tenth the inode.
func addBound(inodes map[string]uint16, table string) {
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 10 {
			continue
		}
		_, hex, _ := strings.Cut(fields[1], ":")
		port, err := strconv.ParseUint(hex, 16, 16)
		if err == nil && port != 0 {
			inodes[fields[9]] = uint16(port)
		}
	}
}

// socketOwners names the processes that have the wanted sockets open. Other users'
// processes show theirs to root alone.
func (h Host) socketOwners(wanted map[string]string) map[string]string {
	owners := map[string]string{}
	for _, process := range h.list("proc") {
		if _, err := strconv.ParseUint(process, 10, 32); err != nil {
			continue
		}
		if len(owners) == len(wanted) {
			return owners
		}
		for _, descriptor := range h.list("proc/" + process + "/fd") {
			target, err := fs.ReadLink(h.Files, "proc/"+process+"/fd/"+descriptor)
			if inode, is := wanted[target]; is && err == nil {
				owners[inode] = fmt.Sprintf("%s (pid %s)", orUnknown(oneLine(h.text("proc/"+process+"/comm"))), process)
			}
		}
	}
	return owners
}
