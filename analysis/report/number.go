package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"tunnelmark/analysis"
)

// none stands where there is nothing to say.
const none = "–"

// nbsp stands between a figure and its unit, so that no line breaks there;
// text for a terminal turns it into a plain space.
const nbsp = "\u00a0"

// A scale is a prefixed unit and how many base units it has.
type scale struct {
	name string
	size float64
}

// The scales of each quantity, largest first.
var (
	bitRates = []scale{{"Tbit/s", 1e12}, {"Gbit/s", 1e9}, {"Mbit/s", 1e6}, {"kbit/s", 1e3}, {"bit/s", 1}}
	binary   = []scale{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}
	times    = []scale{{"s", 1}, {"ms", 1e-3}, {"µs", 1e-6}, {"ns", 1e-9}}
)

// scaleFor is the largest scale in which the value is at least one once it is
// rounded to four digits, and the smallest for less.
func scaleFor(value float64, scales []scale) scale {
	for _, s := range scales {
		if math.Abs(value) >= s.size*0.99995 {
			return s
		}
	}
	return scales[len(scales)-1]
}

// formatRate writes bit/s with four digits: "350.1 Mbit/s". Its caller adds the
// layer.
func formatRate(bitsPerSecond float64) string { return formatIn(bitsPerSecond, bitRates, 4) }

// outerRate writes an inner rate of a trial's packets in the outer layer, if that is
// known.
func outerRate(t analysis.Trial, innerBitsPerSecond float64) string {
	if t.OuterSize == 0 {
		return none
	}
	return formatRate(t.Outer(innerBitsPerSecond))
}

// formatBytes writes bytes in binary units with three digits: "64.4 KiB".
func formatBytes(bytes float64) string {
	s := scaleFor(bytes, binary)
	if s.size == 1 {
		return grouped(bytes) + nbsp + "B"
	}
	return significant(bytes/s.size, 3) + nbsp + s.name
}

// formatDuration writes a time with three digits: "512 µs", "10.0 s".
func formatDuration(d time.Duration) string {
	switch {
	case d == 0:
		return "0" + nbsp + "s"
	case d >= 100*time.Second:
		return d.Round(time.Second).String()
	}
	return formatIn(d.Seconds(), times, 3)
}

// formatShare writes a ratio as a percentage with up to three digits, and never
// rounds something to nothing: "0.021 %", "<" + nbsp + "0.001" + nbsp + "%".
func formatShare(ratio float64) string {
	percent := ratio * 100
	switch magnitude := math.Abs(percent); {
	case percent == 0:
		return "0" + nbsp + "%"
	case magnitude < 0.001:
		return "<" + nbsp + "0.001" + nbsp + "%"
	case magnitude < 1:
		return trimmed(percent, 3) + nbsp + "%"
	}
	return significant(percent, 3) + nbsp + "%"
}

// formatGoal writes a share that somebody chose, without digits that nobody
// chose: "0.1 %", "0.5 %".
func formatGoal(ratio float64) string { return trimmed(ratio*100, 4) + nbsp + "%" }

// formatDifference writes a ratio's difference with its sign: "+0.04 %".
func formatDifference(ratio float64) string {
	if math.Abs(ratio) < 0.5e-4 { // No sign for what is rounded away.
		return "±0" + nbsp + "%"
	}
	text := strconv.FormatFloat(ratio*100, 'f', 2, 64) + nbsp + "%"
	if ratio > 0 {
		return "+" + text
	}
	return minus(text)
}

// minus is the sign that is as wide as a plus.
func minus(text string) string { return strings.Replace(text, "-", "−", 1) }

// formatCount writes an integer in groups of three: "29,893".
func formatCount[T int | uint64](n T) string { return group(strconv.FormatInt(int64(n), 10)) }

// formatEvidence writes what a signal measured, in a scale of its unit.
func formatEvidence(e analysis.Evidence) string {
	switch e.Unit {
	case "bit/s":
		return formatRate(e.Value)
	case "s":
		return formatIn(e.Value, times, 3)
	case "B":
		return formatBytes(e.Value)
	case "packets":
		return grouped(e.Value)
	case "ratio", "count", "":
		return trimmed(e.Value, 4)
	}
	return trimmed(e.Value, 4) + nbsp + Clean(e.Unit)
}

func formatIn(value float64, scales []scale, digits int) string {
	if value == 0 {
		return "0" + nbsp + scaleFor(1, scales).name
	}
	s := scaleFor(value, scales)
	return minus(significant(value/s.size, digits)) + nbsp + s.name
}

// significant writes a figure with so many digits, and all of those before the
// point.
func significant(value float64, digits int) string {
	before := 1
	if magnitude := math.Abs(value); magnitude >= 1 {
		before = int(math.Floor(math.Log10(magnitude))) + 1
	}
	// 9.9996 has one digit before the point until it is rounded to 10.
	decimals := max(0, digits-before)
	if text := strconv.FormatFloat(math.Abs(value), 'f', decimals, 64); decimals > 0 && strings.IndexByte(text, '.') > before {
		decimals--
	}
	return group(strconv.FormatFloat(value, 'f', decimals, 64))
}

// trimmed writes a figure with at most so many decimals.
func trimmed(value float64, decimals int) string {
	text := strconv.FormatFloat(value, 'f', decimals, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	if value != 0 && strings.Trim(text, "-0.") == "" {
		return strconv.FormatFloat(value, 'g', 2, 64)
	}
	return group(text)
}

func grouped(value float64) string { return group(strconv.FormatFloat(value, 'f', 0, 64)) }

// group puts commas between the thousands of a number's text, which may have a
// sign and decimals.
func group(text string) string {
	end := strings.IndexByte(text, '.')
	if end < 0 {
		end = len(text)
	}
	start := strings.IndexAny(text, "0123456789")
	for i := end - 3; i > start && start >= 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// formatRough writes bit/s with three digits, for what is not known to four.
func formatRough(bitsPerSecond float64) string { return formatIn(bitsPerSecond, bitRates, 3) }

// formatPercent writes a ratio with two digits, and no more than whole per cents from
// ten on: "8.1 %", "39 %".
func formatPercent(ratio float64) string {
	percent := ratio * 100
	switch magnitude := math.Abs(percent); {
	case magnitude == 0:
		return "0" + nbsp + "%"
	case magnitude < 0.05:
		return "<" + nbsp + "0.1" + nbsp + "%"
	case magnitude < 9.95:
		return minus(trimmed(percent, 1)) + nbsp + "%"
	}
	return minus(grouped(percent)) + nbsp + "%"
}

// formatSigned is formatPercent with a sign.
func formatSigned(ratio float64) string {
	switch {
	case math.Abs(ratio) < 0.0005:
		return "±0" + nbsp + "%"
	case ratio > 0:
		return "+" + formatPercent(ratio)
	}
	return formatPercent(ratio)
}

// formatMoney writes whole units from a hundred on: "40,000 USD".
func formatMoney(amount float64, currency string) string {
	decimals := 0
	if amount != math.Trunc(amount) && math.Abs(amount) < 100 {
		decimals = 2
	}
	return strings.TrimSpace(group(strconv.FormatFloat(amount, 'f', decimals, 64)) + nbsp + Clean(currency))
}

// formatHours writes whole hours, and never rounds some to none.
func formatHours(hours float64) string {
	if hours > 0 && hours < 1 {
		return "less than 1"
	}
	return trimmed(math.Round(hours), 0)
}

// formatDays writes a time in days.
func formatDays(d time.Duration) string {
	days := trimmed(d.Hours()/24, 1)
	if days == "1" {
		return "1" + nbsp + "day"
	}
	return days + nbsp + "days"
}

// plain has the spaces that every program knows.
func plain(text string) string { return strings.ReplaceAll(text, nbsp, " ") }

// isoDate, longDate and quarter write days: "2015-11-26", "26 November 2015", "Q4 2015".
func isoDate(t time.Time) string  { return t.Format(time.DateOnly) }
func longDate(t time.Time) string { return t.Format("2" + nbsp + "January" + nbsp + "2006") }

func quarter(t time.Time) string {
	return fmt.Sprintf("Q%d"+nbsp+"%d", (int(t.Month())+2)/3, t.Year())
}

// packetsPerSecond is how many packets of so many bytes make a rate.
func packetsPerSecond(bitsPerSecond float64, size int) float64 {
	if size <= 0 {
		return 0
	}
	return bitsPerSecond / 8 / float64(size)
}

// maxText bounds what a name or a sentence from elsewhere may take on a line.
const maxText = 600

// Clean makes a string from elsewhere safe for a terminal's line: no control
// characters, which could move the cursor, and none that turn the direction of
// writing.
func Clean(text string) string {
	runes := []rune(strings.TrimSpace(text))
	if len(runes) > maxText {
		runes = append(runes[:maxText:maxText], '…')
	}
	return strings.Map(printable, string(runes))
}

// cleanLines is Clean for a text of several lines.
func cleanLines(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return r
		}
		return printable(r)
	}, text)
}

func printable(r rune) rune {
	switch {
	case unicode.IsPrint(r):
		return r
	case unicode.IsSpace(r):
		return ' '
	}
	return unicode.ReplacementChar
}
