package doctor

import "fmt"

// version is a kernel's: 6.1.
type version struct{ major, minor int }

func parseVersion(release string) (v version, ok bool) {
	n, _ := fmt.Sscanf(release, "%d.%d", &v.major, &v.minor)
	return v, n == 2
}

func (v version) atLeast(w version) bool {
	return v.major > w.major || v.major == w.major && v.minor >= w.minor
}

func (v version) String() string { return fmt.Sprintf("%d.%d", v.major, v.minor) }

// features are what a kernel can by its version.
var features = []struct {
	name  string
	since version
	lack  State
	cost  string
}{
	{"UDP segmentation (GSO)", version{4, 18}, Warning,
		"one system call for each datagram: a fifth of the packets per second, or less (measured over veth)"},
	{"UDP coalescing (GRO)", version{5, 0}, Warning,
		"the receiver takes datagrams one by one: a sixth of the packets per second (measured over veth)"},
	{"UDP segmentation through TUN (USO)", version{6, 2}, Note,
		"UDP crosses the TUN device of esp and wireguard-user packet by packet; wireguard-go went from 2.9 to 12.5 Gbit/s with it"},
}

// kernel tells the release and what comes with it.
func kernel(h Host) []Finding {
	release := h.release()
	running, known := parseVersion(release)
	if !known {
		return []Finding{unknown("release")}
	}
	found := []Finding{{Subject: "release", State: OK, Figure: release}}
	for _, f := range features {
		if running.atLeast(f.since) {
			found = append(found, Finding{Subject: f.name, State: OK, Figure: fmt.Sprintf("yes, since %v", f.since)})
			continue
		}
		found = append(found, Finding{
			Subject: f.name, State: f.lack, Figure: fmt.Sprintf("no, it came with %v", f.since),
			Cost: f.cost, Remedy: fmt.Sprintf("run a kernel of %v or later", f.since),
		})
	}
	return append(found, perCPU(h.PerCPUSAs, running))
}

// perCPU tells of RFC 9611's SAs: as they were tried, else by the kernel's version.
func perCPU(have bool, running version) Finding {
	switch {
	case have:
		return Finding{Subject: "per-CPU SAs", State: OK, Figure: "yes"}
	case running.atLeast(version{6, 13}):
		return Finding{Subject: "per-CPU SAs", State: OK, Figure: "yes, since 6.13, if it has kernel ESP"}
	}
	return Finding{
		Subject: "per-CPU SAs", State: Note, Figure: "no, they came with 6.13 and need kernel ESP",
		Cost:   "one SA is opened by one core: 3.3 Gbit/s for one tunnel were published (linux-ipsec.org, 2025), whatever the number of cores",
		Remedy: "spread flows over several tunnels: --tunnels N",
	}
}
