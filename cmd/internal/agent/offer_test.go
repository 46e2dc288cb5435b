package agent

import (
	"errors"
	"strings"
	"testing"
	"time"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/cmd/internal/kind"
	"tunnelmark/tunnel"
)

// What replaces no keys is not asked to: neither an agent offers it, nor does a driver
// take it in silence.
func TestOnlySomeReplaceKeys(t *testing.T) {
	drivers := Drivers(DefaultPolicy())
	for _, k := range kind.All() {
		lifetime := tunnel.Lifetime{Time: time.Second}
		request := &controlv1.OfferRequest{Driver: k.Name, Rekey: control.LifetimeMessage(lifetime)}
		offer, err := (&Agent{}).offer(control.SessionID{1}, control.Fingerprint{}, request)
		if k.Lifetime {
			if err != nil || offer.Rekey != lifetime {
				t.Errorf("%s: offered %v and %v, want %v", k.Name, offer.Rekey, err, lifetime)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "rekeying after 1s: driver "+k.Name+" cannot") {
			t.Errorf("%s: offered, and got %v", k.Name, err)
		}
		spec, err := exampleSpec(k)
		if err != nil {
			t.Fatal(err)
		}
		spec.Rekey = lifetime
		if err := drivers[k.Name].Check(spec); !errors.Is(err, tunnel.ErrNotSupported) || !strings.Contains(err.Error(), "rekeying after 1s") {
			t.Errorf("%s: got %v, want an error that wraps ErrNotSupported", k.Name, err)
		}
	}
}

// No tunnel of a session draws an SPI that is reserved, or of a series that another has.
func TestDrawSPI(t *testing.T) {
	before := []control.TunnelEnd{{SPI: 0x1001}, {SPI: 0x2001}}
	for _, first := range []uint32{0, 255, 0x10ff, 0x2001} {
		end := control.TunnelEnd{SPI: first}
		drawSPI(&end, before)
		if end.SPI < 256 || end.SharesSPIs(before[0]) || end.SharesSPIs(before[1]) {
			t.Errorf("%#x became %#x", first, end.SPI)
		}
	}
}

// A driver names the first of a spec's faults, in one line.
func TestDriversNameOneFault(t *testing.T) {
	for name, driver := range Drivers(DefaultPolicy()) {
		err := driver.Check(tunnel.Spec{Rekey: tunnel.Lifetime{Time: 1}})
		if err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
