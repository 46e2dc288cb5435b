//go:build !race

// The race detector's own memory is many times that of what it watches.

package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"tunnelmark/lab/labtest"
	"tunnelmark/scripts/internal/bench"
	"tunnelmark/tunnel"
)

const (
	// soakMemory is the environment variable with the length of TestIntegrationMemory;
	// scripts/soak sets it.
	soakMemory = "TUNNELMARK_SOAK_MEMORY"
	// leastMemory lets all buffers be used within a quarter of the time.
	leastMemory = 8 * time.Second
	// leastLoad must arrive each way, in bytes per second: a tenth of what an idle
	// machine of two cores carries.
	leastLoad = 20 << 20
	// mostResident bounds a process with one half, its program and Go's runtime
	// included, at any time, in bytes.
	mostResident = 64 << 20
	// mostGrowth is what is flat: over the last three quarters of the time, the
	// straight line through the sizes (least squares) rises by less, in bytes.
	mostGrowth = 1 << 20
	// memorySamples are taken in all.
	memorySamples = 200
)

// A process with one half, under load both ways, stays small, and as small as it was:
// four flows of TCP each way, and new keys every second.
func TestIntegrationMemory(t *testing.T) {
	labtest.CheckLeaks(t)
	labtest.NeedProgram(t, "iperf3")
	length := memoryLength(t)
	p := mustPlan(t, espName(tunnel.AES128GCM)).planes[0]
	p.spec.Rekey = tunnel.Lifetime{Time: time.Second}
	b, err := build(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.close(); err != nil {
			t.Error(err)
		}
	}()
	var ends [2][]resident
	work, loading := errgroup.WithContext(t.Context())
	watching, done := context.WithTimeout(loading, length)
	defer done()
	work.Go(func() error { return b.loadBothWays(loading, length) })
	for i, process := range []*bench.Process{b.sender, b.receiver} {
		work.Go(func() (err error) {
			ends[i], err = watchResident(watching, process.Number(), length/memorySamples)
			return err
		})
	}
	if err := work.Wait(); err != nil {
		t.Fatal(err)
	}
	for i, end := range []string{"sender", "receiver"} {
		expectSmallAndFlat(t, end, ends[i])
	}
}

func memoryLength(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv(soakMemory)
	if text == "" {
		return leastMemory
	}
	length, err := time.ParseDuration(text)
	if err != nil || length < leastMemory {
		t.Fatalf("%s=%s: want a time of %v or more", soakMemory, text, leastMemory)
	}
	return length
}

// loadBothWays ends after that time.
func (b *built) loadBothWays(ctx context.Context, length time.Duration) error {
	both, ctx := errgroup.WithContext(ctx)
	there, back := b.inner, &bench.Pair{Sender: b.inner.Receiver, Receiver: b.inner.Sender}
	for _, way := range []struct {
		pair *bench.Pair
		to   tunnel.End
	}{{there, receivingEnd}, {back, sendingEnd}} {
		both.Go(func() error {
			result, _, err := way.pair.Iperf3(ctx, bench.Iperf3{To: way.to.Inner4, Duration: length, Flows: 4})
			if err == nil && result.GoodputBytesReceived() < leastLoad*uint64(length.Seconds()) {
				err = fmt.Errorf("%d bytes arrived within %v, which is no load", result.GoodputBytesReceived(), length)
			}
			return err
		})
	}
	return both.Wait()
}

// resident is the physical memory of a process at one moment, in bytes.
type resident struct {
	at        time.Duration
	now, peak float64
}

// watchResident reads a process's size until ctx is done.
func watchResident(ctx context.Context, process int, every time.Duration) (sizes []resident, err error) {
	begun, ticker := time.Now(), time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return sizes, nil
		case <-ticker.C:
		}
		size := resident{at: time.Since(begun)}
		if size.now, size.peak, err = readResident(process); err != nil {
			return nil, err
		}
		sizes = append(sizes, size)
	}
}

// readResident reads VmRSS and VmHWM (proc_pid_status(5)), which are in KiB.
func readResident(process int) (now, peak float64, err error) {
	path := fmt.Sprintf("/proc/%d/status", process)
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, err
	}
	sizes := make(map[string]float64)
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[2] == "kB" {
			sizes[fields[0]], _ = strconv.ParseFloat(fields[1], 64)
		}
	}
	now, peak = sizes["VmRSS:"]*1024, sizes["VmHWM:"]*1024
	if now == 0 || peak == 0 {
		return 0, 0, fmt.Errorf("read %s: it has no VmRSS or VmHWM: the process has ended", path)
	}
	return now, peak, nil
}

func expectSmallAndFlat(t *testing.T, end string, sizes []resident) {
	t.Helper()
	if len(sizes) < memorySamples/2 {
		t.Fatalf("%s: %d readings, want %d or so", end, len(sizes), memorySamples)
	}
	last := sizes[len(sizes)-1]
	rise := growth(sizes[len(sizes)/4:])
	t.Logf("%s: resident %.1f MiB at the end, %.1f MiB at most; trend over the last three quarters of %v: %+.2f MiB",
		end, last.now/(1<<20), last.peak/(1<<20), last.at.Round(time.Second), rise/(1<<20))
	if last.peak > mostResident {
		t.Errorf("%s: %.1f MiB were resident, want at most %d MiB", end, last.peak/(1<<20), mostResident>>20)
	}
	if rise > mostGrowth {
		t.Errorf("%s: it grew by %.2f MiB, want at most %d MiB", end, rise/(1<<20), mostGrowth>>20)
	}
}

// growth is by how much the straight line through the sizes rises from the first to
// the last, in bytes.
func growth(sizes []resident) float64 {
	n := float64(len(sizes))
	var sumX, sumY, sumXX, sumXY float64
	for _, s := range sizes {
		x := s.at.Seconds()
		sumX, sumY, sumXX, sumXY = sumX+x, sumY+s.now, sumXX+x*x, sumXY+x*s.now
	}
	slope := (n*sumXY - sumX*sumY) / (n*sumXX - sumX*sumX)
	return slope * (sizes[len(sizes)-1].at - sizes[0].at).Seconds()
}

// A leak is told from a size that goes up and down.
func TestGrowth(t *testing.T) {
	for name, c := range map[string]struct {
		size func(i int) float64
		want float64
	}{
		"flat":          {func(int) float64 { return 5e6 }, 0},
		"up and down":   {func(i int) float64 { return 5e6 + float64(i%2)*1e5 }, 0},
		"a leak":        {func(i int) float64 { return 5e6 + float64(i)*1e4 }, 1.49e6},
		"less than was": {func(i int) float64 { return 5e6 - float64(i)*1e4 }, -1.49e6},
	} {
		var sizes []resident
		for i := range 150 {
			sizes = append(sizes, resident{at: time.Duration(i) * time.Second, now: c.size(i)})
		}
		if got := growth(sizes); got < c.want-1e4 || got > c.want+1e4 {
			t.Errorf("%s: it grew by %.0f B, want %.0f", name, got, c.want)
		}
	}
}
