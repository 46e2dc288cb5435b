package iperf

import (
	"bytes"
	"errors"
	"flag"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden holds what was written against a file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// load is one that ran, with all that was told of it.
type load struct {
	name      string
	setup     Setup
	intervals []analysis.Interval
	result    report.Result
}

var started = time.Date(2026, time.November, 23, 8, 14, 2, 0, time.UTC)

// loads are of each kind that a run offers.
func loads() []load {
	return []load{
		tcpLoad("tcp", 1, false), tcpLoad("tcp-4", 4, false), tcpReverse(), tcpBidir(),
		udpLoad("udp", 1, false), udpLoad("udp-2", 2, false), udpReverse(), udpBidir(),
		udpLoad("udp-20", 20, false), stoppedLoad(), unknownLoad(),
	}
}

func setupOf(protocol Protocol, flows int) Setup {
	s := Setup{
		Protocol: protocol, From: "dc-a", To: "dc-b", Flows: flows, Payload: 131072, Duration: 2 * time.Second,
		Local: netip.MustParseAddrPort("198.18.0.1:0"), Remote: netip.MustParseAddrPort("198.18.0.2:5201"),
		DSCP: 46, Started: started, ToolVersion: "0.1.0", System: "Linux 6.18.3",
	}
	if protocol == UDP {
		s.Payload, s.Headers, s.GoodputBitsPerSecond = 1372, 20+8, 10e6
		s.Local = netip.MustParseAddrPort("198.18.0.1:40001")
	}
	return s
}

func resultOf() report.Result {
	return report.Result{
		SchemaVersion: report.SchemaVersion, ToolVersion: "0.1.0", Kind: report.Run, Started: started, Finished: started.Add(3 * time.Second),
		Duration: 3 * time.Second, Path: report.Path{From: "dc-a", To: "dc-b"}, Tunnel: report.Tunnel{Driver: "esp", Count: 1},
		Environment: []report.End{{Site: "dc-a"}, {Site: "dc-b"}},
	}
}

const second = time.Second

func tcpTrial(flows int, reverse bool) analysis.TCPTrial {
	t := analysis.TCPTrial{
		Load:    analysis.TCPLoad{Flows: flows, Duration: 2 * second, Congestion: "cubic"},
		Reverse: reverse, Elapsed: 2 * second, ReceivedElapsed: 2*second + 20*time.Millisecond,
		Quality:  &analysis.TCPQuality{Efficiency: 0.9998, BufferDelay: 0.35, Baseline: 10 * time.Millisecond},
		Sender:   analysis.Host{Process: 1200 * time.Millisecond, Busy: 2 * second, Cores: []analysis.Core{{Idle: 0.4}, {Idle: 0.6}}},
		Receiver: analysis.Host{Process: 900 * time.Millisecond, Busy: 3 * second, Cores: []analysis.Core{{Idle: 0.1}, {Idle: 0.4}}},
	}
	for i := range flows {
		f := analysis.TCPFlow{
			LocalPort: uint16(40001 + i), RemotePort: 5201, SentGoodputBytes: 120e6 + uint64(i)*1e6, ReceivedGoodputBytes: 119e6 + uint64(i)*1e6,
			Retransmits: uint64(3 * i), MinRTT: 10 * time.Millisecond, MeanRTT: 13500 * time.Microsecond, MaxRTT: 31 * time.Millisecond,
			MaxCwnd: 916762, MSS: 1398, Congestion: "cubic", Busy: 2 * second, RwndLimited: 500 * time.Millisecond,
		}
		t.PerFlow = append(t.PerFlow, f)
		t.SentGoodputBytes, t.ReceivedGoodputBytes = t.SentGoodputBytes+f.SentGoodputBytes, t.ReceivedGoodputBytes+f.ReceivedGoodputBytes
	}
	return t
}

func udpTrial(flows int, reverse bool) analysis.Trial {
	sent := uint64(1823 * flows)
	t := analysis.Trial{
		Load:      analysis.Load{InnerBitsPerSecond: 1400 * 8 * float64(sent) / 2, Duration: 2 * second, Burst: 4, Flows: flows},
		InnerSize: 1400, OuterSize: 1464, Reverse: reverse,
		Sent: sent, Received: sent - 12, SentInnerBytes: sent * 1400, ReceivedInnerBytes: (sent - 12) * 1400, Reordered: 2, SocketDrops: 5,
		Elapsed: 2 * second, Segmented: true, Pace: analysis.Pace{Windows: 20, Within: 1, Worst: 0.004},
		Variation: analysis.Variation{Jitter: 46 * time.Microsecond},
		Delay:     analysis.Quantiles{Count: sent - 12, P50: 30 * time.Microsecond, P99: 210 * time.Microsecond, Max: time.Millisecond},
		Latency:   &analysis.Latency{Sent: 200, Received: 200, RTT: analysis.Quantiles{Count: 200, P50: second / 100, P99: second / 90, Max: second / 50}},
		Sender:    analysis.Host{Process: 60 * time.Millisecond, Busy: 100 * time.Millisecond, Cores: []analysis.Core{{Idle: 0.9}}},
		Receiver:  analysis.Host{Process: 80 * time.Millisecond, Busy: 120 * time.Millisecond, Cores: []analysis.Core{{Idle: 0.85}}},
	}
	for i := range flows {
		if flows > 1 {
			t.PerFlow = append(t.PerFlow, analysis.Flow{Port: uint16(40001 + i), Sent: 1823, Received: 1823})
		}
	}
	if flows > 1 {
		t.PerFlow[1].Received -= 12
	}
	return t
}

// seconds are the intervals of a load of two seconds.
func seconds(i analysis.Interval) []analysis.Interval {
	first, second := i, i
	first.End, second.Start, second.End = time.Second, time.Second, 2*time.Second
	second.GoodputBytes += second.GoodputBytes / 100
	return []analysis.Interval{first, second}
}

func tcpSeconds(flows int, reverse bool) []analysis.Interval {
	return seconds(analysis.Interval{Reverse: reverse, GoodputBytes: uint64(flows) * 60e6, Retransmits: 3, Cwnd: flows * 916762, RTT: 13500 * time.Microsecond})
}

func udpSeconds(flows int, reverse bool) []analysis.Interval {
	return seconds(analysis.Interval{Reverse: reverse, GoodputBytes: uint64(flows) * 911 * 1372, Packets: uint64(flows) * 911, Lost: 6})
}

func tcpLoad(name string, flows int, reverse bool) load {
	l := load{name: name, setup: setupOf(TCP, flows), intervals: tcpSeconds(flows, reverse), result: resultOf()}
	l.result.TCP = []analysis.TCPTrial{tcpTrial(flows, reverse)}
	return l
}

func udpLoad(name string, flows int, reverse bool) load {
	l := load{name: name, setup: setupOf(UDP, flows), intervals: udpSeconds(flows, reverse), result: resultOf()}
	l.result.Trials = []analysis.Trial{udpTrial(flows, reverse)}
	return l
}

func tcpReverse() load {
	l := tcpLoad("tcp-reverse", 1, true)
	l.setup.Reverse = true
	return l
}

func udpReverse() load {
	l := udpLoad("udp-reverse", 1, true)
	l.setup.Reverse = true
	return l
}

func tcpBidir() load {
	l := tcpLoad("tcp-bidir", 1, false)
	l.setup.Bidirectional = true
	l.result.TCP = append(l.result.TCP, tcpTrial(1, true))
	l.intervals = interleaved(l.intervals, tcpSeconds(1, true))
	return l
}

func udpBidir() load {
	l := udpLoad("udp-bidir", 2, false)
	l.setup.Bidirectional = true
	l.result.Trials = append(l.result.Trials, udpTrial(2, true))
	l.intervals = interleaved(l.intervals, udpSeconds(2, true))
	return l
}

func interleaved(there, back []analysis.Interval) (all []analysis.Interval) {
	for i := range there {
		all = append(all, back[i], there[i])
	}
	return all
}

// stoppedLoad ended at the first interval.
func stoppedLoad() load {
	l := udpLoad("stopped", 1, false)
	l.intervals = l.intervals[:1]
	t := &l.result.Trials[0]
	t.Stopped, t.Elapsed, t.Load.Duration = "loss>1%: 3.2 % of the last 100 probes", second+130*time.Millisecond, 30*second
	t.Sent, t.Received, t.SentInnerBytes, t.ReceivedInnerBytes = 1030, 990, 1030*1400, 990*1400
	return l
}

// unknownLoad is one of which next to nothing is known.
func unknownLoad() load {
	l := load{name: "unknown", setup: Setup{Protocol: TCP, From: "a", To: "b"}, result: resultOf(), intervals: []analysis.Interval{{}}}
	l.result.TCP = []analysis.TCPTrial{{}}
	return l
}

// play tells a writer of a load from start to end.
func play(t *testing.T, w Writer, l load) {
	t.Helper()
	if err := w.Start(l.setup); err != nil {
		t.Fatal(err)
	}
	for _, i := range l.intervals {
		if err := w.Interval(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.End(l.result); err != nil {
		t.Fatal(err)
	}
}

var errFull = errors.New("disk is full")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

// Whoever cannot write says so, at the first chance.
func TestWritersReportTheirError(t *testing.T) {
	l := udpBidir()
	for name, w := range map[string]Writer{
		"text": NewText(fullDisk{}, report.TextOptions{}), "json": NewJSON(fullDisk{}), "stream": NewStream(fullDisk{}),
	} {
		t.Run(name, func(t *testing.T) {
			started := w.Start(l.setup)
			if name != "json" && !errors.Is(started, errFull) {
				t.Errorf("Start: got error %v, want %v", started, errFull)
			}
			if err := w.End(l.result); !errors.Is(err, errFull) {
				t.Errorf("End: got error %v, want %v", err, errFull)
			}
		})
	}
}

// A result that no reader would take is not written.
func TestWritersRefuse(t *testing.T) {
	l := udpLoad("bad", 1, false)
	l.result.Trials[0].Elapsed = -1
	for name, make := range map[string]func(*bytes.Buffer) Writer{
		"json":   func(out *bytes.Buffer) Writer { return NewJSON(out) },
		"stream": func(out *bytes.Buffer) Writer { return NewStream(out) },
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := make(&out).End(l.result); err == nil || out.Len() > 0 {
				t.Errorf("got error %v and %q, want an error and nothing", err, out.String())
			}
		})
	}
}
