package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"tunnelmark/analysis"
	"tunnelmark/analysis/capacity"
	"tunnelmark/analysis/report"
)

// planInputs opens what a plan is made from, and notes each for the report.
type planInputs struct {
	stdin io.Reader
	shown *progress
	taken string         // What standard input was read as.
	read  []report.Input // In the order in which they were given.
}

// standardInput is the name of that file.
const standardInput = "-"

// open opens a file, or standard input once. What stops reading it is ctx.
func (p *planInputs) open(ctx context.Context, name, what string) (io.ReadCloser, error) {
	if name == standardInput {
		if p.taken != "" {
			return nil, fmt.Errorf("%s: standard input is read as %s already; give a file", what, p.taken)
		}
		p.taken = what
		stdin := func() (io.ReadCloser, error) { return io.NopCloser(p.stdin), nil }
		return p.watch(ctx, interruptible(ctx, stdin), name, 0), nil
	}
	file, size, err := openFile(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return p.watch(ctx, file, name, size), nil
}

// openFile opens a file and tells its size in bytes, which a pipe has not.
func openFile(ctx context.Context, name string) (file io.ReadCloser, size int64, err error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, 0, err
	case info.IsDir():
		return nil, 0, fmt.Errorf("%s is a directory; give a file", name)
	case info.Mode().IsRegular():
		file, err := os.Open(name)
		return file, info.Size(), err
	}
	return interruptible(ctx, func() (io.ReadCloser, error) { return os.Open(name) }), 0, nil
}

func nameOf(name string) string {
	if name == standardInput {
		return "standard input"
	}
	return name
}

// note adds an input to those that the report names.
func (p *planInputs) note(name, what, hash string) {
	p.read = append(p.read, report.Input{Name: nameOf(name), SHA256: hash, What: what})
}

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
	p.note(name, what, hex.EncodeToString(hash.Sum(nil)))
	return results, nil
}

func (p *planInputs) watch(ctx context.Context, file io.ReadCloser, name string, size int64) io.ReadCloser {
	return &watchedReader{ReadCloser: file, ctx: ctx, shown: p.shown, name: nameOf(name), size: size, told: time.Now()}
}

// watchedReader shows how far a long file is read, and ends when ctx does.
type watchedReader struct {
	io.ReadCloser
	ctx   context.Context
	shown *progress
	name  string
	size  int64 // In bytes; zero where it is not known.
	count int64
	told  time.Time
}

// showEvery is often enough for eyes.
const showEvery = 200 * time.Millisecond

func (w *watchedReader) Read(buffer []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.ReadCloser.Read(buffer)
	w.count += int64(n)
	if now := time.Now(); now.Sub(w.told) >= showEvery {
		w.told = now
		w.shown.live(w.describe())
	}
	return n, err
}

func (w *watchedReader) describe() string {
	if w.size == 0 {
		return fmt.Sprintf("reading %s: %s", w.name, formatBytes(float64(w.count)))
	}
	return fmt.Sprintf("reading %s: %s, %d %%", w.name, formatBytes(float64(w.count)), 100*w.count/w.size)
}

// interruptible reads what may never give anything, such as a terminal or a pipe that
// nobody writes to, until ctx ends. The goroutine ends when the source does, or else with
// the program: nothing can wake it.
func interruptible(ctx context.Context, open func() (io.ReadCloser, error)) io.ReadCloser {
	out, in := io.Pipe()
	stop := context.AfterFunc(ctx, func() { in.CloseWithError(ctx.Err()) })
	go func() {
		defer stop()
		source, err := open()
		if err == nil {
			_, err = io.Copy(in, source)
			source.Close()
		}
		in.CloseWithError(err)
	}()
	return out
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

// remedyOf is the one of a remedy's results that compares with today's: the only one, or that
// of packets of the same size.
func remedyOf(name string, results []report.Result, today report.Result) (capacity.Measured, error) {
	var found []capacity.Measured
	for _, m := range measured(name, results) {
		if m.Ceiling != nil && (len(results) == 1 || m.Ceiling.InnerSize == today.Ceiling.InnerSize) {
			found = append(found, m)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(results) == 1:
		return capacity.Measured{}, errNoCeiling
	}
	return capacity.Measured{}, fmt.Errorf("holds %d ceilings of today's packets, which have %d B; want one", len(found), today.Ceiling.InnerSize)
}
