package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// What is compared between two ends: the time, as timeFormat, and how long the
// examination had taken by then, as time.Duration writes it.
const (
	subjectTime = "time"
	subjectTook = "examined in"
	timeFormat  = time.RFC3339Nano
)

// clocksRefused is what control.MaxSkew does.
const clocksRefused = "agents whose clocks differ by more than two minutes refuse each other's offers"

// fastSources are read without a system call (by the vDSO).
var fastSources = []string{"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"}

// clock tells how good time stamps are, and how dear.
func clock(h Host) []Finding {
	found := []Finding{clockSource(h)}
	if h.Clock == nil {
		return found
	}
	now := h.Clock.Now()
	return append(found, synchronised(h.Clock),
		Finding{Subject: subjectTime, State: OK, Figure: now.UTC().Format(timeFormat)},
		Finding{Subject: subjectTook, State: OK, Figure: now.Sub(h.Clock.Began).String()})
}

func clockSource(h Host) Finding {
	const dir = "sys/devices/system/clocksource/clocksource0/"
	source := oneLine(h.text(dir + "current_clocksource"))
	f := Finding{Subject: "source", State: OK, Figure: source}
	switch {
	case source == "":
		return unknown("source")
	case slices.Contains(fastSources, source):
		return f
	}
	f.State = Warning
	f.Cost = "each time stamp is a system call that reads a slow device: up to 1 µs, where tsc takes 25 ns; pacing and latency suffer"
	f.Remedy = "boot with another clock source; there are: " + oneLine(h.text(dir+"available_clocksource"))
	if slices.Contains(strings.Fields(h.text(dir+"available_clocksource")), "tsc") {
		f.Remedy = "echo tsc > /" + dir + "current_clocksource"
	}
	return f
}

func synchronised(c *Clock) Finding {
	if c.Synchronised {
		return Finding{Subject: "synchronised", State: OK, Figure: fmt.Sprintf("yes, wrong by %v at most", c.MaxError.Round(10*time.Microsecond))}
	}
	return Finding{
		Subject: "synchronised", State: Warning, Figure: "no",
		Cost:   "one-way delays between the ends mean nothing; " + clocksRefused,
		Remedy: "timedatectl set-ntp true, or install chrony",
	}
}
