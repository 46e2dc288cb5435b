package udp

import (
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"tunnelmark/probe"
	"tunnelmark/probe/probetest"
)

// nobody opens sockets to a port where nobody listens.
func nobody(int) (*net.UDPConn, error) {
	return net.DialUDP("udp", nil, probetest.Address("127.0.0.1:9"))
}

func TestKeyRequired(t *testing.T) {
	if _, err := Send(t.Context(), nobody, Trial{Number: 3}, second350, nil); err == nil || !strings.Contains(err.Error(), "no key") {
		t.Errorf("got error %v, want one about the missing key", err)
	}
}

func TestLoadRefused(t *testing.T) {
	a, err := nobody(0)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for _, tt := range []struct {
		name   string
		change func(*probe.Load)
		want   string
	}{
		{"nothing", func(l *probe.Load) { *l = probe.Load{} }, "0 sizes"},
		{"too small", func(l *probe.Load) { l.Mix = probe.Fixed(43) }, "allowed are 44 to 65535"},
		{"one too large", func(l *probe.Load) { l.Mix = probe.Mix{Sizes: []int{64, 65536}} }, "allowed are 44 to 65535"},
		{"no rate", func(l *probe.Load) { l.InnerBitsPerSecond = 0 }, "inner rate of 0"},
		{"negative rate", func(l *probe.Load) { l.InnerBitsPerSecond = -1 }, "inner rate of -1"},
		{"no number", func(l *probe.Load) { l.InnerBitsPerSecond = math.NaN() }, "inner rate of NaN"},
		{"infinite rate", func(l *probe.Load) { l.InnerBitsPerSecond = math.Inf(1) }, "inner rate of +Inf"},
		{"more than can be numbered", func(l *probe.Load) { l.InnerBitsPerSecond = 1e20 }, "can be numbered"},
		{"no duration", func(l *probe.Load) { l.Duration = 0 }, "duration is 0s"},
		{"too long", func(l *probe.Load) { l.Duration = time.Hour }, "up to 10m0s"},
		{"less than a packet", func(l *probe.Load) { l.InnerBitsPerSecond = 1 }, "not one packet"},
		{"negative burst", func(l *probe.Load) { l.Burst = -1 }, "burst of -1"},
		{"negative flows", func(l *probe.Load) { l.Flows = -1 }, "-1 flows"},
		{"too many flows", func(l *probe.Load) { l.Flows = probe.MaxFlows + 1 }, "10001 flows"},
		{"negative lanes", func(l *probe.Load) { l.Lanes = -1 }, "-1 lanes"},
		{"too many lanes", func(l *probe.Load) { l.Lanes = probe.MaxLanes + 1 }, "17 lanes"},
		{"a lane with less than a packet", func(l *probe.Load) { l.Flows, l.Lanes, l.InnerBitsPerSecond = 4, 4, 40e3 }, "each of 4 lanes"},
		{"negative new flows", func(l *probe.Load) { l.Flows, l.NewFlowsPerSecond = 2, -1 }, "-1 new flows"},
		{"too many new flows", func(l *probe.Load) { l.Flows, l.NewFlowsPerSecond = 2, 1e6 }, "1e+06 new flows"},
		{"no number of new flows", func(l *probe.Load) { l.Flows, l.NewFlowsPerSecond = 2, math.NaN() }, "NaN new flows"},
		{"nothing to begin new flows for", func(l *probe.Load) { l.Flows, l.Lanes, l.NewFlowsPerSecond = 3, 2, 1 }, "take 4 flows at least"},
		{"no code point", func(l *probe.Load) { l.DSCP = 64 }, "DSCP 64"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			load := second350
			tt.change(&load)
			ends := map[string]error{"checkTrial": checkTrial(fakeHeaders, testTrial(t), load)}
			_, ends["Send"] = Send(t.Context(), nobody, testTrial(t), load, nil)
			for end, err := range ends {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%s: got error %v, want one with %q", end, err, tt.want)
				}
			}
		})
	}
}

// No order of sizes has more packets than the limit, and the limit is not far more.
func TestPacketLimit(t *testing.T) {
	for _, mix := range []probe.Mix{
		probe.Fixed(1400),
		{Sizes: []int{64, 9000}},
		{Sizes: []int{9000, 64}, Seed: 3},
		{Sizes: []int{64, 64, 64, 64, 64, 64, 64, 570, 570, 570, 570, 1518}, Seed: 9},
	} {
		load := second350
		load.Mix = mix
		got := mustSendPaced(t, &fakeHost{}, load)
		if limit := packetLimit(load); got.Packets > limit || limit > got.Packets+2*orderLength {
			t.Errorf("%v: sent %d packets, the limit is %d", mix, got.Packets, limit)
		}
	}
}
