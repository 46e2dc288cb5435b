package doctor

import "strconv"

// The bits of the capabilities that agents need (capabilities(7)).
const (
	capNetAdmin  = 12
	capSysChroot = 18
	capSysAdmin  = 21
)

var capabilities = []struct {
	name string
	bit  uint
	cost string
}{
	{"CAP_NET_ADMIN", capNetAdmin, "no interface, route or SA can be made: only clear and existing work; socket buffers stay within net.core.rmem_max and wmem_max"},
	{"CAP_SYS_CHROOT", capSysChroot, "no WireGuard: it is configured where nothing of the host can be reached by mistake"},
	{"CAP_SYS_ADMIN", capSysAdmin, "no network namespace can be made: no tunnel can be built at all"},
}

// privilege tells what the examining process may do. The agent is that process
// where an agent was asked.
func privilege(h Host) []Finding {
	held, known := h.capabilities()
	if !known {
		return []Finding{unknown("capabilities")}
	}
	var found []Finding
	for _, c := range capabilities {
		f := Finding{Subject: c.name, State: OK, Figure: "held"}
		if !held.has(c.bit) {
			f.State, f.Figure, f.Cost = Missing, "not held by this process", c.cost
			f.Remedy = "run it as root; in a container: start it with --cap-add " + c.name[len("CAP_"):]
		}
		found = append(found, f)
	}
	return found
}

// capabilitySet has one bit for each capability.
type capabilitySet uint64

func (s capabilitySet) has(bit uint) bool { return s>>bit&1 == 1 }

// capabilities are those in effect for this process.
func (h Host) capabilities() (held capabilitySet, known bool) {
	value, err := strconv.ParseUint(field(h.text("proc/self/status"), "CapEff"), 16, 64)
	return capabilitySet(value), err == nil
}
