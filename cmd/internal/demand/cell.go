package demand

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// What a number may be at most. No link carries a petabit per second, and no counter
// has more than 64 bits (RFC 2578, Section 7.1.10).
const (
	mostRate  = 1e15
	mostTotal = 1 << 64
)

// gaps are cells that say that nothing is known: what databases, awk and rrdtool write.
var gaps = []string{"-", "u", "nan", "-nan", "null", "none", "n/a"}

// isGap says whether a cell holds no number, soundly.
func isGap(cell []byte) bool {
	if len(cell) == 0 {
		return true
	}
	if first := cell[0]; len(cell) > 4 || first >= '0' && first <= '9' {
		return false
	}
	return slices.Contains(gaps, strings.ToLower(string(cell)))
}

// numbers reads the cells of one column. All must have the same unit beside their
// numbers, or none.
type numbers struct {
	column  int
	label   string
	bases   []base
	measure measure
	known   bool // The measure is.
	fixed   bool // It was given by the user.
	counter bool // The column's name says that it is one.
	// commas says that a comma may be a decimal mark, as the file has another delimiter.
	commas bool
	// unit is what the first number's cell has beside it, and mark its decimal mark
	// once there is one, with the lines that they are from.
	unit     string
	unitLine int
	mark     byte
	markLine int
}

// read returns bits or packets per second, the plain number for a counter, and NaN for
// a gap.
func (n *numbers) read(cell []byte, line int) (float64, error) {
	if isGap(cell) {
		return math.NaN(), nil
	}
	value, err := n.number(cell, line)
	if err != nil {
		return 0, fmt.Errorf("line %d, column %s: %w", line, n.label, err)
	}
	return value, nil
}

func (n *numbers) number(cell []byte, line int) (float64, error) {
	figure, unit := splitNumber(cell)
	if n.commas {
		if err := n.decimal(figure, line); err != nil {
			return 0, err
		}
	}
	value, err := strconv.ParseFloat(string(figure), 64)
	if err != nil {
		return 0, fmt.Errorf("%s is not a number, with or without a unit such as 350 Mbps, or a gap (empty, null, NaN, U or -)", shown(cell))
	}
	if err := n.sameUnit(unit, line); err != nil {
		return 0, fmt.Errorf("%s: %w", shown(cell), err)
	}
	return n.bounded(value, cell)
}

// bounded refuses what no interface counts.
func (n *numbers) bounded(value float64, cell []byte) (float64, error) {
	most := float64(mostTotal)
	if !n.measure.total {
		value *= n.measure.factor
		most = mostRate
	}
	switch {
	case value < 0:
		return 0, fmt.Errorf("%s is negative: a rate or counter is 0 or more", shown(cell))
	case value > most:
		return 0, fmt.Errorf("%s is more than a petabit per second or a 64-bit counter: is the unit %q right?", shown(cell), n.measure.name)
	}
	return value + 0, nil // Not a negative zero.
}

// splitNumber tells the figure from what follows it.
func splitNumber(cell []byte) (figure, unit []byte) {
	end := 0
	for end < len(cell) && (cell[end]-'0' <= 9 || isNumeric(cell, end)) {
		end++
	}
	return cell[:end], bytes.TrimSpace(cell[end:])
}

// isNumeric says whether a character that is no digit belongs to a figure.
func isNumeric(cell []byte, at int) bool {
	switch cell[at] {
	case '.', ',', '+', '-':
		return true
	case 'e', 'E':
		return at+1 < len(cell) && bytes.IndexByte([]byte("0123456789+-"), cell[at+1]) >= 0
	}
	return false
}

// decimal makes the decimal mark a point. One column has one mark: the other would be
// of thousands.
func (n *numbers) decimal(figure []byte, line int) error {
	at := bytes.IndexAny(figure, ",.")
	if at < 0 {
		return nil
	}
	if n.mark == 0 {
		n.mark, n.markLine = figure[at], line
	}
	if figure[at] != n.mark || bytes.ContainsAny(figure[at+1:], ",.") {
		return fmt.Errorf("%s has another decimal mark than line %d, or thousands apart: write plain numbers", shown(figure), n.markLine)
	}
	figure[at] = '.'
	return nil
}

// sameUnit holds the unit of a cell against that of the cells before it.
func (n *numbers) sameUnit(unit []byte, line int) error {
	if n.unitLine == 0 {
		n.unit, n.unitLine = string(unit), line
		return n.learn(n.unit)
	}
	if string(unit) != n.unit {
		return fmt.Errorf("its unit %q is another than %q on line %d: write one unit in a column, or none", string(unit[:min(len(unit), 20)]), n.unit, n.unitLine)
	}
	return nil
}

// learn takes the unit of the first number for all.
func (n *numbers) learn(unit string) error {
	if unit == "" {
		if !n.known {
			return fmt.Errorf("the unit is not known: give --demand-unit, one of %s", unitsAllowed)
		}
		return nil
	}
	m, known := n.ofCell(unit)
	switch {
	case !known:
		return fmt.Errorf("%s is not a unit of a rate such as Mbps or MB/s", shown(unit))
	case m.total:
		return fmt.Errorf("%s is an amount: a rate is per second, such as Mbps or MB/s", shown(unit))
	case n.known && n.measure.total:
		return fmt.Errorf("the column was taken as a counter of %s, which is a plain number: give --demand-unit, one of %s", n.measure.name, unitsAllowed)
	case n.fixed && m.factor != n.measure.factor:
		return fmt.Errorf("its unit is not that of --demand-unit %s", n.measure.name)
	}
	n.measure, n.known = m, true
	return nil
}

// ofCell reads a unit such as "Mbps", or a prefix alone, as in "1.2G", which is of the
// unit that the column's name has.
func (n *numbers) ofCell(unit string) (measure, bool) {
	if factor, bare := prefixes[unit]; bare {
		base := max(n.measure.base, 1)
		return measure{name: unit, base: base, factor: factor * base}, true
	}
	return readMeasure(unit, n.bases)
}
