package agent

import (
	"testing"

	"connectrpc.com/connect"

	"tunnelmark/cmd/internal/control/controlv1"
)

// What cannot be listened for is refused, whatever it is.
func TestReceiveFails(t *testing.T) {
	a, b := newPair(t)
	a.driver.outside = true
	_, ofB := offers(t, a, b)
	if _, err := a.accept(ofB); err != nil {
		t.Fatal(err)
	}
	for name, work := range map[string]*controlv1.Work{
		"UDP":      udpWork(&controlv1.Load{InnerBitsPerSecond: 1e6, DurationNs: 1e9, Flows: 2, Mix: &controlv1.Mix{InnerSizes: []uint32{100}}}),
		"TCP":      {Tcp: &controlv1.TCPLoad{Flows: 1, DurationNs: 1e9}},
		"path MTU": {PathMtu: &controlv1.PathMTUSearch{}},
		"latency":  {Latency: &controlv1.LatencyProbe{DurationNs: 1e9}},
	} {
		_, err := a.receive(as("controller"), &controlv1.ReceiveRequest{SessionId: sessionID, Work: work}, func() error {
			t.Errorf("%s: it says that it listens", name)
			return nil
		})
		wantRefusal(t, err, connect.CodeFailedPrecondition, "one flow")
	}
}

// A controller that does not read does not hold the tunnel.
func TestReadyIsNotRead(t *testing.T) {
	a, b := newPair(t)
	_, ofB := offers(t, a, b)
	if _, err := a.accept(ofB); err != nil {
		t.Fatal(err)
	}
	s, err := a.session(as("controller"), sessionID)
	if err != nil {
		t.Fatal(err)
	}
	telling, read := make(chan struct{}), make(chan struct{})
	received := make(chan error, 1)
	go func() {
		_, err := a.receive(as("controller"), &controlv1.ReceiveRequest{SessionId: sessionID, Work: &controlv1.Work{}}, func() error {
			close(telling)
			<-read
			return nil
		})
		received <- err
	}()
	<-telling
	if _, err := a.end(s, "the test ends it"); err != nil || !a.driver.halves[0].isClosed() {
		t.Errorf("the tunnel is still up: %v", err)
	}
	close(read)
	if err := <-received; err == nil {
		t.Error("a trial succeeds whose session was closed before it began")
	}
}
