package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"tunnelmark/analysis"
)

// MaxBytes bounds the JSON that Read takes: some two hundred thousand trials.
const MaxBytes = 64 << 20

// ErrNewerSchema says that a result was written by a later tunnelmark.
var ErrNewerSchema = errors.New("written by a newer tunnelmark")

// WriteJSON writes the result, with its headline in both layers beside it for
// readers that do not want to compute. Read ignores that part.
func WriteJSON(w io.Writer, r Result) error {
	document, err := NewDocument(r)
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(document); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// Document is a result as WriteJSON writes it. Who embeds one in a struct puts keys
// of another program beside the result's own: Read ignores all that it does not know.
type Document struct {
	Result
	Headline *figures `json:"headline,omitempty"`
}

// NewDocument refuses what Read would refuse.
func NewDocument(r Result) (Document, error) {
	r.SchemaVersion = SchemaVersion
	if err := r.check(); err != nil {
		return Document{}, err
	}
	return Document{Result: r, Headline: r.figures()}, nil
}

// Read reads a result that WriteJSON wrote. A newer schema is refused with
// ErrNewerSchema, and so is more than MaxBytes.
func Read(r io.Reader) (Result, error) {
	text, err := readBounded(r)
	if err != nil {
		return Result{}, fmt.Errorf("read result: %w", err)
	}
	result, err := decode(text)
	if err != nil {
		return Result{}, fmt.Errorf("read result: %w", err)
	}
	return result, nil
}

// MaxResults bounds what ReadAll takes.
const MaxResults = 256

// ReadAll reads one result or several, one after the other, as WriteJSON writes those of
// several sizes. All together are bound by MaxBytes; none is an error.
func ReadAll(r io.Reader) ([]Result, error) {
	text, err := readBounded(r)
	if err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	var results []Result
	for documents := json.NewDecoder(bytes.NewReader(text)); ; {
		var document json.RawMessage
		err := documents.Decode(&document)
		switch {
		case errors.Is(err, io.EOF) && len(results) > 0:
			return results, nil
		case errors.Is(err, io.EOF):
			return nil, errors.New("read results: there is none")
		case len(results) == MaxResults:
			return nil, fmt.Errorf("read results: more than %d", MaxResults)
		}
		var result Result
		if err == nil {
			result, err = decode(document)
		}
		if err != nil {
			return nil, fmt.Errorf("read result %d: %w", len(results)+1, err)
		}
		results = append(results, result)
	}
}

func readBounded(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err == nil && len(text) > MaxBytes {
		err = fmt.Errorf("more than %s", formatBytes(MaxBytes))
	}
	return text, err
}

// decode looks at the version alone first, since a newer result may not even
// parse as this one.
func decode(text []byte) (Result, error) {
	var schema struct {
		Version int `json:"schema_version"`
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		return Result{}, err
	}
	if schema.Version > SchemaVersion {
		return Result{}, fmt.Errorf("%w: schema version %d, this one reads up to %d",
			ErrNewerSchema, schema.Version, SchemaVersion)
	}
	var result Result
	if err := json.Unmarshal(text, &result); err != nil {
		return Result{}, err
	}
	return result, result.check()
}

// check refuses what is no result, so that writers need not.
func (r Result) check() error {
	switch {
	case r.SchemaVersion != SchemaVersion:
		return fmt.Errorf("schema_version is %d, want %d", r.SchemaVersion, SchemaVersion)
	case r.Kind != Find && r.Kind != Run && r.Kind != PathMTU:
		return fmt.Errorf("kind is %q, want %q, %q or %q", r.Kind, Find, Run, PathMTU)
	case r.Kind == Find && (r.Ceiling == nil || r.Verdict == nil):
		return fmt.Errorf("kind %q needs a ceiling and a verdict", Find)
	case r.Kind == PathMTU && r.PathMTU == nil:
		return fmt.Errorf("kind %q needs a path MTU", PathMTU)
	}
	return r.checkFigures()
}

// The most that a figure may be: far above what any tunnel carries, far below
// what arithmetic on it can bear.
const (
	maxBitsPerSecond = 1e18
	maxPacketBytes   = 1 << 20
)

func (r Result) checkFigures() error {
	if err := checkSizes(r.Size.Inner, r.Size.Outer); err != nil {
		return err
	}
	if err := r.Tunnel.check(); err != nil {
		return fmt.Errorf("tunnel: %w", err)
	}
	if c := r.Ceiling; c != nil {
		if err := checkSizes(c.InnerSize, c.OuterSize); err != nil {
			return fmt.Errorf("ceiling: %w", err)
		}
		if err := checkRates(c.InnerBitsPerSecond, c.InnerLowerBitsPerSecond, c.InnerUpperBitsPerSecond); err != nil {
			return fmt.Errorf("ceiling: %w", err)
		}
	}
	for i, s := range r.steps() {
		if err := checkTrial(s.Trial); err != nil {
			return fmt.Errorf("trial %d: %w", i+1, err)
		}
	}
	for i, t := range r.TCP {
		if err := checkTCP(t); err != nil {
			return fmt.Errorf("tcp trial %d: %w", i+1, err)
		}
	}
	for i, l := range r.Latencies {
		if err := checkLatency(&l); err != nil {
			return fmt.Errorf("latency %d: %w", i+1, err)
		}
	}
	if err := r.PathMTU.check(); err != nil {
		return fmt.Errorf("path MTU: %w", err)
	}
	return nil
}

func (t Tunnel) check() error {
	if t.Setup < 0 {
		return fmt.Errorf("setup took %v, want none below zero", t.Setup)
	}
	m := t.Most
	if m == nil {
		return nil
	}
	if err := checkSizes(m.LinkMTU, m.InnerSize); err != nil {
		return err
	}
	return checkRates(m.LinkBitsPerSecond, m.InnerBitsPerSecond, m.GoodputBitsPerSecond)
}

func checkTrial(t analysis.Trial) error {
	if t.Elapsed < 0 || t.Skipped < 0 || t.Load.Burst < 0 {
		return fmt.Errorf("elapsed is %v, skipped %v, bursts of %d packets, want none below zero", t.Elapsed, t.Skipped, t.Load.Burst)
	}
	if err := checkSizes(t.InnerSize, t.OuterSize); err != nil {
		return err
	}
	if err := checkRatios(t.Pace.Within, t.Pace.Worst); err != nil {
		return fmt.Errorf("pace: %w", err)
	}
	if err := checkLatency(t.Latency); err != nil {
		return fmt.Errorf("latency: %w", err)
	}
	return checkRates(t.Load.InnerBitsPerSecond, t.Load.NewFlowsPerSecond, t.InnerSentBitsPerSecond(), t.InnerReceivedBitsPerSecond())
}

func checkTCP(t analysis.TCPTrial) error {
	if t.Elapsed < 0 || t.ReceivedElapsed < 0 {
		return fmt.Errorf("elapsed is %v at the sender, %v at the receiver, want none below zero", t.Elapsed, t.ReceivedElapsed)
	}
	for i, f := range t.PerFlow {
		if err := checkSizes(f.MSS); err != nil {
			return fmt.Errorf("flow %d: %w", i+1, err)
		}
	}
	if err := checkLatency(t.Latency); err != nil {
		return fmt.Errorf("latency: %w", err)
	}
	if q := t.Quality; q != nil {
		if err := errors.Join(checkRatios(q.Efficiency, q.BufferDelay, q.TransferTime), checkRates(q.BottleneckGoodputBitsPerSecond)); err != nil {
			return fmt.Errorf("rfc6349: %w", err)
		}
	}
	return checkRates(t.Load.GoodputBitsPerSecond, t.SentGoodputRate(), t.ReceivedGoodputRate())
}

func checkLatency(l *analysis.Latency) error {
	if l == nil {
		return nil
	}
	return errors.Join(checkRatios(l.Share), checkRates(l.InnerBitsPerSecond))
}

// maxRatio is far above what a share or a delay over an idle path's can be.
const maxRatio = 1e9

func checkRatios(ratios ...float64) error {
	for _, ratio := range ratios {
		if !(ratio >= 0 && ratio <= maxRatio) {
			return fmt.Errorf("ratio is %v, want 0 to %v", ratio, maxRatio)
		}
	}
	return nil
}

func checkSizes(sizes ...int) error {
	for _, size := range sizes {
		if size < 0 || size > maxPacketBytes {
			return fmt.Errorf("size is %d B, want 0 to %d", size, maxPacketBytes)
		}
	}
	return nil
}

func checkRates(rates ...float64) error {
	for _, rate := range rates {
		// What is no number fails every comparison.
		if !(rate >= 0 && rate <= maxBitsPerSecond) {
			return fmt.Errorf("rate is %v bit/s, want 0 to %v", rate, maxBitsPerSecond)
		}
	}
	return nil
}

// figures are a ceiling in both layers.
type figures struct {
	// Meaning is "ceiling", or "available" at a time beside other traffic.
	Meaning analysis.Meaning `json:"meaning"`
	At      time.Time        `json:"at,omitzero"`
	// PathProven is there where the tunnel was there before.
	PathProven *bool `json:"path_proven,omitempty"`

	InnerBitsPerSecond      float64 `json:"inner_bits_per_second"`
	OuterBitsPerSecond      float64 `json:"outer_bits_per_second"`
	InnerLowerBitsPerSecond float64 `json:"inner_lower_bits_per_second"`
	InnerUpperBitsPerSecond float64 `json:"inner_upper_bits_per_second,omitempty"`
	OuterLowerBitsPerSecond float64 `json:"outer_lower_bits_per_second"`
	OuterUpperBitsPerSecond float64 `json:"outer_upper_bits_per_second,omitempty"`
	PacketsPerSecond        float64 `json:"packets_per_second"`
	TrafficTime             float64 `json:"traffic_seconds"`
	LossyTime               float64 `json:"lossy_seconds"`
}

func (r Result) figures() *figures {
	c := r.Ceiling
	if c == nil {
		return nil
	}
	f := &figures{
		Meaning:                 analysis.TrueCeiling,
		InnerBitsPerSecond:      c.InnerBitsPerSecond,
		OuterBitsPerSecond:      c.OuterBitsPerSecond(),
		InnerLowerBitsPerSecond: c.InnerLowerBitsPerSecond,
		InnerUpperBitsPerSecond: c.InnerUpperBitsPerSecond,
		OuterLowerBitsPerSecond: c.OuterLowerBitsPerSecond(),
		OuterUpperBitsPerSecond: c.OuterUpperBitsPerSecond(),
		PacketsPerSecond:        packetsPerSecond(c.InnerBitsPerSecond, c.InnerSize),
		TrafficTime:             c.TrafficTime().Seconds(),
		LossyTime:               c.LossyTime().Seconds(),
	}
	if c.IsAvailable() {
		f.Meaning, f.At = analysis.Available, r.foundAt()
	}
	if proven, known := r.pathEvidence(); known != "" {
		f.PathProven = &proven
	}
	return f
}
