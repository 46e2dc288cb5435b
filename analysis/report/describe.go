package report

import (
	"fmt"
	"slices"
	"strings"

	"tunnelmark/analysis"
)

// pathName is "a → b", with the scenario's name.
func (r Result) pathName() string {
	name := r.direction(false)
	if r.Scenario != "" {
		name += ", scenario " + Clean(r.Scenario)
	}
	return name
}

// describe is "1400 B inner = 1464 B outer".
func (s Size) describe() string {
	if s.Outer == 0 {
		return fmt.Sprintf("%d"+nbsp+"B inner, outer not known", s.Inner)
	}
	return fmt.Sprintf("%d"+nbsp+"B inner = %d"+nbsp+"B outer", s.Inner, s.Outer)
}

// describe is what matters most of one end; what is unknown is left out.
func (e End) describe() string {
	return Clean(e.Site) + ": " + listed(Clean(e.Kernel), Clean(e.CPU), e.cores(), e.memory(), Clean(e.Driver))
}

func (e End) cores() string {
	switch {
	case e.Cores <= 0:
		return ""
	case e.Cores == 1:
		return "1 core"
	}
	return formatCount(e.Cores) + " cores"
}

func (e End) memory() string {
	if e.Memory == 0 {
		return ""
	}
	return formatBytes(float64(e.Memory))
}

// listed joins what is not empty.
func listed(parts ...string) string { return joined(", ", parts...) }

func joined(by string, parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), by)
}

// describe holds what was expected against what was found.
func (t Truth) describe() string {
	rate, cause := "", ""
	if want := t.Expected.OuterBitsPerSecond; want > 0 {
		rate = fmt.Sprintf("%s outer ± %s, measured %s", formatRate(want), formatGoal(t.Expected.Tolerance), formatDifference(t.Difference))
	}
	if want := t.Expected.InnerBitsPerSecond; want > 0 {
		rate = fmt.Sprintf("%s inner ± %s, measured %s", formatRate(want), formatGoal(t.Expected.Tolerance), formatDifference(t.Difference))
	}
	switch want := Clean(string(t.Expected.Cause)); {
	case want == "":
	case t.CauseMet:
		cause = "cause " + want + ", confirmed"
	default:
		cause = "cause " + want + ", not confirmed"
	}
	return joined("; ", rate, cause)
}

// describe is a device's setting and its counters.
func (d Device) describe() string {
	return fmt.Sprintf("%s %s toward %s: %s; passed %s, dropped %s packets", Clean(d.Kind), Clean(d.Link), Clean(d.Toward),
		d.setting(), formatCount(d.PassedPackets), formatCount(d.DroppedPackets))
}

// setting is what limits: "350.0 Mbit/s outer, bucket 64.0 KiB".
func (d Device) setting() string {
	rate, packets, burst := "", "", ""
	if d.OuterBitsPerSecond > 0 {
		rate = formatRate(d.OuterBitsPerSecond) + " outer"
	}
	if d.PacketsPerSecond > 0 {
		packets = grouped(d.PacketsPerSecond) + nbsp + "packet/s"
	}
	if d.BurstOuterBytes > 0 {
		burst = "bucket " + formatBytes(d.BurstOuterBytes)
	}
	if text := listed(rate, packets, burst); text != "" {
		return text
	}
	return "no limit"
}

// offered is the load that was asked for, with its layer.
func offered(t analysis.Trial) string {
	return formatRate(t.Load.InnerBitsPerSecond) + " inner"
}

// remarks are what else a reader should know of a trial.
func remarks(s analysis.Step) string {
	var invalid string
	t := s.Trial
	if !isBurst(s) && !t.Valid() {
		invalid = "invalid: sent less than asked"
	}
	return listed(reverse(t.Reverse), stopped(t.Stopped), invalid, firstLoss(t.FirstLoss), counted(t.Refused, "refused by the sender's stack"), counted(t.SocketDrops, "dropped by the receiver's socket"),
		counted(t.TunnelDrops, "dropped in the tunnel"+byReason(t.SenderTunnel, t.ReceiverTunnel)), counted(t.Duplicated, "duplicated"), counted(t.Reordered, "reordered"))
}

func reverse(back bool) string {
	if back {
		return "reverse"
	}
	return ""
}

func firstLoss(f *analysis.FirstLoss) string {
	if f == nil {
		return ""
	}
	return fmt.Sprintf("first loss after %s packets", formatCount(f.Packets))
}

func counted(n uint64, what string) string {
	if n == 0 {
		return ""
	}
	return formatCount(n) + " " + what
}
