package demand

import (
	"io"
	"strconv"
	"testing"
	"time"
)

// endless writes rows of demand, ten seconds apart, without holding them.
type endless struct {
	rows, written int
	left          []byte
	buffer        []byte
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(e.left) == 0 {
			if e.written == e.rows {
				return n, io.EOF
			}
			e.left = e.row(e.buffer[:0])
			e.buffer = e.left
			e.written++
		}
		copied := copy(p[n:], e.left)
		e.left, n = e.left[copied:], n+copied
	}
	return n, nil
}

func (e *endless) row(b []byte) []byte {
	if e.written == 0 {
		b = append(b, "timestamp,bits_per_second\n"...)
	}
	at := time.Unix(1_600_000_000+10*int64(e.written), 0).UTC()
	b = append(at.AppendFormat(b, time.RFC3339), ',')
	return append(strconv.AppendInt(b, 4_838_665_000+int64(e.written%1000)*1e6, 10), '\n')
}

// BenchmarkReadCSV reads 10^7 rows: three years of samples ten seconds apart.
func BenchmarkReadCSV(b *testing.B) {
	const rows = 10_000_000
	b.ReportAllocs()
	for b.Loop() {
		d, err := ReadCSV(&endless{rows: rows}, outer)
		if err != nil || d.Samples != rows {
			b.Fatal(d.Samples, err)
		}
	}
	b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
}
