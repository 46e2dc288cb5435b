package agent

import (
	"testing"

	"tunnelmark/cmd/internal/control/controlv1"
)

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
