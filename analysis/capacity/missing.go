package capacity

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"tunnelmark/analysis"
)

// What a controller builds where it is told nothing else.
const (
	usualDriver = "esp"
	usualSuite  = "aes-128-gcm"
	otherSuite  = "chacha20-poly1305"
	usualOuter  = "udp"
	// existing is the driver of tunnels that stood before: nothing about them can be
	// changed for a measurement.
	existing = "existing"
)

const (
	// testShare is the share of a ceiling that is offered in each direction to learn whether
	// both share it: clearly more than one ceiling, and clearly below each.
	testShare = 0.8
	// headers are what a load's payload has around it in an inner packet: IPv4 and UDP.
	headers = 20 + 8
	year    = 365 * 24 * time.Hour
)

// usualSizes are those of a size model, in bytes, beside the one that was measured.
var usualSizes = []int{256, 512, 1024, 1400}

// missing is what the plan would be better with, what bears most on its dates first.
func (q Question) missing(views []view, options []analysis.Option) []analysis.Missing {
	first := views[0]
	var all []analysis.Missing
	for _, some := range [][]analysis.Missing{
		q.missingDirections(views), missingSizes(first), missingPackets(first), q.missingLatency(),
		missingRemedies(first, options), missingDemand(first), missingPrice(options),
	} {
		all = append(all, some...)
	}
	return all
}

// missingDirections is about the other direction: its demand, its ceiling, and what both
// carry at once.
func (q Question) missingDirections(views []view) []analysis.Missing {
	from, to := q.today().From, q.today().To
	forward := newTunnel(q.today(), q.Measured)
	back, measured := q.reverseTunnel(forward)
	switch {
	case q.Reverse == nil && q.apart(forward, back):
		return []analysis.Missing{{What: fmt.Sprintf("The demand from %s to %s was not given (--reverse-demand), so that direction is not planned.", to, from)}}
	case q.Reverse == nil:
		return []analysis.Missing{{What: fmt.Sprintf("The demand from %s to %s was not given (--reverse-demand): if both directions share one engine, the dates are earlier.", to, from)}}
	}
	var all []analysis.Missing
	if !measured {
		all = append(all, analysis.Missing{What: fmt.Sprintf("The ceiling from %s to %s was not measured.", to, from), Command: find(back.setup, to, from, "")})
	}
	if q.Directions == AsMeasured && len(q.bothWays()) == 0 {
		all = append(all, analysis.Missing{What: "Both directions were not loaded at once: if they share no limit, the dates are later.", Command: bothAtOnce(forward)})
	}
	return all
}

func missingSizes(v view) []analysis.Missing {
	t := v.tunnel
	command := find(t.setup, t.from, t.to, " --size "+sizesBeside(t.ceilings[0].InnerSize, t.setup.InnerMTU))
	switch {
	case t.model == nil && len(sizesOf(t.ceilings)) == 1:
		return []analysis.Missing{{What: fmt.Sprintf("What the tunnel carries was measured with packets of %d B only; of smaller ones it may carry far less.", t.ceilings[0].InnerSize), Command: command}}
	case t.model == nil:
		return []analysis.Missing{{What: "No limit was found at two packet sizes or more, so there is no model of what the tunnel carries of other sizes.", Command: command}}
	case len(pointSizes(t.model.Points)) == 2:
		return []analysis.Missing{{What: "The size model rests on two packet sizes, through which a model goes whatever they are; a third would test it.", Command: command}}
	}
	return nil
}

func missingPackets(v view) []analysis.Missing {
	if v.size > 0 {
		return nil
	}
	return []analysis.Missing{{What: fmt.Sprintf("Packets were not counted beside the demand's bytes (--packets-column, --packets-query), so the capacity is that of packets of %.0f B.", v.capacity.InnerSize)}}
}

func (q Question) missingLatency() []analysis.Missing {
	today := q.today()
	if slices.ContainsFunc(q.Measured, func(m Measured) bool { return m.Latency && sameSetup(m.Setup, today.Setup) }) {
		return nil
	}
	return []analysis.Missing{{
		What:    "The round trip under load was not measured, so nobody knows at which use the tunnel gets slow.",
		Command: find(today.Setup, today.From, today.To, ""),
	}}
}

// missingRemedies names the measurements that would show what else would help.
func missingRemedies(v view, options []analysis.Option) []analysis.Missing {
	if slices.ContainsFunc(options, func(o analysis.Option) bool { return !o.Capacity.Claimed }) {
		return nil
	}
	t := v.tunnel
	if t.setup.Driver == existing {
		return []analysis.Missing{{What: "No remedy was measured, such as a tunnel of one's own on the same path.", Command: find(Setup{}, t.from, t.to, "")}}
	}
	more, other := t.setup, t.setup
	more.Tunnels = max(1, t.setup.Tunnels) + 1
	missing := []analysis.Missing{{What: "No remedy was measured, such as one more tunnel beside today's.", Command: find(more, t.from, t.to, "")}}
	other.InnerMTU = 0 // A cipher has its own.
	if other.Suite = otherSuite; t.setup.Suite != "" && t.setup.Suite != otherSuite {
		missing = append(missing, analysis.Missing{What: "No other cipher was measured.", Command: find(other, t.from, t.to, "")})
	}
	return missing
}

// missingDemand is what the demand does not show.
func missingDemand(v view) []analysis.Missing {
	var all []analysis.Missing
	if v.outlook.Forecast.BurstsUnknown {
		all = append(all, analysis.Missing{What: fmt.Sprintf("Bursts are unknown: the demand has a sample every %.3g min, and packets are lost within milliseconds.", v.demand.Spacing.Minutes())})
	}
	if known := v.demand.End().Sub(v.demand.Start); known < year {
		all = append(all, analysis.Missing{What: fmt.Sprintf("The demand covers %.0f days, less than a year: what each year brings at its time was not seen.", known.Hours()/24)})
	}
	return all
}

func missingPrice(options []analysis.Option) []analysis.Missing {
	for _, o := range options {
		if o.Price == nil {
			return []analysis.Missing{{What: fmt.Sprintf("No price was given for %q (--option), so options are not compared by all that they cost.", o.Name)}}
		}
	}
	return nil
}

// find is the command that measures a setup.
func find(s Setup, from, to, more string) string {
	return "tunnelmark find " + argument(from, "FROM") + " " + argument(to, "TO") + s.flags() + more
}

// bothAtOnce is the command that loads a tunnel in both directions with the packets of its
// ceiling.
func bothAtOnce(t tunnel) string {
	c := t.ceilings[0]
	return fmt.Sprintf("tunnelmark run %s %s%s -u --bidir -b %sM@inner -l %d", argument(t.from, "FROM"), argument(t.to, "TO"), t.setup.flags(),
		strconv.FormatFloat(testShare*c.InnerBitsPerSecond/1e6, 'f', 1, 64), max(1, c.InnerSize-headers))
}

// flags are those that differ from what a controller does of itself.
func (s Setup) flags() string {
	var flags strings.Builder
	add := func(name, value, usual string) {
		if value != "" && value != usual {
			flags.WriteString(" --" + name + " " + argument(value, strings.ToUpper(name)))
		}
	}
	add("driver", s.Driver, usualDriver)
	add("suite", s.Suite, usualSuite)
	add("encapsulation", s.Encapsulation, usualOuter)
	add("tunnels", strconv.Itoa(max(1, s.Tunnels)), "1")
	if s.Driver != existing && s.InnerMTU > 0 { // With another it would be another tunnel.
		add("mtu", strconv.Itoa(s.InnerMTU), "")
	}
	return flags.String()
}

// plain is a word that no shell and no flag parser reads as something else.
var plain = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// argument is a word as it stands in a command that people copy. Names come from files, so
// one that is not plain is left to them.
func argument(word, placeholder string) string {
	if plain.MatchString(word) {
		return word
	}
	return placeholder
}

// sizesBeside are the measured size and the usual ones that a tunnel takes.
func sizesBeside(measured, innerMTU int) string {
	sizes := []int{measured} // The first is the plan's, where packets are not counted.
	for _, size := range usualSizes {
		if size <= max(measured, innerMTU) && size != measured {
			sizes = append(sizes, size)
		}
	}
	return strings.ReplaceAll(list(sizes), " ", "")
}
