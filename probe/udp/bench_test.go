package udp

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"testing"
	"time"

	"tunnelmark/lab/labtest"
	"tunnelmark/probe"
	"tunnelmark/probe/probetest"
)

// trialOutcome is what both ends return.
type trialOutcome struct {
	sent           probe.Sent
	received       probe.Received
	sendErr, gotEr error
}

// runTrial runs a whole trial between two sockets.
func runTrial(t testing.TB, load probe.Load, ip string) trialOutcome {
	t.Helper()
	a, b := probetest.Pair(t, ip)
	defer a.Close()
	defer b.Close()
	var o trialOutcome
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.received, o.gotEr = Receive(context.Background(), []*net.UDPConn{b}, testTrial(t), load, nil)
	}()
	o.sent, o.sendErr = Send(context.Background(), flows(a), testTrial(t), load, nil)
	<-done
	return o
}

// benchTrial is runTrial for a second of a benchmark.
func benchTrial(b *testing.B, rate float64, size, burst int) trialOutcome {
	b.Helper()
	load := probe.Load{InnerBitsPerSecond: rate, Duration: time.Second, Mix: probe.Fixed(size), Burst: burst}
	o := runTrial(b, load, "127.0.0.1")
	if o.sendErr != nil || o.gotEr != nil {
		b.Fatal(o.sendErr, o.gotEr)
	}
	return o
}

// faster is more than any machine sends.
const faster = 1e13

// BenchmarkPacing tells how exact the load is while the sender is on the CPU, for how
// much of the time it was not, and how even the load is. The last rate is 80 % of the
// most that this machine sends. It shares the CPU with the receiver.
func BenchmarkPacing(b *testing.B) {
	probetest.EnterNetns(b)
	for _, size := range []int{64, 512, 1400, 8900} {
		most := benchTrial(b, faster, size, 0).sent
		rates := []float64{1e6, 10e6, 350e6, 2e9, 0.8 * float64(most.InnerBytes) * 8 / most.Elapsed.Seconds()}
		for _, rate := range rates {
			for _, burst := range []int{0, 1} {
				if burst == 1 && float64(size)*8e9/rate < 5000 {
					continue // Hardly a machine sends them one by one.
				}
				b.Run(fmt.Sprintf("%.0fMbps/%dB/burst=%d", rate/1e6, size, burst), func(b *testing.B) { benchPacing(b, rate, size, burst) })
			}
		}
	}
}

func benchPacing(b *testing.B, rate float64, size, burst int) {
	var sent, onCPU, elapsed, within, windows, worst, train float64
	for range b.N {
		s := benchTrial(b, rate, size, burst).sent
		sent += float64(s.InnerBytes) * 8
		onCPU += (s.Elapsed - s.Skipped).Seconds()
		elapsed += s.Elapsed.Seconds()
		within += s.Pace.Within * float64(s.Pace.Windows)
		windows += float64(s.Pace.Windows)
		worst, train = max(worst, s.Pace.Worst), float64(s.Burst)
	}
	b.ReportMetric((sent/onCPU/rate-1)*1e6, "error-ppm")
	b.ReportMetric(100*within/windows, "within-%")
	b.ReportMetric(100*worst, "worst-%")
	b.ReportMetric(100*(1-onCPU/elapsed), "skipped-%")
	b.ReportMetric(train, "burst")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkMaximum compares the most that Send gets through with iperf3 -u -b 0
// over the same loopback, in turns: in trains, and with bursts of one.
func BenchmarkMaximum(b *testing.B) {
	labtest.NeedProgram(b, "iperf3")
	probetest.EnterNetns(b)
	for _, size := range []int{64, 1400} {
		for _, burst := range []int{0, 1} {
			b.Run(fmt.Sprintf("%dB/burst=%d", size, burst), func(b *testing.B) {
				var sent, ours, theirs float64
				for range b.N {
					o := benchTrial(b, faster, size, burst)
					sent += float64(o.sent.Packets) / o.sent.Elapsed.Seconds()
					ours += float64(o.received.Packets) / o.sent.Elapsed.Seconds()
					theirs += iperf(b, size)
				}
				b.ReportMetric(sent/float64(b.N), "sent/s")
				b.ReportMetric(ours/float64(b.N), "packets/s")
				b.ReportMetric(ours/theirs, "x-iperf3")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// iperf is how many packets of the size iperf3 gets through per second.
func iperf(b *testing.B, size int) float64 {
	server := exec.Command("iperf3", "-s", "-1")
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { // It may miss that its client has ended.
		_ = server.Process.Kill()
		_ = server.Wait()
	}()
	time.Sleep(200 * time.Millisecond) // It does not say when it listens.
	out, err := exec.Command("iperf3", "-c", "127.0.0.1", "-u", "-b", "0", "-l", fmt.Sprint(size-fakeHeaders), "-t", "1", "-J").Output()
	if err != nil {
		b.Fatalf("run iperf3: %v", err)
	}
	var r struct {
		End struct {
			Sum struct {
				Seconds     float64
				Packets     float64
				LostPackets float64 `json:"lost_packets"`
			}
		}
	}
	if err := json.Unmarshal(out, &r); err != nil {
		b.Fatal(err)
	}
	return (r.End.Sum.Packets - r.End.Sum.LostPackets) / r.End.Sum.Seconds
}
