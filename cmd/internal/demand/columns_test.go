package demand

import "testing"

// What the name of a column says, in the spellings of exporters that are about.
func TestHeadings(t *testing.T) {
	const k, m = 1e3, 1e6
	for name, want := range map[string]heading{
		"timestamp":            {role: timeRole},
		"_time":                {role: timeRole},
		"Date/Time":            {role: timeRole},
		"Time (UTC)":           {role: timeRole},
		"bits_per_second":      {role: rateRole, measure: measure{name: "bits/s", base: 1, factor: 1}, known: true},
		"in_bps":               {role: rateRole, way: inward, measure: measure{name: "bps", base: 1, factor: 1}, known: true},
		"OUT_MBPS":             {role: rateRole, way: outward, measure: measure{name: "MBPS", base: 1, factor: m}, known: true},
		"rate_mbps":            {role: rateRole, measure: measure{name: "mbps", base: 1, factor: m}, known: true},
		"Inbound [MBps]":       {role: rateRole, way: inward, measure: measure{name: "MBps", base: 8, factor: 8 * m}, known: true},
		"Traffic Out (kbit/s)": {role: rateRole, way: outward, measure: measure{name: "kbit/s", base: 1, factor: k}, known: true},
		"KiB/s":                {role: rateRole, measure: measure{name: "KiB/s", base: 8, factor: 8 << 10}, known: true},
		"ifHCInOctets":         {role: rateRole, way: inward, measure: measure{name: "Octets", base: 8, factor: 8, total: true}, known: true},
		"ifhcoutoctets":        {role: rateRole, way: outward, measure: measure{name: "octets", base: 8, factor: 8, total: true}, known: true},
		"octets":               {role: rateRole, measure: measure{name: "octets", base: 8, factor: 8, total: true}, known: true},
		"node_network_transmit_bytes_total": {role: rateRole, way: outward, counter: true,
			measure: measure{name: "bytes", base: 8, factor: 8, total: true}, known: true},
		"byte rate":         {role: rateRole, measure: measure{name: "byte", base: 8, factor: 8}, known: true},
		"rx_pps":            {role: packetRole, way: inward, measure: measure{name: "pps", base: 1, factor: 1}, known: true},
		"kpps":              {role: packetRole, measure: measure{name: "kpps", base: 1, factor: k}, known: true},
		"ifHCOutUcastPkts":  {role: packetRole, way: outward, counter: true, measure: measure{name: "Pkts", base: 1, factor: 1, total: true}, known: true},
		"packets":           {role: packetRole, measure: measure{name: "packets", base: 1, factor: 1, total: true}, known: true},
		"traffic_in":        {role: rateRole, way: inward},
		"Traffic (Mbit)":    {role: rateRole},
		"_value":            {role: rateRole},
		"max bps":           {},
		"link speed (Mbps)": {},
		"interface":         {},
		"club":              {},
		"":                  {},
	} {
		if got := readHeading(name); got != want {
			t.Errorf("%q: %+v, want %+v", name, got, want)
		}
	}
}
