package agent

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/lab/labtest"
	"tunnelmark/tunnel"
)

// Sessions make network namespaces, as in the binaries (see their main).
func init() { runtime.LockOSThread() }

var sessionID = bytes.Repeat([]byte{7}, 16)

// fakeDriver builds nothing and keeps what it was given.
type fakeDriver struct {
	outside bool // Load enters in the agent's own namespace, and is one flow.

	mu     sync.Mutex // Guards halves.
	halves []*fakeHalf
}

type fakeHalf struct {
	spec          tunnel.Spec
	send, receive []byte
	path          tunnel.Path
	closed        atomic.Bool
}

func (d *fakeDriver) Check(tunnel.Spec) error { return nil }

func (d *fakeDriver) Open(_ context.Context, spec tunnel.Spec, keys tunnel.Keys, place tunnel.Place) (tunnel.Tunnel, error) {
	half := &fakeHalf{spec: spec, path: tunnel.Path{Namespace: place.Inner, MTU: spec.MTU, Local: spec.Local.Outer, Remote: spec.Remote.Outer}}
	if d.outside {
		half.path.Namespace, half.path.OneFlow = place.Outer, true
	}
	var err error
	if half.send, err = keys.Key(tunnel.Send, 0, 20); err != nil {
		return nil, err
	}
	if half.receive, err = keys.Key(tunnel.Receive, 0, 20); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.halves = append(d.halves, half)
	return half, place.Socket.Close()
}

func (h *fakeHalf) Path() tunnel.Path                  { return h.path }
func (h *fakeHalf) Counters() (tunnel.Counters, error) { return tunnel.Counters{OutPackets: 1}, nil }
func (h *fakeHalf) Close() error                       { h.closed.Store(true); return nil }
func (h *fakeHalf) isClosed() bool                     { return h.closed.Load() }

type silentMeter struct{}

func (silentMeter) SessionOpened()                {}
func (silentMeter) SessionClosed()                {}
func (silentMeter) TrialSent(uint64, float64)     {}
func (silentMeter) TrialReceived(uint64, float64) {}

// end is an agent under test with all that is around it.
type end struct {
	*Agent
	driver   *fakeDriver
	identity *control.Identity
}

func newEnd(t *testing.T, policy Policy) end {
	t.Helper()
	labtest.NeedRoot(t)
	dir := t.TempDir() + "/state"
	identity, err := control.LoadOrCreate(dir)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := control.OpenTrust(dir)
	if err != nil {
		t.Fatal(err)
	}
	driver := &fakeDriver{}
	agent := New(policy, identity, trust, map[string]tunnel.Driver{"esp": driver}, silentMeter{}, slog.New(slog.DiscardHandler))
	return end{agent, driver, identity}
}

func testPolicy(name string) Policy {
	policy := DefaultPolicy()
	policy.Name, policy.Outer, policy.Ports = name, netip.MustParseAddr("127.0.0.1"), PortRange{45000, 45100}
	return policy
}

// newPair makes two agents that trust each other.
func newPair(t *testing.T) (a, b end) {
	t.Helper()
	a, b = newEnd(t, testPolicy("a")), newEnd(t, testPolicy("b"))
	a.pin(t, "b", b.identity)
	b.pin(t, "a", a.identity)
	t.Cleanup(func() { a.stop(t); b.stop(t) })
	return a, b
}

func (e end) pin(t *testing.T, name string, peer *control.Identity) {
	t.Helper()
	err := e.trust.Add(control.Pin{Standing: control.Peer, Name: name, Fingerprint: peer.Fingerprint(), Added: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
}

func (e end) stop(t *testing.T) {
	t.Helper()
	if err := e.Shutdown(); err != nil {
		t.Error(err)
	}
}

// as is the context of a call by a controller.
func as(name string) context.Context {
	return control.WithCaller(context.Background(), control.Pin{
		Standing: control.Controller, Name: name, Fingerprint: control.Fingerprint(bytes.Repeat([]byte(name[:1]), 32)),
	})
}

func (e end) ask(peer end, role controlv1.Role) (*controlv1.OfferResponse, error) {
	fingerprint := peer.identity.Fingerprint()
	return e.Offer(as("controller"), &controlv1.OfferRequest{
		SessionId: sessionID, Role: role, PeerFingerprint: fingerprint[:],
		Driver: "esp", Suite: "aes-128-gcm", Encapsulation: "udp",
	})
}

// offers has both agents make one.
func offers(t *testing.T, a, b end) (ofA, ofB *controlv1.SignedOffer) {
	t.Helper()
	fromA, err := a.ask(b, controlv1.Role_ROLE_INITIATOR)
	if err != nil {
		t.Fatal(err)
	}
	fromB, err := b.ask(a, controlv1.Role_ROLE_RESPONDER)
	if err != nil {
		t.Fatal(err)
	}
	return fromA.GetOffer(), fromB.GetOffer()
}

func (e end) accept(offer *controlv1.SignedOffer) (*controlv1.OpenResponse, error) {
	return e.Open(as("controller"), &controlv1.OpenRequest{SessionId: sessionID, PeerOffer: offer})
}

func TestBothEndsAgree(t *testing.T) {
	a, b := newPair(t)
	ofA, ofB := offers(t, a, b)
	path, err := a.accept(ofB)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.accept(ofA); err != nil {
		t.Fatal(err)
	}
	one, other := a.driver.halves[0], b.driver.halves[0]
	if !bytes.Equal(one.send, other.receive) || !bytes.Equal(one.receive, other.send) || bytes.Equal(one.send, one.receive) {
		t.Error("what one end sends with is not what the other receives with")
	}
	if one.spec.Local != other.spec.Remote || one.spec.Remote != other.spec.Local || one.spec.MTU != other.spec.MTU {
		t.Errorf("the specs do not mirror each other: %+v, %+v", one.spec, other.spec)
	}
	if path.GetInnerMtu() != uint32(one.spec.MTU) {
		t.Errorf("inner MTU %d is not the tunnel's %d", path.GetInnerMtu(), one.spec.MTU)
	}
	closed, err := a.Close(as("controller"), &controlv1.CloseRequest{SessionId: sessionID})
	if err != nil || closed.GetTunnel().GetOutPackets() != 1 || !one.isClosed() {
		t.Errorf("Close = %v, %v, closed %v", closed, err, one.isClosed())
	}
	if _, err := a.Close(as("controller"), &controlv1.CloseRequest{SessionId: sessionID}); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// A paired controller that changes what it carries is caught by both agents,
// and neither builds anything.
func TestHostileControllerIsCaughtByBoth(t *testing.T) {
	change := func(edit func(*controlv1.Offer)) func(*testing.T, *controlv1.SignedOffer) {
		return func(t *testing.T, signed *controlv1.SignedOffer) {
			var offer controlv1.Offer
			if err := proto.Unmarshal(signed.GetContents(), &offer); err != nil {
				t.Fatal(err)
			}
			edit(&offer)
			contents, err := proto.Marshal(&offer)
			if err != nil {
				t.Fatal(err)
			}
			signed.Contents = contents
		}
	}
	for name, tamper := range map[string]func(*testing.T, *controlv1.SignedOffer){
		"key":     change(func(o *controlv1.Offer) { o.X25519 = bytes.Repeat([]byte{9}, 32) }),
		"address": change(func(o *controlv1.Offer) { o.Outer = []byte{203, 0, 113, 7} }),
		"port":    change(func(o *controlv1.Offer) { o.Tunnels[0].Port++ }),
		"SPI":     change(func(o *controlv1.Offer) { o.Tunnels[0].Spi++ }),
		"suite":   change(func(o *controlv1.Offer) { o.Suite = "chacha20-poly1305" }),
		"limits":  change(func(o *controlv1.Offer) { o.Limits.MaxInnerBitsPerSecond *= 2 }),
		"signature": func(_ *testing.T, o *controlv1.SignedOffer) {
			o.Signature[0] ^= 1
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := newPair(t)
			ofA, ofB := offers(t, a, b)
			tamper(t, ofA)
			tamper(t, ofB)
			for _, e := range []struct {
				end
				offer *controlv1.SignedOffer
			}{{a, ofB}, {b, ofA}} {
				if _, err := e.accept(e.offer); connect.CodeOf(err) != connect.CodePermissionDenied {
					t.Errorf("agent %s opens: %v, want it refused", e.policy.Name, err)
				}
				if len(e.driver.halves) != 0 {
					t.Errorf("agent %s has built its half", e.policy.Name)
				}
			}
		})
	}
}

func TestSessionsAreRefused(t *testing.T) {
	t.Run("peer that is not trusted", func(t *testing.T) {
		a, stranger := newEnd(t, testPolicy("a")), newEnd(t, testPolicy("stranger"))
		_, err := a.ask(stranger, controlv1.Role_ROLE_INITIATOR)
		wantRefusal(t, err, connect.CodePermissionDenied, "does not trust that peer")
	})
	t.Run("peer that the policy does not list", func(t *testing.T) {
		policy := testPolicy("a")
		policy.Peers = []control.Fingerprint{{1}}
		a, b := newEnd(t, policy), newEnd(t, testPolicy("b"))
		a.pin(t, "b", b.identity)
		_, err := a.ask(b, controlv1.Role_ROLE_INITIATOR)
		wantRefusal(t, err, connect.CodePermissionDenied, "policy does not list")
	})
	t.Run("driver that the policy does not allow", func(t *testing.T) {
		policy := testPolicy("a")
		policy.Drivers = []string{"clear"}
		a, b := newEnd(t, policy), newEnd(t, testPolicy("b"))
		a.pin(t, "b", b.identity)
		_, err := a.ask(b, controlv1.Role_ROLE_INITIATOR)
		wantRefusal(t, err, connect.CodePermissionDenied, `does not allow the driver "esp"`)
	})
	t.Run("suite that protects nothing", func(t *testing.T) {
		for _, insecure := range []bool{false, true} {
			policy := testPolicy("a")
			policy.Insecure = insecure
			a, b := newEnd(t, policy), newEnd(t, testPolicy("b"))
			a.pin(t, "b", b.identity)
			fingerprint := b.identity.Fingerprint()
			_, err := a.Offer(as("controller"), &controlv1.OfferRequest{
				SessionId: sessionID, Role: controlv1.Role_ROLE_INITIATOR, PeerFingerprint: fingerprint[:],
				Driver: "esp", Suite: "null-null", Encapsulation: "udp",
			})
			if insecure && err != nil {
				t.Errorf("allowed by the policy: %v", err)
			}
			if !insecure {
				wantRefusal(t, err, connect.CodePermissionDenied, `does not allow the suite "null-null"`)
			}
			if err := a.Shutdown(); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("second session", func(t *testing.T) {
		a, b := newPair(t)
		offers(t, a, b)
		_, err := a.ask(b, controlv1.Role_ROLE_INITIATOR)
		wantRefusal(t, err, connect.CodeResourceExhausted, `controller "controller" has a session with "b"`)
	})
	t.Run("another controller's session", func(t *testing.T) {
		a, b := newPair(t)
		_, ofB := offers(t, a, b)
		_, err := a.Open(as("other"), &controlv1.OpenRequest{SessionId: sessionID, PeerOffer: ofB})
		wantRefusal(t, err, connect.CodeNotFound, "no session")
	})
	t.Run("trial before the tunnel is open", func(t *testing.T) {
		a, b := newPair(t)
		offers(t, a, b)
		err := a.Send(as("controller"), &controlv1.SendRequest{SessionId: sessionID, Work: udpWork(&controlv1.Load{})}, nil)
		wantRefusal(t, err, connect.CodeFailedPrecondition, "not open")
	})
	t.Run("load above the policy", func(t *testing.T) {
		a, b := newPair(t)
		_, ofB := offers(t, a, b)
		if _, err := a.accept(ofB); err != nil {
			t.Fatal(err)
		}
		err := a.Send(as("controller"), &controlv1.SendRequest{SessionId: sessionID, Work: udpWork(&controlv1.Load{
			InnerBitsPerSecond: 1e6, DurationNs: int64(time.Hour), Mix: &controlv1.Mix{InnerSizes: []uint32{1000}},
		})}, nil)
		wantRefusal(t, err, connect.CodeInvalidArgument, "duration 1h0m0s: allowed are times above zero up to the agents' limit of 1m0s")
	})
	t.Run("several flows where nothing but one port is the session's", func(t *testing.T) {
		a, b := newPair(t)
		a.driver.outside = true
		_, ofB := offers(t, a, b)
		if _, err := a.accept(ofB); err != nil {
			t.Fatal(err)
		}
		err := a.Send(as("controller"), &controlv1.SendRequest{SessionId: sessionID, Work: udpWork(&controlv1.Load{
			InnerBitsPerSecond: 1e6, DurationNs: int64(time.Second), Mix: &controlv1.Mix{InnerSizes: []uint32{1000}}, Flows: 2,
		})}, nil)
		wantRefusal(t, err, connect.CodeInvalidArgument, "one flow")
	})
	t.Run("name that no namespace can have", func(t *testing.T) {
		a, b := newPair(t)
		fingerprint := b.identity.Fingerprint()
		_, err := a.Offer(as("controller"), &controlv1.OfferRequest{
			SessionId: sessionID, Role: controlv1.Role_ROLE_INITIATOR, PeerFingerprint: fingerprint[:],
			Driver: "esp", Suite: "aes-128-gcm", Encapsulation: "udp", Hold: "../x",
		})
		wantRefusal(t, err, connect.CodeInvalidArgument, "held namespace")
	})
}

func udpWork(load *controlv1.Load) *controlv1.Work { return &controlv1.Work{Udp: load} }

func wantRefusal(t *testing.T, err error, code connect.Code, part string) {
	t.Helper()
	if connect.CodeOf(err) != code || !strings.Contains(err.Error(), part) {
		t.Errorf("got %v, want %v with %q", err, code, part)
	}
}

// Without renewals a session ends with its lease; with them, at its greatest age.
func TestSessionsExpire(t *testing.T) {
	for name, c := range map[string]struct {
		renew time.Duration
		want  time.Duration
	}{
		"lease": {0, Lease},
		"age":   {Lease / 2, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := newPair(t)
				_, ofB := offers(t, a, b)
				if _, err := a.accept(ofB); err != nil {
					t.Fatal(err)
				}
				begun := time.Now()
				for a.count() > 0 && time.Since(begun) < 2*time.Hour {
					time.Sleep(time.Second)
					synctest.Wait()
					if c.renew > 0 && time.Since(begun)%c.renew == 0 {
						_, _ = a.Renew(as("controller"), &controlv1.RenewRequest{SessionId: sessionID}) // Refused once it has expired.
					}
				}
				if got := time.Since(begun); got < c.want || got > c.want+2*time.Second {
					t.Errorf("the session lived for %v, want %v", got, c.want)
				}
				if !a.driver.halves[0].isClosed() {
					t.Error("its tunnel is still up")
				}
			})
		})
	}
}
