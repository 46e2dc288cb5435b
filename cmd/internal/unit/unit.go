// Package unit turns text into numbers with units, and back: 350Mbps, 64KiB,
// 30000pps, 5ms, 60d, 0.5%. Prefixes k, M, G are powers of 1000, Ki, Mi, Gi of 1024.
package unit

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// number splits "1.2Gbps" into its figure and its unit.
var number = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?(?:[eE][0-9]{1,2})?)\s*([A-Za-z/%]*)$`)

var prefixes = map[string]float64{
	"": 1, "k": 1e3, "K": 1e3, "M": 1e6, "m": 1e6, "G": 1e9, "g": 1e9, "T": 1e12, "t": 1e12,
	"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30,
}

// BitRate reads bit/s: "350Mbps", "350M", "1.2Gbit/s". It is above zero and at
// most 100 Tbit/s.
func BitRate(text string) (float64, error) {
	return quantity(text, "a rate above zero such as 350Mbps, 350M or 1.2G", 100e12, "bps", "bit/s", "bit")
}

// PacketRate reads packet/s: "30000pps", "30kpps". It is above zero and at most
// 10^12.
func PacketRate(text string) (float64, error) {
	return quantity(text, "a packet rate above zero such as 30000pps or 30kpps", 1e12, "pps")
}

// Bytes reads a number of bytes: "64KiB", "625kB", "1500". It is above zero and
// at most 1 TB.
func Bytes(text string) (int, error) {
	const allowed = "a size above zero such as 1500, 64KiB or 625kB"
	value, err := quantity(text, allowed, 1e12, "B")
	if err == nil && value < 1 {
		err = wrong(text, allowed)
	}
	return int(math.Round(value)), err
}

// BinaryBytes reads a number of bytes as iperf3 does, where K, M and G are powers of
// 1024: "128K", "2M", "1372".
func BinaryBytes(text string) (int, error) {
	if at := len(text) - 1; at > 0 && strings.ContainsRune("kKmMgG", rune(text[at])) {
		value, err := Bytes(text[:at] + strings.ToUpper(text[at:]) + "iB")
		if err != nil {
			err = wrong(text, "a size above zero such as 1372, 128K or 2M")
		}
		return value, err
	}
	return Bytes(text)
}

// Ratio reads a share, 0 to 1: "0.5%" or "0.005".
func Ratio(text string) (float64, error) {
	const allowed = "a share from 0 to 1 such as 0.5% or 0.005"
	parts := number.FindStringSubmatch(text)
	if parts == nil || parts[2] != "" && parts[2] != "%" {
		return 0, wrong(text, allowed)
	}
	value, err := strconv.ParseFloat(parts[1], 64)
	if parts[2] == "%" {
		value /= 100
	}
	if err != nil || value > 1 {
		return 0, wrong(text, allowed)
	}
	return value, nil
}

// Duration reads a time of at least zero; a bare number counts seconds, as in
// iperf3: "30", "30s", "5ms".
func Duration(text string) (time.Duration, error) {
	const allowed = "a time such as 30, 30s or 5ms"
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		if !(seconds >= 0 && seconds <= 1e9) {
			return 0, wrong(text, allowed)
		}
		return time.Duration(seconds * float64(time.Second)), nil
	}
	value, err := time.ParseDuration(text)
	if err != nil || value < 0 {
		return 0, wrong(text, allowed)
	}
	return value, nil
}

// MostSpan is the longest that Span reads: 100 years of 365 days.
const MostSpan = 100 * 365 * day

const day = 24 * time.Hour

// Span reads a time that people count in days or weeks: "60d", "8w", "36h". A bare number
// would not say of what, and only 0 is taken.
func Span(text string) (time.Duration, error) {
	const allowed = "a time such as 60d, 8w or 36h, of 100 years at most"
	value, err := time.ParseDuration(text)
	if parts := number.FindStringSubmatch(text); parts != nil && (parts[2] == "d" || parts[2] == "w") {
		value, err = spanOf(parts[1], map[string]time.Duration{"d": day, "w": 7 * day}[parts[2]])
	}
	if err != nil || value < 0 || value > MostSpan {
		return 0, wrong(text, allowed)
	}
	return value, nil
}

// spanOf is so many times one, or more than MostSpan.
func spanOf(figure string, one time.Duration) (time.Duration, error) {
	count, err := strconv.ParseFloat(figure, 64)
	return time.Duration(min(count, float64(MostSpan/one+1)) * float64(one)), err
}

// Layer is where a rate is counted: "inner", "outer", "goodput" or "wire".
type Layer string

// The layers of design.md, section 1.
const (
	Inner   Layer = "inner"
	Outer   Layer = "outer"
	Goodput Layer = "goodput"
	Wire    Layer = "wire"
)

// LayeredBitRate reads a bit rate with an optional layer: "350M@outer". Without
// one the layer is what the caller says.
func LayeredBitRate(text string, otherwise Layer) (float64, Layer, error) {
	rate, layer, found := strings.Cut(text, "@")
	if !found {
		layer = string(otherwise)
	}
	switch Layer(layer) {
	case Inner, Outer, Goodput, Wire:
	default:
		return 0, "", wrong(text, "a layer inner, outer, goodput or wire after @")
	}
	value, err := BitRate(rate)
	return value, Layer(layer), err
}

// quantity reads a figure above zero with one of the units, or with a prefix
// alone.
func quantity(text, allowed string, most float64, units ...string) (float64, error) {
	parts := number.FindStringSubmatch(strings.TrimSpace(text))
	if parts == nil {
		return 0, wrong(text, allowed)
	}
	value, err := strconv.ParseFloat(parts[1], 64)
	if err != nil {
		return 0, wrong(text, allowed)
	}
	factor, known := prefixes[withoutUnit(parts[2], units)]
	value *= factor
	if !known || value <= 0 || value > most {
		return 0, wrong(text, allowed)
	}
	return value, nil
}

func withoutUnit(text string, units []string) string {
	for _, unit := range units {
		if prefix, found := strings.CutSuffix(text, unit); found {
			return prefix
		}
	}
	return text
}

func wrong(text, allowed string) error {
	return fmt.Errorf("%q is not %s", text, allowed)
}

// FormatBitRate writes a rate for people, with four digits: "350.1 Mbit/s".
func FormatBitRate(bitsPerSecond float64) string {
	for _, step := range []struct {
		least float64
		name  string
	}{{1e9, "Gbit/s"}, {1e6, "Mbit/s"}, {1e3, "kbit/s"}} {
		if bitsPerSecond >= step.least*0.99995 {
			return strconv.FormatFloat(bitsPerSecond/step.least, 'f', decimals(bitsPerSecond/step.least), 64) + " " + step.name
		}
	}
	return strconv.FormatFloat(bitsPerSecond, 'f', 0, 64) + " bit/s"
}

// decimals keeps four significant digits for figures below 10,000.
func decimals(value float64) int {
	switch {
	case value < 10:
		return 3
	case value < 100:
		return 2
	default:
		return 1
	}
}
