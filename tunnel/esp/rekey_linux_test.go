package esp_test

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math"
	"net"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/esp"
	"tunnelmark/tunnel/overhead"
	"tunnelmark/tunnel/tunneltest"
)

// What a long run chooses.
var (
	rekeyFor   = flag.Duration("rekey-for", 2*time.Second, "how long TestRekeyByTime loads the tunnel")
	rekeyEvery = flag.Duration("rekey-every", 100*time.Millisecond, "after what time it replaces the keys")
)

// Under load in both directions not one packet is lost while keys are replaced by time.
func TestRekeyByTime(t *testing.T) {
	pair := openRekeyed(t, tunnel.Lifetime{Time: *rekeyEvery})
	begun := time.Now()
	expectAll(t, pair, true, func(uint64) bool { return time.Since(begun) < *rekeyFor })
	elapsed := time.Since(begun)
	want := uint64(elapsed / *rekeyEvery)
	for name, half := range map[string]*tunneltest.Half{"left": pair.Left, "right": pair.Right} {
		if got := rekeys(t, half); got < want/2 || got > want+1 {
			t.Errorf("%s: replaced keys %d times within %v, want every %v", name, got, elapsed, *rekeyEvery)
		} else {
			t.Logf("%s: replaced keys %d times within %v", name, got, elapsed)
		}
	}
}

// Nor while they are replaced by packets of one direction, where the other has none.
func TestRekeyByPackets(t *testing.T) {
	const times = 4
	pair := openRekeyed(t, tunnel.Lifetime{Packets: tunnel.LeastRekeyPackets})
	expectAll(t, pair, false, func(sent uint64) bool {
		return sent < times*tunnel.LeastRekeyPackets || rekeys(t, pair.Right) == 0
	})
	for name, half := range map[string]*tunneltest.Half{"left": pair.Left, "right": pair.Right} {
		if got := rekeys(t, half); got < 1 || got > times {
			t.Errorf("%s: replaced keys %d times, want some", name, got)
		}
	}
}

// Either end replaces both ends' keys on demand, also without load.
func TestRekeyOnDemand(t *testing.T) {
	pair := openRekeyed(t, tunnel.Lifetime{})
	for i, half := range []*tunneltest.Half{pair.Left, pair.Right, pair.Left} {
		took, err := half.Tunnel.(tunnel.Rekeyer).Rekey(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("took %v", took)
		for name, half := range map[string]*tunneltest.Half{"left": pair.Left, "right": pair.Right} {
			if got := rekeys(t, half); got != uint64(i+1) {
				t.Errorf("%s: replaced keys %d times, want %d", name, got, i+1)
			}
		}
	}
	expectAll(t, pair, true, func(sent uint64) bool { return sent < 100 })
}

func openRekeyed(t *testing.T, l tunnel.Lifetime) *tunneltest.Pair {
	t.Helper()
	spec := template(t, tunnel.AES128GCM, tunnel.UDP, overhead.IPv4)
	spec.Rekey = l
	return tunneltest.NewLink(t, tunneltest.PathMTU).OpenPair(t, esp.Driver{}, spec, false, t.Name())
}

// rekeys is how often a half says that its keys were replaced.
func rekeys(t *testing.T, half *tunneltest.Half) (times uint64) {
	t.Helper()
	for _, detail := range half.Tunnel.(tunnel.Detailed).Details() {
		if detail.Name != "rekeyed" {
			continue
		}
		if _, err := fmt.Sscanf(detail.Value, "%d times", &times); err != nil {
			t.Fatal(err)
		}
	}
	return times
}

// expectAll sends while more says so, from left to right and, if both, back. Every
// packet must arrive, in order and counted by both halves.
func expectAll(t *testing.T, pair *tunneltest.Pair, both bool, more func(sent uint64) bool) {
	t.Helper()
	left, right := pair.DialPath(t)
	var streams errgroup.Group
	var there, back uint64
	streams.Go(func() (err error) { there, err = stream(left, right, more); return err })
	if both {
		streams.Go(func() (err error) { back, err = stream(right, left, more); return err })
	}
	if err := streams.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("%d packets there, %d back", there, back)
	expectPackets(t, pair.Left, there, back)
	expectPackets(t, pair.Right, back, there)
}

// stream sends datagrams, never more than flight of them ahead of the reader: what
// is missing then is not lost in a queue.
func stream(from, to *net.UDPConn, more func(sent uint64) bool) (sent uint64, err error) {
	const flight = 64
	places := make(chan struct{}, flight)
	end := make(chan uint64, 1)
	var reading errgroup.Group
	reading.Go(func() error { return readAll(to, places, end) })
	datagram := make([]byte, payload)
	for ; err == nil && more(sent); sent++ {
		select {
		case places <- struct{}{}:
		case <-time.After(10 * time.Second):
			err = fmt.Errorf("after %d packets nothing arrives any more", sent)
			continue
		}
		binary.BigEndian.PutUint64(datagram, sent)
		_, err = from.Write(datagram)
	}
	end <- sent
	return sent, errors.Join(err, reading.Wait())
}

// readAll frees a place for each datagram, until it has read as many as end says. They
// must come in order.
func readAll(socket *net.UDPConn, places <-chan struct{}, end <-chan uint64) error {
	const pause, patience = 100 * time.Millisecond, 10 * time.Second
	buffer := make([]byte, payload)
	total := uint64(math.MaxUint64)
	for next, last := uint64(0), time.Now(); next < total; {
		select {
		case total = <-end:
			continue
		default:
		}
		if err := socket.SetReadDeadline(time.Now().Add(pause)); err != nil {
			return err
		}
		n, err := socket.Read(buffer)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && time.Since(last) < patience:
			continue
		case err != nil:
			return fmt.Errorf("read packet %d: %w", next, err)
		case n != payload || binary.BigEndian.Uint64(buffer) != next:
			return fmt.Errorf("packet %d: got packet %d of %d bytes", next, binary.BigEndian.Uint64(buffer), n)
		}
		next, last = next+1, time.Now()
		<-places
	}
	return nil
}

// expectPackets wants nothing to be counted but what was sent and has arrived.
func expectPackets(t *testing.T, half *tunneltest.Half, out, in uint64) {
	t.Helper()
	const size = 20 + 8 + payload
	want := tunnel.Counters{OutPackets: out, OutInnerBytes: out * size, InPackets: in, InInnerBytes: in * size}
	var got tunnel.Counters
	for deadline := time.Now().Add(10 * time.Second); got != want && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		var err error
		if got, err = half.Counters(); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
}
