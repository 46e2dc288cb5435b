package tcp

import (
	"encoding/json"
	"fmt"
	"math"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"tunnelmark/lab/labtest"
	"tunnelmark/probe/probetest"
)

func (r Received) goodputBitsPerSecond() float64 {
	return float64(r.goodputBytes()) * 8 / r.Elapsed.Seconds()
}

// BenchmarkTCP compares goodput with iperf3's over the same veth pair, each with
// CUBIC, in rounds that follow one another.
func BenchmarkTCP(b *testing.B) {
	labtest.NeedProgram(b, "iperf3")
	sender, receiver := probetest.VethPair(b)
	load := Load{Duration: time.Second, Congestion: "cubic"}
	for _, tt := range []struct {
		name   string
		flows  int
		change func(*Load)
	}{
		{"1 flow", 1, func(*Load) {}},
		{"4 flows", 4, func(*Load) {}},
		{"1 flow verified", 1, func(l *Load) { l.Verify = true }},
		{"1 flow without copies", 1, func(l *Load) { l.ZeroCopy = true }},
		{"128 flows", 128, func(*Load) {}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			load := load
			load.Flows = tt.flows
			tt.change(&load)
			var ours, theirs, ratios []float64
			for range b.N {
				o := between(b, sender.Do, receiver.Do, probetest.AddressB, testTrial(b), load, nil)
				ours = append(ours, o.received.goodputBitsPerSecond())
				theirs = append(theirs, iperf(b, sender, receiver, tt.flows))
				ratios = append(ratios, ours[len(ours)-1]/theirs[len(theirs)-1])
			}
			b.ReportMetric(median(ours)/1e9, "Gbit/s")
			b.ReportMetric(median(theirs)/1e9, "Gbit/s-iperf3")
			b.ReportMetric(median(ratios), "x-iperf3")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func median(of []float64) float64 { return slices.Sorted(slices.Values(of))[len(of)/2] }

// iperf is the goodput of iperf3, in bit/s.
func iperf(b *testing.B, sender, receiver *probetest.Site, flows int) (goodput float64) {
	server := exec.Command("iperf3", "-s", "-1")
	if err := receiver.Do(server.Start); err != nil {
		b.Fatal(err)
	}
	defer server.Wait()
	time.Sleep(200 * time.Millisecond) // It does not say when it listens.
	var out []byte
	if err := sender.Do(func() (err error) {
		out, err = exec.Command("iperf3", "-c", probetest.AddressB, "-C", "cubic", "-P", strconv.Itoa(flows), "-t", "1", "-J").Output()
		return err
	}); err != nil {
		_ = server.Process.Kill()
		b.Fatalf("run iperf3: %v", err)
	}
	var r struct {
		End struct {
			SumReceived struct {
				BitsPerSecond float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		}
	}
	if err := json.Unmarshal(out, &r); err != nil {
		b.Fatal(err)
	}
	return r.End.SumReceived.BitsPerSecond
}

// BenchmarkPacing tells how exact the rate of a flow is, over the whole load and in
// windows of 100 ms.
func BenchmarkPacing(b *testing.B) {
	sender, receiver := probetest.VethPair(b)
	for _, rate := range []float64{1e6, 10e6, 350e6, 2e9, 10e9} {
		for _, congestion := range []string{"cubic", "bbr"} {
			for _, mss := range []int{536, 1448} {
				b.Run(fmt.Sprintf("%g Mbps/%s/MSS %d", rate/1e6, congestion, mss), func(b *testing.B) {
					load := Load{Flows: 1, Duration: 2 * time.Second, GoodputBitsPerSecond: rate, MSS: mss, Congestion: congestion}
					var mean, worst, windows, within float64
					for range b.N {
						o := between(b, sender.Do, receiver.Do, probetest.AddressB, testTrial(b), load, nil)
						mean += o.received.goodputBitsPerSecond()/rate - 1
						for _, deviation := range deviations(o.received.Samples, rate) {
							worst = max(worst, deviation)
							windows++
							if deviation <= max(0.01, 2*float64(2*mss)*8/(rate*0.1)) { // Two bursts of two segments.
								within++
							}
						}
					}
					b.ReportMetric(mean/float64(b.N)*1e6, "error-ppm")
					b.ReportMetric(within/windows*100, "windows-within-%")
					b.ReportMetric(worst*100, "worst-%")
					b.ReportMetric(0, "ns/op")
				})
			}
		}
	}
}

// deviations are by how much the rate of each window was off, as ratios.
func deviations(samples []Sample, rate float64) (off []float64) {
	for i, s := range samples[1:] {
		got := float64(s.GoodputBytes-samples[i].GoodputBytes) * 8 / (s.Elapsed - samples[i].Elapsed).Seconds()
		off = append(off, math.Abs(got/rate-1))
	}
	return off
}
