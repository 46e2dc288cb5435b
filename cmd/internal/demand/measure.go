package demand

import (
	"regexp"
	"strings"
)

// unitsAllowed is for messages.
const unitsAllowed = "bit/s, kbit/s, Mbit/s, Gbit/s, B/s, kB/s, MB/s, GB/s, short forms such as Mbps and MBps, or bytes or bits for a counter"

// measure is what one number of a column stands for.
type measure struct {
	name   string  // As it was written: "Mbps".
	base   float64 // Bits or packets in its unit without prefix.
	factor float64 // Bits or packets in it.
	total  bool    // A counter that only grows, not a rate.
}

// isCounter says whether a measure is that of a counter. What has a prefix, as in
// "Mbit", is an amount, by which some mean a rate.
func (m measure) isCounter() bool { return m.total && m.factor == m.base && len(m.name) > 1 }

// base is the name of a unit without prefix. A single letter is told by its case: b
// is a bit, B a byte.
type base struct {
	name   string
	factor float64
}

var bitBases = []base{{"bits", 1}, {"bit", 1}, {"bytes", 8}, {"byte", 8}, {"octets", 8}, {"octet", 8}, {"b", 1}, {"B", 8}}

var packetBases = []base{{"packets", 1}, {"packet", 1}, {"pkts", 1}, {"pkt", 1}, {"p", 1}}

var prefixes = map[string]float64{
	"": 1, "k": 1e3, "K": 1e3, "m": 1e6, "M": 1e6, "g": 1e9, "G": 1e9, "t": 1e12, "T": 1e12,
	"kilo": 1e3, "mega": 1e6, "giga": 1e9, "tera": 1e12,
	"ki": 1 << 10, "Ki": 1 << 10, "mi": 1 << 20, "Mi": 1 << 20, "gi": 1 << 30, "Gi": 1 << 30, "ti": 1 << 40, "Ti": 1 << 40,
}

// perSecond is how a name says that it is a rate: bits_per_second.
var perSecond = regexp.MustCompile(`(?i)[ _-]*per[ _-]*sec(ond)?s?`)

// bitMeasure reads a unit of bits or bytes, of a rate or of a total: "Mbps", "kB/s",
// "octets".
func bitMeasure(text string) (measure, bool) { return readMeasure(text, bitBases) }

// packetMeasure reads a unit of packets: "pps", "packets/s", "packets".
func packetMeasure(text string) (measure, bool) { return readMeasure(text, packetBases) }

func readMeasure(text string, bases []base) (measure, bool) {
	amount, total := cutRate(perSecond.ReplaceAllString(text, "/s"))
	for _, b := range bases {
		if prefix, found := cutBase(amount, b.name); found {
			factor, known := prefixes[prefix]
			return measure{name: text, base: b.factor, factor: factor * b.factor, total: total}, known
		}
	}
	return measure{}, false
}

// cutRate removes what makes a unit that of a rate; without it the unit is of a total.
func cutRate(unit string) (amount string, total bool) {
	if strings.HasSuffix(unit, "PS") {
		unit = strings.ToLower(unit) // MBPS is of a database that knows capitals only: megabits.
	}
	for _, per := range []string{"/s", "/sec", "ps"} {
		if rest, found := strings.CutSuffix(unit, per); found {
			return rest, false
		}
	}
	return unit, true
}

// cutBase removes the name of a unit from the end of a text: words in any case,
// letters as they are.
func cutBase(text, name string) (prefix string, found bool) {
	if len(name) == 1 {
		return strings.CutSuffix(text, name)
	}
	if !strings.HasSuffix(strings.ToLower(text), name) {
		return "", false
	}
	return text[:len(text)-len(name)], true
}
