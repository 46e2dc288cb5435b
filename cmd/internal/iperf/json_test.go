package iperf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
)

// leftOut are keys of iperf3 that a run does not have, and why.
var leftOut = map[string]string{
	"start.cookie":                            "names a control connection, of which there is none",
	"start.tcp_mss_default":                   "is the MSS of that connection",
	"start.sndbuf_actual":                     "agents do not tell",
	"start.rcvbuf_actual":                     "agents do not tell",
	"end.receiver_tcp_congestion":             "a receiver sends no data",
	"end.streams[].sender.max_snd_wnd":        "agents do not tell",
	"intervals[].streams[].snd_wnd":           "agents do not tell",
	"intervals[].streams[].rttvar":            "agents do not tell",
	"intervals[].streams[].pmtu":              "path_mtu is measured instead",
	"intervals[].streams[].jitter_ms":         "is known of the whole load",
	"intervals[].sum.jitter_ms":               "is known of the whole load",
	"intervals[].sum_bidir_reverse.jitter_ms": "is known of the whole load",
}

// ofSeveral are keys that are left out where there are several flows in a direction.
var ofSeveral = []string{"intervals[].streams[]", "end.streams[].udp.jitter_ms"}

// unknown are keys that are null.
var unknown = []string{
	"end.cpu_utilization_percent.host_user", "end.cpu_utilization_percent.host_system",
	"end.cpu_utilization_percent.remote_user", "end.cpu_utilization_percent.remote_system",
}

// readers are what known programs read, looked up in November 2026.
var readers = []struct {
	program string
	loads   []string
	keys    []string
}{
	{"edgard/iperf3_exporter, internal/iperf/iperf.go", []string{"tcp", "tcp-4", "tcp-reverse", "tcp-bidir", "udp"}, []string{
		"end.sum_sent.seconds number", "end.sum_sent.bytes number", "end.sum_sent.bits_per_second number",
		"end.sum_received.seconds number", "end.sum_received.bytes number", "end.sum_received.bits_per_second number",
	}},
	{"edgard/iperf3_exporter, of TCP", []string{"tcp", "tcp-4", "tcp-reverse", "tcp-bidir"}, []string{"end.sum_sent.retransmits number"}},
	{"perfsonar/pscheduler, iperf3_parser.py", []string{"tcp", "udp"}, []string{
		"intervals[].streams[].socket number", "intervals[].streams[].start number", "intervals[].streams[].end number",
		"intervals[].streams[].bytes number", "intervals[].streams[].bits_per_second number", "intervals[].streams[].omitted boolean",
		"intervals[].sum.bits_per_second number", "intervals[].sum.omitted boolean",
	}},
	{"perfsonar/pscheduler, of TCP", []string{"tcp"}, []string{
		"intervals[].streams[].retransmits number", "intervals[].streams[].snd_cwnd number", "intervals[].streams[].rtt number",
		"end.streams[].sender.retransmits number", "end.streams[].sender.mean_rtt number",
	}},
	{"perfsonar/pscheduler, of UDP", []string{"udp"}, []string{
		"end.streams[].udp.packets number", "end.streams[].udp.lost_packets number", "end.streams[].udp.jitter_ms number",
		"intervals[].streams[].packets number", "intervals[].streams[].lost_packets number",
	}},
	{"thiezn/iperf3-python, iperf3.py", []string{"tcp", "tcp-4", "tcp-reverse", "tcp-bidir", "udp", "udp-2"}, []string{
		"start.timestamp.time string", "start.timestamp.timesecs number", "start.system_info string", "start.version string",
		"start.connected[].local_host string", "start.connected[].remote_host string", "start.connected[].remote_port number",
		"start.test_start.protocol string", "start.test_start.num_streams number", "start.test_start.blksize number",
		"start.test_start.omit number", "start.test_start.duration number", "start.test_start.reverse number",
		"end.cpu_utilization_percent.host_total number", "end.cpu_utilization_percent.host_user null", "end.cpu_utilization_percent.host_system null",
		"end.cpu_utilization_percent.remote_total number", "end.cpu_utilization_percent.remote_user null", "end.cpu_utilization_percent.remote_system null",
	}},
	{"thiezn/iperf3-python, and jq in scripts, of UDP", []string{"udp", "udp-2", "udp-reverse", "udp-bidir"}, []string{
		"end.sum.bytes number", "end.sum.bits_per_second number", "end.sum.jitter_ms number", "end.sum.packets number",
		"end.sum.lost_packets number", "end.sum.lost_percent number", "end.sum.seconds number",
	}},
	{"jq and Python in scripts that draw round trips", []string{"tcp", "tcp-4", "tcp-reverse"}, []string{
		"end.streams[].sender.min_rtt number", "end.streams[].sender.max_rtt number", "end.streams[].sender.mean_rtt number",
		"end.streams[].sender.max_snd_cwnd number", "end.streams[].receiver.bits_per_second number", "end.sender_tcp_congestion string",
	}},
	{"readers of --bidir", []string{"tcp-bidir", "udp-bidir"}, []string{
		"end.sum_sent_bidir_reverse.bits_per_second number", "end.sum_received_bidir_reverse.bits_per_second number",
		"intervals[].sum_bidir_reverse.bits_per_second number",
	}},
}

// Key by key, what iperf3 writes is there with its type, or is left out knowingly.
func TestKeysOfIperf3(t *testing.T) {
	for _, l := range loads() {
		text, err := os.ReadFile("testdata/" + l.name + ".keys")
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Run(l.name, func(t *testing.T) {
			got := keysOf(written(t, l))
			for line := range strings.Lines(string(text)) {
				path, kind, found := strings.Cut(strings.TrimSpace(line), " ")
				if !found || path == "#" || leftOut[path] != "" || l.setup.Flows > 1 && ofFlows(path) {
					continue
				}
				if slices.Contains(unknown, path) {
					kind = "null"
				}
				if !slices.Contains(got[path], kind) {
					t.Errorf("%s is %v, want %s", path, got[path], kind)
				}
			}
		})
	}
}

func ofFlows(path string) bool {
	return slices.ContainsFunc(ofSeveral, func(prefix string) bool { return strings.HasPrefix(path, prefix) })
}

func TestKeysOfReaders(t *testing.T) {
	all := map[string]map[string][]string{}
	for _, l := range loads() {
		all[l.name] = keysOf(written(t, l))
	}
	for _, reader := range readers {
		t.Run(reader.program, func(t *testing.T) {
			for _, name := range reader.loads {
				for _, key := range reader.keys {
					path, kind, _ := strings.Cut(key, " ")
					if !slices.Contains(all[name][path], kind) {
						t.Errorf("load %s: %s is %v, want %s", name, path, all[name][path], kind)
					}
				}
			}
		})
	}
}

// written is a load as a reader sees it.
func written(t *testing.T, l load) any {
	t.Helper()
	var out bytes.Buffer
	play(t, NewJSON(&out), l)
	return unmarshal(t, out.Bytes())
}

func unmarshal(t *testing.T, text []byte) (got any) {
	t.Helper()
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// keysOf are all paths of a document with the types that stand there.
func keysOf(document any) map[string][]string {
	all := map[string][]string{}
	var walk func(path string, value any)
	walk = func(path string, value any) {
		if kind := typeOf(value); !slices.Contains(all[path], kind) {
			all[path] = append(all[path], kind)
		}
		switch v := value.(type) {
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(v)) {
				walk(strings.TrimPrefix(path+"."+key, "."), v[key])
			}
		case []any:
			for _, element := range v {
				walk(path+"[]", element)
			}
		}
	}
	walk("", document)
	return all
}

func typeOf(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case map[string]any:
		return "object"
	case []any:
		return "array"
	case string:
		return "string"
	case bool:
		return "boolean"
	}
	return "number"
}

// The figures mean what iperf3's mean.
func TestJSONFigures(t *testing.T) {
	for _, test := range []struct {
		load func() load
		want map[string]any
	}{
		{func() load { return tcpLoad("tcp", 4, false) }, map[string]any{
			"end.sum_sent.bytes": 486e6, "end.sum_sent.bits_per_second": 486e6 * 8 / 2, "end.sum_sent.retransmits": 18.0, "end.sum_sent.sender": true,
			"end.sum_received.bytes": 482e6, "end.sum_received.seconds": 2.02, "end.streams.0.sender.mean_rtt": 13500.0, "end.streams.3.receiver.bytes": 122e6,
			"end.cpu_utilization_percent.host_total": 60.0, "end.cpu_utilization_percent.remote_total": 45.0, "end.sender_tcp_congestion": "cubic",
			"start.test_start.num_streams": 4.0, "start.test_start.tos": 184.0, "start.test_start.duration": 2.0, "start.connected.3.local_port": 40004.0,
			"start.timestamp.time": "Mon, 23 Nov 2026 08:14:02 GMT", "start.timestamp.timesecs": 1795421642.0,
			"intervals.1.sum.start": 1.0, "intervals.1.sum.bits_per_second": 4 * 60.6e6 * 8, "intervals.1.sum.snd_cwnd": 4 * 916762.0,
		}},
		{func() load { return tcpReverse() }, map[string]any{
			"start.test_start.reverse": 1.0, "end.sum_sent.sender": false, "end.sum_received.sender": false, "end.streams.0.sender.sender": false,
			"start.connected.0.local_port": 5201.0, "start.connected.0.remote_port": 40001.0, "intervals.0.sum.sender": false,
			"end.cpu_utilization_percent.host_total": 45.0, "end.cpu_utilization_percent.remote_total": 60.0,
		}},
		{func() load { return udpLoad("udp", 2, false) }, map[string]any{
			"end.sum.packets": 3646.0, "end.sum.lost_packets": 12.0, "end.sum.lost_percent": 100 * 12.0 / 3646, "end.sum.jitter_ms": 0.046, "end.sum.bytes": 3646.0 * 1372,
			"end.sum_sent.lost_packets": 0.0, "end.sum_received.bytes": 3634.0 * 1372, "end.sum_received.sender": false,
			"end.streams.1.udp.lost_packets": 12.0, "end.streams.1.udp.bytes": 1823.0 * 1372, "start.connected.1.local_port": 40002.0, "start.test_start.target_bitrate": 10e6,
			"intervals.0.sum.packets": 1822.0, "intervals.0.sum.lost_packets": 6.0,
		}},
		{udpBidir, map[string]any{
			"start.test_start.bidir": 1.0, "start.test_start.reverse": 0.0, "end.sum.sender": true, "end.sum_bidir_reverse.sender": false, "end.sum_sent_bidir_reverse.sender": true,
			"end.sum_received_bidir_reverse.bytes": 3634.0 * 1372, "intervals.0.sum.sender": true, "intervals.0.sum_bidir_reverse.sender": false,
		}},
	} {
		l := test.load()
		t.Run(l.name, func(t *testing.T) {
			document := written(t, l)
			for path, want := range test.want {
				if diff := cmp.Diff(want, at(document, path)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", path, diff)
				}
			}
		})
	}
}

// at is what stands at a path such as "end.streams.0.sender".
func at(document any, path string) any {
	for key := range strings.SplitSeq(path, ".") {
		switch v := document.(type) {
		case map[string]any:
			document = v[key]
		case []any:
			var i int
			if _, err := fmt.Sscan(key, &i); err != nil || i >= len(v) {
				return nil
			}
			document = v[i]
		}
	}
	return document
}

// Our own reader takes what was written, with nothing lost.
func TestJSONIsAResult(t *testing.T) {
	for _, l := range loads() {
		t.Run(l.name, func(t *testing.T) {
			var out bytes.Buffer
			play(t, NewJSON(&out), l)
			got, err := report.Read(&out)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(l.result, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestJSONFail(t *testing.T) {
	l := tcpLoad("", 1, false)
	var out bytes.Buffer
	w := NewJSON(&out)
	if err := errors.Join(w.Start(l.setup), w.Interval(l.intervals[0]), w.Fail(errors.New("the peer fell silent"))); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Start     struct{ Version string }
		Intervals []any
		End       map[string]any
		Error     string
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Error != "the peer fell silent" || got.Start.Version != "tunnelmark 0.1.0" || len(got.Intervals) != 1 || got.End == nil || len(got.End) > 0 {
		t.Errorf("got %+v", got)
	}
}

// What fails before it begins is still an object that iperf3's readers know.
func TestJSONFailBeforeStart(t *testing.T) {
	var out bytes.Buffer
	if err := NewJSON(&out).Fail(errors.New("no agent \"x\" is paired")); err != nil {
		t.Fatal(err)
	}
	keys := keysOf(unmarshal(t, out.Bytes()))
	for _, path := range []string{"start.version", "start.connected", "intervals", "end", "error"} {
		if keys[path] == nil {
			t.Errorf("no %s in %s", path, out.String())
		}
	}
	if keys["start.timestamp"] != nil || keys["start.test_start"] != nil {
		t.Errorf("a load that never was: %s", out.String())
	}
}

// A direction whose other half never comes is told alone.
func TestJoiner(t *testing.T) {
	there, back := analysis.Interval{Packets: 1}, analysis.Interval{Packets: 2, Reverse: true}
	for _, test := range []struct {
		name          string
		bidirectional bool
		in            []analysis.Interval
		want          [][]analysis.Interval
	}{
		{"one way", false, []analysis.Interval{there, there}, [][]analysis.Interval{{there}, {there}}},
		{"both", true, []analysis.Interval{there, back}, [][]analysis.Interval{{there, back}}},
		{"the other first", true, []analysis.Interval{back, there}, [][]analysis.Interval{{there, back}}},
		{"one silent", true, []analysis.Interval{there, there, back}, [][]analysis.Interval{{there}, {there, back}}},
		{"half at the end", true, []analysis.Interval{there, back, back}, [][]analysis.Interval{{there, back}, {back}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			j := joiner{bidirectional: test.bidirectional}
			var got [][]analysis.Interval
			for _, i := range test.in {
				if whole := j.add(i); whole != nil {
					got = append(got, whole)
				}
			}
			if rest := j.rest(); rest != nil {
				got = append(got, rest)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
