package capacity

import (
	"strings"
	"testing"
	"time"

	"tunnelmark/analysis"
)

func TestMissing(t *testing.T) {
	reverse := ramp(90, 50e6, 60e6)
	sizes := func(all ...int) (found []Measured) {
		for _, c := range modelled(64*8/350e6, 8/350e6, all...) {
			found = append(found, Measured{From: "a", To: "b", Setup: usual, Ceiling: &c})
		}
		return found
	}
	for _, tt := range []struct {
		name   string
		change func(*Question)
		want   string // In what is missing or in its command; after ! what must not be.
	}{
		{"one size", nil, "packets of 1400 B only"},
		{"one size, command", nil, "tunnelmark find a b --mtu 1436 --size 1400,256,512,1024"},
		{"two sizes", func(q *Question) { q.Measured = append(q.Measured, sizes(512)...) }, "a third would test it"},
		{"three sizes", func(q *Question) { q.Measured = append(q.Measured, sizes(256, 512)...) }, "!--size"},
		{"a small size", func(q *Question) { q.Measured[0].Ceiling = ceiling(64, 30e6) }, "--size 64,256,512,1024,1400"},
		{"sizes without a limit", func(q *Question) {
			q.Measured = append(q.Measured, sizes(512)...)
			q.Measured[1].Ceiling.InnerUpperBitsPerSecond = 0
		}, "no model"},
		{"no packets", nil, "--packets-column"},
		{"packets", func(q *Question) { q.Demand.PacketsPerSecond = scaled(q.Demand.BitsPerSecond, 1./8/900) }, "!--packets-column"},
		{"latency", nil, "!round trip"},
		{"no latency", func(q *Question) { q.Measured[0].Latency = false }, "round trip under load"},
		{"latency of another cipher", func(q *Question) {
			m := remedy(1e9, func(s *Setup) { s.Suite = "chacha20-poly1305" })
			q.Measured[0].Latency, m.Latency = false, true
			q.Measured = append(q.Measured, m)
		}, "round trip under load"},
		{"no reverse demand", nil, "from b to a was not given (--reverse-demand): if both"},
		{"no reverse demand, apart", func(q *Question) { q.Directions = Apart }, "so that direction is not planned"},
		{"reverse demand", func(q *Question) { q.Reverse = &reverse }, "!--reverse-demand"},
		{"reverse ceiling", func(q *Question) { q.Reverse = &reverse }, "tunnelmark find b a"},
		{"both at once", func(q *Question) { q.Reverse = &reverse }, "tunnelmark run a b --mtu 1436 -u --bidir -b 267.8M@inner -l 1372"},
		{"both at once measured", func(q *Question) { q.Reverse = &reverse; q.Measured[0].BothWaysInnerBitsPerSecond = 1e6 }, "!--bidir"},
		{"both at once as the user says", func(q *Question) { q.Reverse = &reverse; q.Directions = Shared }, "!--bidir"},
		{"no remedy", nil, "tunnelmark find a b --tunnels 2"},
		{"no other cipher", nil, "tunnelmark find a b --suite chacha20-poly1305"},
		{"claims only", func(q *Question) { q.Candidates = []Candidate{{Name: "box", Claim: outer(1e9)}} }, "--tunnels 2"},
		{"a remedy", func(q *Question) { q.Measured = append(q.Measured, remedy(1e9, func(s *Setup) { s.Tunnels = 2 })) }, "!--tunnels 2"},
		{"of a tunnel that stood before", func(q *Question) { q.Measured[0].Setup = Setup{Driver: "existing"} }, "a tunnel of one's own"},
		{"WireGuard has no cipher to choose", func(q *Question) { q.Measured[0].Setup = Setup{Driver: "wireguard"} }, "!--suite"},
		{"today's flags", func(q *Question) {
			q.Measured[0].Setup = Setup{Driver: "xfrm", Suite: "aes-256-gcm", Encapsulation: "raw", Tunnels: 2}
		}, "tunnelmark find a b --driver xfrm --suite aes-256-gcm --encapsulation raw --tunnels 2 --size"},
		{"names from files", func(q *Question) { q.Measured[0].From, q.Measured[0].To = "$(reboot)", "-x" }, "tunnelmark find FROM TO"},
		{"names from files are not in commands", func(q *Question) { q.Measured[0].Setup.Suite = "x; reboot" }, "!; reboot"},
		{"bursts", nil, "a sample every 60 min"},
		{"no bursts", func(q *Question) { q.Demand.PeakBitsPerSecond = q.Demand.BitsPerSecond }, "!Bursts"},
		{"less than a year", nil, "covers 90 days, less than a year"},
		{"a year", func(q *Question) { q.Demand = ramp(366, 100e6, 250e6) }, "!less than a year"},
		{"no price", func(q *Question) { q.Candidates = []Candidate{{Name: "box", Claim: outer(1e9)}} }, `for "box" (--option)`},
		{"a price", func(q *Question) {
			q.Candidates = []Candidate{{Name: "box", Claim: outer(1e9), Price: &analysis.Price{Currency: "USD", Once: 1}}}
		}, "!No price"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := asked()
			if tt.change != nil {
				tt.change(&q)
			}
			p, err := Make(q)
			if err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, m := range p.Missing {
				all = append(all, m.What+"\t"+m.Command)
			}
			text, want := strings.Join(all, "\n"), strings.TrimPrefix(tt.want, "!")
			if strings.Contains(text, want) == strings.HasPrefix(tt.want, "!") {
				t.Errorf("got\n%s\nwant %q", text, tt.want)
			}
		})
	}
}

// scaled are rates times a factor.
func scaled(rates []float64, by float64) []float64 {
	var all []float64
	for _, rate := range rates {
		all = append(all, rate*by)
	}
	return all
}

func TestBurstsAreToldInMinutes(t *testing.T) {
	v := view{lane: lane{demand: analysis.Demand{Spacing: 5 * time.Minute}}}
	v.outlook.Forecast.BurstsUnknown = true
	if got := missingDemand(v)[0].What; !strings.Contains(got, "every 5 min,") {
		t.Errorf("got %q", got)
	}
}
