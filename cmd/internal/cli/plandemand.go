package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tunnelmark/cmd/internal/demand"
	"tunnelmark/cmd/internal/unit"
)

// demandFlags say where the demand comes from, and what its figures are.
type demandFlags struct {
	file, reverseFile string
	layer, timezone   string
	options           demand.Options
	query             demand.Query
	asking            *demand.Asking // Nil where files are read.
}

func (d *demandFlags) add(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&d.file, "demand", "", "CSV file of timestamps and rates or byte counters, - for standard input")
	flags.StringVar(&d.reverseFile, "reverse-demand", "", "the same from TO to FROM, where it has a file of its own")
	flags.StringVar(&d.layer, "demand-layer", "", "where the demand was counted (required): inner, outer or l2 (the counter of an interface)")
	flags.StringVar(&d.options.Unit, "demand-unit", "", "of the rates, such as bit/s, Mbps or kB/s, or of a counter that only grows: bytes or bits (default: what the column's name or its cells say)")
	d.addColumns(flags)
	flags.StringVar(&d.timezone, "timezone", "UTC", "where days begin, and what timestamps without a zone mean, such as Europe/Berlin")
	flags.Float64Var(&d.options.Scale, "scale", 1, "multiply the demand")
	d.addQuery(flags)
	complete(command, "demand-layer", layerNames)
}

func (d *demandFlags) addColumns(flags *pflag.FlagSet) {
	c := &d.options.Columns
	flags.StringVar(&c.Time, "time-column", "", "column of timestamps, by name or by number from 1 (default: found by its name, like all columns)")
	flags.StringVar(&c.Rate, "rate-column", "", "column of rates or counters of bytes from FROM to TO")
	flags.StringVar(&c.ReverseRate, "reverse-column", "", "that from TO to FROM")
	flags.StringVar(&c.Packets, "packets-column", "", "column of packet rates or counters, which give the packets' mean size")
	flags.StringVar(&c.ReversePackets, "reverse-packets-column", "", "that from TO to FROM")
}

func (d *demandFlags) addQuery(flags *pflag.FlagSet) {
	q := &d.query
	flags.Var(serverURL{&q.URL}, "prometheus", "URL of a Prometheus server to ask instead of --demand; a password in it is not shown in reports")
	flags.StringVar(&q.Forward, "query", "", "with --prometheus: expression of bit/s from FROM to TO, of one series")
	flags.StringVar(&q.Reverse, "reverse-query", "", "with --prometheus: that from TO to FROM")
	flags.StringVar(&q.Packets, "packets-query", "", "with --prometheus: expression of packet/s from FROM to TO")
	flags.StringVar(&q.ReversePackets, "reverse-packets-query", "", "with --prometheus: that from TO to FROM")
	flags.Var(&quantity[time.Duration]{&q.Since, unit.Span, "time", ""}, "since", "with --prometheus: how far back to ask, such as 365d (default: as far as the server keeps samples, a year where it does not say)")
	flags.Var(&quantity[time.Duration]{&q.Step, unit.Span, "time", ""}, "step", "with --prometheus: time between samples, 1s to 1h (default 5m); below a minute it shows bursts")
	flags.StringVar(&q.TokenFile, "prometheus-token-file", "", "with --prometheus: file with a bearer token")
}

// serverURL is a flag of which reports, which repeat the command line, show no password.
type serverURL struct{ into *string }

func (s serverURL) Set(text string) error { *s.into = text; return nil }
func (s serverURL) String() string        { return withoutCredentials(*s.into) }
func (s serverURL) Type() string          { return "URL" }

// withoutCredentials is a URL's scheme, host and path; empty where it is none of HTTP.
func withoutCredentials(text string) string {
	server, err := url.Parse(text)
	if err != nil || server.Host == "" || server.Scheme != "http" && server.Scheme != "https" {
		return ""
	}
	return (&url.URL{Scheme: server.Scheme, Host: server.Host, Path: server.Path}).String()
}

// csvFlags and prometheusFlags are for one source alone.
var (
	csvFlags        = []string{"demand", "reverse-demand", "time-column", "rate-column", "reverse-column", "packets-column", "reverse-packets-column"}
	prometheusFlags = []string{"query", "reverse-query", "packets-query", "reverse-packets-query", "since", "step", "prometheus-token-file"}
)

// check completes the options, and refuses what does not go together.
func (d *demandFlags) check(flags *pflag.FlagSet) (err error) {
	if err := d.checkSource(flags); err != nil {
		return err
	}
	if d.layer == "" {
		return errors.New("--demand-layer: want inner, outer or l2: a counter and a ceiling in different layers differ by 5 to 60 %, " +
			"and only you know what was counted (an interface counts l2; a tunnel interface inner; flows and firewalls mostly inner or outer)")
	}
	if d.options.Layer, err = parseLayer(d.layer); err != nil {
		return fmt.Errorf("--demand-layer: %w", err)
	}
	if d.options.Location, err = place(d.timezone); err != nil {
		return err
	}
	if d.options.Scale == 0 { // Which would be taken for the default.
		return errors.New("--scale: 0 is not a number above zero")
	}
	return d.options.Check()
}

// prepare makes what a Prometheus server, if there is one, is asked about what was until then.
func (d *demandFlags) prepare(until time.Time) (err error) {
	if d.query.URL == "" {
		return nil
	}
	d.query.Until = until
	d.asking, err = demand.NewAsking(d.query, d.options)
	return err
}

// checkSource wants one source of demand, and the flags of that one alone.
func (d *demandFlags) checkSource(flags *pflag.FlagSet) error {
	switch {
	case d.file == "" && d.query.URL == "":
		return errors.New("want the demand: --demand FILE (CSV), or --prometheus URL and --query")
	case d.file != "" && d.query.URL != "":
		return errors.New("--demand, --prometheus: only one of them can be given")
	case d.file != "":
		if d.reverseFile == "" {
			return foreign(flags, "--demand", prometheusFlags...)
		}
		return foreign(flags, "--reverse-demand", slices.Concat(prometheusFlags, []string{"reverse-column", "reverse-packets-column"})...)
	case withoutCredentials(d.query.URL) == "":
		return errors.New("--prometheus: want a URL such as http://prometheus.example:9090")
	case d.query.Forward == "":
		return errors.New("--query: want the expression of the demand in bit/s, such as 'rate(ifHCInOctets{ifName=\"st0\"}[5m]) * 8'")
	}
	return foreign(flags, "--prometheus", csvFlags...)
}

// place is a time zone by its IANA name.
func place(timezone string) (*time.Location, error) {
	location, err := time.LoadLocation(timezone)
	if err != nil || timezone == "" {
		return nil, fmt.Errorf("--timezone: %q is not the name of a time zone such as UTC or Europe/Berlin", timezone)
	}
	return location, nil
}

// read asks Prometheus, or reads one file or two.
func (d *demandFlags) read(ctx context.Context, inputs *planInputs) (demand.Demands, error) {
	if d.asking != nil {
		return d.ask(ctx, inputs)
	}
	read, err := d.readFile(ctx, inputs, d.file, "demand")
	if err != nil || d.reverseFile == "" {
		return read, err
	}
	reverse, err := d.readFile(ctx, inputs, d.reverseFile, "reverse demand")
	if err != nil {
		return read, err
	}
	if read.Reverse != nil || reverse.Reverse != nil {
		return read, usageError{errors.New("--reverse-demand: one of the files holds both directions; leave the other out, or name the one column of each as --rate-column")}
	}
	read.Reverse = &reverse.Forward
	read.Notes = slices.Concat(notesOf(d.file, read), notesOf(d.reverseFile, reverse))
	return read, nil
}

func (d *demandFlags) ask(ctx context.Context, inputs *planInputs) (demand.Demands, error) {
	server := withoutCredentials(d.query.URL)
	inputs.shown.live("asking " + server)
	asked, err := d.asking.Ask(ctx)
	if err != nil {
		return asked, err
	}
	inputs.note(server, describeDemand("demand", asked), asked.SHA256)
	return asked, nil
}

// notesOf says of one file among two which of them its notes are about.
func notesOf(name string, read demand.Demands) (notes []string) {
	for _, note := range read.Notes {
		notes = append(notes, nameOf(name)+": "+note)
	}
	return notes
}

func describeDemand(what string, read demand.Demands) string {
	return fmt.Sprintf("%s, %d samples", what, read.Samples)
}

func (d *demandFlags) readFile(ctx context.Context, inputs *planInputs, name, what string) (demand.Demands, error) {
	file, err := inputs.open(ctx, name, what)
	if err != nil {
		return demand.Demands{}, usageError{err}
	}
	defer file.Close()
	read, err := demand.ReadCSV(file, d.options)
	if err != nil {
		return read, usageUnlessCanceled(fmt.Errorf("%s: %w", nameOf(name), err))
	}
	inputs.note(name, describeDemand(what, read), read.SHA256)
	return read, nil
}
