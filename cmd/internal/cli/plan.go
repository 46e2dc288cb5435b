package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"time"
	_ "time/tzdata" // --timezone works on hosts without a database of their own.

	"github.com/spf13/cobra"

	"tunnelmark/analysis/capacity"
	"tunnelmark/analysis/report"
	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/unit"
)

// planFlags are those of plan. The way of a plan:
//
//  1. all that was typed is read (planoptions.go, plandemand.go), before any file is;
//  2. files are opened (planinputs.go), and results become what a plan needs of them
//     (planresults.go), and so does demand;
//  3. analysis/capacity answers the question that they make;
//  4. analysis/report writes the answer, once all of it is there.
type planFlags struct {
	output     outputFlags
	demand     demandFlags
	links      int
	leadTime   time.Duration
	shares     []string
	at         string
	directions string
	overhead   int
	datasheet  string
	options    []string
	author     string
}

func planCommand() *cobra.Command {
	var f planFlags
	command := &cobra.Command{
		Use:         "plan RESULT...",
		Annotations: map[string]string{buildsNothing: ""},
		Short:       "Hold measured ceilings against demand: when is the tunnel full, and what would help",
		Long: `Reads what find or lab run have written with --json, today's tunnel first, and the
demand so far, as CSV or from Prometheus. It says at which dates the demand reaches
shares of the ceiling, each with an interval and with the error that the same method
would have had in the past; when to order; and what each remedy buys in months and,
where a price is given, costs for each.

Each further RESULT of the same tunnel adds a packet size or a direction; one of another
tunnel (cipher, MTU, tunnels side by side) is a remedy. A remedy with a price, or one that only a
data sheet knows, is an --option: a claim is printed as a claim, and derated by what
today's device reaches of its own --datasheet.

The layer in which the demand was counted must be named, since a counter and a ceiling
in different layers differ by 5 to 60 %. What was not measured is named with the command
that would measure it. Nothing is sent.

RESULT and --demand may be - for standard input, one of them.`,
		Example: `  tunnelmark find dc-a dc-b --json > today.json
  tunnelmark plan today.json --demand tunnel.csv --demand-layer outer --html plan.html
  tunnelmark plan today.json two-tunnels.json chacha.json --demand tunnel.csv --demand-layer outer --lead-time 60d
  tunnelmark plan today.json --demand tunnel.csv --demand-layer inner --datasheet 500Mbps,layer=outer,size=1400 --option 'SRX345=800Mbps,layer=outer,size=1400,source=data sheet@4000USD' --option 'two tunnels=two-tunnels.json@50USD/month'
  tunnelmark plan today.json --demand-layer l2 --prometheus http://prometheus:9090 --query 'rate(ifHCOutOctets{ifName="st0"}[5m]) * 8' --since 365d`,
		Args: arguments(1, report.MaxResults, "one file or more with results (today's tunnel first)"),
		RunE: f.run,
	}
	f.add(command)
	return command
}

func (f *planFlags) add(command *cobra.Command) {
	f.output.add(command)
	f.demand.add(command)
	flags := command.Flags()
	flags.IntVar(&f.links, "links", 1, "how many tunnels like today's share the demand; with several, dates are also told for one of them down")
	flags.Var(&quantity[time.Duration]{&f.leadTime, unit.Span, "time", ""}, "lead-time", "from an order to service, such as 60d: gives dates to order by")
	flags.StringSliceVar(&f.shares, "share", nil, "shares of the ceiling whose dates are wanted (default 70%,80%,100%)")
	flags.StringVar(&f.at, "at", "", "day to plan for, such as 2015-06-15 (default: when the demand ends)")
	flags.StringVar(&f.directions, "directions", "as-measured", "whether both directions share one limit: as-measured (shared, unless run --bidir has carried more), shared or apart")
	flags.IntVar(&f.overhead, "overhead", 0, "what the tunnel adds to each packet in bytes, where no result knows it")
	flags.StringVar(&f.datasheet, "datasheet", "", "what the vendor states of today's device: RATE,layer=LAYER[,size=BYTES][,source=TEXT]")
	flags.StringArrayVar(&f.options, "option", nil, "remedy: NAME=RATE,layer=LAYER[,size=BYTES][,source=TEXT][@PRICE] or NAME=RESULT.json[@PRICE], with a price such as 4000USD, 50USD/month or 4000USD+50USD/month; may be given several times")
	flags.StringVar(&f.author, "author", "", "who makes the plan (default: user@host)")
	complete(command, "directions", func() []string { return []string{"as-measured", "shared", "apart"} })
}

func (f *planFlags) run(command *cobra.Command, given []string) error {
	now := time.Now()
	question, remedies, err := f.question(command, now)
	if err != nil {
		return usageError{err}
	}
	shown := newProgress(command, f.output.quiet)
	defer shown.done()
	inputs := &planInputs{stdin: command.InOrStdin(), shown: shown}
	results, err := f.results(command.Context(), inputs, given, remedies, &question)
	if err != nil {
		return usageUnlessCanceled(err)
	}
	demands, err := f.demand.read(command.Context(), inputs)
	if err != nil {
		return err
	}
	question.Demand, question.Reverse = demands.Forward, demands.Reverse
	plan, err := capacity.Make(question)
	if err != nil {
		return usageError{err}
	}
	if err := command.Context().Err(); err != nil {
		return err
	}
	shown.done()
	plan.Notes = slices.Concat(caveat(results), demands.Notes, plan.Notes)
	return f.write(command, report.PlanReport{
		ToolVersion: control.Version(), Written: now, Author: cmp.Or(f.author, whoami()), Plan: plan, Inputs: inputs.read,
		Reproduce: report.Reproduce{CommandLine: commandLine(command, given)}, Results: results,
	})
}

// question is all that was typed, complete. It is read before any file.
func (f *planFlags) question(command *cobra.Command, now time.Time) (q capacity.Question, remedies []remedy, err error) {
	q = capacity.Question{Links: f.links, LeadTime: f.leadTime, Overhead: f.overhead}
	if err := f.demand.check(command.Flags()); err != nil {
		return q, nil, err
	}
	until, err := f.dates(&q, now)
	if err != nil {
		return q, nil, err
	}
	if err := f.demand.prepare(until); err != nil {
		return q, nil, err
	}
	if q.Shares, err = parseShares(f.shares); err != nil {
		return q, nil, err
	}
	if q.Directions, err = parseDirections(f.directions); err != nil {
		return q, nil, err
	}
	if q.Datasheet, err = f.datasheetClaim(); err != nil {
		return q, nil, err
	}
	if remedies, err = parseRemedies(f.options); err != nil {
		return q, nil, err
	}
	return q, remedies, f.check()
}

// dates sets the day of the plan, and says until when demand can be asked for.
func (f *planFlags) dates(q *capacity.Question, now time.Time) (until time.Time, err error) {
	if f.at == "" {
		return now, nil
	}
	if q.At, err = parseDate(f.at, f.demand.options.Location); err != nil {
		return now, fmt.Errorf("--at: %w", err)
	}
	if q.At.Before(now) {
		return q.At, nil
	}
	return now, nil
}

func (f *planFlags) datasheetClaim() (*capacity.Claim, error) {
	if f.datasheet == "" {
		return nil, nil
	}
	claim, err := parseClaim(f.datasheet)
	if err != nil {
		return nil, fmt.Errorf("--datasheet %s: %w", f.datasheet, err)
	}
	return claim, nil
}

// check refuses what capacity.Make, which bounds all else, would take for a default.
func (f *planFlags) check() error {
	if f.links < 1 {
		return fmt.Errorf("--links: %d is less than 1", f.links)
	}
	if _, err := parseWords("text", f.author); f.author != "" && err != nil {
		return fmt.Errorf("--author: %w", err)
	}
	return f.output.check()
}

// whoami is user@host, as far as they are known.
func whoami() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		return name
	}
	return name + "@" + host
}

// results reads all that was measured, today's tunnel first.
func (f *planFlags) results(ctx context.Context, inputs *planInputs, given []string, remedies []remedy, q *capacity.Question) ([]report.Result, error) {
	var all []report.Result
	for _, name := range given {
		read, err := inputs.results(ctx, name, "result")
		if err != nil {
			return nil, err
		}
		all = append(all, read...)
		q.Measured = append(q.Measured, measured(name, read)...)
	}
	if all[0].Ceiling == nil {
		return nil, fmt.Errorf("%s: today's tunnel comes first, and this %w", nameOf(given[0]), errNoCeiling)
	}
	for _, r := range remedies {
		candidate := capacity.Candidate{Name: r.name, Claim: r.claim, Price: r.price}
		if r.file != "" {
			read, err := inputs.results(ctx, r.file, "option "+r.name)
			if err != nil {
				return nil, err
			}
			m, err := remedyOf(r.file, read, all[0])
			if err != nil {
				return nil, fmt.Errorf("--option %s: %s %w", r.name, r.file, err)
			}
			candidate.Measured = m
			all = append(all, read...)
		}
		q.Candidates = append(q.Candidates, candidate)
	}
	return all, nil
}

// usageUnlessCanceled says that what was given is wrong, unless the user stopped.
func usageUnlessCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return usageError{err}
}

// write puts the plan out once all of it is there: the page first, since a page that
// cannot be written shall leave nothing.
func (f *planFlags) write(command *cobra.Command, r report.PlanReport) error {
	stdout := command.OutOrStdout()
	var text bytes.Buffer
	if err := f.print(&text, colored(stdout), r); err != nil {
		return err
	}
	if err := f.output.page(&text, f.output.html, func(w io.Writer) error { return report.WritePlanHTML(w, r) }); err != nil {
		return err
	}
	_, err := text.WriteTo(stdout)
	return err
}

func (f *planFlags) print(w io.Writer, color bool, r report.PlanReport) error {
	if f.output.json {
		return report.WritePlanJSON(w, r)
	}
	return report.WritePlanText(w, r, report.TextOptions{Color: color})
}
