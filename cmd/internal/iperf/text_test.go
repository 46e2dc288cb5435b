package iperf

import (
	"bytes"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"tunnelmark/analysis/report"
)

func TestTextGolden(t *testing.T) {
	for _, l := range loads() {
		t.Run(l.name, func(t *testing.T) {
			var out bytes.Buffer
			play(t, NewText(&out, report.TextOptions{}), l)
			golden(t, "testdata/"+l.name+".txt", out.String())
		})
	}
}

// Scripts cut iperf3's lines by fields and by columns; ours must come apart alike.
func TestTextColumns(t *testing.T) {
	// Lines of iperf3 3.12, with the head that is ours.
	const (
		interval = "[  5]   0.00-1.00   sec  1.22 MBytes  10.2 Mbits/sec  39"
		sender   = "[  5]   0.00-2.00   sec   521 MBytes  4.37 Gbits/sec    2             sender"
		receiver = "[  5]   0.00-2.02   sec   521 MBytes  4.37 Gbits/sec                  receiver"
		datagram = "[  5]   0.00-2.00   sec  3.59 MBytes  10.0 Mbits/sec  0.039 ms  0/115 (0%)  receiver"
	)
	var tcp, udp bytes.Buffer
	play(t, NewText(&tcp, report.TextOptions{}), tcpLoad("", 1, false))
	play(t, NewText(&udp, report.TextOptions{}), udpLoad("", 1, false))
	for _, test := range []struct{ iperf3, text, pick string }{
		{interval, udp.String(), "sec .* Mbits/sec  9"},
		{sender, tcp.String(), "sender$"},
		{receiver, tcp.String(), "receiver$"},
		{datagram, udp.String(), "receiver$"},
	} {
		line := regexp.MustCompile("(?m)^.*" + test.pick + ".*").FindString(test.text)
		for _, mark := range []string{"sec ", "Bytes", "bits/sec"} {
			if strings.Index(line, mark) != strings.Index(test.iperf3, mark) {
				t.Errorf("%q stands elsewhere than in iperf3:\n%s\n%s", mark, line, test.iperf3)
			}
		}
		if role := "receiver"; strings.HasSuffix(test.iperf3, role) && len(strings.Fields(line)) != len(strings.Fields(test.iperf3)) {
			t.Errorf("other fields than iperf3:\n%s\n%s", line, test.iperf3)
		}
	}
}

// Nothing that an agent says steers a terminal.
func TestTextHostile(t *testing.T) {
	const attack = "\x1b[2J\u202e\x00\u009b31m"
	l := tcpLoad("", 1, false)
	l.setup.From, l.setup.To = attack, attack
	l.result.Path = report.Path{From: attack, To: attack}
	l.result.TCP[0].Stopped, l.result.TCP[0].PerFlow[0].Congestion = attack, attack
	l.result.Notes = []string{attack}
	var out bytes.Buffer
	play(t, NewText(&out, report.TextOptions{}), l)
	if text := out.String(); strings.ContainsAny(text, "\x1b\u202e\x00\u009b") || !strings.Contains(text, "Stopped") {
		t.Errorf("written %q", text)
	}
}

func TestFormat(t *testing.T) {
	for _, test := range []struct{ name, got, want string }{
		{"nothing", formatBytes(0), "0.00 Bytes"},
		{"few bytes", formatBytes(999), " 999 Bytes"},
		{"below the next prefix", formatBytes(1023), "1023 Bytes"},
		{"at it", formatBytes(1024), "1.00 KBytes"},
		{"tens", formatBytes(99.9e6), "95.3 MBytes"},
		{"terabytes", formatBytes(5e15), "4547 TBytes"},
		{"rate", formatRate(9.9e9), "9.90 Gbits/sec"},
		{"rate that rounds up a place", formatRate(9.996e6), "10.0 Mbits/sec"},
		{"rate that rounds up a digit", formatRate(99.96e6), " 100 Mbits/sec"},
		{"no loss", formatPercent(0), "0%"},
		{"little loss", formatPercent(0.00123), "0.0012%"},
		{"some loss", formatPercent(3.27), "3.3%"},
		{"much loss", formatPercent(32.7), "33%"},
		{"all lost", formatPercent(100), "100%"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.got != test.want {
				t.Errorf("got %q, want %q", test.got, test.want)
			}
		})
	}
}

// Counts that cannot be make no figures that cannot be.
func TestSetupGoodput(t *testing.T) {
	s := Setup{Headers: 28}
	for _, test := range []struct{ inner, packets, want uint64 }{
		{1400, 1, 1372}, {2800, 2, 2744}, {28, 1, 0}, {27, 1, 0}, {1400, math.MaxUint64, 0}, {0, 0, 0},
	} {
		if got := s.goodput(test.inner, test.packets); got != test.want {
			t.Errorf("%d bytes in %d packets: got %d, want %d", test.inner, test.packets, got, test.want)
		}
	}
	if got := rate(1000, 0); got != 0 {
		t.Errorf("rate over no time: got %v, want 0", got)
	}
	if got := rate(1000, time.Second); got != 8000 {
		t.Errorf("rate: got %v, want 8000", got)
	}
}
