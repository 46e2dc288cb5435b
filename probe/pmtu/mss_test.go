package pmtu

import (
	"context"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tunnelmark/lab/labtest"
	"tunnelmark/probe"
	"tunnelmark/probe/probetest"
	"tunnelmark/probe/wire"
)

// listen opens a listener at a site.
func (w *wan) listen(t *testing.T, site string, ipv6 bool) (l *net.TCPListener) {
	t.Helper()
	return w.listenWith(t, site, ipv6, false)
}

func (w *wan) listenWith(t *testing.T, site string, ipv6, multipath bool) (l *net.TCPListener) {
	t.Helper()
	err := w.lab.Do(site, func() error {
		var config net.ListenConfig
		config.SetMultipathTCP(multipath)
		opened, err := config.Listen(t.Context(), "tcp", w.tcpAddress(site, ipv6).String())
		if err == nil {
			l = opened.(*net.TCPListener)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func (w *wan) tcpAddress(site string, ipv6 bool) netip.AddrPort {
	address := sites[site].v4
	if ipv6 {
		address = sites[site].v6
	}
	return netip.AddrPortFrom(netip.MustParseAddr(address), 5003)
}

// dial opens connections from a site to the listener at another.
func (w *wan) dial(from, to string, ipv6 bool) Dial {
	return func(ctx context.Context) (conn *net.TCPConn, err error) {
		err = w.lab.Do(from, func() error {
			c, err := (&net.Dialer{}).DialContext(ctx, "tcp", w.tcpAddress(to, ipv6).String())
			if err == nil {
				conn = c.(*net.TCPConn)
			}
			return err
		})
		return conn, err
	}
}

// mssOf looks at a SYN from one site to the other, and returns what both ends say.
func (w *wan) mssOf(t *testing.T, from, to string, ipv6 bool, offerers, hearers Options) (offered, heard MSS, offerErr, hearErr error) {
	t.Helper()
	l := w.listen(t, to, ipv6)
	defer l.Close()
	done := make(chan struct{})
	go func() { defer close(done); heard, hearErr = HearMSS(t.Context(), l, hearers) }()
	offered, offerErr = OfferMSS(t.Context(), w.dial(from, to, ipv6), offerers)
	<-done
	return offered, heard, offerErr, hearErr
}

// A SYN is clamped in one direction and not in the other.
func TestIntegrationMSS(t *testing.T) {
	for _, tt := range []struct {
		name           string
		ipv6           bool
		sent, received int
	}{{"IPv4", false, 1460, 1321}, {"IPv6", true, 1440, 1321}} {
		t.Run(tt.name, func(t *testing.T) {
			labtest.CheckLeaks(t)
			w := newWAN(t, leg{clampMSS: 1321}, leg{})
			for _, direction := range []struct {
				from, to string
				received int
			}{{"a", "b", tt.received}, {"b", "a", tt.sent}} {
				offered, heard, offerErr, hearErr := w.mssOf(t, direction.from, direction.to, tt.ipv6, testOptions(t), testOptions(t))
				if err := errors.Join(offerErr, hearErr); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(offered, heard); diff != "" {
					t.Errorf("the ends differ (-offered +heard):\n%s", diff)
				}
				if heard.Sent != tt.sent || heard.Received != direction.received || !heard.HasWindowScale || !heard.SACK || !heard.Timestamps {
					t.Errorf("from %s: got %+v, want %d sent, %d received, and all other options", direction.from, heard, tt.sent, direction.received)
				}
			}
		})
	}
}

// The kernel's word for what it sent is what came, where nothing changed it: also
// where the route or the socket asks for less.
func TestIntegrationMSSAsSent(t *testing.T) {
	labtest.CheckLeaks(t)
	w := newWAN(t, leg{}, leg{})
	plain := w.dial("a", "b", false)
	asked := func(ctx context.Context) (*net.TCPConn, error) {
		return w.dialWith(ctx, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_MAXSEG, 1200) })
	}
	for _, tt := range []struct {
		name string
		dial Dial
		want int
	}{{"interface's", plain, 1460}, {"socket's", asked, 1200}, {"without timestamps", w.withoutTimestamps("a", plain), 1460}} {
		t.Run(tt.name, func(t *testing.T) {
			l := w.listen(t, "b", false)
			defer l.Close()
			done := make(chan struct{})
			go func() { defer close(done); _, _ = HearMSS(t.Context(), l, testOptions(t)) }()
			got, err := OfferMSS(t.Context(), tt.dial, testOptions(t))
			<-done
			if err != nil || got.Sent != tt.want || got.Received != tt.want {
				t.Errorf("got %+v, error %v, want %d sent and received", got, err, tt.want)
			}
		})
	}
}

// withoutTimestamps switches them off at a site before each connection.
func (w *wan) withoutTimestamps(site string, dial Dial) Dial {
	return func(ctx context.Context) (*net.TCPConn, error) {
		err := w.lab.Do(site, func() error { return os.WriteFile("/proc/sys/net/ipv4/tcp_timestamps", []byte("0"), 0) })
		if err != nil {
			return nil, err
		}
		return dial(ctx)
	}
}

// dialWith opens a connection from a to b whose socket is prepared.
func (w *wan) dialWith(ctx context.Context, prepare func(fd int) error) (conn *net.TCPConn, err error) {
	err = w.lab.Do("a", func() error {
		d := net.Dialer{ControlContext: func(_ context.Context, _, _ string, raw syscall.RawConn) error {
			var inner error
			return errors.Join(raw.Control(func(fd uintptr) { inner = prepare(int(fd)) }), inner)
		}}
		c, err := d.DialContext(ctx, "tcp", w.tcpAddress("b", false).String())
		if err == nil {
			conn = c.(*net.TCPConn)
		}
		return err
	})
	return conn, err
}

// A connection that came before the listener kept SYNs is made again.
func TestIntegrationMSSListenerIsLate(t *testing.T) {
	labtest.CheckLeaks(t)
	w := newWAN(t, leg{}, leg{})
	l := w.listen(t, "b", false)
	early := make(chan struct{}, 1000)
	dial := w.dial("a", "b", false)
	heard := make(chan MSS)
	go func() {
		<-early
		mss, _ := HearMSS(t.Context(), l, testOptions(t))
		heard <- mss
	}()
	got, err := OfferMSS(t.Context(), func(ctx context.Context) (*net.TCPConn, error) {
		defer func() { early <- struct{}{} }()
		return dial(ctx)
	}, testOptions(t))
	if other := <-heard; err != nil || got.Received != 1460 || other != got {
		t.Errorf("got %+v and %+v, error %v, want 1460 twice", got, other, err)
	}
}

// Who does not hold the key, or mirrors what this end says, is no peer.
func TestIntegrationMSSStrangers(t *testing.T) {
	labtest.CheckLeaks(t)
	w := newWAN(t, leg{}, leg{})
	options := testOptions(t)
	options.HelloWithin = 300 * time.Millisecond
	strangers, mirrored := options, options
	strangers.Key, mirrored.Trial = probetest.StrangersKey(t), options.Trial+1
	for name, other := range map[string]Options{"stranger": strangers, "other direction": mirrored} {
		t.Run(name, func(t *testing.T) {
			_, _, offerErr, hearErr := w.mssOf(t, "a", "b", false, options, other)
			if !errors.Is(offerErr, probe.ErrNoHello) || !errors.Is(hearErr, probe.ErrNoHello) {
				t.Errorf("got errors %v and %v, want ErrNoHello of both", offerErr, hearErr)
			}
		})
	}
	t.Run("silent strangers come first", func(t *testing.T) {
		l := w.listen(t, "b", false)
		for range 10 {
			conn, err := w.dial("a", "b", false)(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
		}
		done := make(chan struct{})
		go func() { defer close(done); _, _ = HearMSS(t.Context(), l, testOptions(t)) }()
		if mss, err := OfferMSS(t.Context(), w.dial("a", "b", false), testOptions(t)); err != nil || mss.Received != 1460 {
			t.Errorf("got %+v, error %v, want 1460", mss, err)
		}
		<-done
	})
}

// However many others connect first, the peer is heard.
func TestIntegrationMSSOnlyThePeer(t *testing.T) {
	labtest.CheckLeaks(t)
	w := newWAN(t, leg{}, leg{})
	l := w.listen(t, "b", false)
	dial := w.dial("b", "b", false)
	for range mostConnections + 1 {
		conn, err := dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	hearing := testOptions(t)
	hearing.Peer = netip.MustParseAddr(sites["a"].v4)
	done := make(chan error)
	go func() {
		_, err := HearMSS(t.Context(), l, hearing)
		done <- err
	}()
	mss, err := OfferMSS(t.Context(), w.dial("a", "b", false), testOptions(t))
	if err := errors.Join(err, <-done); err != nil || mss.Received != 1460 {
		t.Errorf("got %+v, error %v, want 1460", mss, err)
	}
}

// A multipath listener does not keep SYNs, and Go's are multipath unless told otherwise.
func TestIntegrationMSSMultipath(t *testing.T) {
	labtest.CheckLeaks(t)
	l := newWAN(t, leg{}, leg{}).listenWith(t, "b", false, true)
	if _, err := HearMSS(t.Context(), l, testOptions(t)); !errors.Is(err, unix.ENOPROTOOPT) && !errors.Is(err, unix.EOPNOTSUPP) || !strings.Contains(err.Error(), "SetMultipathTCP(false)") {
		t.Errorf("got error %v, want the refusal and what to do", err)
	}
}

// The reason why there is no connection is told.
func TestIntegrationMSSWithoutConnection(t *testing.T) {
	labtest.CheckLeaks(t)
	options := testOptions(t)
	options.HelloWithin = 300 * time.Millisecond
	t.Run("refused", func(t *testing.T) {
		w := newWAN(t, leg{}, leg{})
		_, err := OfferMSS(t.Context(), w.dial("a", "b", false), options)
		if !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("got error %v, want ECONNREFUSED", err)
		}
	})
	t.Run("SYN is lost", func(t *testing.T) {
		w := newWAN(t, leg{loss: 1}, leg{})
		_, _, offerErr, hearErr := w.mssOf(t, "a", "b", false, options, options)
		if offerErr == nil || !strings.Contains(offerErr.Error(), "dial tcp") || !errors.Is(hearErr, probe.ErrNoHello) {
			t.Errorf("got errors %v and %v, want dial's and ErrNoHello", offerErr, hearErr)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		w := newWAN(t, leg{loss: 1}, leg{})
		l := w.listen(t, "b", false)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, offerErr := OfferMSS(ctx, w.dial("a", "b", false), options)
		_, hearErr := HearMSS(ctx, l, options)
		if !errors.Is(offerErr, context.Canceled) || !errors.Is(hearErr, context.Canceled) {
			t.Errorf("got errors %v and %v, want the context's", offerErr, hearErr)
		}
	})
}

const (
	ipv4Head = "45 00 003c 0000 4000 40 06 0000 c6120001 c6120002"
	ipv4SYN  = ipv4Head + tcpSYN
	ipv6SYN  = "60 000000 0028 06 40 20010002000000000000000000000001 20010002000000000000000000000002" + tcpSYN
	// With hop-by-hop and destination options before TCP.
	extendedSYN = "60 000000 0048 00 40 20010002000000000000000000000001 20010002000000000000000000000002" +
		"3c 00 050200000100" + "06 01 0000 00000000 0000000000000000" + tcpSYN
	tcpSYN = "9c40 138b 00000001 00000000 a0 02 faf0 0000 0000" +
		"0204 05b4 0402 080a 00000001 00000000 01 030307"
)

func TestParseSYN(t *testing.T) {
	whole := wire.SYN{Received: true, MSS: 1460, HasWindowScale: true, WindowScale: 7, SACK: true, Timestamps: true}
	for _, tt := range []struct {
		name, hex string
		want      wire.SYN
	}{
		{"IPv4", ipv4SYN, whole},
		{"IPv6", ipv6SYN, whole},
		{"IPv6 with extension headers", extendedSYN, whole},
		{"IPv4 with options", "46" + ipv4Head[2:] + "01010100" + tcpSYN, whole},
		{"no options", strings.Replace(ipv4SYN[:strings.Index(ipv4SYN, "0204 05b4")], " a0 02 ", " 50 02 ", 1), wire.SYN{Received: true}},
		{"nothing behind the end of the options", strings.Replace(ipv4SYN, "0402 080a", "0001 080a", 1), wire.SYN{Received: true, MSS: 1460}},
		{"MSS of another length", strings.Replace(ipv4SYN, "0204 05b4 0402", "0206 05b4 0402", 1),
			wire.SYN{Received: true, HasWindowScale: true, WindowScale: 7, Timestamps: true}},
		{"unknown option", strings.Replace(ipv4SYN, "0402", "fe02", 1), wire.SYN{Received: true, MSS: 1460, HasWindowScale: true, WindowScale: 7, Timestamps: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseSYN(unhex(t, tt.hex))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseSYNRefuses(t *testing.T) {
	for _, tt := range []struct{ name, hex string }{
		{"nothing", ""},
		{"version 5", "55" + ipv4SYN[2:]},
		{"UDP", strings.Replace(ipv4SYN, " 06 ", " 11 ", 1)},
		{"UDP over IPv6", strings.Replace(ipv6SYN, " 06 ", " 11 ", 1)},
		{"short IPv4 header", "44" + ipv4SYN[2:]},
		{"IPv4 header beyond the end", "4f" + ipv4Head[2:]},
		{"no TCP header", ipv4Head},
		{"not a SYN", strings.Replace(ipv4SYN, "a0 02", "a0 10", 1)},
		{"short TCP header", strings.Replace(ipv4SYN, "a0 02", "40 02", 1)},
		{"TCP header beyond the end", strings.Replace(ipv4SYN, "a0 02", "b0 02", 1)},
		{"option without a length", strings.Replace(ipv4SYN, "01 030307", "010101 03", 1)},
		{"option of length 1", strings.Replace(ipv4SYN, "0402", "0401", 1)},
		{"option beyond the end", strings.Replace(ipv4SYN, "030307", "030407", 1)},
		{"extension header beyond the end", strings.Replace(extendedSYN, "06 01 0000", "06 ff 0000", 1)},
		{"cut extension header", strings.TrimSuffix(ipv6SYN, tcpSYN)[:17] + " 00" + strings.TrimSuffix(ipv6SYN, tcpSYN)[20:] + " 06 00"},
	} {
		if s, err := parseSYN(unhex(t, tt.hex)); !errors.Is(err, errNoSYN) {
			t.Errorf("%s: got %+v, error %v, want errNoSYN", tt.name, s, err)
		}
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func FuzzParseSYN(f *testing.F) {
	for _, s := range []string{ipv4SYN, ipv6SYN, extendedSYN} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSYN(b)
		if err != nil && s != (wire.SYN{}) {
			t.Errorf("got %+v beside error %v", s, err)
		}
	})
}

func FuzzParseTooBig(f *testing.F) {
	f.Add(unhex(f, "5a000000 02 03 04 00 78050000 00000000 02000000 c61200fe 0000000000000000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e := parseTooBig(b); e.local && e.mtu < 0 || e.mtu > 1<<32 {
			t.Errorf("got %+v", e)
		}
	})
}
