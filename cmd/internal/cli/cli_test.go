package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
)

// The exit codes of design.md, section 8, are an interface.
func TestExitCode(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want int
	}{
		"done":        {nil, 0},
		"failed":      {errors.New("broken"), 1},
		"usage":       {fmt.Errorf("find: %w", usageError{errors.New("wrong")}), 2},
		"missed":      {fmt.Errorf("judge: %w", errMissed), 3},
		"invalid":     {fmt.Errorf("judge: %w", errInvalid), 4},
		"canceled":    {context.Canceled, 1},
		"two at once": {errors.Join(errors.New("broken"), usageError{errors.New("wrong")}), 2},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%s: exit code %d, want %d", name, got, c.want)
		}
	}
}

func TestJudge(t *testing.T) {
	result := func(cause analysis.Cause, truth *report.Truth) report.Result {
		return report.Result{Verdict: &analysis.Verdict{Cause: cause}, Truth: truth}
	}
	for name, c := range map[string]struct {
		results []report.Result
		want    error
	}{
		"policer":                   {[]report.Result{result(analysis.Policer, nil)}, nil},
		"unknown":                   {[]report.Result{result(analysis.Unknown, nil)}, nil},
		"generator":                 {[]report.Result{result(analysis.Generator, nil)}, errInvalid},
		"second is the generator's": {[]report.Result{result(analysis.Policer, nil), result(analysis.Generator, nil)}, errInvalid},
		"truth met, by generator":   {[]report.Result{result(analysis.Generator, &report.Truth{Met: true})}, nil},
		"truth missed":              {[]report.Result{result(analysis.Policer, &report.Truth{})}, errMissed},
		"no verdict, as of run":     {[]report.Result{{}}, nil},
	} {
		if got := judge(c.results); !errors.Is(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestJudgeLoad(t *testing.T) {
	trial := analysis.Trial{
		Load:      analysis.Load{InnerBitsPerSecond: 8e6, Duration: time.Second},
		InnerSize: 1000, Sent: 1000, Elapsed: time.Second,
	}
	if err := judgeTrial(trial); err != nil {
		t.Errorf("a load that was sent whole: %v", err)
	}
	stopped := analysis.TCPTrial{Stopped: "rtt>30ms: 45ms"}
	if err := judgeLoad(report.Result{TCP: []analysis.TCPTrial{stopped}}); !errors.Is(err, errStopped) || !strings.Contains(err.Error(), stopped.Stopped) {
		t.Errorf("a load that was stopped: %v", err)
	}
	trial.Sent = 900
	if err := judgeTrial(trial); !errors.Is(err, errInvalid) || !strings.Contains(err.Error(), "of 8.000 Mbit/s inner only 7.200 Mbit/s was sent; the sender could not") {
		t.Errorf("a load that was not: %v", err)
	}
	trial.Skipped = 100 * time.Millisecond
	if err := judgeTrial(trial); !errors.Is(err, errInvalid) || !strings.Contains(err.Error(), "kept the sender off the CPU for 100ms") {
		t.Errorf("a load that the host interrupted: %v", err)
	}
}

// Only where nothing else went wrong is everything removed.
func TestExplain(t *testing.T) {
	running := t.Context()
	stopped, stop := context.WithCancel(running)
	stop()
	left := errors.New("close the session: agent b is silent")
	for name, c := range map[string]struct {
		ctx  context.Context
		err  error
		want string
	}{
		"not stopped":         {running, left, "close the session: agent b is silent"},
		"canceled by another": {running, context.Canceled, "context canceled"},
		"stopped":             {stopped, fmt.Errorf("search: %w", context.Canceled), "interrupted; everything that was built has been removed"},
		"stopped, with a rest": {stopped, errors.Join(errors.Join(fmt.Errorf("search: %w", context.Canceled), left), nil),
			"interrupted; but close the session: agent b is silent"},
		"failed while stopped": {stopped, left, "close the session: agent b is silent"},
	} {
		if got := explain(c.ctx, c.err, false); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if got := explain(stopped, context.Canceled, true); got != "interrupted" {
		t.Errorf("a command that builds nothing: %q", got)
	}
}

// What a report tells to run again can be pasted into a shell.
func TestCommandLine(t *testing.T) {
	for name, c := range map[string]struct {
		typed []string
		want  string
	}{
		"arguments":  {[]string{"dc-a", "dc-b"}, "tunnelmark find dc-a dc-b"},
		"flags":      {[]string{"dc-a", "dc-b", "--size", "512,1400", "--max-rate=500M", "-J"}, "tunnelmark find dc-a dc-b --json=true --max-rate=500M --size=512,1400"},
		"odd words":  {[]string{"a b", "it's", "--html", "$HOME/my report.html"}, `tunnelmark find 'a b' 'it'\''s' '--html=$HOME/my report.html'`},
		"repeated":   {[]string{"a", "b", "--stop-if", "rtt>30ms", "--stop-if=loss>1%"}, "tunnelmark find a b '--stop-if=rtt>30ms' '--stop-if=loss>1%'"},
		"empty word": {[]string{"", "b"}, "tunnelmark find '' b"},
	} {
		t.Run(name, func(t *testing.T) {
			root, find := &cobra.Command{Use: "tunnelmark"}, findCommand()
			root.AddCommand(find)
			var got string
			find.RunE = func(command *cobra.Command, given []string) error {
				got = commandLine(command, given)
				return nil
			}
			root.SetArgs(append([]string{"find"}, c.typed...))
			if err := root.Execute(); err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("command line\n got %s\nwant %s", got, c.want)
			}
		})
	}
}
