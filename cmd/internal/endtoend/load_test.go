package endtoend

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tunnelmark/analysis/report"
	"tunnelmark/lab"
	"tunnelmark/lab/labtest"
)

// run offers a load between the sites by real agents, and returns what it says.
// A host that is too busy to send all of it makes no difference here.
func (s *sites) run(t *testing.T, words string) (result report.Result, text string) {
	t.Helper()
	p := start(t, append(strings.Fields("run a b -q --json --state "+s.state), strings.Fields(words)...)...)
	if code := p.wait(t); code != 0 && code != 4 {
		t.Fatalf("run %s: exit code %d: %s", words, code, p.stderr)
	}
	text = p.stdout.String()
	result, err := report.Read(strings.NewReader(text))
	if err != nil {
		t.Fatalf("run %s: %v\n%s", words, err, text)
	}
	return result, text
}

// The sizes that pass are told as JSON, too.
func TestPathMTU(t *testing.T) {
	labtest.CheckLeaks(t)
	sites := startSites(t, ipv4)
	p := start(t, "pmtu", "a", "b", "-q", "--json", "--state", sites.state)
	if code := p.wait(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	result, err := report.Read(strings.NewReader(p.stdout.String()))
	if err != nil {
		t.Fatal(err)
	}
	if mtu := result.Tunnel.InnerMTU; result.PathMTU == nil || result.PathMTU.There.InnerSize != mtu || result.PathMTU.Back.InnerSize != mtu {
		t.Errorf("got %+v, want the tunnel's MTU of %d both ways", result.PathMTU, mtu)
	}
}

// Loads of every kind go through a tunnel, and what both ends count agrees.
func TestLoads(t *testing.T) {
	labtest.CheckLeaks(t)
	sites := startSites(t, ipv4)
	for words, want := range map[string]struct{ tcp, udp, flows int }{
		"-t 1":                       {tcp: 1, flows: 1},
		"-t 1 -P 3 -R":               {tcp: 1, flows: 3},
		"-t 1 --bidir --verify":      {tcp: 2, flows: 1},
		"-t 1 -b 5M -M 1000 -w 1M":   {tcp: 1, flows: 1},
		"-u -t 1 -b 5M":              {udp: 1},
		"-u -t 1 -b 1M -R --dscp 46": {udp: 1},
		"-u -t 1 --total 8M -P 100 --lanes 3 --new-flows 50 --bidir --imix aaafb": {udp: 2, flows: 100},
		"-u -t 1 --total 4M -P 4 --tunnels 2 --encapsulation raw":                 {udp: 1, flows: 4},
		"-u -t 1 -b 2M -l 64,512,1000 --burst 1 --driver clear":                   {udp: 1},
	} {
		t.Run(words, func(t *testing.T) {
			result, text := sites.run(t, words)
			if len(result.TCP) != want.tcp || len(result.Trials) != want.udp {
				t.Fatalf("%d loads of TCP and %d of UDP, want %d and %d", len(result.TCP), len(result.Trials), want.tcp, want.udp)
			}
			for _, trial := range result.TCP {
				if len(trial.PerFlow) != want.flows || trial.ReceivedGoodputBytes == 0 || trial.Quality == nil || trial.Latency == nil {
					t.Errorf("of TCP: %+v", trial)
				}
			}
			for _, trial := range result.Trials {
				if trial.Sent == 0 || trial.Lost() > 0 || trial.ReceivedInnerBytes != trial.SentInnerBytes || len(trial.PerFlow) != want.flows {
					t.Errorf("sent %d, lost %d of %d B on %d flows: want no loss", trial.Sent, trial.Lost(), trial.SentInnerBytes, len(trial.PerFlow))
				}
				if trial.Latency == nil || trial.Latency.Received == 0 {
					t.Errorf("latency beside the load: %+v", trial.Latency)
				}
			}
			readAsIperf3(t, text, want.tcp > 0)
		})
	}
}

// Keys are replaced under load, by themselves and on demand, and nothing is lost.
func TestRekey(t *testing.T) {
	labtest.CheckLeaks(t)
	result, _ := startSites(t, ipv4).run(t, "-u -t 2 -b 5M --rekey-time 150ms --rekey-every 400ms")
	if got := result.Tunnel.Rekeys; len(got) < 2 || slices.Max(got) > time.Second {
		t.Errorf("on demand keys were replaced within %v each, want several times at once", got)
	}
	for _, trial := range result.Trials {
		if trial.Sent == 0 || trial.Lost() > 0 {
			t.Errorf("sent %d, lost %d: want no loss", trial.Sent, trial.Lost())
		}
	}
	want := report.Detail{Name: "lifetime of keys", Value: "150ms or 268435456 packets or 512 GiB"}
	for _, end := range result.Environment {
		if !slices.Contains(end.Details, want) {
			t.Errorf("details %v, want %v", end.Details, want)
		}
	}
}

// readAsIperf3 reads a result as a program for iperf3's would.
func readAsIperf3(t *testing.T, text string, tcp bool) {
	t.Helper()
	var r struct {
		Start struct {
			TestStart struct{ Protocol string } `json:"test_start"`
		}
		Intervals []struct {
			Sum struct {
				BitsPerSecond float64 `json:"bits_per_second"`
			}
		}
		End struct {
			Received struct {
				BitsPerSecond float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		}
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	if tcp != (r.Start.TestStart.Protocol == "TCP") || len(r.Intervals) == 0 || r.End.Received.BitsPerSecond == 0 {
		t.Errorf("to iperf3's programs it is %+v", r)
	}
}

// A condition ends a load on a path that is too narrow for it, long before its time.
func TestStopIf(t *testing.T) {
	labtest.CheckLeaks(t)
	for words, kind := range map[string]lab.DeviceKind{
		"-u -b 40M --stop-if loss>20%": lab.Policer, "-C cubic --stop-if rtt>20ms": lab.Shaper,
	} {
		t.Run(words, func(t *testing.T) {
			narrow := lab.Link{Between: [2]string{"a", "b"}, Device: lab.Device{Kind: kind, OuterBitsPerSecond: 10e6, BurstBytes: 64 << 10}}
			sites := startSitesOn(t, narrow, ipv4)
			p := start(t, append(strings.Fields("run a b -q --json -t 30 --state "+sites.state), strings.Fields(words)...)...)
			if code := p.wait(t); code != 3 {
				t.Fatalf("exit code %d, want 3: %s", code, p.stderr)
			}
			result, err := report.Read(strings.NewReader(p.stdout.String()))
			if err != nil {
				t.Fatal(err)
			}
			var lasted time.Duration
			var why string
			for _, trial := range result.Trials {
				lasted, why = trial.Elapsed, trial.Stopped
			}
			for _, trial := range result.TCP {
				lasted, why = trial.Elapsed, trial.Stopped
			}
			if lasted > 10*time.Second || !strings.Contains(why, "was stopped") {
				t.Errorf("it went on for %v, %q", lasted, why)
			}
		})
	}
}

// What a receiver misses while it is stopped is its own loss, not the path's.
func TestStoppedReceiver(t *testing.T) {
	labtest.CheckLeaks(t)
	sites := startSites(t, ipv4)
	p := start(t, strings.Fields("run a b --json --driver clear -u -b 1500M -t 3 --latency-every 0 --state "+sites.state)...)
	receiver := sites.agents[1].Process
	eventually(t, "the load runs", func() bool { return receivedBy(t, sites.lab, "b") > 10e6 })
	if err := receiver.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	before := receivedBy(t, sites.lab, "b")
	eventually(t, "more has come than a socket holds", func() bool { return receivedBy(t, sites.lab, "b") > before+80e6 })
	if err := receiver.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t); code != 0 && code != 4 {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	result, err := report.Read(strings.NewReader(p.stdout.String()))
	if err != nil {
		t.Fatal(err)
	}
	trial := result.Trials[0]
	if lost, own := trial.Lost(), trial.LostAtReceiver(); lost == 0 || own != lost {
		t.Errorf("%d of %d lost, %d of them at the receiver: want some, and all of them there", lost, trial.Sent, own)
	}
}

// receivedBy is how many bytes have come to a site.
func receivedBy(t *testing.T, l *lab.Lab, site string) (bytes uint64) {
	t.Helper()
	counters, err := l.Counters()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range counters {
		if c.Toward == site {
			bytes += c.PassedOuterBytes
		}
	}
	return bytes
}

// Over a WAN what it does is what the result says: of loss, order, copies and delay.
func TestTruthOverWAN(t *testing.T) {
	labtest.CheckLeaks(t)
	wan := lab.WAN{Delay: 40 * time.Millisecond, LossRatio: 0.02, DuplicateRatio: 0.02, ReorderRatio: 0.02, Seed: 4}
	sites := startSitesOn(t, lab.Link{Between: [2]string{"a", "b"}, WAN: wan}, ipv4)
	before := wanToward(t, sites.lab, "b")
	result, _ := sites.run(t, "--driver clear -u -b 40M -l 972 -t 10 --latency-every 0")
	after := wanToward(t, sites.lab, "b")
	trial := result.Trials[0]
	all := after.Forwarded + after.Dropped - before.Forwarded - before.Dropped
	others := all - trial.Sent // Hellos, of which each may have met its fate, too.
	for what, c := range map[string]struct{ got, want uint64 }{
		"lost":       {trial.Lost(), after.Dropped - before.Dropped},
		"duplicated": {trial.Duplicated, after.Duplicated - before.Duplicated},
		"reordered":  {trial.Reordered, after.Reordered - before.Reordered},
	} {
		if c.got > c.want || c.want-c.got > others || c.want < 500 {
			t.Errorf("%s: %d, the WAN says %d of all and %d were no load", what, c.got, c.want, others)
		}
	}
	if after.Overrun > before.Overrun {
		t.Logf("the WAN was overrun by %d packets", after.Overrun-before.Overrun)
	}
}

// Round trips over a WAN are as long as it says that it was, and TCP behaves as it
// does over such a way.
func TestDelayOverWAN(t *testing.T) {
	labtest.CheckLeaks(t)
	const delay, jitter = 40 * time.Millisecond, 2 * time.Millisecond
	sites := startSitesOn(t, lab.Link{Between: [2]string{"a", "b"}, WAN: lab.WAN{Delay: delay, Jitter: jitter, Seed: 4}}, ipv4)
	idle, _ := sites.run(t, "--driver clear -u -b 1M -t 5 --latency-every 10ms")
	there, back := wanToward(t, sites.lab, "b").Delay.Mean, wanToward(t, sites.lab, "a").Delay.Mean
	if mean := idle.Trials[0].Latency.RTT.Mean; math.Abs((mean - there - back).Seconds()) > 2*0.0005 {
		t.Errorf("mean round trip %v, want what the WAN says, %v there and %v back, within 1 ms", mean, there, back)
	}
	// A window is what TCP can have on its way in a round trip.
	const window = 256 << 10
	tcp, _ := sites.run(t, "--driver clear -t 4 -C cubic -w 256K")
	got, most := tcp.TCP[0].ReceivedGoodputRate(), 2*window*8/(2*delay).Seconds()
	if got > most || tcp.TCP[0].PerFlow[0].MinRTT < 2*(delay-jitter) {
		t.Errorf("TCP carried %.0f bit/s with a window of %d B over %v, at most %.0f can be; its least round trip was %v", got, window, 2*delay, most, tcp.TCP[0].PerFlow[0].MinRTT)
	}
}

// wanToward is what the WAN has done on the way to a site.
func wanToward(t *testing.T, l *lab.Lab, site string) lab.WANCounters {
	t.Helper()
	counters, err := l.WANCounters()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range counters {
		if c.Toward == site {
			return c
		}
	}
	t.Fatalf("no WAN leads to %s", site)
	return lab.WANCounters{}
}
