package demand

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"maps"
	"math"
	"regexp"
	"strconv"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// Query is what to ask of a Prometheus server.
type Query struct {
	URL string // Of the server; one that wants a password may hold it.
	// Forward is the PromQL query of the demand; the others are optional. Each must give one series.
	Forward, Reverse, Packets, ReversePackets string
	// Since is how far back to ask; zero: as far as the server keeps samples, a year where it does
	// not say.
	Since time.Duration
	// Until is the end; zero: now.
	Until time.Time
	// Step between samples, whole seconds from 1 s to 1 h; zero: 5 min. Below a minute it shows bursts.
	Step time.Duration
	// TokenFile holds a bearer token. Optional.
	TokenFile string
}

// What is asked for.
const (
	// mostPoints is what a server gives for one query
	// (prometheus/prometheus, web/api/v1/api.go, queryRange: "exceeded maximum resolution of 11,000 points").
	mostPoints   = 11_000
	mostSamples  = 1_100_000 // Of one series: ten years in steps of 5 min.
	mostQuery    = 16 << 10  // Bytes.
	usualStep    = 5 * time.Minute
	usualHistory = 365 * 24 * time.Hour
)

// Asking is what to ask of a Prometheus server, or of one that speaks its language, once.
type Asking struct {
	server  *server
	query   Query
	options Options
	columns [kinds]*numbers // Nil where nothing is asked.
	start   time.Time
	rows    []row // One for each step from start.
	notes   []string
	hash    hash.Hash
}

// NewAsking prepares a query and reads its token. Its errors are mistakes in what it was given;
// nothing is sent. An error never holds the token, nor the password of the URL.
func NewAsking(q Query, o Options) (*Asking, error) {
	o, err := o.checked()
	if err != nil {
		return nil, err
	}
	if q, err = q.checked(); err != nil {
		return nil, err
	}
	a := &Asking{query: q, options: o, hash: sha256.New()}
	if a.columns, err = a.measures(); err != nil {
		return nil, err
	}
	if a.server, err = newServer(q); err != nil {
		return nil, err
	}
	return a, nil
}

// checked returns the query with its defaults, or says what cannot be asked.
func (q Query) checked() (Query, error) {
	if q.Until.IsZero() {
		q.Until = time.Now()
	}
	if q.Step == 0 {
		q.Step = usualStep
	}
	switch {
	case q.Forward == "":
		return q, errors.New("no query for the demand: give PromQL for one series, such as sum(rate(ifHCOutOctets{ifName=\"st0.0\"}[5m])) * 8")
	case q.ReversePackets != "" && q.Reverse == "":
		return q, errors.New("a query for the packets of the way back needs one for its rate too")
	case q.Step < time.Second || q.Step > time.Hour || q.Step%time.Second != 0:
		return q, fmt.Errorf("a step of %v is not of whole seconds from 1 s to 1 h", q.Step)
	case q.Since < 0 || q.Since > mostSpan:
		return q, fmt.Errorf("a history of %s is not from 0 to ten years", days(q.Since))
	}
	if err := checkSamples(q.Since, q.Step); err != nil {
		return q, err
	}
	for _, text := range q.texts() {
		if len(text) > mostQuery {
			return q, fmt.Errorf("a query is longer than %d bytes", mostQuery)
		}
	}
	return q, nil
}

// texts are the queries by what they are for.
func (q Query) texts() [kinds]string {
	return [kinds]string{q.Forward, q.Reverse, q.Packets, q.ReversePackets}
}

// checkSamples bounds how many samples one series has.
func checkSamples(since, step time.Duration) error {
	if since/step >= mostSamples {
		return fmt.Errorf("%s in steps of %v are more than %d samples: ask for less time, or a longer step", days(since), step, mostSamples)
	}
	return nil
}

// Ask asks for the demand.
//
//  1. The server is asked how long it keeps samples; no more than that is asked for.
//  2. Each query is asked in pieces that the server allows, and must give one series.
//  3. The samples are folded like rows of a file: a moment without a sample is a gap.
//
// An error never holds the token, nor the password of the URL.
func (a *Asking) Ask(ctx context.Context) (Demands, error) {
	defer a.server.close()
	if err := a.lay(a.server.retention(ctx)); err != nil {
		return Demands{}, err
	}
	for kind, n := range a.columns {
		if n == nil {
			continue
		}
		if err := a.series(ctx, kind, n); err != nil {
			return Demands{}, err
		}
	}
	d, err := a.fold()
	if err != nil {
		return Demands{}, fmt.Errorf("samples of %s: %w", a.server.name, err)
	}
	d.SHA256 = hex.EncodeToString(a.hash.Sum(nil))
	d.Notes = append(append(a.notes, a.server.notes...), d.Notes...)
	return d, nil
}

// timesEight is how a query turns bytes into bits.
var timesEight = regexp.MustCompile(`\*\s*8(\.0*)?([^0-9.]|$)|(^|[^0-9.])8(\.0*)?\s*\*`)

// namesBytes is how it names what it counts.
var namesBytes = regexp.MustCompile(`(?i)bytes|octets`)

// measures says what the numbers of each query stand for. A server's numbers have no
// unit; without the user's they are bit/s, unless the query speaks of bytes alone.
func (a *Asking) measures() ([kinds]*numbers, error) {
	var all [kinds]*numbers
	bits, _ := bitMeasure("bit/s")
	if a.options.Unit != "" {
		bits, _ = bitMeasure(a.options.Unit)
	} else {
		for _, text := range []string{a.query.Forward, a.query.Reverse} {
			if namesBytes.MatchString(text) && !timesEight.MatchString(text) {
				return all, fmt.Errorf("query %s speaks of bytes and does not multiply by 8: give --demand-unit B/s, or bytes for a counter without rate()", shown(text))
			}
		}
		a.notes = append(a.notes, "The query's numbers were taken as bit/s; --demand-unit says otherwise.")
	}
	for kind, text := range a.query.texts() {
		if text == "" {
			continue
		}
		m := bits
		if kind >= packets {
			m = measure{name: "packets", base: 1, factor: 1, total: bits.total}
		}
		all[kind] = &numbers{label: shown(text), measure: m, known: true}
	}
	return all, nil
}

// lay makes the rows, no further back than the server keeps samples; zero: it does not
// say how far that is.
func (a *Asking) lay(kept time.Duration) error {
	since, step := a.query.Since, a.query.Step
	switch {
	case since == 0 && kept > 0:
		since = min(kept, mostSpan)
	case since == 0:
		since = usualHistory
	case kept > 0 && kept < since:
		a.notes = append(a.notes, fmt.Sprintf("The server keeps %s, so that no more than that was asked for.", days(kept)))
		since = kept
	}
	if err := checkSamples(since, step); err != nil {
		return err
	}
	count := int(since/step) + 1
	a.start = a.query.Until.Truncate(step).Add(-time.Duration(count-1) * step)
	a.rows = make([]row, count)
	for i := range a.rows {
		a.rows[i] = row{at: a.start.Add(time.Duration(i) * step), values: nothing}
	}
	return nil
}

// days writes a time to a tenth of a day, and one below a day as it is.
func days(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d.Abs() < day:
		return d.String()
	case d == day:
		return "1 day"
	}
	return strconv.FormatFloat(math.Round(10*d.Hours()/24)/10, 'f', -1, 64) + " days"
}

// series asks one query in pieces, and puts its samples into the rows.
func (a *Asking) series(ctx context.Context, kind int, n *numbers) error {
	fmt.Fprintln(a.hash, kind)
	text := a.query.texts()[kind]
	var first model.Metric
	samples := 0
	for from := 0; from < len(a.rows); from += mostPoints {
		to := min(from+mostPoints, len(a.rows)) - 1
		piece, err := a.server.rangeOf(ctx, text, v1.Range{Start: a.rows[from].at, End: a.rows[to].at, Step: a.query.Step})
		if err != nil {
			return fmt.Errorf("query %s: %w", n.label, err)
		}
		if piece == nil {
			continue
		}
		if samples == 0 {
			first = piece.Metric
		} else if later := piece.Metric; !later.Equal(first) {
			return fmt.Errorf("query %s gives %s and, later, %s: aggregate them with sum()", n.label, without(first, later), without(later, first))
		}
		samples += len(piece.Values)
		if err := a.keep(kind, n, piece.Values, from, to); err != nil {
			return fmt.Errorf("query %s: %w", n.label, err)
		}
	}
	if samples == 0 {
		return fmt.Errorf("query %s gives no samples between %s and %s: try it in the server's own page", n.label,
			a.start.UTC().Format(time.RFC3339), a.query.Until.UTC().Format(time.RFC3339))
	}
	return nil
}

// without shows the labels of a series that another has not.
func without(series, other model.Metric) string {
	rest := maps.Clone(series)
	maps.DeleteFunc(rest, func(name model.LabelName, value model.LabelValue) bool {
		also, has := other[name]
		return has && also == value
	})
	return short(rest.String())
}

// keep puts the samples of one piece, from one row to another, into their rows.
func (a *Asking) keep(kind int, n *numbers, samples []model.SamplePair, from, to int) error {
	for _, s := range samples {
		at := s.Timestamp.Time()
		index := int(at.Sub(a.start) / a.query.Step)
		if index < from || index > to || !a.rows[index].at.Equal(at) {
			return fmt.Errorf("the server answers with a sample at %s, which was not asked for", at.UTC().Format(time.RFC3339))
		}
		value := float64(s.Value)
		if math.IsNaN(value) {
			continue // 0/0 in a query: nothing is known.
		}
		text := strconv.AppendFloat(nil, value, 'g', -1, 64)
		value, err := n.bounded(value, text)
		if err != nil {
			return fmt.Errorf("at %s: %w", at.UTC().Format(time.RFC3339), err)
		}
		a.rows[index].values[kind] = value
		fmt.Fprintf(a.hash, "%d %s\n", s.Timestamp, text)
		from = index + 1 // In order, and once.
	}
	return nil
}

// fold folds the rows of which anything is known.
func (a *Asking) fold() (Demands, error) {
	f := newFolder(a.options)
	for kind, n := range a.columns {
		if n != nil {
			f.use(kind, n.label, &n.measure)
		}
	}
	for i := range a.rows {
		if !a.rows[i].known() {
			continue
		}
		if err := f.add(&a.rows[i]); err != nil {
			return Demands{}, err
		}
	}
	return f.finish()
}
