package tunneltest

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/tunnel"
)

func mustKey(t *testing.T, keys tunnel.Keys, direction tunnel.Direction, generation, size int) []byte {
	t.Helper()
	key, err := keys.Key(direction, generation, size)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestKeysMeet(t *testing.T) {
	left, right := Keys("secret")
	sends := mustKey(t, left, tunnel.Send, 0, 20)
	if diff := cmp.Diff(sends, mustKey(t, right, tunnel.Receive, 0, 20)); diff != "" {
		t.Errorf("left sends, right receives (-left +right):\n%s", diff)
	}
	others, _ := Keys("another secret")
	for name, other := range map[string][]byte{
		"other direction": mustKey(t, left, tunnel.Receive, 0, 20),
		"next generation": mustKey(t, left, tunnel.Send, 1, 20),
		"another session": mustKey(t, others, tunnel.Send, 0, 20),
	} {
		if bytes.Equal(sends, other) {
			t.Errorf("%s has the same key", name)
		}
	}
}

func TestWritePcap(t *testing.T) {
	var got bytes.Buffer
	if err := WritePcap(&got, [][]byte{{0xaa, 0xbb}}); err != nil {
		t.Fatal(err)
	}
	want := []byte{
		0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, // File: magic, version 2.4, longest frame, Ethernet.
		0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 0xaa, 0xbb, // Frame: time, lengths.
	}
	if diff := cmp.Diff(want, got.Bytes()); diff != "" {
		t.Errorf("file (-want +got):\n%s", diff)
	}
}
