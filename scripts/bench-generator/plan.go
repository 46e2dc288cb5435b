package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tunnelmark/scripts/internal/bench"
)

// protocol is what a load is made of.
type protocol string

const (
	udpLoad protocol = "udp"
	tcpLoad protocol = "tcp"
)

// tool is who offers a load.
type tool string

const (
	ours   tool = "tunnelmark"
	iperf3 tool = "iperf3"
)

// job is one load, offered by one tool. Equal jobs are the same measurement.
type job struct {
	Tool     tool
	Protocol protocol

	// InnerSize is the length of UDP's IP packets, in bytes.
	InnerSize int
	// InnerBitsPerSecond paces UDP; zero means as fast as the tool can.
	InnerBitsPerSecond float64
	// ShareOfMaximum paces UDP at that share of what maximum(InnerSize) got
	// through in the same round. Optional.
	ShareOfMaximum float64
	// Single sends each datagram by itself, and NoGRO receives each by itself:
	// iperf3 always does both.
	Single, NoGRO bool

	Flows int // Of TCP.
}

func (j job) paced() bool { return j.InnerBitsPerSecond != 0 || j.ShareOfMaximum != 0 }

// maximum is the job that tells the most that this machine carries.
func maximum(innerSize int) job { return job{Tool: ours, Protocol: udpLoad, InnerSize: innerSize} }

// section is a table of its own.
type section string

const (
	sectionUDP    section = "udp"
	sectionTCP    section = "tcp"
	sectionPacing section = "pacing"
)

// row compares two measurements.
type row struct {
	section      section
	name         string // As -only takes it.
	label        []string
	ours, theirs job
	// wanted is the least ratio of what gets through that performance.md asks
	// for; zero means that it asks for none.
	wanted float64
}

// sizes are lengths of inner IP packets, in bytes.
var sizes = []int{64, 512, 1400, 8900}

// plan lists the rows whose names are one of only, or are under one of them; all
// rows if there are none.
func plan(only []string) ([]row, error) {
	all := slices.Concat(udpRows(), tcpRows(), pacingRows())
	if len(only) == 0 {
		return all, nil
	}
	var rows []row
	for _, r := range all {
		if slices.ContainsFunc(only, r.under) {
			rows = append(rows, r)
		}
	}
	for _, name := range only {
		if !slices.ContainsFunc(rows, func(r row) bool { return r.under(name) }) {
			return nil, fmt.Errorf("-only %s: there is no such row; the names are %s", name, names(all))
		}
	}
	return rows, nil
}

func (r row) under(name string) bool { return bench.Under(r.name, name) }

func names(rows []row) string {
	var list []string
	for _, r := range rows {
		list = append(list, r.name)
	}
	return strings.Join(list, " ")
}

// manner is how datagrams are handed to the kernel and taken from it.
type manner struct {
	name, label   string
	single, noGRO bool
	wanted        map[int]float64 // Ratio by size.
}

var manners = []manner{
	{name: "gro", label: "GSO to GRO", wanted: map[int]float64{64: 50, 1400: 20}},
	{name: "gso", label: "GSO to a receiver without GRO", noGRO: true, wanted: map[int]float64{64: 5, 1400: 4}},
	{name: "single", label: "one datagram per packet", single: true, noGRO: true, wanted: map[int]float64{64: 1.05, 1400: 1.05}},
}

func udpRows() (rows []row) {
	for _, size := range sizes {
		for _, m := range manners {
			own := maximum(size)
			own.Single, own.NoGRO = m.single, m.noGRO
			rows = append(rows, row{
				section: sectionUDP,
				name:    fmt.Sprintf("udp/%d/%s", size, m.name),
				label:   []string{fmt.Sprintf("%d B", size), m.label},
				ours:    own,
				theirs:  job{Tool: iperf3, Protocol: udpLoad, InnerSize: size},
				wanted:  m.wanted[size],
			})
		}
	}
	return rows
}

func tcpRows() (rows []row) {
	for _, flows := range []int{1, 4} {
		rows = append(rows, row{
			section: sectionTCP,
			name:    fmt.Sprintf("tcp/%d", flows),
			label:   []string{strconv.Itoa(flows)},
			ours:    job{Tool: ours, Protocol: tcpLoad, Flows: flows},
			theirs:  job{Tool: iperf3, Protocol: tcpLoad, Flows: flows},
			wanted:  1.4,
		})
	}
	return rows
}

// pace is a rate of inner IP packets: either absolute or a share of the maximum.
type pace struct {
	name               string
	innerBitsPerSecond float64
	shareOfMaximum     float64
}

var paces = []pace{
	{name: "1M", innerBitsPerSecond: 1e6},
	{name: "10M", innerBitsPerSecond: 10e6},
	{name: "350M", innerBitsPerSecond: 350e6},
	{name: "2G", innerBitsPerSecond: 2e9},
	{name: "80%", shareOfMaximum: 0.8},
}

func pacingRows() (rows []row) {
	for _, size := range []int{64, 1400, 8900} {
		for _, p := range paces {
			load := job{Tool: ours, Protocol: udpLoad, InnerSize: size, InnerBitsPerSecond: p.innerBitsPerSecond, ShareOfMaximum: p.shareOfMaximum}
			theirs := load
			theirs.Tool = iperf3
			rows = append(rows, row{
				section: sectionPacing,
				name:    fmt.Sprintf("pacing/%d/%s", size, p.name),
				label:   []string{fmt.Sprintf("%d B", size), p.name},
				ours:    load,
				theirs:  theirs,
			})
		}
	}
	return rows
}

// jobs lists what the rows compare, each once, in an order in which a share of a
// maximum comes after it.
func jobs(rows []row) (list []job) {
	add := func(j job) {
		if !slices.Contains(list, j) {
			list = append(list, j)
		}
	}
	for _, r := range rows {
		for _, j := range []job{r.ours, r.theirs} {
			if j.ShareOfMaximum != 0 {
				add(maximum(j.InnerSize))
			}
			add(j)
		}
	}
	return list
}

// String names a job for progress and failures.
func (j job) String() string {
	if j.Protocol == tcpLoad {
		return fmt.Sprintf("%s: TCP, flows: %d", j.Tool, j.Flows)
	}
	text := fmt.Sprintf("%s: UDP, %d B", j.Tool, j.InnerSize)
	switch {
	case j.InnerBitsPerSecond != 0:
		text += ", " + bench.Quantity(j.InnerBitsPerSecond) + "bit/s"
	case j.ShareOfMaximum != 0:
		text += fmt.Sprintf(", %g %% of the maximum", j.ShareOfMaximum*100)
	}
	for _, m := range manners {
		if j.Tool == ours && !j.paced() && j.Single == m.single && j.NoGRO == m.noGRO {
			text += ", " + m.label
		}
	}
	return text
}
