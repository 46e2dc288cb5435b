package tunnel

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestLifetimeCheck(t *testing.T) {
	tests := []struct {
		lifetime Lifetime
		want     string // Part of the error; empty: no error.
	}{
		{Lifetime{}, ""},
		{Lifetime{Bytes: LeastRekeyBytes, Packets: LeastRekeyPackets, Time: LeastRekeyTime}, ""},
		{Lifetime{Bytes: MostRekeyBytes, Packets: MostRekeyPackets, Time: 24 * time.Hour}, ""},
		{Lifetime{Bytes: LeastRekeyBytes - 1}, "after 16777215 bytes: want 16 MiB"},
		{Lifetime{Bytes: MostRekeyBytes + 1}, "to 512 GiB, or 0"},
		{Lifetime{Packets: 1}, "after 1 packets: want 8192 to 268435456, or 0"},
		{Lifetime{Packets: MostRekeyPackets + 1}, "after 268435457 packets"},
		{Lifetime{Time: LeastRekeyTime - 1}, "after 99.999999ms: want 100ms or more, or 0"},
		{Lifetime{Time: -time.Second}, "after -1s"},
	}
	for _, test := range tests {
		err := test.lifetime.Check()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: got %v, want %q", test.lifetime, err, test.want)
		}
	}
}

func TestLifetimeString(t *testing.T) {
	for want, lifetime := range map[string]Lifetime{
		"unlimited":                            {},
		"1m0s":                                 {Time: time.Minute},
		"1s or 20000 packets or 1000000 bytes": {Time: time.Second, Packets: 20000, Bytes: 1e6},
	} {
		if got := lifetime.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestCheckNoRekey(t *testing.T) {
	if err := (Spec{}).CheckNoRekey(); err != nil {
		t.Error(err)
	}
	err := Spec{Rekey: Lifetime{Time: time.Second}}.CheckNoRekey()
	if !errors.Is(err, ErrNotSupported) || !strings.Contains(err.Error(), "rekeying after 1s: not supported by this driver") {
		t.Errorf("got %v, want an error that wraps ErrNotSupported", err)
	}
}
