// Package probetest helps the tests of all kinds of probe: keys, network namespaces
// (netns_linux.go), sockets and relays between them (sockets.go), and what must not be left
// behind (leaks.go).
package probetest

import (
	"testing"

	"tunnelmark/probe/wire"
)

// Trial is the number of the tests' trial.
const Trial = 7

// Key is the key of the tests' session.
func Key(t testing.TB) wire.Key { return keyOf(t, "a key for tests, of 32 bytes ...") }

// StrangersKey is that of another session.
func StrangersKey(t testing.TB) wire.Key { return keyOf(t, "another key, also of 32 bytes ..") }

func keyOf(t testing.TB, s string) wire.Key {
	t.Helper()
	key, err := wire.NewKey([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return key
}
