package inner_test

import (
	"errors"
	"net"
	"os"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"tunnelmark/lab/labtest"
	"tunnelmark/tunnel"
	"tunnelmark/tunnel/inner"
)

// The first thread never exits: no test may take it into a namespace.
func init() { runtime.LockOSThread() }

func newNamespace(t *testing.T) *tunnel.Namespace {
	t.Helper()
	namespace, err := tunnel.NewNamespace()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = namespace.Close() })
	return namespace
}

// A bridge stands for the kinds that only other kernels have.
func TestLink(t *testing.T) {
	labtest.NeedRoot(t)
	outside, session := newNamespace(t), newNamespace(t)
	link := inner.Link{Name: "clear0", Kind: "bridge"}
	for range 2 { // Once it is removed, its name is free.
		if err := link.Add(outside, session); err != nil {
			t.Fatal(err)
		}
		if !has(t, session, link.Name) || has(t, outside, link.Name) {
			t.Errorf("interface: in the session's namespace %v, outside %v; want it in the session's only",
				has(t, session, link.Name), has(t, outside, link.Name))
		}
		if err := link.Add(outside, session); !errors.Is(err, os.ErrExist) {
			t.Errorf("same name again: got %v, want an error that wraps %v", err, os.ErrExist)
		}
		if err := errors.Join(link.Remove(session), link.Remove(session)); err != nil {
			t.Errorf("remove twice: %v", err)
		}
		if has(t, session, link.Name) {
			t.Error("the interface is there after its removal")
		}
	}
}

func TestLinkOfUnknownKind(t *testing.T) {
	labtest.NeedRoot(t)
	namespace := newNamespace(t)
	err := inner.Link{Name: "clear0", Kind: "no such kind"}.Add(namespace, namespace)
	if !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("got %v, want an error that wraps %v", err, unix.EOPNOTSUPP)
	}
}

func has(t *testing.T, namespace *tunnel.Namespace, name string) (found bool) {
	t.Helper()
	err := namespace.Do(func() error {
		all, err := net.Interfaces()
		found = slices.ContainsFunc(all, func(i net.Interface) bool { return i.Name == name })
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
