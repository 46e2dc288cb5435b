package demand

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// What a column can hold, as an index of a row's values.
const (
	forward = iota
	reverse
	packets
	reversePackets
	kinds
)

// columnFlags name the column of each kind on the command line.
var columnFlags = [kinds]string{"--rate-column", "--reverse-column", "--packets-column", "--reverse-packets-column"}

// layout says which columns of a file hold what.
type layout struct {
	time    int
	numbers [kinds]*numbers // Nil where the file has none.
	notes   []string
}

// role is what a column is for, by its name.
type role int

const (
	otherRole role = iota
	timeRole
	rateRole
	packetRole
)

// way is the direction that a name tells of.
type way int

const (
	noWay way = iota
	inward
	outward
)

// heading is what the name of a column says about it.
type heading struct {
	role    role
	way     way
	measure measure
	known   bool // The measure is.
	counter bool // The name says that it is a counter, whatever the others are.
}

// roles are words in names of columns. Names of extremes, errors and link speeds are
// no demand, whatever else they say.
var roles = map[string]role{
	"time": timeRole, "timestamp": timeRole, "date": timeRole, "datetime": timeRole, "ts": timeRole, "date/time": timeRole, "clock": timeRole, "epoch": timeRole,
	"rate": rateRole, "bitrate": rateRole, "traffic": rateRole, "throughput": rateRole, "bandwidth": rateRole, "demand": rateRole, "load": rateRole, "value": rateRole,
}

var ways = map[string]way{
	"in": inward, "rx": inward, "receive": inward, "received": inward, "inbound": inward, "input": inward, "ingress": inward,
	"out": outward, "tx": outward, "transmit": outward, "transmitted": outward, "sent": outward, "outbound": outward, "output": outward, "egress": outward,
}

var noDemand = []string{
	"min", "max", "minimum", "maximum", "peak", "percentile", "p95", "95th",
	"error", "errors", "discards", "drops", "dropped", "speed", "limit", "capacity",
}

// glued are the names of RFC 2863 and their like, whose words touch: ifHCInOctets.
var glued = regexp.MustCompile(`(?i)(in|out|rx|tx)(ucast)?(octets|bytes|packets|pkts|bps)`)

// readHeading understands the name of a column.
func readHeading(name string) heading {
	var h heading
	found := map[role]bool{}
	rate := false
	for _, word := range nameWords(name) {
		lower := strings.ToLower(word)
		if slices.Contains(noDemand, lower) {
			return heading{}
		}
		found[roles[lower]] = true
		h.way = max(h.way, ways[lower])
		rate = rate || lower == "rate"
		h.counter = h.counter || lower == "total" || lower == "count" || lower == "counter" || lower == "ucast"
		h.measured(word)
	}
	h.measure.total = h.measure.total && !rate
	for _, r := range []role{rateRole, timeRole} {
		if h.role == otherRole && found[r] {
			h.role = r
		}
	}
	return h
}

// measured takes a word for a unit if it is that of a rate or of a counter.
func (h *heading) measured(word string) {
	m, known := bitMeasure(word)
	r := rateRole
	if !known {
		m, known = packetMeasure(word)
		r = packetRole
	}
	if known && !h.known && (!m.total || m.isCounter()) {
		h.role, h.measure, h.known = r, m, true
	}
}

// nameWords are the words of a column's name, units such as "MB/s" in one piece.
func nameWords(name string) []string {
	name = glued.ReplaceAllString(perSecond.ReplaceAllString(name, "/s"), " $1 $2 $3")
	return strings.FieldsFunc(name, func(r rune) bool {
		return r != '/' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
}

// table is the head of a file, from which columns are chosen.
type table struct {
	names    []string // Empty for a file without a header.
	headings []heading
	cells    []string // Of the header or, without one, of the first line.
}

// newTable understands the first line: a header unless one of its cells is a time.
func newTable(cells []string) table {
	t := table{cells: cells, headings: make([]heading, len(cells))}
	first := slices.IndexFunc(cells, looksLikeTime)
	if first < 0 {
		t.names = cells
		for i, name := range cells {
			t.headings[i] = readHeading(name)
		}
		return t
	}
	t.headings[first].role = timeRole
	if len(cells) == 2 {
		t.headings[1-first].role = rateRole
	}
	return t
}

// layout chooses the columns: those that were named, else those whose names leave no
// doubt.
func (t table) layout(o Options) (layout, error) {
	var l layout
	var err error
	if l.time, err = t.choose(o.Columns.Time, "--time-column", t.with(timeRole), "the time"); err != nil {
		return l, err
	}
	chosen, err := t.rates(o.Columns, &l)
	if err != nil {
		return l, err
	}
	if err := t.packets(o.Columns, &chosen, &l); err != nil {
		return l, err
	}
	if err := t.distinct(l.time, chosen); err != nil {
		return l, err
	}
	for kind, at := range chosen {
		if at >= 0 {
			l.numbers[kind] = t.numbers(at, kind, o.Unit)
		}
	}
	l.agree()
	return l, nil
}

// rates chooses the columns of both ways. Where a file has one column out and one in,
// out is the way forward.
func (t table) rates(c Columns, l *layout) ([kinds]int, error) {
	chosen := [kinds]int{-1, -1, -1, -1}
	var err error
	if c.ReverseRate != "" {
		if chosen[reverse], err = t.named(c.ReverseRate); err != nil {
			return chosen, err
		}
	}
	candidates := slices.DeleteFunc(t.with(rateRole), func(at int) bool { return at == chosen[reverse] })
	in, out := t.toward(inward, candidates), t.toward(outward, candidates)
	if c.Rate == "" && c.ReverseRate == "" && len(candidates) == 2 && len(in) == 1 && len(out) == 1 {
		chosen[forward], chosen[reverse] = out[0], in[0]
		l.notes = append(l.notes, fmt.Sprintf("Column %s was taken as the demand and %s as the way back, as an interface at the sending end counts them: at the other end give "+
			"--rate-column and --reverse-column the other way round.", t.label(out[0]), t.label(in[0])))
		return chosen, nil
	}
	chosen[forward], err = t.choose(c.Rate, columnFlags[forward], candidates, "the demand")
	return chosen, err
}

// packets chooses the columns of packets, which a file need not have.
func (t table) packets(c Columns, chosen *[kinds]int, l *layout) error {
	for rateKind, name := range []string{c.Packets, c.ReversePackets} {
		kind, rate := rateKind+packets, chosen[rateKind]
		if rate < 0 && name != "" {
			return fmt.Errorf("%s without a column of that way's rate: give %s too", columnFlags[kind], columnFlags[rateKind])
		}
		if rate < 0 {
			continue
		}
		candidates := t.toward(t.headings[rate].way, t.with(packetRole))
		switch {
		case name != "":
			at, err := t.named(name)
			if err != nil {
				return err
			}
			chosen[kind] = at
		case len(candidates) == 1:
			chosen[kind] = candidates[0]
		case len(candidates) > 1:
			l.notes = append(l.notes, fmt.Sprintf("Packets were left out, since columns %s may hold them: name one with %s.", t.list(candidates), columnFlags[kind]))
		}
	}
	return nil
}

// choose returns the column that was named, or the only candidate.
func (t table) choose(name, flag string, candidates []int, what string) (int, error) {
	if name != "" {
		return t.named(name)
	}
	switch len(candidates) {
	case 1:
		return candidates[0], nil
	case 0:
		return 0, fmt.Errorf("no column is known to hold %s: name one of %s with %s", what, t.list(t.all()), flag)
	}
	return 0, fmt.Errorf("columns %s may hold %s: name one with %s", t.list(candidates), what, flag)
}

// named finds a column by its name, its name in another case, or its number.
func (t table) named(name string) (int, error) {
	for _, same := range []func(a, b string) bool{func(a, b string) bool { return a == b }, strings.EqualFold} {
		found := slices.DeleteFunc(t.all(), func(at int) bool { return at >= len(t.names) || !same(t.names[at], name) })
		if len(found) > 1 {
			return 0, fmt.Errorf("column %s is there more than once: give a number, of %s", shown(name), t.list(found))
		}
		if len(found) == 1 {
			return found[0], nil
		}
	}
	if number, err := strconv.Atoi(name); err == nil && number >= 1 && number <= len(t.cells) {
		return number - 1, nil
	}
	return 0, fmt.Errorf("there is no column %s: the file has %s", shown(name), t.list(t.all()))
}

// distinct refuses a column that is to be two things.
func (t table) distinct(clock int, chosen [kinds]int) error {
	seen := map[int]string{clock: "--time-column"}
	for kind, at := range chosen {
		if flag, twice := seen[at]; twice {
			return fmt.Errorf("column %s is given by both %s and %s", t.label(at), flag, columnFlags[kind])
		}
		if at >= 0 {
			seen[at] = columnFlags[kind]
		}
	}
	return nil
}

// numbers is the reader of one column's cells.
func (t table) numbers(at, kind int, unit string) *numbers {
	h := t.headings[at]
	n := &numbers{column: at, label: t.label(at), counter: h.counter}
	if kind >= packets {
		n.bases = packetBases
		if h.role == packetRole {
			n.measure, n.known = h.measure, h.known
		}
		return n
	}
	n.bases = bitBases
	if h.role == rateRole {
		n.measure, n.known = h.measure, h.known
	}
	if unit != "" {
		n.measure, n.fixed = readMeasure(unit, bitBases)
		n.known = true
	}
	return n
}

// agree settles packets whose column does not say whether they are a rate or a total:
// they are what the bits beside them are.
func (l *layout) agree() {
	for _, kind := range []int{packets, reversePackets} {
		n, bits := l.numbers[kind], l.numbers[kind-packets]
		switch {
		case n == nil:
		case !n.known:
			n.measure = measure{name: "packets", base: 1, factor: 1, total: bits.measure.total}
			n.known = true
		case !n.counter:
			n.measure.total = n.measure.total && bits.measure.total
		}
	}
}

func (t table) with(r role) []int {
	return slices.DeleteFunc(t.all(), func(at int) bool { return t.headings[at].role != r })
}

func (t table) toward(w way, of []int) []int {
	return slices.DeleteFunc(slices.Clone(of), func(at int) bool { return t.headings[at].way != w })
}

func (t table) all() []int {
	all := make([]int, len(t.cells))
	for i := range all {
		all[i] = i
	}
	return all
}

// label names a column for people: 2 "bits_per_second".
func (t table) label(at int) string {
	if len(t.names) == 0 {
		return strconv.Itoa(at + 1)
	}
	return strconv.Itoa(at+1) + " " + shown(t.names[at])
}

// mostListed columns are named in one message.
const mostListed = 16

func (t table) list(columns []int) string {
	var labels []string
	for _, at := range columns[:min(len(columns), mostListed)] {
		labels = append(labels, t.label(at))
	}
	list := strings.Join(labels, ", ")
	if more := len(columns) - mostListed; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list
}

// shown quotes a text of the file, shortened, for a message.
func shown[T string | []byte](text T) string {
	const most = 40
	if len(text) > most {
		return strconv.Quote(string(text[:most]) + "...")
	}
	return strconv.Quote(string(text))
}
