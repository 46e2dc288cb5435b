package lab

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestValidate(t *testing.T) {
	link := func(change func(*Link)) Topology {
		l := Link{Between: [2]string{"a", "b"}}
		change(&l)
		return Topology{Name: "t", Sites: []string{"a", "b"}, Links: []Link{l}}
	}
	device := func(d Device) Topology { return link(func(l *Link) { l.Device = d }) }
	wan := func(w WAN) Topology { return link(func(l *Link) { l.WAN = w }) }
	tests := []struct {
		name     string
		topology Topology
		want     string // in the error; empty: valid
	}{
		{"plain", link(func(*Link) {}), ""},
		{"policer", device(Device{Kind: Policer, OuterBitsPerSecond: 350e6, BurstBytes: 64 << 10, Toward: "b"}), ""},
		{"shaper without burst", device(Device{Kind: Shaper, OuterBitsPerSecond: 1e9}), ""},
		{"packet limit", device(Device{Kind: PacketLimit, PacketsPerSecond: 30000}), ""},
		{"no name", Topology{Sites: []string{"a", "b"}}, `name ""`},
		{"name as a path", Topology{Name: "../x", Sites: []string{"a", "b"}}, `"../x"`},
		{"one site", Topology{Name: "t", Sites: []string{"a"}}, "at least 2"},
		{"site too long", Topology{Name: "t", Sites: []string{"a", "abcdefghijklm"}}, "at most 12"},
		{"site twice", Topology{Name: "t", Sites: []string{"a", "a"}}, "twice"},
		{"unknown site", link(func(l *Link) { l.Between[1] = "c" }), `"c" is not one of`},
		{"link to itself", link(func(l *Link) { l.Between[1] = "a" }), "both ends"},
		{"link twice", Topology{Name: "t", Sites: []string{"a", "b"}, Links: []Link{{Between: [2]string{"a", "b"}}, {Between: [2]string{"b", "a"}}}}, "link 2"},
		{"too many links", Topology{Name: "t", Sites: []string{"a", "b"}, Links: make([]Link, 97)}, "at most 64"},
		{"MTU below IPv6's", link(func(l *Link) { l.MTU = 1279 }), "1280 to 9216"},
		{"negative MTU", link(func(l *Link) { l.MTU = -1 }), "1280 to 9216"},
		{"unknown kind", device(Device{Kind: "hose"}), `"hose"`},
		{"no device with a rate", device(Device{OuterBitsPerSecond: 1e6}), "none has neither"},
		{"toward a stranger", device(Device{Kind: Shaper, OuterBitsPerSecond: 1e9, Toward: "c"}), "not an end"},
		{"policer without rate", device(Device{Kind: Policer, BurstBytes: 3000}), "allows 10000 to"},
		{"policer of NaN", device(Device{Kind: Policer, OuterBitsPerSecond: math.NaN(), BurstBytes: 3000}), "NaN"},
		{"policer of infinity", device(Device{Kind: Policer, OuterBitsPerSecond: math.Inf(1), BurstBytes: 3000}), "Inf"},
		{"policer without burst", device(Device{Kind: Policer, OuterBitsPerSecond: 1e6}), "MTU (1500)"},
		{"policer that fills in a day", device(Device{Kind: Policer, OuterBitsPerSecond: 10e3, BurstBytes: 100 << 20}), "to fill"},
		{"policer of packets", device(Device{Kind: Policer, OuterBitsPerSecond: 1e6, BurstBytes: 3000, BurstPackets: 1}), "counts bytes"},
		{"packet limit of bytes", device(Device{Kind: PacketLimit, PacketsPerSecond: 1000, BurstBytes: 3000}), "counts packets"},
		{"packet limit without rate", device(Device{Kind: PacketLimit}), "0 packet/s"},
		{"WAN", wan(WAN{Delay: maxDelay, Jitter: maxDelay, LossRatio: 0.5, ReorderRatio: 0.5, DuplicateRatio: 0.5, Seed: 1}), ""},
		{"loss alone", wan(WAN{LossRatio: 1e-6}), ""},
		{"delay in the past", wan(WAN{Delay: -1}), "delay: -1ns: allowed are 0 to 10s"},
		{"delay to the moon and back", wan(WAN{Delay: maxDelay + 1}), "allowed are 0 to 10s"},
		{"jitter beyond the delay", wan(WAN{Delay: time.Millisecond, Jitter: 2 * time.Millisecond}), "jitter: 2ms: allowed are 0 to the delay (1ms)"},
		{"negative jitter", wan(WAN{Delay: time.Millisecond, Jitter: -1}), "jitter: -1ns"},
		{"much loss", wan(WAN{LossRatio: 0.6}), "loss: 0.6: allowed are 0 to 0.5"},
		{"negative reordering", wan(WAN{ReorderRatio: -0.1}), "reorder: -0.1"},
		{"duplicates of NaN", wan(WAN{DuplicateRatio: math.NaN()}), "duplicate: NaN"},
		{"negative burst of packets", device(Device{Kind: PacketLimit, PacketsPerSecond: 1, BurstPackets: -1}), "-1 packets"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.topology.Validate()
			if tt.want == "" && err != nil {
				t.Errorf("want it valid, got %v", err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("want an error that says %q, got %v", tt.want, err)
			}
		})
	}
}
