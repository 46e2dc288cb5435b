package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestIperf3Args(t *testing.T) {
	for _, tt := range []struct {
		name string
		job  job
		want string
	}{
		{"TCP", job{Protocol: tcpLoad, Flows: 4}, "-C cubic -P 4"},
		{"UDP, as fast as it can", job{Protocol: udpLoad, InnerSize: 64}, "-u -l 36 -b 0"},
		{"UDP, paced", job{Protocol: udpLoad, InnerSize: 1400, InnerBitsPerSecond: 350e6}, "-u -l 1372 -b 343000000 -i 0.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(iperf3Args(tt.job, 2*time.Second), " ")
			if want := "-c 198.18.0.2 -J -t 2 " + tt.want; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The fixtures are what iperf 3.12 wrote, with -b 350M -l 1372 and with -P 2.
func TestParseIperf3(t *testing.T) {
	for _, tt := range []struct {
		file string
		job  job
		want outcome
	}{
		{"iperf3-udp.json", job{Protocol: udpLoad, InnerSize: 1400, InnerBitsPerSecond: 350e6 * 1400 / 1372}, outcome{
			packetsSent: 31862, packetsReceived: 31736, innerBytesReceived: 31736 * 1400,
			elapsed: 1_000_213_000, pacing: pacing{rateError: -0.0009366, within: 1},
		}},
		{"iperf3-udp.json", job{Protocol: udpLoad, InnerSize: 1400}, outcome{
			packetsSent: 31862, packetsReceived: 31736, innerBytesReceived: 31736 * 1400, elapsed: 1_000_213_000,
		}},
		{"iperf3-tcp.json", job{Protocol: tcpLoad, Flows: 2}, outcome{
			goodputBytesReceived: 3012034560, elapsed: 1_006_621_000,
		}},
	} {
		got, err := parseIperf3(fixture(t, tt.file), tt.job)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(outcome{}, pacing{}), cmpopts.EquateApprox(0, 1e-6)); diff != "" {
			t.Errorf("%s of %v (-want +got):\n%s", tt.file, tt.job, diff)
		}
	}
}

func TestParseIperf3Refuses(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", "read iperf3's result"},
		{"an error", `{"start":{},"error":"unable to connect to server: Connection refused"}`, "Connection refused"},
		{"no sums", `{"start":{},"end":{}}`, "no sums"},
		{"nothing received", `{"end":{"sum_sent":{"seconds":1},"sum_received":{"seconds":1,"bytes":0}}}`, "no sums"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := parseIperf3([]byte(tt.text), job{Protocol: tcpLoad}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// More may be reported lost than sent where datagrams came twice.
func TestParseIperf3LostMoreThanSent(t *testing.T) {
	text := `{"end":{"sum_sent":{"seconds":1,"bytes":100},"sum_received":{"seconds":1,"bytes":100,"packets":3,"lost_packets":4}}}`
	got, err := parseIperf3([]byte(text), job{Protocol: udpLoad, InnerSize: 64})
	if err != nil || got.packetsReceived != 0 {
		t.Errorf("got %d packets, error %v; want none", got.packetsReceived, err)
	}
}

// A window may be off by 1 %, or by two datagrams where those are more.
func TestIperf3Pacing(t *testing.T) {
	interval := func(bytes float64) iperf3Interval { return iperf3Interval{iperf3Sum{Seconds: 0.1, Bytes: bytes}} }
	for _, tt := range []struct {
		name  string
		bytes []float64 // Of each interval; the mean is 100,000.
		size  int
		want  float64
	}{
		{"even", []float64{100_000, 100_000}, 128, 1},
		{"within 1 %", []float64{101_000, 99_000}, 128, 1},
		{"beyond 1 %", []float64{101_001, 99_001, 100_000, 99_998}, 128, 0.75},
		{"within two datagrams", []float64{102_000, 98_000}, 1028, 1},
		{"beyond two datagrams", []float64{102_001, 97_999}, 1028, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r iperf3Result
			for _, bytes := range tt.bytes {
				r.Intervals = append(r.Intervals, interval(bytes))
			}
			r.End.Sent = iperf3Sum{Seconds: 1, Bytes: 1e6}
			if got := iperf3Pacing(r, job{InnerSize: tt.size, InnerBitsPerSecond: 8e6}); got.within != tt.want {
				t.Errorf("got a share of %g within, want %g", got.within, tt.want)
			}
		})
	}
}
