package kind

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
)

func TestEveryKindHasAnOverhead(t *testing.T) {
	for _, k := range All() {
		suite, encapsulation, err := k.Choose("", "")
		if err != nil {
			t.Errorf("%s: %v", k.Name, err)
			continue
		}
		for _, outer := range []overhead.IPVersion{overhead.IPv4, overhead.IPv6} {
			added, err := k.Overhead(suite, encapsulation, outer)
			if err != nil {
				t.Errorf("%s: %v", k.Name, err)
			}
			if mtu := added.TunnelMTU(1500); mtu < 1280 || mtu > 1500 || (mtu < 1500) != (k.Name != Clear && !k.Foreign) {
				t.Errorf("%s over IPv%d: tunnel MTU of %d at a path MTU of 1500", k.Name, outer, mtu)
			}
		}
	}
}

// Whatever does in a program what the kernel or an appliance does otherwise says so,
// and names drivers that there are.
func TestCaveat(t *testing.T) {
	for _, k := range All() {
		caveat, program := Caveat(k.Name), !k.Kernel && !k.Foreign && k.Name != Clear
		if (caveat != "") != program || program && !strings.HasPrefix(caveat, "Driver "+k.Name+" is in user space: ") {
			t.Errorf("%s: caveat %q", k.Name, caveat)
		}
		for _, named := range regexp.MustCompile(`--driver ([a-z-]+)`).FindAllStringSubmatch(caveat, -1) {
			other, err := Find(named[1])
			if err != nil || !other.Kernel && !other.Foreign {
				t.Errorf("%s: it recommends %s, %v", k.Name, named[1], err)
			}
		}
	}
}

// Of several tunnels one sentence tells, and of each kind once.
func TestCaveatOfSeveral(t *testing.T) {
	got := Caveat("xfrm", "wireguard-user", "esp", "esp", "from tomorrow")
	for _, want := range []string{"Drivers esp and wireguard-user are in user space: ", "--driver xfrm or --driver wireguard the kernel's"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %q, want it to have %q", got, want)
		}
	}
	if got := Caveat("xfrm", "from tomorrow"); got != "" {
		t.Errorf("of the kernel's: %q", got)
	}
}

func TestChoose(t *testing.T) {
	for name, c := range map[string]struct {
		kind          string
		suite         tunnel.Suite
		encapsulation tunnel.Encapsulation
		want          [2]string // Suite and encapsulation.
		wantError     string
	}{
		"defaults":             {"esp", "", "", [2]string{"aes-128-gcm", "udp"}, ""},
		"given":                {"xfrm", "null-sha256", "raw", [2]string{"null-sha256", "raw"}, ""},
		"nothing to choose":    {"wireguard", "", "", [2]string{"", ""}, ""},
		"needless suite":       {"wireguard", "aes-128-gcm", "", [2]string{}, `suite "aes-128-gcm": driver wireguard has none to choose`},
		"no protection":        {"esp", "null-null", "", [2]string{"null-null", "udp"}, ""},
		"protection":           {"xfrm", "null-null", "", [2]string{}, `suite "null-null": allowed with driver xfrm are aes-128-gcm, `},
		"unknown suite":        {"esp", "3des-sha1", "", [2]string{}, `suite "3des-sha1": allowed with driver esp are aes-128-gcm, `},
		"other carrier":        {"esp", "", "raw", [2]string{"aes-128-gcm", "raw"}, ""},
		"carrier of others":    {"strongswan-user", "", "raw", [2]string{}, `encapsulation "raw": allowed with driver strongswan-user are udp`},
		"needless carrier":     {"gre", "", "udp", [2]string{}, `encapsulation "udp": driver gre has none to choose`},
		"no carrier at all":    {"existing", "", "", [2]string{}, ""},
		"carrier without name": {"gre-esp", "", "tcp", [2]string{}, "are udp, raw"},
	} {
		t.Run(name, func(t *testing.T) {
			k, err := Find(c.kind)
			if err != nil {
				t.Fatal(err)
			}
			suite, encapsulation, err := k.Choose(c.suite, c.encapsulation)
			if c.wantError != "" {
				if err == nil || !strings.Contains(err.Error(), c.wantError) {
					t.Errorf("got %v, want an error with %q", err, c.wantError)
				}
				return
			}
			if diff := cmp.Diff(c.want, [2]string{string(suite), string(encapsulation)}); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestFindNamesWhatThereIs(t *testing.T) {
	_, err := Find("l2tp")
	if err == nil || !strings.Contains(err.Error(), `driver "l2tp": allowed are esp, xfrm, `) {
		t.Errorf("got %v", err)
	}
}
