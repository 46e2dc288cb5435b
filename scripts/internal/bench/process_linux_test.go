package bench

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"tunnelmark/lab/labtest"
)

// The first thread never exits, so no namespace may be made on it.
func init() { runtime.LockOSThread() }

var (
	senderAddress   = netip.MustParseAddr("198.18.0.1")
	receiverAddress = netip.MustParseAddr("198.18.0.2")
)

func newTestPair(t *testing.T) *Pair {
	t.Helper()
	labtest.CheckLeaks(t)
	labtest.NeedProgram(t, "ip")
	p, err := NewPair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	if err := p.Join(t.Context(), 1500, senderAddress, receiverAddress); err != nil {
		t.Fatal(err)
	}
	return p
}

func shell(script string) End { return End{Name: "sh", Args: []string{"-c", script}} }

// Each end runs in its own namespace, and what both write is kept.
func TestIntegrationExchange(t *testing.T) {
	p := newTestPair(t)
	const address = "ip -brief -4 address show dev bench"
	done, err := p.Exchange(t.Context(), shell("echo listening; "+address), shell("cat; "+address), "listening")
	if err != nil {
		t.Fatal(err)
	}
	if got := string(done.Sender); !strings.Contains(got, senderAddress.String()) || strings.Contains(got, receiverAddress.String()) {
		t.Errorf("the sender's namespace has %q", got)
	}
	if got := string(done.Receiver); !strings.Contains(got, receiverAddress.String()) {
		t.Errorf("the receiver's namespace has %q", got)
	}
	if done.SenderCPU <= 0 || done.ReceiverCPU <= 0 {
		t.Errorf("got %v and %v of CPU time", done.SenderCPU, done.ReceiverCPU)
	}
}

// Whichever end fails, the other one ends, and the error has the words of the one
// that did.
func TestIntegrationExchangeFails(t *testing.T) {
	const patient = "echo listening; exec sleep 60"
	for _, tt := range []struct {
		name, receiver, sender, want string
	}{
		{"the receiver does not become ready", "echo no socket >&2; exit 3", "exit 0", "no socket"},
		{"the receiver ends unready", "exit 0", "exit 0", "before it was ready"},
		{"the sender fails", patient, "echo no peer >&2; exit 3", "no peer"},
		{"the receiver fails", "echo listening; echo no load >&2; exit 3", "exit 0", "no load"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newTestPair(t)
			_, err := p.Exchange(t.Context(), shell(tt.receiver), shell(tt.sender), "listening")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// An interrupt leaves neither processes nor namespaces: CheckLeaks looks.
func TestIntegrationExchangeInterrupted(t *testing.T) {
	for _, receiver := range []string{"exec sleep 60", "echo listening; exec sleep 60"} {
		p := newTestPair(t)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := p.Exchange(ctx, shell(receiver), shell("exec sleep 60"), "listening"); err == nil {
			t.Errorf("%q: got no error", receiver)
		}
	}
}

// A program that closes what it has made is given the time for it.
func TestIntegrationStartCloses(t *testing.T) {
	p := newTestPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	program := shell("trap 'echo closed; exit 0' TERM; echo made; echo ready; while :; do sleep 0.01; done")
	program.Closes = true
	started := Start(ctx, p.Sender, program, "ready")
	said, err := started.Ready(t.Context())
	if err != nil || string(said) != "made\n" {
		t.Errorf("got %q before it was ready, error %v", said, err)
	}
	cancel()
	if err := started.Wait(); !errors.Is(err, context.Canceled) || !strings.HasSuffix(started.output.text.String(), "closed\n") {
		t.Errorf("got %q, error %v; want it closed", started.output.text.String(), err)
	}
}
