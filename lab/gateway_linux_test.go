package lab_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/lab"
	"tunnelmark/lab/labtest"
)

// hub is one site that three others know by one address.
func hub() lab.Topology {
	return lab.Topology{
		Name: "hub", Sites: []string{"hub", "b", "c", "d"},
		Links: []lab.Link{{Between: [2]string{"hub", "b"}}, {Between: [2]string{"c", "hub"}, WAN: aWAN}, {Between: [2]string{"hub", "d"}}},
	}
}

func TestHostOfAHub(t *testing.T) {
	labtest.CheckLeaks(t)
	l := labtest.Build(t, hub())
	at := mustHost(t, l, "hub")
	for _, site := range []string{"b", "c", "d"} {
		expectWay(t, l, site, "hub", mustHost(t, l, site).V4, at.V4)
		expectWay(t, l, site, "hub", mustHost(t, l, site).V6, at.V6)
		expectWay(t, l, "hub", site, at.V4, mustHost(t, l, site).V4)
	}
}

// Behind gateways, sites reach their own gateway and nothing else: what joins
// them is the gateways' affair.
func TestGateways(t *testing.T) {
	labtest.CheckLeaks(t)
	topology := joined(lab.Link{})
	topology.Gateways = []string{"a", "b"}
	l := labtest.Build(t, topology)
	gateway, found := l.Gateway("a")
	if !found {
		t.Fatal("site a has no gateway")
	}
	host := mustHost(t, l, "a")
	want := []netip.Prefix{netip.PrefixFrom(host.V4, 30).Masked(), netip.PrefixFrom(host.V6, 64).Masked()}
	if diff := cmp.Diff(want, gateway.Networks, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("networks behind the gateway (-want +got):\n%s", diff)
	}
	between, err := l.Addresses("b", "a")
	if err != nil {
		t.Fatal(err)
	}
	if between.V4 == mustHost(t, l, "b").V4 {
		t.Error("a gateway and the site behind it have one address")
	}
	err = l.Do("a", func() error {
		conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(mustHost(t, l, "b").V4, 9)))
		if err == nil {
			defer conn.Close()
			_, err = conn.Write([]byte("to nowhere"))
		}
		return err // The gateway's "unreachable" comes later, and to this socket only.
	})
	if err != nil {
		t.Errorf("send to the gateway: %v", err)
	}
}

func listen(t *testing.T, l *lab.Lab, site string, address netip.Addr) *net.UDPConn {
	t.Helper()
	var conn *net.UDPConn
	err := l.Do(site, func() (err error) {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(address, 0)))
		return err
	})
	if err != nil {
		t.Fatalf("listen in %s: %v", site, err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func mustHost(t *testing.T, l *lab.Lab, site string) lab.Addresses {
	t.Helper()
	host, err := l.Host(site)
	if err != nil {
		t.Fatal(err)
	}
	return host
}

// expectWay sends a datagram from address to address, which must arrive.
func expectWay(t *testing.T, l *lab.Lab, from, to string, source, target netip.Addr) {
	t.Helper()
	receiver := listen(t, l, to, target)
	sender := listen(t, l, from, source)
	if _, err := sender.WriteToUDPAddrPort([]byte("here"), receiver.LocalAddr().(*net.UDPAddr).AddrPort()); err != nil {
		t.Fatalf("send from %s to %s: %v", from, to, err)
	}
	buffer := make([]byte, 16)
	if n, err := receiver.Read(buffer); err != nil || string(buffer[:n]) != "here" {
		t.Errorf("from %s to %s: got %q, %v", from, to, buffer[:n], err)
	}
}
