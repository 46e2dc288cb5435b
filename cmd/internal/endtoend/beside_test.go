package endtoend

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"tunnelmark/lab/labtest"
	"tunnelmark/tunnel"
	"tunnelmark/tunnel/strongswan"
)

// behind are hosts of production's networks, one at each site.
var behind = map[string]netip.Addr{
	"a": netip.MustParseAddr("10.77.1.1"),
	"b": netip.MustParseAddr("10.77.2.1"),
}

// Beside a charon that has IPsec's ports and carries traffic, tunnels of every
// driver come and go, and it loses nothing.
func TestBesideProduction(t *testing.T) {
	testBesideProduction(t, strongswan.Driver{UserSpace: true}, []string{"esp", "wireguard-user", "strongswan-user"})
}

// testBesideProduction holds a tunnel of each driver beside production's. A driver
// may refuse to stand there, if it says why.
func testBesideProduction(t *testing.T, production strongswan.Driver, drivers []string) {
	labtest.CheckLeaks(t)
	s := &sites{lab: labtest.Pair(t), outer: ipv4, dir: t.TempDir()}
	s.startProduction(t, production)
	s.pair(t)
	stream := s.startStream(t)
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			p := start(t, "hold", "a", "b", "--driver", driver, "--state", s.state)
			if driver == "xfrm-vti" { // The kernel would hand it production's packets.
				if code := p.wait(t); code != 1 || !strings.Contains(p.stderr.String(), "already") {
					t.Errorf("exit code %d, %s: want a refusal", code, p.stderr)
				}
				return
			}
			carryIperf3(t, s.lab, p.held(t))
			if err := p.command.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			if code := p.wait(t); code != 0 {
				t.Errorf("exit code %d, %s", code, p.stderr)
			}
		})
	}
	if passed := stream.stop(t); passed == 0 {
		t.Error("production carried nothing")
	}
}

// startProduction joins networks of both sites by a charon in each, on IPsec's own
// ports.
func (s *sites) startProduction(t *testing.T, driver strongswan.Driver) {
	t.Helper()
	var gateways []*strongswan.RunningGateway
	for _, site := range []string{"a", "b"} {
		s.inSite(t, site, "ip", "address", "add", behind[site].String()+"/32", "dev", "lo")
		ike := s.listen(t, site, netip.AddrPortFrom(netip.IPv4Unspecified(), 500))
		t.Cleanup(func() { ike.Close() })
		gateways = append(gateways, s.startGateway(t, site, driver))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, gateway := range gateways {
		if err := gateway.Await(ctx); err != nil {
			t.Fatalf("production: %v", err)
		}
	}
}

func (s *sites) startGateway(t *testing.T, site string, driver strongswan.Driver) *strongswan.RunningGateway {
	t.Helper()
	descriptor, err := s.lab.FD(site)
	if err != nil {
		t.Fatal(err)
	}
	namespace, err := tunnel.NamespaceFrom(descriptor)
	if err != nil {
		t.Fatal(err)
	}
	far := map[string]string{"a": "b", "b": "a"}[site]
	local, remote := s.host(t, site), s.host(t, far)
	gateway, err := strongswan.StartGateway(t.Context(), strongswan.Gateway{
		Namespace: namespace, Driver: driver,
		Local: netip.AddrPortFrom(local, 4500), Remote: netip.AddrPortFrom(remote, 4500),
		LocalNetworks:  []netip.Prefix{netip.PrefixFrom(behind[site], 24).Masked()},
		RemoteNetworks: []netip.Prefix{netip.PrefixFrom(behind[far], 24).Masked()},
		Secret:         []byte("production's own"), Suite: tunnel.AES128GCM, Encapsulation: tunnel.UDP, NoESN: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := gateway.Close(); err != nil {
			t.Errorf("close production's gateway: %v", err)
		}
		namespace.Close()
	})
	return gateway
}

func (s *sites) host(t *testing.T, site string) netip.Addr {
	t.Helper()
	host, err := s.lab.Host(site)
	if err != nil {
		t.Fatal(err)
	}
	return host.V4
}

func (s *sites) inSite(t *testing.T, site string, words ...string) {
	t.Helper()
	command := exec.Command(words[0], words[1:]...)
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	err := s.lab.Start(site, command)
	if err == nil {
		err = command.Wait()
	}
	if err != nil {
		t.Fatalf("%q: %v\n%s", words, err, &output)
	}
}

func (s *sites) listen(t *testing.T, site string, at netip.AddrPort) (socket *net.UDPConn) {
	t.Helper()
	err := s.lab.Do(site, func() (err error) {
		socket, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return socket
}

// stream sends one datagram after the other there and back, until stop. Each must
// return before the next is sent, so that none can get lost unseen.
type stream struct {
	near, far *net.UDPConn
	end       context.CancelFunc
	done      chan struct{}
	passed    int
	failed    error
}

func (s *sites) startStream(t *testing.T) *stream {
	t.Helper()
	const port = 7 // Echo, RFC 862.
	ctx, end := context.WithCancel(context.Background())
	f := &stream{
		near: s.listen(t, "a", netip.AddrPortFrom(behind["a"], port)),
		far:  s.listen(t, "b", netip.AddrPortFrom(behind["b"], port)),
		end:  end, done: make(chan struct{}),
	}
	go func() {
		defer close(f.done)
		for ctx.Err() == nil && f.failed == nil {
			f.failed = f.exchange()
			f.passed++
		}
	}()
	return f
}

func (f *stream) exchange() error {
	message := fmt.Appendf(nil, "datagram %d", f.passed)
	answer := make([]byte, 100)
	if _, err := f.near.WriteToUDPAddrPort(message, f.far.LocalAddr().(*net.UDPAddr).AddrPort()); err != nil {
		return err
	}
	for _, socket := range []*net.UDPConn{f.far, f.near} {
		if err := socket.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			return err
		}
		n, from, err := socket.ReadFromUDPAddrPort(answer)
		if err != nil || !bytes.Equal(answer[:n], message) {
			return fmt.Errorf("datagram %d was lost: got %q, %w", f.passed, answer[:n], err)
		}
		if socket == f.far {
			if _, err := socket.WriteToUDPAddrPort(message, from); err != nil {
				return err
			}
		}
	}
	return nil
}

// stop returns how many datagrams passed there and back.
func (f *stream) stop(t *testing.T) int {
	t.Helper()
	f.end()
	<-f.done
	f.near.Close()
	f.far.Close()
	if f.failed != nil {
		t.Errorf("production: %v", f.failed)
	}
	t.Logf("%d datagrams of production passed there and back", f.passed)
	return f.passed
}
