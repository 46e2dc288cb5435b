package iperf

import (
	"fmt"
	"strconv"
	"time"
)

// prefixes are iperf3's.
var prefixes = []string{"", "K", "M", "G", "T"}

// formatBytes writes an amount of data in powers of 1024 with three digits, as
// iperf3 does: "1.25 MBytes".
func formatBytes(bytes float64) string { return formatIn(bytes, 1024) + "Bytes" }

// formatRate writes bit/s in powers of 1000: "9.90 Gbits/sec".
func formatRate(bitsPerSecond float64) string { return formatIn(bitsPerSecond, 1000) + "bits/sec" }

// formatIn fills four places, in all but rates beyond what any wire carries.
func formatIn(value, base float64) string {
	prefix := 0
	for value >= base && prefix < len(prefixes)-1 {
		value, prefix = value/base, prefix+1
	}
	decimals := 0
	switch { // 9.995 would become 10.00, which has five places.
	case value < 9.995:
		decimals = 2
	case value < 99.95:
		decimals = 1
	}
	return fmt.Sprintf("%4.*f %s", decimals, value, prefixes[prefix])
}

// formatPercent has two digits, and all of those before the point.
func formatPercent(percent float64) string {
	if percent >= 10 {
		return strconv.FormatFloat(percent, 'f', 0, 64) + "%"
	}
	return fmt.Sprintf("%.2g%%", percent)
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }
