package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"tunnelmark/analysis"
	"tunnelmark/analysis/capacity"
	"tunnelmark/analysis/report"
	"tunnelmark/cmd/internal/kind"
)

// results reads what find, run or lab run have written.
func (p *planInputs) results(ctx context.Context, name, what string) ([]report.Result, error) {
	file, err := p.open(ctx, name, what)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	hash := sha256.New()
	results, err := report.ReadAll(io.TeeReader(file, hash))
	if err != nil {
		return nil, fmt.Errorf("%s: %w; give what find, run or lab run have written with --json", nameOf(name), err)
	}
	if p.count += len(results); p.count > report.MaxResults {
		return nil, fmt.Errorf("%s: more than %d results in all files; give fewer", nameOf(name), report.MaxResults)
	}
	p.note(name, what, hex.EncodeToString(hash.Sum(nil)))
	return results, nil
}

// measured reduces results of one file to what a plan needs.
func measured(name string, results []report.Result) []capacity.Measured {
	var all []capacity.Measured
	for i, r := range results {
		m := measuredFrom(r)
		m.Name = nameOf(name)
		if len(results) > 1 {
			m.Name = fmt.Sprintf("%s, result %d", m.Name, i+1)
		}
		all = append(all, m)
	}
	return all
}

// measuredFrom is the one place in which a result becomes what a plan needs of it.
func measuredFrom(r report.Result) capacity.Measured {
	carried, size := bothWays(r.Trials)
	return capacity.Measured{
		From: r.Path.From, To: r.Path.To,
		Setup: capacity.Setup{
			Driver: r.Tunnel.Driver, Suite: r.Tunnel.Suite, Encapsulation: r.Tunnel.Encapsulation,
			Tunnels: r.Tunnel.Count, InnerMTU: r.Tunnel.InnerMTU,
		},
		Ceiling:                    r.Ceiling,
		BothWaysInnerBitsPerSecond: carried,
		BothWaysInnerSize:          size,
		Latency:                    hasLatency(r),
	}
}

// caveat is what the rates of the measured tunnels do not say, one note of all: a text
// shows few. None where they say all.
func caveat(results []report.Result) (notes []string) {
	var drivers []string
	for _, r := range results {
		drivers = append(drivers, r.Tunnel.Driver)
	}
	if text := kind.Caveat(drivers...); text != "" {
		notes = append(notes, text)
	}
	return notes
}

// bothWaysLossGoal is the loss, as a ratio, that find allows unless it is told otherwise.
const bothWaysLossGoal = 0.001

// bothWays is what the two loads of run --bidir, which ran at once, carried together;
// zero where there is no such pair, or where one of them lost too much. Their size, in
// bytes, is the mean of a mix, and zero where they differ.
func bothWays(trials []analysis.Trial) (innerBitsPerSecond float64, innerSize int) {
	if len(trials) != 2 || trials[0].Reverse == trials[1].Reverse {
		return 0, 0
	}
	for _, trial := range trials {
		if trial.Received == 0 || trial.Lossy(bothWaysLossGoal) {
			return 0, 0
		}
		innerBitsPerSecond += trial.InnerReceivedBitsPerSecond()
	}
	if trials[0].InnerSize == trials[1].InnerSize {
		innerSize = trials[0].InnerSize
	}
	return innerBitsPerSecond, innerSize
}

// hasLatency says whether round trips were measured beside a load.
func hasLatency(r report.Result) bool {
	for _, l := range r.Latencies {
		if l.Share > 0 {
			return true
		}
	}
	for _, trial := range r.Trials {
		if trial.Latency != nil {
			return true
		}
	}
	return false
}

// errNoCeiling says what a file lacks.
var errNoCeiling = errors.New("holds fixed loads (run) and no ceiling; give what find or lab run have written")

// remedyOf are the ceilings of a remedy, that which compares with today's first: the only
// one, or the one of packets of the same size.
func remedyOf(name string, results []report.Result, today report.Result) ([]capacity.Measured, error) {
	var found, others []capacity.Measured
	for _, m := range measured(name, results) {
		switch {
		case m.Ceiling == nil:
		case len(results) == 1 || m.Ceiling.InnerSize == today.Ceiling.InnerSize:
			found = append(found, m)
		default:
			others = append(others, m)
		}
	}
	switch {
	case len(found) == 1:
		return append(found, others...), nil
	case len(results) == 1:
		return nil, errNoCeiling
	}
	return nil, fmt.Errorf("holds %d ceilings of today's packets, which have %d B; want one", len(found), today.Ceiling.InnerSize)
}
