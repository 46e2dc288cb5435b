package report

import (
	"fmt"

	"tunnelmark/analysis"
)

// PathMTUs are which packets a path takes in both directions, and what became of
// the MSS that each end asked for.
type PathMTUs struct {
	There    analysis.PathMTU `json:"there"` // From the path's From to its To.
	Back     analysis.PathMTU `json:"back"`
	MSSThere *analysis.MSS    `json:"mss_there,omitempty"`
	MSSBack  *analysis.MSS    `json:"mss_back,omitempty"`
}

func (p *PathMTUs) check() error {
	if p == nil {
		return nil
	}
	for _, d := range p.directions() {
		if err := checkSizes(d.mtu.InnerSize, d.mtu.LocalMTU, d.mtu.BlackHoleFrom, d.mtu.ICMPSaid, d.mss.Sent, d.mss.Received); err != nil {
			return err
		}
	}
	return nil
}

// headline is the largest packet that passes both ways.
func (p PathMTUs) headline() headline {
	h := headline{Title: "Path MTU"}
	if both := min(p.There.InnerSize, p.Back.InnerSize); both > 0 {
		h.Rate, h.Layer = sizeOr(both, none), "inner"
	}
	if p.There.BlackHoleFrom > 0 || p.Back.BlackHoleFrom > 0 {
		h.Caution = "Larger packets vanish, and nothing says that they are too big: a black hole."
	}
	return h
}

// pathDirection is one direction of a path; an MSS of zero was not looked at.
type pathDirection struct {
	back bool
	mtu  analysis.PathMTU
	mss  analysis.MSS
}

func (p *PathMTUs) directions() []pathDirection {
	there, back := pathDirection{mtu: p.There}, pathDirection{back: true, mtu: p.Back}
	if p.MSSThere != nil {
		there.mss = *p.MSSThere
	}
	if p.MSSBack != nil {
		back.mss = *p.MSSBack
	}
	return []pathDirection{there, back}
}

// pathMTURow is one direction in a table.
type pathMTURow struct {
	Direction, InnerSize, LocalMTU, BlackHole, ICMP, MSS, Note string
}

func (r Result) pathMTURows() []pathMTURow {
	if r.PathMTU == nil {
		return nil
	}
	var rows []pathMTURow
	for _, d := range r.PathMTU.directions() {
		rows = append(rows, pathMTURow{
			Direction: r.direction(d.back), InnerSize: sizeOr(d.mtu.InnerSize, "none arrived"), LocalMTU: sizeOr(d.mtu.LocalMTU, none),
			BlackHole: sizeOr(d.mtu.BlackHoleFrom, none), ICMP: sizeOr(d.mtu.ICMPSaid, "nothing"), MSS: describeMSS(d.mss), Note: Clean(d.mtu.Note),
		})
	}
	return rows
}

// describe is a row as one sentence.
func (p pathMTURow) describe() string {
	hole, mss := "", ""
	if p.BlackHole != none {
		hole = "black hole from " + p.BlackHole
	}
	if p.MSS != none {
		mss = "MSS " + p.MSS
	}
	return fmt.Sprintf("%s: ", p.Direction) + joined("; ", "largest inner packet "+p.InnerSize+", interface "+p.LocalMTU, hole, "ICMP said "+p.ICMP, mss, p.Note)
}

// direction names one: "a → b".
func (r Result) direction(back bool) string {
	if back {
		return Clean(r.Path.To) + " → " + Clean(r.Path.From)
	}
	return Clean(r.Path.From) + " → " + Clean(r.Path.To)
}

func sizeOr(size int, otherwise string) string {
	if size == 0 {
		return otherwise
	}
	return formatCount(size) + nbsp + "B"
}

// describeMSS says what a SYN asked for, and what was left of it on arrival.
func describeMSS(m analysis.MSS) string {
	switch {
	case m == (analysis.MSS{}):
		return none
	case m.Clamped() && m.Received == 0:
		return sizeOr(m.Sent, none) + ", removed on the way"
	case m.Clamped():
		return sizeOr(m.Sent, none) + " clamped to " + sizeOr(m.Received, none)
	}
	return sizeOr(m.Sent, none)
}
