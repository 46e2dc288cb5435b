package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"tunnelmark/lab/labtest"
)

func newTestLink(t *testing.T) *link {
	t.Helper()
	labtest.CheckLeaks(t)
	labtest.NeedProgram(t, "ip")
	l, err := newLink(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l
}

func shell(script string) end { return end{name: "sh", args: []string{"-c", script}} }

// Each end runs in its own namespace, and what both write is kept.
func TestIntegrationExchange(t *testing.T) {
	l := newTestLink(t)
	const address = "ip -brief -4 address show dev bench"
	done, err := l.exchange(t.Context(), shell("echo listening; "+address), shell("cat; "+address), "listening")
	if err != nil {
		t.Fatal(err)
	}
	if got := string(done.sender); !strings.Contains(got, senderAddress.String()) || strings.Contains(got, receiverAddress.String()) {
		t.Errorf("the sender's namespace has %q", got)
	}
	if got := string(done.receiver); !strings.Contains(got, receiverAddress.String()) {
		t.Errorf("the receiver's namespace has %q", got)
	}
	if done.senderCPU <= 0 || done.receiverCPU <= 0 {
		t.Errorf("got %v and %v of CPU time", done.senderCPU, done.receiverCPU)
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
			l := newTestLink(t)
			_, err := l.exchange(t.Context(), shell(tt.receiver), shell(tt.sender), "listening")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// An interrupt leaves neither processes nor namespaces: CheckLeaks looks.
func TestIntegrationExchangeInterrupted(t *testing.T) {
	for _, receiver := range []string{"exec sleep 60", "echo listening; exec sleep 60"} {
		l := newTestLink(t)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := l.exchange(ctx, shell(receiver), shell("exec sleep 60"), "listening"); err == nil {
			t.Errorf("%q: got no error", receiver)
		}
	}
}
