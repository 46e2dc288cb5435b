//go:build kernel

package gre_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/gre"
	"tunnelmark/tunnel/tunneltest"
)

// fakeGuard protects nothing and notes when it is asked to, and which interfaces
// of ours there are then.
type fakeGuard struct {
	site  *tunneltest.Site
	t     *testing.T
	fails error
	log   *[]string
}

func (g fakeGuard) Check(tunnel.Spec) error { g.note("check"); return nil }

func (g fakeGuard) Protect(_ context.Context, _ tunnel.Spec, _ tunnel.Keys, place tunnel.Place, protocol int) (io.Closer, error) {
	g.note(fmt.Sprintf("protect protocol %d", protocol))
	if err := place.Socket.Close(); err != nil {
		return nil, err
	}
	return closer(func() error { g.note("close"); return nil }), g.fails
}

type closer func() error

func (c closer) Close() error { return c() }

func (g fakeGuard) note(what string) {
	links, err := handleAt(g.t, g.site.Inner).LinkList()
	if err != nil {
		g.t.Fatal(err)
	}
	present := slices.ContainsFunc(links, func(l netlink.Link) bool { return strings.HasPrefix(l.Attrs().Name, "gre0000") })
	*g.log = append(*g.log, fmt.Sprintf("%s, interface: %v", what, present))
}

// TestKernelGuard expects a guard to be there as long as the interface is.
func TestKernelGuard(t *testing.T) {
	errRefused := errors.New("refused")
	tests := []struct {
		name  string
		fails error
		want  []string
	}{
		{"protects", nil, []string{"check, interface: false", "protect protocol 47, interface: false", "close, interface: false"}},
		{"refuses", errRefused, []string{"check, interface: false", "protect protocol 47, interface: false"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			link := tunneltest.NewLink(t, tunneltest.PathMTU)
			spec, _ := link.Specs(tunnel.Spec{Suite: tunnel.AES128GCM, Encapsulation: tunnel.Raw, MTU: 1400}, false)
			var log []string
			driver := gre.Driver{Guard: fakeGuard{link.Left, t, test.fails, &log}}
			half, err := driver.Open(context.Background(), spec, nil, place(t, link.Left, link.Left.Inner, spec))
			if !errors.Is(err, test.fails) {
				t.Fatalf("got %v, want %v", err, test.fails)
			}
			if err == nil {
				if err := half.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(test.want, log); diff != "" {
				t.Errorf("guard (-want +got):\n%s", diff)
			}
		})
	}
}
