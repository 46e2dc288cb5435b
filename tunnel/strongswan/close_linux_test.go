package strongswan_test

import (
	"sync"
	"testing"

	"tunnelmark/lab/labtest"
	"tunnelmark/tunnel"
	"tunnelmark/tunnel/strongswan"
)

// Whatever is asked of a half while it closes ends, and nothing is left.
func TestCloseUnderUse(t *testing.T) {
	labtest.CheckLeaks(t)
	link := newLink(t)
	pair := link.OpenPair(t, strongswan.Driver{UserSpace: true}, userSpaceSpec(tunnel.AES128GCM), false, "busy")
	var busy sync.WaitGroup
	half := pair.Left.Tunnel
	for range 4 {
		busy.Go(func() { _, _ = half.(tunnel.Rekeyer).Rekey(soon(t)) })
		busy.Go(func() { _, _ = half.Counters() })
		busy.Go(func() { _ = half.(tunnel.Detailed).Details() })
		busy.Go(func() { _ = half.(tunnel.Awaiter).Await(soon(t)) })
		busy.Go(func() {
			if err := half.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	busy.Wait()
	if _, err := half.(tunnel.Rekeyer).Rekey(soon(t)); err == nil {
		t.Error("a closed half rekeys")
	}
}
