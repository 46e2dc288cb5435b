package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"tunnelmark/probe"
	"tunnelmark/probe/tcp"
	"tunnelmark/probe/udp"
	"tunnelmark/probe/wire"
)

const (
	// endCommand is how this program calls itself for one end of a load.
	endCommand = "end"
	// ready is what a receiver writes once its sockets are open.
	ready = "ready\n"
	port  = 5201
)

// order is what one end is to do; it comes on its standard input.
type order struct {
	Send     bool
	Job      job
	Duration time.Duration
	Key      []byte // Of the trial.
}

// told is what one end has counted; it goes to its standard output.
type told struct {
	Packets, InnerBytes uint64 // Of UDP.
	GoodputBytes        uint64 // Of TCP.
	Elapsed             time.Duration
	// Skipped, Burst and Within are the sender's, of UDP (probe.Sent).
	Skipped time.Duration
	Burst   int
	Within  float64
}

// runEnd carries out one order. What it opens is closed by the process's end, which
// is next.
func runEnd(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	var o order
	if err := json.NewDecoder(stdin).Decode(&o); err != nil {
		return fmt.Errorf("read the order: %w", err)
	}
	key, err := wire.NewKey(o.Key)
	if err != nil {
		return fmt.Errorf("read the order: %w", err)
	}
	t, err := o.carryOut(ctx, key, func() error {
		_, err := io.WriteString(stdout, ready)
		return err
	})
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(t)
}

func (o order) carryOut(ctx context.Context, key wire.Key, ready func() error) (told, error) {
	switch isTCP := o.Job.Protocol == tcpLoad; {
	case isTCP && o.Send:
		return o.sendTCP(ctx, key)
	case isTCP:
		return o.receiveTCP(ctx, key, ready)
	case o.Send:
		return o.sendUDP(ctx, key)
	default:
		return o.receiveUDP(ctx, key, ready)
	}
}

var (
	senderPort   = netip.AddrPortFrom(senderAddress, port)
	receiverPort = netip.AddrPortFrom(receiverAddress, port)
)

func (o order) sendUDP(ctx context.Context, key wire.Key) (told, error) {
	open := func(int) (*net.UDPConn, error) { return dialUDP(senderPort, receiverPort) }
	sent, err := udp.Send(ctx, open, udp.Trial{Key: key}, o.udpLoad(), nil)
	if err != nil {
		return told{}, err
	}
	return told{
		Packets: sent.Packets, InnerBytes: sent.InnerBytes, Elapsed: sent.Elapsed,
		Skipped: sent.Skipped, Burst: sent.Burst, Within: sent.Pace.Within,
	}, nil
}

func (o order) receiveUDP(ctx context.Context, key wire.Key, ready func() error) (told, error) {
	conn, err := dialUDP(receiverPort, senderPort)
	if err != nil {
		return told{}, fmt.Errorf("open the receiver's socket: %w", err)
	}
	if err := ready(); err != nil {
		return told{}, err
	}
	trial := udp.Trial{Key: key, NoGRO: o.Job.NoGRO}
	received, err := udp.Receive(ctx, []*net.UDPConn{conn}, trial, o.udpLoad(), nil)
	if err != nil {
		return told{}, err
	}
	t := told{Packets: received.Packets, InnerBytes: received.InnerBytes}
	if n := len(received.Windows); n > 0 {
		t.Elapsed = received.Windows[n-1].End
	}
	return t, nil
}

func dialUDP(local, remote netip.AddrPort) (*net.UDPConn, error) {
	return net.DialUDP("udp", net.UDPAddrFromAddrPort(local), net.UDPAddrFromAddrPort(remote))
}

// unpaced is an inner rate that no machine reaches: the sender is always late.
const unpaced = 1e12

func (o order) udpLoad() probe.Load {
	load := probe.Load{
		InnerBitsPerSecond: o.Job.InnerBitsPerSecond,
		Duration:           o.Duration,
		Mix:                probe.Fixed(o.Job.InnerSize),
	}
	if !o.Job.paced() {
		load.InnerBitsPerSecond = unpaced
	}
	if o.Job.Single {
		load.Burst = 1
	}
	return load
}

func (o order) sendTCP(ctx context.Context, key wire.Key) (told, error) {
	load := o.tcpLoad()
	dialer := net.Dialer{Control: load.Control}
	dial := func(ctx context.Context, _ int) (*net.TCPConn, error) {
		conn, err := dialer.DialContext(ctx, "tcp", receiverPort.String())
		if err != nil {
			return nil, err
		}
		return conn.(*net.TCPConn), nil
	}
	sent, err := tcp.Send(ctx, dial, tcp.Trial{Key: key}, load, nil)
	return told{Elapsed: sent.Elapsed}, err
}

func (o order) receiveTCP(ctx context.Context, key wire.Key, ready func() error) (told, error) {
	load := o.tcpLoad()
	config := net.ListenConfig{Control: load.Control}
	config.SetMultipathTCP(false) // iperf3 does not use it either.
	listener, err := config.Listen(ctx, "tcp", receiverPort.String())
	if err != nil {
		return told{}, fmt.Errorf("open the receiver's socket: %w", err)
	}
	if err := ready(); err != nil {
		return told{}, err
	}
	received, err := tcp.Receive(ctx, listener.(*net.TCPListener), tcp.Trial{Key: key}, load, nil)
	t := told{Elapsed: received.Elapsed}
	for _, flow := range received.Flows {
		t.GoodputBytes += flow.GoodputBytes
	}
	return t, err
}

func (o order) tcpLoad() tcp.Load {
	return tcp.Load{Flows: o.Job.Flows, Duration: o.Duration, Congestion: "cubic"}
}
