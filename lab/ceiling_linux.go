package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// floodOuterBytes is the size of the packets of MeasureWAN.
	floodOuterBytes = 1400
	// floodTime is for how long they are counted, and for how long they flow before.
	floodTime, floodRunUp = 300 * time.Millisecond, 50 * time.Millisecond
	// floodDelay is what longer WANs are measured with.
	floodDelay = 50 * time.Millisecond
)

// MeasureWAN finds out in half a second what the WAN process can carry on this
// machine when nothing else is to do: in a lab of its own it floods a link that has
// the WAN's delay and jitter with packets of 1400 bytes, and counts what leaves.
// Where a longer way has too few slots for that, they are the ceiling.
func MeasureWAN(ctx context.Context, w WAN) (WANCeiling, error) {
	flooded := WAN{Delay: min(max(w.Delay, time.Microsecond), floodDelay)}
	flooded.Jitter = min(max(w.Jitter, 1), flooded.Delay) // So that it is not netem.
	l, err := Build(ctx, Topology{
		Name: "ceiling", Sites: []string{"a", "b"},
		Links: []Link{{Between: [2]string{"a", "b"}, WAN: flooded}},
	})
	if err != nil {
		return WANCeiling{}, fmt.Errorf("measure the WAN process: %w", err)
	}
	packetsPerSecond, err := l.flood(ctx, flooded.Delay)
	if err := errors.Join(err, l.Close()); err != nil {
		return WANCeiling{}, fmt.Errorf("measure the WAN process: %w", err)
	}
	if longest := w.Delay + w.Jitter; longest > 0 {
		packetsPerSecond = min(packetsPerSecond, float64(w.slots(DefaultMTU))/longest.Seconds())
	}
	return WANCeiling{
		PacketsPerSecond:   packetsPerSecond,
		OuterBitsPerSecond: packetsPerSecond * 8 * floodOuterBytes,
	}, nil
}

// flood sends from site a to site b as fast as it can, and returns how many packets
// leave the WAN between them per second.
func (l *Lab) flood(ctx context.Context, delay time.Duration) (packetsPerSecond float64, err error) {
	receiver, err := l.listen("b", "a")
	if err != nil {
		return 0, err
	}
	// It never reads: what overflows it has left the WAN.
	defer func() { err = errors.Join(err, receiver.Close()) }()
	sender, err := l.listen("a", "b")
	if err != nil {
		return 0, err
	}
	sent := make(chan error, 1)
	go func() { sent <- sendTrains(sender, receiver.LocalAddr().(*net.UDPAddr).AddrPort()) }()
	packetsPerSecond, err = l.countLeaving(ctx, delay)
	return packetsPerSecond, errors.Join(err, sender.Close(), <-sent)
}

// countLeaving counts from when the first packets have left.
func (l *Lab) countLeaving(ctx context.Context, delay time.Duration) (packetsPerSecond float64, err error) {
	if err := pause(ctx, delay+floodRunUp); err != nil {
		return 0, err
	}
	begin, before := time.Now(), l.links[0].wans[1].process.counts.forwarded.Load()
	if err := pause(ctx, floodTime); err != nil {
		return 0, err
	}
	after := l.links[0].wans[1].process.counts.forwarded.Load()
	return float64(after-before) / time.Since(begin).Seconds(), nil
}

func pause(ctx context.Context, wanted time.Duration) error {
	timer := time.NewTimer(wanted)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *Lab) listen(site, peer string) (conn *net.UDPConn, err error) {
	own, err := l.Addresses(site, peer)
	if err != nil {
		return nil, err
	}
	err = l.Do(site, func() (err error) {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(own.V4, 0)))
		return err
	})
	return conn, err
}

// sendTrains sends trains of datagrams until the socket is closed.
func sendTrains(from *net.UDPConn, to netip.AddrPort) error {
	const payload, train = floodOuterBytes - 20 - 8, 32 // IPv4 and UDP headers
	data := make([]byte, train*payload)
	control := make([]byte, unix.CmsgSpace(2))
	header := unix.Cmsghdr{Level: unix.IPPROTO_UDP, Type: unix.UDP_SEGMENT}
	header.SetLen(unix.CmsgLen(2))
	if _, err := binary.Encode(control, binary.NativeEndian, header); err != nil {
		return err
	}
	binary.NativeEndian.PutUint16(control[unix.CmsgLen(0):], payload)
	for {
		_, _, err := from.WriteMsgUDPAddrPort(data, control, to)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
