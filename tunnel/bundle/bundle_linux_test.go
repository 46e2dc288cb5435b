package bundle

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/lab/labtest"
	"tunnelmark/tunnel"
)

// fake is a tunnel without packets.
type fake struct {
	path     tunnel.Path
	counters tunnel.Counters
	closes   int
	err      error // Of all methods.
}

func (f *fake) Path() tunnel.Path                  { return f.path }
func (f *fake) Counters() (tunnel.Counters, error) { return f.counters, f.err }
func (f *fake) Close() error                       { f.closes++; return f.err }
func (f *fake) Details() []tunnel.Detail           { return []tunnel.Detail{{Name: "suite", Value: "none"}} }

// rekeyable is one that takes a second to rekey.
type rekeyable struct{ fake }

func (r *rekeyable) Rekey(context.Context) (time.Duration, error) { return time.Second, r.err }

// driver opens fakes.
type driver struct{ halves []*fake }

func (driver) Check(tunnel.Spec) error { return nil }

func (d *driver) Open(context.Context, tunnel.Spec, tunnel.Keys, tunnel.Place) (tunnel.Tunnel, error) {
	half := &fake{}
	d.halves = append(d.halves, half)
	return half, nil
}

func TestSum(t *testing.T) {
	b := &bundle{halves: []tunnel.Tunnel{
		&fake{path: tunnel.Path{Interface: "a0", MTU: 1400}, counters: tunnel.Counters{OutPackets: 1, Replayed: 10}},
		&fake{path: tunnel.Path{Interface: "a1", MTU: 1300}, counters: tunnel.Counters{OutPackets: 2}},
	}}
	if got, err := b.Counters(); err != nil || got != (tunnel.Counters{OutPackets: 3, Replayed: 10}) {
		t.Errorf("counters: got %+v, %v; want the sum", got, err)
	}
	if got, want := b.Path(), (tunnel.Path{MTU: 1300}); got != want {
		t.Errorf("path: got %+v, want %+v", got, want)
	}
	want := []tunnel.Detail{{Name: "tunnels side by side", Value: "2"}, {Name: "suite", Value: "none"}}
	if diff := cmp.Diff(want, b.Details()); diff != "" {
		t.Errorf("details (-want +got):\n%s", diff)
	}
}

func TestCloseAllWhicheverFails(t *testing.T) {
	first, second := &fake{err: errors.New("first")}, &fake{err: errors.New("second")}
	third := &fake{}
	b := &bundle{halves: []tunnel.Tunnel{first, second, third}}
	err := b.Close()
	if !errors.Is(err, first.err) || !errors.Is(err, second.err) {
		t.Errorf("got %v, want both errors", err)
	}
	for i, half := range []*fake{first, second, third} {
		if half.closes != 1 {
			t.Errorf("tunnel %d was closed %d times, want once", i, half.closes)
		}
	}
}

func TestRekey(t *testing.T) {
	broken := errors.New("no answer")
	tests := []struct {
		name   string
		halves []tunnel.Tunnel
		want   time.Duration
		err    error
	}{
		{"all", []tunnel.Tunnel{&rekeyable{}, &rekeyable{}}, 2 * time.Second, nil},
		{"one cannot", []tunnel.Tunnel{&rekeyable{}, &fake{}}, 0, tunnel.ErrNotSupported},
		{"one fails", []tunnel.Tunnel{&rekeyable{}, &rekeyable{fake{err: broken}}, &rekeyable{}}, 2 * time.Second, broken},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			took, err := (&bundle{halves: test.halves}).Rekey(t.Context())
			if took != test.want || !errors.Is(err, test.err) {
				t.Errorf("got %v, %v; want %v, %v", took, err, test.want, test.err)
			}
		})
	}
}

// meeting is one whose ends have to meet.
type meeting struct {
	fake
	awaited int
}

func (m *meeting) Await(context.Context) error { m.awaited++; return m.err }

func TestAwait(t *testing.T) {
	first, second := &meeting{}, &meeting{}
	b := &bundle{halves: []tunnel.Tunnel{first, &fake{}, second}}
	if err := b.Await(t.Context()); err != nil || first.awaited != 1 || second.awaited != 1 {
		t.Errorf("got %v after %d and %d waits, want each once", err, first.awaited, second.awaited)
	}
	second.err = context.DeadlineExceeded
	if err := b.Await(t.Context()); !errors.Is(err, second.err) || !strings.Contains(err.Error(), "tunnel 2") {
		t.Errorf("got %v, want %v of tunnel 2", err, second.err)
	}
}

func TestCheck(t *testing.T) {
	namespace, other := &tunnel.Namespace{}, &tunnel.Namespace{}
	good := func() []Half {
		spec := tunnel.Spec{Local: tunnel.End{Inner4: netip.MustParseAddr("198.18.0.1")}}
		second := spec
		second.Number = 1
		return []Half{{Spec: spec, Place: tunnel.Place{Inner: namespace}}, {Spec: second, Place: tunnel.Place{Inner: namespace}}}
	}
	if err := check(good()); err != nil {
		t.Errorf("good halves: %v", err)
	}
	tests := []struct {
		name  string
		spoil func([]Half) []Half
		want  string
	}{
		{"none", func([]Half) []Half { return nil }, "no tunnel"},
		{"no namespace", func(h []Half) []Half { h[0].Place.Inner = nil; return h }, "inner namespace"},
		{"another namespace", func(h []Half) []Half { h[1].Place.Inner = other; return h }, "tunnel 1: its inner namespace"},
		{"another address", func(h []Half) []Half { h[1].Spec.Local.Inner4 = netip.MustParseAddr("198.18.0.3"); return h }, "tunnel 1: its inner addresses"},
		{"same number", func(h []Half) []Half { h[1].Spec.Number = 0; return h }, "number 0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := check(test.spoil(good()))
			if !errors.Is(err, os.ErrInvalid) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want os.ErrInvalid with %q", err, test.want)
			}
		})
	}
}

// A driver without an interface on the clear side cannot be spread over, which
// shows once its first tunnel is up.
func TestNoInterface(t *testing.T) {
	labtest.NeedRoot(t)
	namespace, err := tunnel.NewNamespace()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = namespace.Close() })
	place := tunnel.Place{Inner: namespace}
	d := &driver{}
	_, err = Open(t.Context(), d, []Half{{Place: place}, {Spec: tunnel.Spec{Number: 1}, Place: place}})
	if !errors.Is(err, tunnel.ErrNotSupported) {
		t.Errorf("got %v, want an error that wraps ErrNotSupported", err)
	}
	if len(d.halves) != 1 || d.halves[0].closes != 1 {
		t.Errorf("%d tunnels were opened, want one that is closed again", len(d.halves))
	}
}
