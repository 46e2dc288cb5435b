package lab

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/safchain/ethtool"
)

func TestDecodeRecord(t *testing.T) {
	tests := []struct {
		name, text, want string
	}{
		{"good", `{"lab":"x","process_id":1,"namespaces":[{"name":"tm-x-a","inode":5}]}`, ""},
		{"empty", "", "EOF"},
		{"unknown key", `{"lab":"x","owner":"me"}`, "owner"},
		{"another lab's", `{"lab":"y"}`, `"y"`},
		{"another's name", `{"lab":"x","namespaces":[{"name":"vpn"}]}`, `"vpn"`},
		{"a path", `{"lab":"x","namespaces":[{"name":"tm-x-/../../../etc/passwd"}]}`, "passwd"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := decodeRecord(strings.NewReader(tt.text), "x")
			if tt.want == "" && err != nil {
				t.Errorf("want no error, got %v", err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("want an error that says %q, got %v", tt.want, err)
			}
		})
	}
}

// A record never leads out of the directory of names, whatever it holds.
func FuzzDecodeRecord(f *testing.F) {
	f.Add(`{"lab":"x","process_id":1,"namespaces":[{"name":"tm-x-a","inode":5}]}`)
	f.Add(`{"lab":"x","namespaces":[{"name":"tm-x-/.."}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := decodeRecord(strings.NewReader(text), "x")
		if err != nil {
			return
		}
		for _, n := range r.Namespaces {
			if path := filepath.Join(namesDir, n.Name); filepath.Dir(path) != namesDir {
				t.Errorf("%q leads to %s", n.Name, path)
			}
		}
	})
}

func TestOffloadsOff(t *testing.T) {
	on, fixed := ethtool.FeatureState{Active: true}, ethtool.FeatureState{Active: true, NeverChanged: true}
	got := offloadsOff(map[string]ethtool.FeatureState{
		"tx-tcp-segmentation":    on,
		"tx-udp-segmentation":    on,
		"tx-gso-list":            on,
		"rx-gro":                 on,
		"rx-lro":                 {},
		"tx-gso-robust":          fixed,
		"tx-checksum-ip-generic": on,
		"tx-scatter-gather":      on,
	}, enlarges)
	want := map[string]bool{"tx-tcp-segmentation": false, "tx-udp-segmentation": false, "tx-gso-list": false, "rx-gro": false}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("offloads (-want +got):\n%s", diff)
	}
}
