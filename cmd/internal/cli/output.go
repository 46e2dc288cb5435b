package cli

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tunnelmark/analysis/report"
	"tunnelmark/analysis/search"
	"tunnelmark/cmd/internal/unit"
)

// listFlag is --json of a command that lists things.
type listFlag struct{ json bool }

func (l *listFlag) add(command *cobra.Command) {
	command.Flags().BoolVarP(&l.json, "json", "J", false, "as JSON")
}

// write puts all out, as one JSON array or as text.
func (l *listFlag) write(w io.Writer, all any, text func(io.Writer) error) error {
	if l.json {
		return json.NewEncoder(w).Encode(all)
	}
	return text(w)
}

// lines writes one thing a line, after a word.
func lines(all []string, word string) func(io.Writer) error {
	return func(w io.Writer) error {
		for _, one := range all {
			if _, err := fmt.Fprintln(w, strings.TrimSpace(word+" "+one)); err != nil {
				return err
			}
		}
		return nil
	}
}

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

// check says, before a long measurement, whether its report can be written.
func (o *outputFlags) check() error {
	if o.html == "" {
		return nil
	}
	if info, err := os.Stat(o.html); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("--html: %s is not a file that can be replaced", o.html)
	}
	folder := filepath.Dir(o.html)
	probe, err := os.CreateTemp(folder, temporary)
	var at *fs.PathError
	if errors.As(err, &at) {
		return fmt.Errorf("--html: no report can be written to %s: %w", folder, at.Err)
	}
	if err != nil {
		return fmt.Errorf("--html: %w", err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// write puts a result out. number counts the results of one command, so that
// each has an HTML file of its own.
func (o *outputFlags) write(command *cobra.Command, number int, result report.Result) error {
	if err := o.print(command.OutOrStdout(), number, result); err != nil {
		return err
	}
	return o.writeHTML(command, number, result)
}

// writeHTML writes the report, where one is wanted.
func (o *outputFlags) writeHTML(command *cobra.Command, number int, result report.Result) error {
	return o.page(command.OutOrStdout(), numbered(o.html, number), func(w io.Writer) error { return report.WriteHTML(w, result) })
}

// page writes the report to path, where one is wanted, and says on stdout where it is.
func (o *outputFlags) page(stdout io.Writer, path string, write func(io.Writer) error) error {
	if o.html == "" {
		return nil
	}
	if err := writeFile(path, write); err != nil {
		return err
	}
	if !o.json {
		fmt.Fprintf(stdout, "Report    %s\n", path)
	}
	return nil
}

func (o *outputFlags) print(stdout io.Writer, number int, result report.Result) error {
	if o.json {
		return report.WriteJSON(stdout, result)
	}
	if number > 0 {
		fmt.Fprintln(stdout)
	}
	return report.WriteText(stdout, result, report.TextOptions{Color: colored(stdout)})
}

// numbered turns report.html into report-2.html for the second result.
func numbered(path string, number int) string {
	if number == 0 {
		return path
	}
	extension := filepath.Ext(path)
	return fmt.Sprintf("%s-%d%s", strings.TrimSuffix(path, extension), number+1, extension)
}

// temporary names what becomes a report when it is whole.
const temporary = ".tunnelmark-*"

// writeFile puts a whole file in place, or leaves what was there.
func writeFile(path string, write func(io.Writer) error) error {
	var content bytes.Buffer
	if err := write(&content); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), temporary)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() { _ = os.Remove(file.Name()) }() // Gone already where all went well.
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

// printable takes out what would steer a terminal: much of what is shown was
// said by a remote agent.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsGraphic(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

// progress tells on standard error what is going on: one line that changes on
// a terminal, plain lines elsewhere.
type progress struct {
	to    io.Writer
	quiet bool
	width int  // Of the terminal, in columns; zero where there is none.
	line  bool // A live line stands there.
}

func newProgress(command *cobra.Command, quiet bool) *progress {
	to := command.ErrOrStderr()
	return &progress{to: to, quiet: quiet, width: widthOf(to)}
}

// widthOf is zero for what cannot show a live line.
func widthOf(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return 0
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0 // No terminal.
	}
	return cmp.Or(width, 80) // Some do not say.
}

// tell writes a line that stays.
func (p *progress) tell(line string) {
	if p.quiet {
		return
	}
	p.done()
	fmt.Fprintln(p.to, printable(line))
}

// trial shows the trial that is running.
func (p *progress) trial(s search.Progress) {
	if s.Trial == nil {
		p.live(describeTrial(s))
	}
}

// live shows a line until the next one; only a terminal sees it.
func (p *progress) live(line string) {
	if p.quiet || p.width == 0 {
		return
	}
	p.done()
	columns := []rune(printable(line))
	fmt.Fprint(p.to, string(columns[:min(len(columns), p.width-1)])) // One that wraps could not be erased.
	p.line = true
}

// done removes the live line.
func (p *progress) done() {
	if p.line {
		fmt.Fprint(p.to, "\r\x1b[K")
		p.line = false
	}
}

// describeTrial fits the 80 columns of a terminal; it is of ASCII. The bounds are a
// ceiling's or, beside production, of what is available.
func describeTrial(s search.Progress) string {
	load := fmt.Sprintf("%s for %v", unit.FormatBitRate(s.Load.InnerBitsPerSecond), s.Load.Duration.Round(10*time.Millisecond))
	return fmt.Sprintf("%4.1fs %-8s %s; bounds %s", s.Sent.Seconds(), s.Purpose, load, bounds(s))
}

func bounds(s search.Progress) string {
	lower, upper := unit.FormatBitRate(s.InnerLowerBitsPerSecond), unit.FormatBitRate(s.InnerUpperBitsPerSecond)
	switch {
	case s.InnerLowerBitsPerSecond == 0 && s.InnerUpperBitsPerSecond == 0:
		return "not known yet"
	case s.InnerUpperBitsPerSecond == 0:
		return "> " + lower + " inner"
	case s.InnerLowerBitsPerSecond == 0:
		return "< " + upper + " inner"
	}
	return lower + " to " + upper + " inner"
}
