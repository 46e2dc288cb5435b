package udp

import (
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"tunnelmark/probe"
)

func TestKeyRequired(t *testing.T) {
	a, err := net.DialUDP("udp", nil, address("127.0.0.1:9"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if _, err := Send(t.Context(), flows(a), Trial{Number: 3}, second350, nil); err == nil || !strings.Contains(err.Error(), "no key") {
		t.Errorf("got error %v, want one about the missing key", err)
	}
}

func TestLoadRefused(t *testing.T) {
	a, err := net.DialUDP("udp", nil, address("127.0.0.1:9"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	good := second350
	for _, tt := range []struct {
		name   string
		change func(*probe.Load)
		want   string
	}{
		{"neither rate nor packets", func(l *probe.Load) { *l = probe.Load{InnerSize: 1400} }, "either a rate"},
		{"both", func(l *probe.Load) { l.Packets = 1 }, "either a rate"},
		{"negative packets", func(l *probe.Load) { *l = probe.Load{InnerSize: 1400, Packets: -1} }, "either a rate"},
		{"too small", func(l *probe.Load) { l.InnerSize = 43 }, "allowed are 44 to 65535"},
		{"too large", func(l *probe.Load) { l.InnerSize = 65536 }, "allowed are 44 to 65535"},
		{"negative rate", func(l *probe.Load) { l.InnerBitsPerSecond = -1 }, "inner rate of -1"},
		{"no number", func(l *probe.Load) { l.InnerBitsPerSecond = math.NaN() }, "inner rate of NaN"},
		{"infinite rate", func(l *probe.Load) { l.InnerBitsPerSecond = math.Inf(1) }, "inner rate of +Inf"},
		{"no duration", func(l *probe.Load) { l.Duration = 0 }, "duration is 0s"},
		{"too long", func(l *probe.Load) { l.Duration = time.Hour }, "up to 10m0s"},
		{"less than a packet", func(l *probe.Load) { l.InnerBitsPerSecond = 1 }, "not one packet"},
		{"negative train", func(l *probe.Load) { l.Train = -1 }, "train of -1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			load := good
			tt.change(&load)
			for end, run := range map[string]func() error{
				"Send":    func() error { _, err := Send(t.Context(), flows(a), testTrial(t), load, nil); return err },
				"Receive": func() error { _, err := Receive(t.Context(), a, testTrial(t), load, nil); return err },
			} {
				if err := run(); err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%s: got error %v, want one with %q", end, err, tt.want)
				}
			}
		})
	}
}
