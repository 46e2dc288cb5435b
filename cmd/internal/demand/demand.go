// Package demand reads what a path carried over time, from a CSV file or from
// Prometheus, as analysis.Demand.
package demand

import (
	"context"
	"errors"
	"io"
	"time"

	"tunnelmark/analysis"
)

// Options say how samples are to be understood.
type Options struct {
	Layer analysis.Layer // In which the source counted.
	// Unit of the rates: "bit/s", "Mbps", "kB/s" and the like, or of a counter that
	// only grows: "bytes", "bits". Empty: as the column's name or its cells say.
	Unit string
	// Scale multiplies every rate; zero: 1.
	Scale float64
	// Location is where days begin, and that of times without a zone; nil: UTC.
	Location *time.Location
	// Columns of a CSV file. Optional.
	Columns Columns
}

// Columns are those of a CSV file, by name or by number from 1. One that is empty is
// found by its name.
type Columns struct {
	Time, Rate, ReverseRate, Packets, ReversePackets string
}

// Demands is what one source held.
type Demands struct {
	Forward analysis.Demand
	// Reverse is the other way; nil where the source has one way alone.
	Reverse *analysis.Demand
	// Notes are sentences that a user must see: what was taken as what, and what was
	// left out.
	Notes   []string
	Samples int // Of Forward, those that were dropped aside.
	// SHA256 in hexadecimal, of the bytes of a CSV file or of the samples that
	// Prometheus gave.
	SHA256 string
}

// Query is what to ask of a Prometheus server.
type Query struct {
	URL string
	// Forward is the query of the demand; the others are optional.
	Forward, Reverse, Packets, ReversePackets string
	// Since is how far back; zero: as far as the server keeps, a year where it does
	// not say.
	Since time.Duration
	// Until is the end; zero: now.
	Until time.Time
	// Step between samples; zero: 5 min.
	Step time.Duration
	// TokenFile holds a bearer token. Optional.
	TokenFile string
}

// ReadCSV reads demand from a CSV file.
func ReadCSV(r io.Reader, o Options) (Demands, error) {
	return Demands{}, errors.New("internal error: not written yet")
}

// AskPrometheus asks a Prometheus server for demand.
func AskPrometheus(ctx context.Context, q Query, o Options) (Demands, error) {
	return Demands{}, errors.New("internal error: not written yet")
}
