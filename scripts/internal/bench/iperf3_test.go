package bench

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestIperf3Args(t *testing.T) {
	for _, tt := range []struct {
		name string
		load Iperf3
		want string
	}{
		{"TCP", Iperf3{Flows: 4}, "-C cubic -P 4"},
		{"UDP, as fast as it can", Iperf3{InnerSize: 64}, "-u -l 36 -b 0"},
		{"UDP, paced", Iperf3{InnerSize: 1400, InnerBitsPerSecond: 350e6}, "-u -l 1372 -b 343000000 -i 0.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.load.To, tt.load.Duration = netip.MustParseAddr("198.18.0.2"), 2*time.Second
			got := strings.Join(tt.load.args(), " ")
			if want := "-c 198.18.0.2 -J -t 2 " + tt.want; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

// The fixtures are what iperf 3.12 wrote, with -b 350M -l 1372 and with -P 2.
func TestParseIperf3(t *testing.T) {
	for _, tt := range []struct {
		file                                          string
		packetsSent, packetsReceived, goodputReceived uint64
		elapsed                                       time.Duration
	}{
		{file: "iperf3-udp.json", packetsSent: 31862, packetsReceived: 31736, goodputReceived: 43541792, elapsed: 1_000_213_000},
		{file: "iperf3-tcp.json", goodputReceived: 3012034560, elapsed: 1_006_621_000},
	} {
		text, err := os.ReadFile(filepath.Join("testdata", tt.file))
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseIperf3(text)
		if err != nil {
			t.Fatal(err)
		}
		if got.PacketsSent() != tt.packetsSent || got.PacketsReceived() != tt.packetsReceived ||
			got.GoodputBytesReceived() != tt.goodputReceived || got.Elapsed() != tt.elapsed {
			t.Errorf("%s: got %d and %d packets, %d bytes in %v; want %+v", tt.file,
				got.PacketsSent(), got.PacketsReceived(), got.GoodputBytesReceived(), got.Elapsed(), tt)
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
			if _, err := ParseIperf3([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// More may be reported lost than sent where datagrams came twice.
func TestParseIperf3LostMoreThanSent(t *testing.T) {
	text := `{"end":{"sum_sent":{"seconds":1,"bytes":100},"sum_received":{"seconds":1,"bytes":100,"packets":3,"lost_packets":4}}}`
	got, err := ParseIperf3([]byte(text))
	if err != nil || got.PacketsReceived() != 0 {
		t.Errorf("got %d packets, error %v; want none", got.PacketsReceived(), err)
	}
}
