package analysis

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTunnelCountsAdd(t *testing.T) {
	one := TunnelCounts{OutPackets: 1, OutInnerBytes: 2, InPackets: 3, InInnerBytes: 4, Dropped: map[string]uint64{"replayed": 5}, OuterErrors: 6}
	other := TunnelCounts{OutPackets: 10, Dropped: map[string]uint64{"replayed": 50, "bad_icv": 7}}
	want := TunnelCounts{
		OutPackets: 11, OutInnerBytes: 2, InPackets: 3, InInnerBytes: 4,
		Dropped: map[string]uint64{"replayed": 55, "bad_icv": 7}, OuterErrors: 6,
	}
	for range 2 { // Neither is changed by it.
		if diff := cmp.Diff(want, one.Add(other)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if got := want.Drops(); got != 62 {
		t.Errorf("%d drops, want 62", got)
	}
	if diff := cmp.Diff(one, TunnelCounts{}.Add(one)); diff != "" {
		t.Errorf("with nothing (-want +got):\n%s", diff)
	}
}

// A tunnel that nobody counted leaves no trace in a result.
func TestTrialWithoutCounts(t *testing.T) {
	for _, trial := range []any{Trial{}, TCPTrial{}} {
		text, err := json.Marshal(trial)
		if err != nil {
			t.Fatal(err)
		}
		var keys map[string]any
		if err := json.Unmarshal(text, &keys); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"sender_tunnel", "receiver_tunnel"} {
			if value, found := keys[key]; found {
				t.Errorf("%T has %s: %v", trial, key, value)
			}
		}
	}
}
