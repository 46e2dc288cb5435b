package tcp

import (
	"fmt"
	"io"
	"time"

	"tunnelmark/probe/wire"
)

// greetReceiver opens a flow at the sender's end, and returns the round trip.
func greetReceiver(conn io.ReadWriter, trial Trial, flow int, nonce wire.Nonce) (time.Duration, error) {
	began := time.Now()
	open := wire.Hello{Header: trial.header(flow), Kind: wire.HelloOpen, Nonce: nonce}
	if _, err := conn.Write(open.Append(nil, trial.Key)); err != nil {
		return 0, fmt.Errorf("say hello: %w", err)
	}
	reply, err := readHello(conn, trial, wire.HelloReply)
	if err != nil {
		return 0, fmt.Errorf("await the receiver's hello: %w", err)
	}
	rtt := time.Since(began)
	if int(reply.Stream) != flow || reply.Echo != nonce {
		return 0, fmt.Errorf("take the receiver's hello: %w: it answers another", wire.ErrForeign)
	}
	return rtt, answer(conn, trial, flow, nonce, reply.Nonce)
}

// greetSender opens a flow at the receiver's end. It returns the sender's hello,
// which says which flow this is.
func greetSender(conn io.ReadWriter, trial Trial, flows int) (wire.Hello, error) {
	open, err := readHello(conn, trial, wire.HelloOpen)
	if err != nil {
		return open, err
	}
	if int(open.Stream) >= flows {
		return open, fmt.Errorf("%w: flow %d of %d", wire.ErrForeign, open.Stream+1, flows)
	}
	nonce := wire.NewNonce()
	if err := answer(conn, trial, int(open.Stream), nonce, open.Nonce); err != nil {
		return open, err
	}
	reply, err := readHello(conn, trial, wire.HelloReply)
	if err != nil {
		return open, err
	}
	// Only one who is there now can echo a nonce of this connection: no recording.
	if reply.Stream != open.Stream || reply.Nonce != open.Nonce || reply.Echo != nonce {
		return open, fmt.Errorf("%w: it answers another", wire.ErrForeign)
	}
	return open, nil
}

func answer(conn io.Writer, trial Trial, flow int, nonce, echo wire.Nonce) error {
	h := wire.Hello{Header: trial.header(flow), Kind: wire.HelloReply, Nonce: nonce, Echo: echo}
	if _, err := conn.Write(h.Append(nil, trial.Key)); err != nil {
		return fmt.Errorf("answer the hello: %w", err)
	}
	return nil
}

// readHello reads as many bytes as a hello has, whatever they are.
func readHello(conn io.Reader, trial Trial, kind wire.HelloKind) (wire.Hello, error) {
	var b [wire.HelloSize]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		return wire.Hello{}, err
	}
	h, err := wire.OpenHello(b[:], trial.Key)
	if err != nil {
		return wire.Hello{}, err
	}
	if h.Trial != trial.Number || h.Kind != kind {
		return wire.Hello{}, fmt.Errorf("%w: hello of kind %d in trial %d", wire.ErrForeign, h.Kind, h.Trial)
	}
	return h, nil
}
