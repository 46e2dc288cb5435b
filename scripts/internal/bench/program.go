package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// Main runs a program until it ends by itself or a signal asks it to, and ends the
// process: 0 done, 1 failed, 2 usage.
func Main(name string, run func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	var wrong UsageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.As(err, &wrong):
		fmt.Fprintf(os.Stderr, "%s: %v; see %s --help\n", name, err, name)
		os.Exit(2)
	default:
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// UsageError is a mistake in the command line.
type UsageError struct{ Err error }

func (e UsageError) Error() string { return e.Err.Error() }
func (e UsageError) Unwrap() error { return e.Err }

// Options are what the user may choose.
type Options struct {
	Rounds   int
	Duration time.Duration // Of each load.
	Only     []string
	Output   string
}

// Parse reads the flags. Asked for help it writes that, in which %s stands for the
// flags, and returns flag.ErrHelp; other errors are UsageErrors. What -only takes
// is for the program to say.
func Parse(args []string, help, only string, stdout io.Writer) (Options, error) {
	var o Options
	var names string
	var seconds int
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.IntVar(&o.Rounds, "rounds", 5, "how often each load is offered; the table has the medians")
	flags.IntVar(&seconds, "seconds", 3, "how long each load is offered in each round")
	flags.StringVar(&names, "only", "", only)
	flags.StringVar(&o.Output, "o", "", "file for the table, too")
	flags.SetOutput(io.Discard) // Errors are returned, too.
	flags.Usage = func() {}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(stdout, help, defaults(flags))
		return Options{}, err
	case err != nil:
		return Options{}, UsageError{err}
	case flags.NArg() > 0:
		return Options{}, UsageError{fmt.Errorf("argument %q: there are only flags", flags.Arg(0))}
	case o.Rounds < 1:
		return Options{}, UsageError{fmt.Errorf("-rounds %d: at least one", o.Rounds)}
	case seconds < 1 || seconds > 600:
		return Options{}, UsageError{fmt.Errorf("-seconds %d: from 1 to 600", seconds)}
	}
	o.Duration = time.Duration(seconds) * time.Second
	if names != "" {
		o.Only = strings.Split(names, ",")
	}
	return o, nil
}

// defaults describes the flags.
func defaults(flags *flag.FlagSet) string {
	var list strings.Builder
	flags.SetOutput(&list)
	flags.PrintDefaults()
	return list.String()
}

// Under says whether a name is the one that -only has, or what that begins.
func Under(name, only string) bool { return name == only || strings.HasPrefix(name, only+"/") }

// Need refuses a machine on which pairs and iperf3 cannot work.
func Need() error {
	if os.Geteuid() != 0 {
		return errors.New("make network namespaces: needs root")
	}
	for _, program := range []string{"ip", "iperf3"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("find %s: %w; scripts/install-test-tools installs it", program, err)
		}
	}
	return nil
}

// Write writes the table to standard output and to the file asked for. It is an
// error, too, that loads have failed: the table names them.
func (o Options) Write(stdout io.Writer, table string, failures []string) error {
	if _, err := io.WriteString(stdout, table); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	if o.Output != "" {
		if err := os.WriteFile(o.Output, []byte(table), 0o644); err != nil {
			return fmt.Errorf("write the table: %w", err)
		}
	}
	if len(failures) > 0 {
		return fmt.Errorf("%d loads failed, the table names them", len(failures))
	}
	return nil
}
