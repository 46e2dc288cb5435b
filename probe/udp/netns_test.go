package udp

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"

	"tunnelmark/probe/probetest"
)

// flows opens the sockets one after the other, whatever the lane.
func flows(conns ...*net.UDPConn) Open {
	var mutex sync.Mutex
	return func(int) (*net.UDPConn, error) {
		mutex.Lock()
		defer mutex.Unlock()
		if len(conns) == 0 {
			return nil, errors.New("the test has no more sockets")
		}
		conn := conns[0]
		conns = conns[1:]
		return conn, nil
	}
}

// dial opens sockets from fresh ports to the lanes' inlets. They are opened in the
// namespace of the thread that calls it.
func dial(ip string) Open {
	return func(lane int) (*net.UDPConn, error) {
		return net.DialUDP("udp", probetest.Address(net.JoinHostPort(ip, "0")), probetest.Address(inletAt(ip, lane)))
	}
}

// dialHere is like dial, but whatever thread calls it, the sockets are in this
// one's namespace.
func dialHere(t testing.TB, ip string) Open {
	t.Helper()
	here, open := probetest.Here(t), dial(ip)
	return func(lane int) (conn *net.UDPConn, err error) {
		err = here.Do(func() (err error) {
			conn, err = open(lane)
			return err
		})
		return conn, err
	}
}

// inlets opens the lanes' sockets at the receiver.
func inlets(t testing.TB, ip string, lanes int) []*net.UDPConn {
	t.Helper()
	conns := make([]*net.UDPConn, lanes)
	for lane := range conns {
		conn, err := net.ListenUDP("udp", probetest.Address(inletAt(ip, lane)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conns[lane] = conn
	}
	return conns
}

func inletAt(ip string, lane int) string { return net.JoinHostPort(ip, fmt.Sprint(5000+lane)) }

func testTrial(t testing.TB) Trial {
	return Trial{Key: probetest.Key(t), Number: probetest.Trial}
}
