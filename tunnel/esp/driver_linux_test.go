package esp_test

import (
	"testing"
	"time"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/esp"
	"tunnelmark/tunnel/tunneltest"
)

func TestSmoke(t *testing.T) {
	link := tunneltest.NewLink(t, 1500)
	pair := link.OpenPair(t, esp.Driver{}, tunnel.Spec{Suite: tunnel.AES128GCM, Encapsulation: tunnel.UDP, MTU: 1438}, false, "x")
	l, r := pair.DialPath(t)
	if _, err := l.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	r.SetReadDeadline(time.Now().Add(time.Second))
	b := make([]byte, 100)
	n, err := r.Read(b)
	t.Log(n, err, string(b[:n]))
	t.Log(pair.Left.Counters())
	t.Log(pair.Right.Counters())
}
