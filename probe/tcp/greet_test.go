package tcp

import (
	"bytes"
	"io"
	"slices"
	"testing"

	"tunnelmark/probe/wire"
)

// script is a connection on which the peer says what is written down, and nobody
// hears the answers.
type script struct{ io.Reader }

func (script) Write(b []byte) (int, error) { return len(b), nil }

// Whatever is said without knowing the fresh nonce, nobody is let in.
func FuzzGreet(f *testing.F) {
	trial := testTrial(f)
	hello := func(kind wire.HelloKind, flow int) []byte {
		return wire.Hello{Header: trial.header(flow), Kind: kind, Nonce: wire.Nonce{1}}.Append(nil, trial.Key)
	}
	f.Add([]byte{})
	f.Add(make([]byte, 3*wire.HelloSize))
	f.Add(slices.Concat(hello(wire.HelloOpen, 0), hello(wire.HelloReply, 0)))
	f.Add(slices.Concat(hello(wire.HelloOpen, 65535), hello(wire.HelloReply, 65535)))
	f.Add(hello(wire.HelloReply, 0))
	f.Fuzz(func(t *testing.T, said []byte) {
		if h, err := greetSender(script{bytes.NewReader(said)}, trial, 2); err == nil {
			t.Errorf("let flow %d in", h.Stream)
		}
		if _, err := greetReceiver(script{bytes.NewReader(said)}, trial, 0, wire.NewNonce()); err == nil {
			t.Error("took it for the receiver")
		}
	})
}
