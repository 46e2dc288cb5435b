package tcp

import (
	"net"
	"testing"
)

// joined returns the two ends of a flow over loopback.
func joined(t testing.TB) (sender, receiver *net.TCPConn) {
	t.Helper()
	listener := listen(t, short, "127.0.0.1")
	sender, err := dialer(short, listener.Addr())(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	receiver, err = listener.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sender.Close(); receiver.Close() })
	return sender, receiver
}

func TestNoAllocation(t *testing.T) {
	const size = 10_000
	out, in := joined(t)
	put := copying(out, payload{bytes: make([]byte, size)})
	flow, err := newInFlow(0, in, true)
	if err != nil {
		t.Fatal(err)
	}
	read := flow.reader(make([]byte, size))
	allocs := testing.AllocsPerRun(100, func() {
		if n, err := put(0, size); n != size || err != nil {
			t.Fatal(n, err)
		}
		for left := size; left > 0; {
			n, err := read()
			if n == 0 || err != nil {
				t.Fatal(n, err)
			}
			left -= n
		}
	})
	if allocs != 0 {
		t.Errorf("%g allocations per write and its reads, want none", allocs)
	}
}
