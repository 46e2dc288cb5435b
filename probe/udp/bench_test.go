package udp

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"tunnelmark/lab/labtest"
	"tunnelmark/probe"
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
	a, b := pair(t, ip)
	defer a.Close()
	defer b.Close()
	var o trialOutcome
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.received, o.gotEr = Receive(context.Background(), b, testTrial(t), load, nil)
	}()
	o.sent, o.sendErr = Send(context.Background(), flows(a), testTrial(t), load, nil)
	<-done
	return o
}

// BenchmarkPacing tells how exact the load is while the sender is on the CPU,
// and for how much of the time it was not.
func BenchmarkPacing(b *testing.B) {
	for _, mbps := range []float64{1, 10, 350, 2000} {
		b.Run(fmt.Sprintf("%gMbps", mbps), func(b *testing.B) {
			freshNetns(b)
			load := probe.Load{InnerBitsPerSecond: mbps * 1e6, Duration: time.Second, InnerSize: 1400}
			var packets uint64
			var elapsed, skipped time.Duration
			var train int
			for range b.N {
				o := runTrial(b, load, "127.0.0.1")
				if o.sendErr != nil || o.gotEr != nil {
					b.Fatal(o.sendErr, o.gotEr)
				}
				packets += o.sent.Packets
				elapsed += o.sent.Elapsed
				skipped += o.sent.Skipped
				train = o.sent.Train
			}
			rate := float64(packets) * 1400 * 8 / (elapsed - skipped).Seconds()
			b.ReportMetric((rate/(mbps*1e6)-1)*1e6, "error-ppm")
			b.ReportMetric(skipped.Seconds()/elapsed.Seconds()*100, "skipped-%")
			b.ReportMetric(float64(train), "train")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkMaximum compares the most that Send gets through with iperf3 -u -b 0
// over the same loopback.
func BenchmarkMaximum(b *testing.B) {
	labtest.NeedProgram(b, "iperf3")
	freshNetns(b)
	load := probe.Load{InnerBitsPerSecond: 1e12, Duration: time.Second, InnerSize: 1400}
	var ours, theirs float64
	for range b.N {
		o := runTrial(b, load, "127.0.0.1")
		if o.sendErr != nil {
			b.Fatal(o.sendErr)
		}
		ours += float64(o.received.Packets) / o.sent.Elapsed.Seconds()
		theirs += iperf(b)
	}
	b.ReportMetric(ours/float64(b.N), "packets/s")
	b.ReportMetric(ours/theirs, "x-iperf3")
	b.ReportMetric(0, "ns/op")
}

// iperf is how many packets per second iperf3 gets through.
func iperf(b *testing.B) float64 {
	server := exec.Command("iperf3", "-s", "-1")
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	defer server.Wait()
	time.Sleep(200 * time.Millisecond) // It does not say when it listens.
	out, err := exec.Command("iperf3", "-c", "127.0.0.1", "-u", "-b", "0", "-l", "1372", "-t", "1", "-J").Output()
	if err != nil {
		_ = server.Process.Kill()
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
