package strongswan

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFindAssociation(t *testing.T) {
	sample, err := os.ReadFile("testdata/list-sas.txt")
	if err != nil {
		t.Fatal(err)
	}
	ike := "AES_GCM_16_128/PRF_HMAC_SHA2_256/CURVE_25519"
	newest := childSA{
		spiIn: "786aa0dc", spiOut: "186f2642", algorithms: "AES_CBC_256/HMAC_SHA2_512_256/CURVE_25519", esn: true, udp: true,
	}
	tests := []struct {
		name string
		text string
		want association
	}{
		{"nothing", "list-sas reply {\n}\n", association{}},
		{"rekeyed", string(sample), association{ike: ike, child: newest, carries: true}},
		{"no child is installed", strings.ReplaceAll(string(sample), "INSTALLED", "REKEYING"), association{ike: ike}},
		{"still negotiating", strings.ReplaceAll(string(sample), "ESTABLISHED", "CONNECTING"), association{}},
		{"a dead one beside it", strings.ReplaceAll(string(sample), "INSTALLED", "DELETED") + string(sample), association{ike: ike, child: newest, carries: true}},
		{"a dead one after it", string(sample) + strings.ReplaceAll(string(sample), "INSTALLED", "DELETED"), association{ike: ike, child: newest, carries: true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := findAssociation([]byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(association{}, childSA{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
