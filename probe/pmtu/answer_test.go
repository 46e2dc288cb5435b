package pmtu

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"tunnelmark/lab/labtest"
	"tunnelmark/probe/probetest"
	"tunnelmark/probe/sockets"
	"tunnelmark/probe/wire"
)

// asker says to an answerer what a searcher would not.
type asker struct {
	t       *testing.T
	conn    *net.UDPConn
	options Options
	nonce   wire.Nonce
	peer    wire.Nonce // The answerer's.
	said    uint64     // Sequence number of the last hello.
	larger  int        // Answers so far.
}

// greeted starts an answerer at b, and returns an asker at a that has greeted it.
func greeted(t *testing.T, a, b *net.UDPConn) *asker {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _, _ = Answer(ctx, b, testOptions(t)) }()
	t.Cleanup(func() { cancel(); <-done })
	k := &asker{t: t, conn: a, options: testOptions(t), nonce: wire.Nonce{1}}
	for range 100 {
		k.hello()
		if _, err := k.untilAnswered(50 * time.Millisecond); err == nil {
			return k
		}
	}
	t.Fatal("no hello")
	return nil
}

func (k *asker) header(sequence uint64) wire.Header {
	return wire.Header{Trial: k.options.Trial, Sequence: sequence}
}

func (k *asker) send(b []byte) { _, _ = k.conn.Write(b) }

// hello has a sequence number of its own.
func (k *asker) hello() {
	k.said++
	k.send(wire.Hello{Header: wire.Header{Trial: testOptions(k.t).Trial, Sequence: k.said}, Kind: wire.HelloOpen, Nonce: k.nonce}.Append(nil, k.options.Key))
}

// untilAnswered returns the datagrams that come before the answer to the last hello.
func (k *asker) untilAnswered(within time.Duration) (before [][]byte, err error) {
	_ = k.conn.SetReadDeadline(time.Now().Add(within))
	for {
		b := make([]byte, sockets.MaxInner)
		n, err := k.conn.Read(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return before, err
		}
		if m, err := wire.OpenHello(b[:n], k.options.Key); err == nil && m.Sequence == k.said {
			k.peer = m.Nonce
			return before, nil
		}
		if err == nil {
			before = append(before, b[:n])
		}
	}
}

// answers are all datagrams that answer what was sent so far: the path keeps order.
func (k *asker) answers() [][]byte {
	k.t.Helper()
	k.hello()
	all, err := k.untilAnswered(5 * time.Second)
	if err != nil {
		k.t.Fatal(err)
	}
	return all
}

// large counts the answers so far that are larger than any question.
func (k *asker) large() int {
	k.t.Helper()
	for _, d := range k.answers() {
		if len(d) > wire.ToldSize {
			k.larger++
		}
	}
	return k.larger
}

// Only who has seen the answerer's nonce gets what is asked for: once for each question,
// no more than was asked, and no more often than a search asks.
func TestIntegrationAnswersOnlyThePeer(t *testing.T) {
	labtest.CheckLeaks(t)
	ask := func(k *asker, sequence uint64, size int, echo wire.Nonce, key wire.Key) {
		k.send(wire.Ask{Header: k.header(sequence), InnerSize: uint32(size), Echo: echo}.Append(nil, key))
	}
	for _, tt := range []struct {
		name string
		ask  func(k *asker)
		want int
	}{
		{"peer", func(k *asker) { ask(k, 1, 1400, k.peer, k.options.Key) }, 1},
		{"peer that does not know the nonce", func(k *asker) { ask(k, 1, 1400, wire.Nonce{2}, k.options.Key) }, 0},
		{"mirrored nonce", func(k *asker) { ask(k, 1, 1400, k.nonce, k.options.Key) }, 0},
		{"another key", func(k *asker) { ask(k, 1, 1400, k.peer, probetest.StrangersKey(t)) }, 0},
		{"another trial", func(k *asker) {
			k.options.Trial++
			ask(k, 1, 1400, k.peer, k.options.Key)
		}, 0},
		{"repeated", func(k *asker) {
			for range 5 {
				ask(k, 1, 1400, k.peer, k.options.Key)
			}
		}, 1},
		{"sizes that no packet has", func(k *asker) {
			for i, size := range []int{0, 83, 65536, 1<<32 - 1} {
				ask(k, uint64(i), size, k.peer, k.options.Key)
			}
		}, 0},
		{"more often than a search asks", func(k *asker) {
			for i := range uint64(mostSent + 50) {
				ask(k, i, 200, k.peer, k.options.Key)
				k.large() // So that no buffer overflows.
			}
		}, mostSent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := newWAN(t, leg{}, leg{}).sockets(t, false)
			k := greeted(t, a, b)
			tt.ask(k)
			if got := k.large(); got != tt.want {
				t.Errorf("got %d large datagrams, want %d", got, tt.want)
			}
		})
	}
}

// Before its nonce has come back, an answerer sends nothing larger than what came, and
// nothing at all to who does not hold the key.
func TestIntegrationAnswersHellosInKind(t *testing.T) {
	labtest.CheckLeaks(t)
	a, b := newWAN(t, leg{}, leg{}).sockets(t, false)
	k := greeted(t, a, b)
	k.send(wire.Hello{Header: k.header(0), Kind: wire.HelloOpen, Nonce: k.nonce}.Append(nil, k.options.Key))
	if got := k.answers(); len(got) != 1 || len(got[0]) != wire.HelloSize {
		t.Errorf("a hello is answered by %d datagrams, want one hello", len(got))
	}
	k.send(wire.Hello{Header: k.header(1), Kind: wire.HelloOpen, Nonce: k.nonce}.Append(nil, probetest.StrangersKey(t)))
	k.send(wire.Hello{Header: k.header(1), Kind: wire.HelloLast, Nonce: k.nonce}.Append(nil, k.options.Key))
	k.send(wire.Sized{Header: k.header(1), InnerSize: 1400, Echo: k.nonce}.Append(nil, k.options.Key))
	k.send([]byte{1})
	if got := k.answers(); len(got) != 0 {
		t.Errorf("others' words are answered by %d datagrams, want none", len(got))
	}
}

// The newest hello counts only until a searcher has shown that it knows the answerer's
// nonce.
func TestIntegrationAnswersOneSearcher(t *testing.T) {
	labtest.CheckLeaks(t)
	a, b := newWAN(t, leg{}, leg{}).sockets(t, false)
	k := greeted(t, a, b)
	other := wire.Hello{Header: k.header(0), Kind: wire.HelloOpen, Nonce: wire.Nonce{9}}.Append(nil, k.options.Key)
	k.send(other)
	if got := k.answers(); len(got) != 1 || len(got[0]) != wire.HelloSize {
		t.Errorf("another hello is answered by %d datagrams, want one hello", len(got))
	}
	k.send(wire.Ask{Header: k.header(1), InnerSize: 200, Echo: k.peer}.Append(nil, k.options.Key))
	if got := k.answers(); len(got) != 2 {
		t.Errorf("what was asked for is answered by %d datagrams, want it and the word that it was sent", len(got))
	}
	k.send(other)
	if got := k.answers(); len(got) != 0 {
		t.Errorf("another hello is answered by %d datagrams, want none", len(got))
	}
}
