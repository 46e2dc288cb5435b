package pmtu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tunnelmark/probe"
	"tunnelmark/probe/sockets"
	"tunnelmark/probe/wire"
)

// A look at a SYN goes like this:
//
//  1. One end connects, by OfferMSS. The other's kernel keeps the SYN as it came, and
//     HearMSS reads it from there.
//  2. Over the connection, the connector says HELLO, and the listener echoes its nonce
//     beside its own: each knows that the other holds the session's key.
//  3. The connector tells the MSS that its kernel sent, the listener what it received.
//
// Other connections are closed. One whose SYN was not kept, since it came before the
// listener was ready, is closed too, and the connector tries again.

// Bounds of a look at a SYN.
const (
	connectEvery = 50 * time.Millisecond
	// mostConnections is how many the listener takes, each for talkWithin at most:
	// of the peer's address, or of any where that is not known.
	mostConnections = 64
	talkWithin      = 3 * time.Second
)

// MSS is the greatest segment that the SYN of one direction asked for, as it was sent
// and as it was received, in bytes (RFC 9293, Section 3.7.1).
type MSS struct {
	Sent     int
	Received int // Zero where the SYN came without one: then 536 or 1220 count.
	// What else the SYN that was received had. A Linux kernel sends all three unless
	// it was told not to.
	HasWindowScale   bool
	WindowScale      int // By how many bits windows are shifted.
	SACK, Timestamps bool
}

// Dial opens a connection to the listener of the other end.
type Dial func(ctx context.Context) (*net.TCPConn, error)

// OfferMSS connects to the other end, where HearMSS must be waiting or come soon, and
// returns what became of the SYN on the way.
//
// The error says what the last attempt within Options.HelloWithin met: that of dial
// where no connection could be opened, probe.ErrNoHello where one could, but the peer
// did not prove that it is the one.
func OfferMSS(ctx context.Context, dial Dial, o Options) (MSS, error) {
	o, err := o.filled(familyIPv4)
	if err != nil {
		return MSS{}, err
	}
	within, cancel := context.WithTimeout(ctx, o.HelloWithin)
	defer cancel()
	ticker := time.NewTicker(connectEvery)
	defer ticker.Stop()
	var failed error
	for {
		mss, err := offerOnce(within, dial, o)
		if err == nil {
			return mss, nil
		}
		if failed == nil || !isTimeout(err) { // The end of time says less than what was met before.
			failed = err
		}
		select {
		case <-within.Done():
			return MSS{}, fmt.Errorf("offer an MSS: %w", cmp.Or(ctx.Err(), failed))
		case <-ticker.C:
		}
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func offerOnce(ctx context.Context, dial Dial, o Options) (MSS, error) {
	conn, err := dial(ctx)
	if err != nil {
		return MSS{}, err
	}
	return (&talk{conn: conn, options: o}).within(ctx, (*talk).offer)
}

// HearMSS waits for the connection of OfferMSS, and returns what became of its SYN on
// the way. l is opened by a net.ListenConfig with SetMultipathTCP(false), since multipath
// ones keep no SYNs; it is not used by others meanwhile, and stays set to keep them.
//
// probe.ErrNoHello means that nobody who holds the key connected in time.
func HearMSS(ctx context.Context, l *net.TCPListener, o Options) (MSS, error) {
	o, err := o.filled(familyIPv4)
	if err != nil {
		return MSS{}, err
	}
	if err := keepSYNs(l); err != nil {
		return MSS{}, err
	}
	within, cancel := context.WithTimeout(ctx, o.HelloWithin)
	defer cancel()
	defer sockets.InterruptOn(within, l)()
	heard := make(chan MSS, mostConnections)
	failed := eachConnection(l, o.Peer, func(conn *net.TCPConn) {
		mss, err := (&talk{conn: conn, options: o}).within(within, (*talk).hear)
		if err == nil {
			heard <- mss
			cancel() // Ends the waiting for connections, and other talks.
		}
	})
	select {
	case mss := <-heard:
		return mss, nil
	default:
		return MSS{}, fmt.Errorf("hear an MSS: %w", cmp.Or(ctx.Err(), failed))
	}
}

// keepSYNs makes the kernel keep the SYN of each connection to come (TCP_SAVE_SYN, since
// Linux 4.2).
func keepSYNs(l *net.TCPListener) error {
	return sockets.Control(l, func(fd int) error {
		if err := sockets.Set(fd, sockets.Option{Name: "TCP_SAVE_SYN", Level: unix.SOL_TCP, Which: unix.TCP_SAVE_SYN, Value: 1}); err != nil {
			return fmt.Errorf("%w; open the listener with SetMultipathTCP(false)", err)
		}
		return nil
	})
}

// eachConnection calls f for each of the peer's, which closes it, on a goroutine of its
// own. It returns when accepting has ended and all of them have.
func eachConnection(l *net.TCPListener, peer netip.Addr, f func(*net.TCPConn)) error {
	var all sync.WaitGroup
	defer all.Wait()
	for range mostConnections {
		conn, err := acceptFrom(l, peer)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return probe.ErrNoHello
		}
		if err != nil {
			return err
		}
		all.Go(func() { f(conn) })
	}
	return fmt.Errorf("%w among %d connections", probe.ErrNoHello, mostConnections)
}

// acceptFrom returns the next connection of the peer's address, or of any where that is
// not valid, and closes those before it. l's deadline ends it.
func acceptFrom(l *net.TCPListener, peer netip.Addr) (*net.TCPConn, error) {
	for {
		conn, err := l.AcceptTCP()
		if err != nil {
			return nil, err
		}
		from := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
		if !peer.IsValid() || from.Unmap() == peer.Unmap() {
			return conn, nil
		}
		_ = conn.Close() // Nothing was read or written.
	}
}

// talk is one connection.
type talk struct {
	conn    *net.TCPConn
	options Options
	err     error
}

// within runs what one end says, for no longer than ctx and talkWithin, and closes the
// connection.
func (t *talk) within(ctx context.Context, f func(*talk) (MSS, error)) (MSS, error) {
	_ = t.conn.SetDeadline(time.Now().Add(talkWithin)) // Fails only when closed; so will reading.
	release := sockets.InterruptOn(ctx, t.conn)
	defer func() {
		release()
		_ = t.conn.Close() // What was written is on its way.
	}()
	return f(t)
}

// offer is the connector's part.
func (t *talk) offer() (MSS, error) {
	sent, err := advertised(t.conn)
	if err != nil {
		return MSS{}, err
	}
	nonce := wire.NewNonce()
	t.write(wire.Hello{Header: t.header(), Kind: wire.HelloOpen, Nonce: nonce}.Append(nil, t.options.Key))
	reply := t.readHello(wire.HelloReply)
	if t.err != nil || reply.Echo != nonce {
		return MSS{}, noHello(t.err)
	}
	t.write(wire.SYN{Header: t.header(), MSS: sent, Echo: reply.Nonce}.Append(nil, t.options.Key))
	received := t.readSYN(nonce, true)
	return newMSS(sent, received), t.err
}

// hear is the listener's part.
func (t *talk) hear() (MSS, error) {
	received, err := keptSYN(t.conn)
	if err != nil {
		return MSS{}, err
	}
	nonce := wire.NewNonce()
	hello := t.readHello(wire.HelloOpen)
	t.write(wire.Hello{Header: t.header(), Kind: wire.HelloReply, Nonce: nonce, Echo: hello.Nonce}.Append(nil, t.options.Key))
	sent := t.readSYN(nonce, false)
	received.Header, received.Echo = t.header(), hello.Nonce
	t.write(received.Append(nil, t.options.Key))
	return newMSS(sent.MSS, received), t.err
}

// The methods that follow do nothing once the talk has an error.

func (t *talk) write(b []byte) {
	if t.err == nil {
		_, t.err = t.conn.Write(b)
	}
}

func (t *talk) read(size int) []byte {
	b := make([]byte, size)
	if t.err == nil {
		_, t.err = io.ReadFull(t.conn, b)
	}
	return b
}

func (t *talk) readHello(kind wire.HelloKind) (m wire.Hello) {
	b := t.read(wire.HelloSize)
	if t.err != nil {
		return m
	}
	if m, t.err = wire.OpenHello(b, t.options.Key); t.err == nil && (m.Kind != kind || m.Trial != t.options.Trial) {
		t.err = errForeign
	}
	return m
}

func (t *talk) readSYN(echo wire.Nonce, received bool) (m wire.SYN) {
	b := t.read(wire.SYNSize)
	if t.err != nil {
		return m
	}
	if m, t.err = wire.OpenSYN(b, t.options.Key); t.err == nil && (m.Echo != echo || m.Received != received || m.Trial != t.options.Trial) {
		t.err = errForeign
	}
	return m
}

// errForeign is of what the holder of the key said elsewhere.
var errForeign = errors.New("a message of another talk")

func newMSS(sent uint16, received wire.SYN) MSS {
	return MSS{
		Sent: int(sent), Received: int(received.MSS),
		HasWindowScale: received.HasWindowScale, WindowScale: int(received.WindowScale),
		SACK: received.SACK, Timestamps: received.Timestamps,
	}
}

func (t *talk) header() wire.Header { return wire.Header{Trial: t.options.Trial} }

// noHello says why a peer is not taken for one.
func noHello(err error) error {
	if err == nil {
		return probe.ErrNoHello
	}
	return fmt.Errorf("%w: %w", probe.ErrNoHello, err)
}

// advertised is the MSS that the kernel put into the SYN of a connection that it
// opened. It keeps it, but once both ends have agreed on timestamps it takes off what
// those cost each segment (tcp_rcv_synsent_state_process in net/ipv4/tcp_input.c).
func advertised(conn *net.TCPConn) (mss uint16, err error) {
	const (
		optTimestamps  = 1      // TCPI_OPT_TIMESTAMPS, linux/tcp.h
		timestampBytes = 10 + 2 // RFC 7323, Section 3.2, and padding.
	)
	err = sockets.Control(conn, func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.SOL_TCP, unix.TCP_INFO)
		if err != nil {
			return fmt.Errorf("read TCP_INFO of the connection: %w", err)
		}
		if info.Options&optTimestamps != 0 {
			info.Advmss += timestampBytes
		}
		mss = uint16(min(info.Advmss, sockets.MaxInner))
		return nil
	})
	return mss, err
}

// keptSYN is the SYN that opened an accepted connection, as it came. The kernel gives
// it once.
func keptSYN(conn *net.TCPConn) (s wire.SYN, err error) {
	err = sockets.Control(conn, func(fd int) error {
		var b [512]byte // IP header with extensions, and TCP header.
		size := uint32(len(b))
		_, _, errno := syscall.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_TCP, unix.TCP_SAVED_SYN,
			uintptr(unsafe.Pointer(&b)), uintptr(unsafe.Pointer(&size)), 0)
		if errno != 0 {
			return fmt.Errorf("read TCP_SAVED_SYN of the connection: %w", errno)
		}
		s, err = parseSYN(b[:min(int(size), len(b))])
		return err
	})
	return s, err
}
