package udp

import (
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"tunnelmark/probe"
	"tunnelmark/probe/wire"
)

// relayedPair opens a sender's and a receiver's socket with a relay's sockets
// between them.
func relayedPair(t *testing.T) (sender, near, receiver, far *net.UDPConn) {
	t.Helper()
	const s, n, r, f = "127.0.0.1:5001", "127.0.0.1:5002", "127.0.0.1:5003", "127.0.0.1:5004"
	return connect(t, s, n), connect(t, n, s), connect(t, r, f), connect(t, f, r)
}

// relay forwards datagrams between near and far until stop is called. What
// comes from near goes through fate: it is told the datagram's number among all
// and returns the numbers of those to send now, from all that came so far.
func relay(t *testing.T, near, far *net.UDPConn, fate func(n int, d []byte) []int) (stop func()) {
	var wait sync.WaitGroup
	var kept [][]byte
	wait.Go(func() {
		forward(near, func(d []byte) {
			kept = append(kept, append([]byte(nil), d...))
			for _, n := range fate(len(kept)-1, d) {
				_, _ = far.Write(kept[n])
			}
		})
	})
	wait.Go(func() { forward(far, func(d []byte) { _, _ = near.Write(d) }) })
	return sync.OnceFunc(func() {
		near.Close()
		far.Close()
		wait.Wait()
	})
}

// forward reads until conn is closed.
func forward(conn *net.UDPConn, to func([]byte)) {
	buffer := make([]byte, 1<<16)
	for {
		n, err := conn.Read(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			to(buffer[:n])
		}
	}
}

// onData makes a fate of one that is told the DATA's sequence number; other
// datagrams pass.
func onData(fate func(sequence, n int) []int) func(int, []byte) []int {
	return func(n int, d []byte) []int {
		h, err := wire.ParseHeader(d)
		if err != nil || h.Type != wire.TypeData {
			return []int{n}
		}
		return fate(int(h.Sequence), n)
	}
}

// What a relay drops, repeats and reorders is counted exactly.
func TestIntegrationCountTruth(t *testing.T) {
	const packets = 400
	load := probe.Load{InnerBitsPerSecond: 10e6, Duration: time.Duration(packets * 1120e3), InnerSize: 1400} // 1.12 ms each.
	var sent, dropped, repeated, swapped uint64
	var first *probe.FirstLoss
	held := -1
	fate := onData(func(sequence, n int) []int {
		sent++
		switch {
		case held >= 0:
			late := held
			held = -1
			return []int{n, late}
		case sequence%50 == 20:
			held = n
			swapped++
			return nil
		case sequence%40 == 37:
			dropped++
			if first == nil {
				first = &probe.FirstLoss{Packets: uint64(sequence)}
			}
			return nil
		case sequence%30 == 5:
			repeated += 2
			return []int{n, n, n}
		}
		return []int{n}
	})
	freshNetns(t)
	a, near, b, far := relayedPair(t)
	stop := relay(t, near, far, fate)
	var got probe.Received
	var gotErr error
	done := make(chan struct{})
	go func() { defer close(done); got, gotErr = Receive(t.Context(), b, testTrial(t), load, nil) }()
	out, err := Send(t.Context(), flows(a), testTrial(t), load, nil)
	<-done
	stop()
	if err := errors.Join(err, gotErr); err != nil {
		t.Fatal(err)
	}
	if out.Packets != sent {
		t.Errorf("sender says %d, the relay saw %d", out.Packets, sent)
	}
	type truth struct{ Packets, Duplicated, Reordered, FirstLoss uint64 }
	want := truth{sent - dropped, repeated, swapped, first.Packets}
	if held >= 0 {
		want.Packets, want.Reordered = want.Packets-1, want.Reordered-1
	}
	if got.FirstLoss == nil {
		t.Fatal("no first loss")
	}
	if have := (truth{got.Packets, got.Duplicated, got.Reordered, got.FirstLoss.Packets}); have != want {
		t.Errorf("counted %+v, want %+v", have, want)
	}
}
