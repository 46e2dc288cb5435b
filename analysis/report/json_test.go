package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tunnelmark/analysis"
)

func TestJSONRoundTrip(t *testing.T) {
	for _, f := range fixtures {
		t.Run(f.name, func(t *testing.T) {
			want := f.result()
			got, err := Read(bytes.NewReader(output(t, WriteJSON, want)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWriteJSONKeys(t *testing.T) {
	var got struct {
		Schema   int `json:"schema_version"`
		Headline struct {
			Inner   float64 `json:"inner_bits_per_second"`
			Outer   float64 `json:"outer_bits_per_second"`
			Packets float64 `json:"packets_per_second"`
		}
	}
	if err := json.Unmarshal(output(t, WriteJSON, policerResult()), &got); err != nil {
		t.Fatal(err)
	}
	if got.Schema != SchemaVersion {
		t.Errorf("schema_version: got %d, want %d", got.Schema, SchemaVersion)
	}
	if want := 1.0003 * policedRate; math.Abs(got.Headline.Outer-want) > 1 {
		t.Errorf("outer: got %v, want %v", got.Headline.Outer, want)
	}
	if want := got.Headline.Inner / 8 / innerSize; math.Abs(got.Headline.Packets-want) > 1e-6 {
		t.Errorf("packets: got %v, want %v", got.Headline.Packets, want)
	}
}

// What another program's readers look for may stand beside a result.
func TestReadSkipsForeignKeys(t *testing.T) {
	want := tcpResult()
	document, err := NewDocument(want)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(struct {
		Document
		Start     map[string]any `json:"start"`
		Intervals []int          `json:"intervals"`
		End       map[string]any `json:"end"`
	}{document, map[string]any{"version": "iperf 3.12", "timestamp": 7}, []int{1}, map[string]any{"sum_sent": map[string]any{"bytes": -1}}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Read(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReadRefuses(t *testing.T) {
	tests := []struct {
		name, text, want string
		is               error
	}{
		{name: "nothing", text: "", want: "unexpected end"},
		{name: "no object", text: "[]", want: "cannot unmarshal"},
		{name: "another program's", text: "{}", want: "schema_version is 0, want 1"},
		{name: "newer", text: `{"schema_version": 2, "kind": 7}`, want: "schema version 2, this one reads up to 1", is: ErrNewerSchema},
		{name: "unknown kind", text: `{"schema_version": 1, "kind": "sweep"}`, want: `kind is "sweep", want "find", "run" or "pmtu"`},
		{name: "pmtu without a size", text: `{"schema_version": 1, "kind": "pmtu"}`, want: "needs a path MTU"},
		{name: "find without ceiling", text: `{"schema_version": 1, "kind": "find"}`, want: "needs a ceiling and a verdict"},
		{name: "negative size", text: `{"schema_version": 1, "kind": "run", "size": {"inner_bytes": -1}}`, want: "size is -1 B"},
		{name: "negative time", text: `{"schema_version": 1, "kind": "run", "trials": [{"elapsed_ns": -1}]}`, want: "trial 1"},
		{name: "impossible rate", text: `{"schema_version": 1, "kind": "run", "trials": [{"load": {"inner_bits_per_second": 1e300}}]}`, want: "rate is 1e+300 bit/s"},
		{name: "pace that is no share", text: `{"schema_version": 1, "kind": "run", "trials": [{"pace": {"within_ratio": -1}}]}`, want: "trial 1: pace: ratio is -1"},
		{name: "negative time of TCP", text: `{"schema_version": 1, "kind": "run", "tcp_trials": [{"elapsed_ns": -1}]}`, want: "tcp trial 1: elapsed is -1ns"},
		{name: "impossible rate of TCP", text: `{"schema_version": 1, "kind": "run", "tcp_trials": [{"sent_goodput_bytes": 18446744073709551615, "elapsed_ns": 1}]}`, want: "tcp trial 1: rate"},
		{name: "impossible segment", text: `{"schema_version": 1, "kind": "run", "tcp_trials": [{"per_flow": [{"mss_bytes": -5}]}]}`, want: "tcp trial 1: flow 1: size is -5 B"},
		{name: "negative efficiency", text: `{"schema_version": 1, "kind": "run", "tcp_trials": [{"rfc6349": {"efficiency_ratio": -1}}]}`, want: "tcp trial 1: rfc6349: ratio is -1"},
		{name: "latency at an impossible load", text: `{"schema_version": 1, "kind": "run", "latency_under_load": [{"inner_bits_per_second": 1e300}]}`, want: "latency 1: rate"},
		{name: "latency beside a trial", text: `{"schema_version": 1, "kind": "run", "trials": [{"latency": {"ceiling_share": 1e300}}]}`, want: "trial 1: latency: ratio"},
		{name: "path MTU of no packet", text: `{"schema_version": 1, "kind": "run", "path_mtu": {"back": {"inner_size_bytes": -1}}}`, want: "path MTU: size is -1 B"},
		{name: "clamped to no size", text: `{"schema_version": 1, "kind": "run", "path_mtu": {"mss_there": {"received_bytes": 9999999}}}`, want: "path MTU: size is 9999999 B"},
		{name: "endless number", text: `{"schema_version": 1, "kind": "run", "duration_ns": 1e999}`, want: "cannot unmarshal"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Read(strings.NewReader(test.text))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("got error %v, want %v", err, test.is)
			}
		})
	}
}

// find prints one result after the other where several sizes are asked for.
func TestReadAll(t *testing.T) {
	first, second := policerResult(), generatorResult()
	written := slices.Concat(output(t, WriteJSON, first), output(t, WriteJSON, second))
	got, err := ReadAll(bytes.NewReader(written))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Result{first, second}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReadAllRefuses(t *testing.T) {
	run := `{"schema_version": 1, "kind": "run"}` + "\n"
	for name, c := range map[string]struct{ text, want string }{
		"nothing":               {" \n", "read results: there is none"},
		"a rest":                {run + "{", "read result 2: unexpected EOF"},
		"no JSON":               {run + "timestamp,rate\n", "read result 2: invalid character"},
		"no result":             {run + "{}", "read result 2: schema_version is 0"},
		"a newer one":           {run + `{"schema_version": 2}`, "read result 2: written by a newer tunnelmark"},
		"too many":              {strings.Repeat(run, MaxResults+1), "more than 256"},
		"nested without an end": {strings.Repeat("[", 100_000), "exceeded max depth"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := ReadAll(strings.NewReader(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%d results, %v, want an error with %q", len(got), err, c.want)
			}
		})
	}
	if _, err := ReadAll(zeros{}); err == nil || !strings.Contains(err.Error(), "more than 64.0\u00a0MiB") {
		t.Errorf("without an end: %v, want an error that names the bound", err)
	}
}

func TestReadIsBounded(t *testing.T) {
	endless := io.MultiReader(strings.NewReader(`{"notes":["`), zeros{})
	if _, err := Read(endless); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("got error %v, want one that names the bound", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

func TestWriteJSONRefusesNoNumber(t *testing.T) {
	r := policerResult()
	r.Ceiling.InnerBitsPerSecond = math.NaN()
	if err := WriteJSON(io.Discard, r); err == nil {
		t.Error("NaN was written")
	}
}

func TestCompare(t *testing.T) {
	at := func(outer, upper float64) analysis.Ceiling {
		return analysis.Ceiling{InnerBitsPerSecond: outer * innerSize / outerSize, InnerUpperBitsPerSecond: upper, InnerSize: innerSize, OuterSize: outerSize}
	}
	expected := Expected{OuterBitsPerSecond: 350e6, Tolerance: 0.005, Cause: analysis.Policer}
	tests := []struct {
		name     string
		expected Expected
		ceiling  analysis.Ceiling
		cause    analysis.Cause
		want     [3]bool // Rate, cause, both.
	}{
		{"met", expected, at(351e6, 1), analysis.Policer, [3]bool{true, true, true}},
		{"too high", expected, at(352e6, 1), analysis.Policer, [3]bool{false, true, false}},
		{"too low", expected, at(348e6, 1), analysis.Policer, [3]bool{false, true, false}},
		{"another cause", expected, at(350e6, 1), analysis.Unknown, [3]bool{true, false, false}},
		{"no limit seen", expected, at(350e6, 0), analysis.Policer, [3]bool{false, true, false}},
		{"inner rate, through a foreign tunnel", Expected{InnerBitsPerSecond: 334e6, Tolerance: 0.005}, analysis.Ceiling{InnerBitsPerSecond: 335e6, InnerUpperBitsPerSecond: 1}, analysis.Unknown, [3]bool{true, true, true}},
		{"inner rate too low", Expected{InnerBitsPerSecond: 334e6, Tolerance: 0.005}, analysis.Ceiling{InnerBitsPerSecond: 331e6, InnerUpperBitsPerSecond: 1}, analysis.Unknown, [3]bool{false, true, false}},
		{"cause alone", Expected{Cause: analysis.Generator}, at(1e9, 0), analysis.Generator, [3]bool{true, true, true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := Compare(test.expected, test.ceiling, test.cause)
			if diff := cmp.Diff(test.want, [3]bool{got.RateMet, got.CauseMet, got.Met}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What the JSON's headline says of what was available, and of the path.
func TestFiguresOfAvailable(t *testing.T) {
	var got struct {
		Headline figures `json:"headline"`
	}
	if err := json.Unmarshal(output(t, WriteJSON, availableResult()), &got); err != nil {
		t.Fatal(err)
	}
	h := got.Headline
	if h.Meaning != analysis.Available || h.At.Format(time.RFC3339) != "2026-11-23T05:10:42Z" || h.PathProven == nil || *h.PathProven || h.LossyTime != 0.2 {
		t.Errorf("meaning %q at %v, path proven %v, %g s of loss", h.Meaning, h.At, h.PathProven, h.LossyTime)
	}
}

func TestPathEvidence(t *testing.T) {
	told := func(proven ...bool) Result {
		r := Result{Tunnel: Tunnel{Driver: foreign}}
		for i, p := range proven {
			r.Evidence = append(r.Evidence, Evidence{Site: string(rune('a' + i)), Proven: p, How: "seen"})
		}
		return r
	}
	for _, test := range []struct {
		name   string
		result Result
		proven bool
		text   string
	}{
		{"a tunnel of our own", Result{Tunnel: Tunnel{Driver: "esp"}}, true, ""},
		{"nobody tells", told(), false, "path not proven: neither end could tell"},
		{"one end cannot", told(true, false), false, "path not proven: b: seen"},
		{"both can", told(true, true), true, "path proven: a: seen; b: seen"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if proven, text := test.result.pathEvidence(); proven != test.proven || text != test.text {
				t.Errorf("%v, %q, want %v, %q", proven, text, test.proven, test.text)
			}
		})
	}
}

// FuzzRead holds that whatever Read takes can be written in all formats, comes
// back the same, and makes a sound page.
func FuzzRead(f *testing.F) {
	f.Add(small(f))
	for _, text := range enormous {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Read(bytes.NewReader(text))
		if err != nil {
			return
		}
		again, err := Read(bytes.NewReader(output(t, WriteJSON, r)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, again, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if err := sound(output(t, WriteHTML, r)); err != nil {
			t.Error(err)
		}
		if bytes.ContainsAny(output(t, plainText, r), "\x1b\x00\u202e") {
			t.Error("text carries control characters")
		}
	})
}

// small is a result with one of everything; a fuzzer gets nowhere with more.
func small(f *testing.F) []byte {
	r := policerResult()
	r.Ceiling.Steps = r.Ceiling.Steps[4:9]
	for i := range r.Ceiling.Steps {
		trial := &r.Ceiling.Steps[i].Trial
		trial.Windows = trial.Windows[:min(len(trial.Windows), 6)]
	}
	r.Reproduce.Scenario = "version: 1\n"
	r.Trials, r.TCP = mixedResult().Trials[:1], tcpResult().TCP
	r.Trials[0].Windows = r.Trials[0].Windows[:6]
	r.Latencies, r.PathMTU = latencyResult().Latencies, latencyResult().PathMTU
	var out bytes.Buffer
	if err := WriteJSON(&out, r); err != nil {
		f.Fatal(err)
	}
	return out.Bytes()
}

// enormous are results with figures at the ends of what JSON can say.
var enormous = []string{
	`{"schema_version":1,"kind":"find","ceiling":{"inner_bits_per_second":1e18,"inner_lower_bits_per_second":1e18,"inner_upper_bits_per_second":1e18,"inner_size_bytes":1,"outer_size_bytes":9},"verdict":{"evidence":[{"value":1e18,"unit":"s"},{"value":-1e-320,"unit":"B"}]}}`,
	`{"schema_version":1,"kind":"run","trials":[{"load":{"inner_bits_per_second":1e18},"inner_size_bytes":1,"outer_size_bytes":1048576,"sent_packets":100000000,"received_packets":1,"elapsed_ns":1}]}`,
	`{"schema_version":1,"kind":"run","trials":[{"load":{"inner_bits_per_second":1e-320},"inner_size_bytes":1,"sent_packets":1,"elapsed_ns":9223372036854775807}]}`,
	`{"schema_version":1,"kind":"run","trials":[{"inner_size_bytes":1,"sent_packets":9,"received_packets":9,"elapsed_ns":9,"windows":[{"start_ns":-9223372036854775808,"end_ns":9223372036854775807},{"packets":1,"end_ns":1},{"min_delay_ns":9223372036854775807},{},{}]}]}`,
}
