package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/tunnel/overhead"
)

// Pair is what two ends are to each other.
type Pair struct {
	Ends     [2]string `json:"ends"`
	Findings []Finding `json:"findings"`
	Carries  []Carry   `json:"carries,omitempty"`
}

// Asked is when an end was asked and when its answer came, by the asker's clock.
type Asked struct{ From, To time.Time }

// Compare holds two reports of ends that could be asked against each other.
func Compare(a, b Report) Pair {
	pair := Pair{Ends: [2]string{a.Name, b.Name}}
	pair.Findings = append(pair.Findings, versions(a, b), families(a, b), drivers(a, b), mtus(a, b))
	pair.Findings = append(pair.Findings, links(a, b)...)
	pair.Findings = append(pair.Findings, clocks(a, b)...)
	for i := range pair.Findings {
		pair.Findings[i].Topic = "pair"
	}
	mtuA, knownA := mtuOf(a.Findings)
	mtuB, knownB := mtuOf(b.Findings)
	if knownA && knownB {
		rate := slower(linkRateOf(a.Findings), linkRateOf(b.Findings))
		pair.Carries = Carries(rate, overhead.PathMTU(min(mtuA, mtuB)), versionOf(a.Outer))
	}
	return pair
}

// each writes both ends' figures.
func each(a, b Report, figureA, figureB string) string {
	return fmt.Sprintf("%s at %s, %s at %s", orUnknown(figureA), a.Name, orUnknown(figureB), b.Name)
}

func versions(a, b Report) Finding {
	if a.Version == b.Version {
		return Finding{Subject: "tunnelmark-agent", State: OK, Figure: orUnknown(a.Version) + " at both"}
	}
	return Finding{
		Subject: "tunnelmark-agent", State: Note, Figure: each(a, b, a.Version, b.Version),
		Cost:   "agents of different versions may refuse each other's offers",
		Remedy: "install the same version at both ends",
	}
}

// families must be the same: one outer packet has one IP version.
func families(a, b Report) Finding {
	outerA, errA := netip.ParseAddr(a.Outer)
	outerB, errB := netip.ParseAddr(b.Outer)
	f := Finding{Subject: "outer addresses", State: OK, Figure: fmt.Sprintf("%s and %s", orUnknown(a.Outer), orUnknown(b.Outer))}
	switch {
	case errA != nil || errB != nil:
		f.State, f.Cost = Note, "an agent of that version does not tell"
	case outerA.Is4() != outerB.Is4():
		f.State, f.Cost = Missing, "no tunnel can be built between two IP versions"
		f.Remedy = "give both agents addresses of one version by --outer"
	case outerA == outerB:
		f.State, f.Cost = Missing, "both agents have the same: no tunnel can be built"
		f.Remedy = "give each agent an address of its own machine by --outer"
	}
	return f
}

func drivers(a, b Report) Finding {
	both := slices.DeleteFunc(supported(a), func(name string) bool { return !slices.Contains(supported(b), name) })
	if len(both) > 0 {
		return Finding{Subject: "drivers at both", State: OK, Figure: strings.Join(both, ", ")}
	}
	return Finding{
		Subject: "drivers at both", State: Missing, Figure: "none",
		Cost: "no tunnel can be built", Remedy: "see above what each end lacks; esp needs TUN alone",
	}
}

// supported are the names of the drivers that were seen to work at an end.
func supported(r Report) []string {
	var names []string
	for _, d := range r.Drivers {
		if d.Supported && d.Tried {
			names = append(names, d.Name)
		}
	}
	return names
}

func mtus(a, b Report) Finding {
	mtuA, knownA := mtuOf(a.Findings)
	mtuB, knownB := mtuOf(b.Findings)
	f := Finding{Subject: "path MTU", State: OK, Figure: formatMTU(min(mtuA, mtuB)) + ", as both ends' routes tell"}
	switch {
	case !knownA || !knownB:
		f.State, f.Figure = Note, "not known"
		f.Cost = "1500 bytes are taken for granted"
	case mtuA != mtuB:
		f.State, f.Figure = Warning, each(a, b, formatMTU(mtuA), formatMTU(mtuB))
		f.Cost = "the smaller one counts; where it is learned by ICMP alone, a filter in between makes a black hole of it"
		f.Remedy = "set the same MTU at both ends, and let ICMP \"fragmentation needed\" and \"packet too big\" pass: --ports"
	}
	return f
}

// links compares rates where both are known.
func links(a, b Report) []Finding {
	rateA, rateB := linkRateOf(a.Findings), linkRateOf(b.Findings)
	if rateA == 0 || rateB == 0 {
		return nil
	}
	figureA, figureB := figureOf(a.Findings, topicNIC, subjectSpeed), figureOf(b.Findings, topicNIC, subjectSpeed)
	f := Finding{Subject: "links", State: OK, Figure: figureA + " at both"}
	if rateA != rateB {
		f.State, f.Figure = Note, each(a, b, figureA, figureB)
		f.Cost = "the slower link bounds the ceiling in both directions"
	}
	return []Finding{f}
}

// slower is the smaller of two rates, zero where one is not known.
func slower(a, b float64) float64 { return min(a, b) }

// clocks reckons how far b's clock is ahead of a's. Each told its time at some
// moment while it was asked: by how much that is uncertain is told too.
func clocks(a, b Report) []Finding {
	aheadA, unsureA, knownA := a.ahead()
	aheadB, unsureB, knownB := b.ahead()
	if !knownA || !knownB {
		return nil
	}
	difference, unsure := aheadB-aheadA, unsureA+unsureB
	f := Finding{
		Subject: "clocks", State: OK,
		Figure: fmt.Sprintf("%s is %v %s %s, give or take %v", b.Name, round(difference.Abs()), choose(difference < 0, "behind", "ahead of"), a.Name, round(unsure)),
	}
	switch {
	case difference.Abs()-unsure > control.MaxSkew:
		f.State = Missing
		f.Cost = clocksRefused
		f.Remedy = "timedatectl set-ntp true at both, or install chrony"
	case difference.Abs() > unsure:
		f.State = Note
		f.Cost = "one-way delays between the ends are wrong by that much; round trips and variation are not"
		f.Remedy = "have both follow the same time servers"
	}
	return []Finding{f}
}

// ahead is by how much the end's clock is ahead of the asker's: of the time that
// the answer took, what was no examination was the way there and back, and how it
// shares between the two is not known (RFC 5905, Section 8).
func (r Report) ahead() (by, unsure time.Duration, known bool) {
	told, err := time.Parse(timeFormat, figureOf(r.Findings, topicClock, subjectTime))
	took, errTook := time.ParseDuration(figureOf(r.Findings, topicClock, subjectTook))
	answered := r.Asked.To.Sub(r.Asked.From)
	if err != nil || errTook != nil || took < 0 || took > answered {
		return 0, 0, false
	}
	half := (answered - took) / 2
	return told.Sub(r.Asked.To.Add(-half)), half, true
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
