package lab_test

import (
	"bytes"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"tunnelmark/lab"
	"tunnelmark/lab/labtest"
)

// The first thread never exits, so no namespace may be made on it.
func init() { runtime.LockOSThread() }

var ab = [2]string{"a", "b"}

// joined returns two sites joined by the link.
func joined(link lab.Link) lab.Topology {
	link.Between = ab
	return lab.Topology{Name: "test", Sites: ab[:], Links: []lab.Link{link}}
}

// middleOutput runs a command in the link's middle and returns what it printed.
func middleOutput(t *testing.T, l *lab.Lab, name string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := l.StartInMiddle(ab, cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, &out)
	}
	return out.String()
}

// ends are sockets at both sites, each bound to its own address.
type ends struct {
	a, b *net.UDPConn
}

func openEnds(t testing.TB, l *lab.Lab, address func(lab.Addresses) netip.Addr) ends {
	t.Helper()
	open := func(site, peer string) *net.UDPConn {
		own, err := l.Addresses(site, peer)
		if err != nil {
			t.Fatal(err)
		}
		var conn *net.UDPConn
		err = l.Do(site, func() (err error) {
			local := netip.AddrPortFrom(address(own), 4500)
			conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(local))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	return ends{a: open("a", "b"), b: open("b", "a")}
}

func v4(a lab.Addresses) netip.Addr { return a.V4 }
func v6(a lab.Addresses) netip.Addr { return a.V6 }

func peerOf(conn *net.UDPConn) netip.AddrPort {
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// toward returns the counters of one direction of the only link.
func toward(t *testing.T, l *lab.Lab, site string) lab.DeviceCounters {
	t.Helper()
	all, err := l.Counters()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if c.Toward == site {
			return c
		}
	}
	t.Fatalf("no counters toward %s in %+v", site, all)
	return lab.DeviceCounters{}
}

// atRest returns the counters of one direction once they account for that many
// packets: the kernel may deliver late what was sent.
func atRest(t *testing.T, l *lab.Lab, site string, packets uint64) lab.DeviceCounters {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(5 * time.Second)
	for {
		c := toward(t, l, site)
		if c.PassedPackets+c.DroppedPackets == packets {
			return c
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("want %d packets of wire size accounted for toward %s, got %+v", packets, site, c)
		}
	}
}

func TestLinkCarriesBothFamilies(t *testing.T) {
	labtest.CheckLeaks(t)
	l := labtest.Pair(t)
	for name, family := range map[string]func(lab.Addresses) netip.Addr{"IPv4": v4, "IPv6": v6} {
		t.Run(name, func(t *testing.T) {
			e := openEnds(t, l, family)
			exchange(t, e.a, e.b)
			exchange(t, e.b, e.a)
		})
	}
	const v4Bytes, v6Bytes = 20 + 8 + 5, 40 + 8 + 5
	for _, site := range ab {
		got := atRest(t, l, site, 2)
		if got.PassedOuterBytes != v4Bytes+v6Bytes {
			t.Errorf("toward %s: want %d bytes passed, got %+v", site, v4Bytes+v6Bytes, got)
		}
	}
}

func exchange(t *testing.T, from, to *net.UDPConn) {
	t.Helper()
	if _, err := from.WriteToUDPAddrPort([]byte("hello"), peerOf(to)); err != nil {
		t.Fatal(err)
	}
	if err := to.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 100)
	n, source, err := to.ReadFromUDPAddrPort(buffer)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(buffer[:n]); got != "hello" || source != peerOf(from) {
		t.Errorf("want hello from %s, got %q from %s", peerOf(from), got, source)
	}
}

// An idle link must carry nothing: no neighbour discovery, no group reports. Its
// WAN must not, either.
func TestIdleLinkIsSilent(t *testing.T) {
	labtest.CheckLeaks(t)
	l := labtest.Build(t, joined(lab.Link{WAN: aWAN}))
	// Group reports would come within a second (RFC 3810, Section 9.11).
	deadline := time.After(2500 * time.Millisecond)
	for watching := true; watching; {
		select {
		case <-deadline:
			watching = false
		case <-time.Tick(250 * time.Millisecond):
		}
		devices := middleOutput(t, l, "cat", "/proc/net/dev")
		for line := range strings.Lines(devices) {
			name, counters, ok := strings.Cut(strings.TrimSpace(line), ":")
			if ok && name != "lo" && strings.Trim(counters, " 0\n") != "" {
				t.Fatalf("want an idle link, got\n%s", devices)
			}
		}
	}
}
