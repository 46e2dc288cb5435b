package strongswan_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"tunnelmark/lab/labtest"
	"tunnelmark/tunnel"
	"tunnelmark/tunnel/strongswan"
	"tunnelmark/tunnel/tunneltest"
)

const patience = 20 * time.Second

func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// detail returns one of a half's details, "" where it has no such.
func detail(half tunnel.Tunnel, name string) string {
	for _, d := range half.(tunnel.Detailed).Details() {
		if d.Name == name {
			return d.Value
		}
	}
	return ""
}

// echo sends numbered datagrams from one socket to the other and back, each when
// the one before it is back, so that none can be lost unseen, until enough says
// so. It returns how many came back.
func echo(near, far *net.UDPConn, enough func(sent int) bool) (sent int, err error) {
	buffer := make([]byte, 100)
	for ; !enough(sent); sent++ {
		want := fmt.Sprintf("datagram %d", sent)
		for _, hop := range [][2]*net.UDPConn{{near, far}, {far, near}} {
			if _, err := hop[0].Write([]byte(want)); err != nil {
				return sent, err
			}
			if err := hop[1].SetReadDeadline(time.Now().Add(patience / 4)); err != nil {
				return sent, err
			}
			n, err := hop[1].Read(buffer)
			if err != nil {
				return sent, fmt.Errorf("%s is lost: %w", want, err)
			}
			if got := string(buffer[:n]); got != want {
				return sent, fmt.Errorf("got %q, want %q", got, want)
			}
		}
	}
	return sent, nil
}

func times(n int) func(int) bool { return func(sent int) bool { return sent >= n } }

// newLink needs strongSwan.
func newLink(t *testing.T) *tunneltest.Link {
	t.Helper()
	labtest.NeedProgram(t, "swanctl")
	return tunneltest.NewLink(t, tunneltest.PathMTU)
}

// checkRekey expects that no packet is lost while keys are replaced, and that
// the counters go on.
func checkRekey(t *testing.T, driver strongswan.Driver, spec tunnel.Spec, outer6 bool) *tunneltest.Pair {
	link := newLink(t)
	pair := link.OpenPair(t, driver, spec, outer6, "rekey")
	near, far := pair.DialPath(t)
	before := detail(pair.Left.Tunnel, "SPI in")

	done := make(chan struct{})
	var took time.Duration
	var rekeyErr error
	go func() {
		defer close(done)
		took, rekeyErr = pair.Left.Tunnel.(tunnel.Rekeyer).Rekey(soon(t))
	}()
	passed, err := echo(near, far, func(sent int) bool {
		select {
		case <-done:
			return sent > 0
		default:
			return false
		}
	})
	if err != nil {
		t.Error(err)
	}
	<-done
	if rekeyErr != nil {
		t.Fatal(rekeyErr)
	}
	if _, err := echo(near, far, times(10)); err != nil {
		t.Errorf("after rekeying: %v", err)
	}
	t.Logf("%d datagrams there and back in the %v of rekeying", passed, took)
	if after := detail(pair.Left.Tunnel, "SPI in"); after == before || took <= 0 {
		t.Errorf("SPI %s became %s in %v", before, after, took)
	}
	counters, err := pair.Left.Counters()
	if want := uint64(passed + 10); err != nil || counters.OutPackets != want || counters.InPackets != want {
		t.Errorf("counters are %+v, %v; want %d packets each way", counters, err, want)
	}
	return pair
}

func TestRekeyUserSpace(t *testing.T) {
	checkRekey(t, strongswan.Driver{UserSpace: true}, userSpaceSpec(tunnel.AES128GCM), false)
}

// What is asked for is negotiated, and read back.
func TestSuitesUserSpace(t *testing.T) {
	link := newLink(t)
	for _, suite := range tunnel.Suites() {
		t.Run(string(suite), func(t *testing.T) {
			pair := link.OpenPair(t, strongswan.Driver{UserSpace: true}, userSpaceSpec(suite), false, string(suite))
			near, far := pair.DialPath(t)
			if _, err := echo(near, far, times(1)); err != nil {
				t.Error(err)
			}
			t.Log(pair.Left.Tunnel.(tunnel.Detailed).Details())
			expectDetails(t, pair.Left.Tunnel, suite, map[string]string{"encapsulation": "udp", "sequence numbers": "32-bit"})
			for _, half := range []*tunneltest.Half{pair.Left, pair.Right} {
				if err := half.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			}
		})
	}
}

// expectDetails compares what was negotiated with what was asked for.
func expectDetails(t *testing.T, half tunnel.Tunnel, suite tunnel.Suite, want map[string]string) {
	t.Helper()
	proposals := map[tunnel.Suite]string{
		tunnel.AES128GCM:        "AES_GCM_16_128",
		tunnel.AES256GCM:        "AES_GCM_16_256",
		tunnel.ChaCha20Poly1305: "CHACHA20_POLY1305",
		tunnel.AES128CBCSHA1:    "AES_CBC_128/HMAC_SHA1_96",
		tunnel.AES256CBCSHA1:    "AES_CBC_256/HMAC_SHA1_96",
		tunnel.AES128CBCSHA256:  "AES_CBC_128/HMAC_SHA2_256_128",
		tunnel.AES256CBCSHA256:  "AES_CBC_256/HMAC_SHA2_256_128",
		tunnel.AES128CBCSHA512:  "AES_CBC_128/HMAC_SHA2_512_256",
		tunnel.AES256CBCSHA512:  "AES_CBC_256/HMAC_SHA2_512_256",
		tunnel.NullSHA256:       "NULL/HMAC_SHA2_256_128",
	}
	if got := detail(half, "ESP proposal"); !strings.HasPrefix(got, proposals[suite]) { // A rekeyed one has a key exchange.
		t.Errorf("ESP proposal is %q, want %q", got, proposals[suite])
	}
	for name, value := range want {
		if got := detail(half, name); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
	for _, name := range []string{"charon", "setup time"} {
		if detail(half, name) == "" {
			t.Errorf("no %s is told", name)
		}
	}
}

// A half whose peer never opens is up, says what it waits for, and closes.
func TestAwaitWithoutPeer(t *testing.T) {
	labtest.CheckLeaks(t)
	link := newLink(t)
	left, _ := link.Specs(userSpaceSpec(tunnel.AES128GCM), false)
	half := open(t, strongswan.Driver{UserSpace: true}, link.Left, left, "alone")
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	err := half.(tunnel.Awaiter).Await(ctx)
	if err == nil || !strings.Contains(err.Error(), "192.0.2.2:4500") {
		t.Errorf("got %v, want an error that names the peer", err)
	}
	if err := half.Close(); err != nil {
		t.Error(err)
	}
}

// Ends with different secrets say so.
func TestAwaitWithWrongSecret(t *testing.T) {
	link := newLink(t)
	left, right := link.Specs(userSpaceSpec(tunnel.AES128GCM), false)
	driver := strongswan.Driver{UserSpace: true}
	open(t, driver, link.Right, right, "another secret")
	half := open(t, driver, link.Left, left, "a secret")
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := half.(tunnel.Awaiter).Await(ctx)
	if err == nil || !strings.Contains(err.Error(), "AUTHENTICATION_FAILED") {
		t.Errorf("got %v, want AUTHENTICATION_FAILED in it", err)
	}
}

// The key is in no file that the host shows, and in no argument.
func TestSecretStaysInMemory(t *testing.T) {
	link := newLink(t)
	left, _ := link.Specs(userSpaceSpec(tunnel.AES128GCM), false)
	open(t, strongswan.Driver{UserSpace: true}, link.Left, left, "hidden")
	for _, path := range []string{"/run/tunnelmark-ike", "/run/charon.pid", "/run/charon.vici"} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is there for all to see", path)
		}
	}
}

// Charon sets how long the kernel waits for an SA, for all of the namespace: others'
// IKE daemons are there, too.
func TestSettingsOfTheHostStay(t *testing.T) {
	link := newLink(t)
	before := acquireExpires(t, link.Left.Outer)
	left, _ := link.Specs(userSpaceSpec(tunnel.AES128GCM), false)
	open(t, strongswan.Driver{UserSpace: true}, link.Left, left, "settings")
	if after := acquireExpires(t, link.Left.Outer); after != before {
		t.Errorf("net.core.xfrm_acq_expires was %s and is %s", before, after)
	}
}

func acquireExpires(t *testing.T, namespace *tunnel.Namespace) (seconds string) {
	t.Helper()
	err := namespace.Do(func() error {
		text, err := os.ReadFile("/proc/sys/net/core/xfrm_acq_expires")
		seconds = strings.TrimSpace(string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return seconds
}

func open(t *testing.T, driver strongswan.Driver, site *tunneltest.Site, spec tunnel.Spec, secret string) tunnel.Tunnel {
	t.Helper()
	left, right := tunneltest.Keys(secret)
	keys := left
	if spec.Remote.Outer.Compare(spec.Local.Outer) < 0 {
		keys = right
	}
	half, err := driver.Open(soon(t), spec, keys, tunnel.Place{Outer: site.Outer, Inner: site.Inner, Socket: listen(t, site.Outer, spec.Local.Outer)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := half.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return half
}

func listen(t testing.TB, namespace *tunnel.Namespace, local netip.AddrPort) (socket *net.UDPConn) {
	t.Helper()
	err := namespace.Do(func() (err error) {
		socket, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(local))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return socket
}
