package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tunnelmark/analysis/report"
	"tunnelmark/analysis/search"
	"tunnelmark/cmd/internal/unit"
)

// outputFlags say where a result goes: text or JSON on standard output, and an
// HTML file beside it.
type outputFlags struct {
	json  bool
	html  string
	quiet bool
}

func (o *outputFlags) add(command *cobra.Command) {
	flags := command.Flags()
	flags.BoolVarP(&o.json, "json", "J", false, "write the result as JSON instead of text")
	flags.StringVar(&o.html, "html", "", "also write a report to this HTML file")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "no progress on standard error")
}

// write puts a result out. number counts the results of one command, so that
// each has an HTML file of its own.
func (o *outputFlags) write(command *cobra.Command, number int, result report.Result) error {
	if o.html != "" {
		if err := writeFile(numbered(o.html, number), func(w io.Writer) error { return report.WriteHTML(w, result) }); err != nil {
			return err
		}
	}
	stdout := command.OutOrStdout()
	if o.json {
		return report.WriteJSON(stdout, result)
	}
	if number > 0 {
		fmt.Fprintln(stdout)
	}
	if err := report.WriteText(stdout, result, report.TextOptions{Color: colored(stdout)}); err != nil {
		return err
	}
	if o.html != "" {
		fmt.Fprintf(stdout, "report     %s\n", numbered(o.html, number))
	}
	return nil
}

// numbered turns report.html into report-2.html for the second result.
func numbered(path string, number int) string {
	if number == 0 {
		return path
	}
	extension := filepath.Ext(path)
	return fmt.Sprintf("%s-%d%s", strings.TrimSuffix(path, extension), number+1, extension)
}

// writeFile puts a whole file in place, or leaves what was there.
func writeFile(path string, write func(io.Writer) error) error {
	var content bytes.Buffer
	if err := write(&content); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".tunnelmark-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(file.Name()) // Gone already where all went well.
	_, err = file.Write(content.Bytes())
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Chmod(file.Name(), 0o644) // A report is for others to read.
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// colored says whether w is a terminal whose user wants colour (no-color.org).
func colored(w io.Writer) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(w)
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// progress tells on standard error what is going on: one line that changes on
// a terminal, plain lines elsewhere.
type progress struct {
	to    io.Writer
	quiet bool
	live  bool

	mu   sync.Mutex // Guards writes: agents log to the same place.
	line bool       // A live line stands there.
}

func newProgress(command *cobra.Command, quiet bool) *progress {
	to := command.ErrOrStderr()
	return &progress{to: to, quiet: quiet, live: isTerminal(to)}
}

// tell writes a line that stays.
func (p *progress) tell(line string) {
	if p.quiet {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.eraseLocked()
	fmt.Fprintln(p.to, line)
}

// trial shows the trial that is running; only a terminal sees it.
func (p *progress) trial(s search.Progress) {
	if p.quiet || !p.live || s.Trial != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.eraseLocked()
	fmt.Fprint(p.to, describeTrial(s))
	p.line = true
}

// done removes the live line.
func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.eraseLocked()
}

func (p *progress) eraseLocked() {
	if p.line {
		fmt.Fprint(p.to, "\r\x1b[K")
		p.line = false
	}
}

// Write lets agents log between the lines.
func (p *progress) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.eraseLocked()
	return p.to.Write(text)
}

func describeTrial(s search.Progress) string {
	load := fmt.Sprintf("a burst of %d packets", s.Load.Packets)
	if s.Load.Packets == 0 {
		load = fmt.Sprintf("%s inner for %v", unit.FormatBitRate(s.Load.InnerBitsPerSecond), s.Load.Duration.Round(10*time.Millisecond))
	}
	return fmt.Sprintf("%-8s %s; ceiling %s; %.1f s sent", s.Purpose, load, bounds(s), s.Sent.Seconds())
}

func bounds(s search.Progress) string {
	lower, upper := unit.FormatBitRate(s.InnerLowerBitsPerSecond), unit.FormatBitRate(s.InnerUpperBitsPerSecond)
	switch {
	case s.InnerLowerBitsPerSecond == 0 && s.InnerUpperBitsPerSecond == 0:
		return "not yet bounded"
	case s.InnerUpperBitsPerSecond == 0:
		return "above " + lower
	case s.InnerLowerBitsPerSecond == 0:
		return "below " + upper
	}
	return lower + " to " + upper
}
