package xfrm

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
)

// attributesOf reads a message back.
func attributesOf(t *testing.T, m *message, head int) map[uint16][]byte {
	t.Helper()
	parsed, err := nl.ParseRouteAttr(m.bytes[head:])
	if err != nil {
		t.Fatal(err)
	}
	all := map[uint16][]byte{}
	for _, a := range parsed {
		all[a.Attr.Type] = a.Value
	}
	return all
}

// Key material goes to the kernel in the order cipher key, salt, HMAC key, with
// lengths in bits.
func TestStateMessageAlgorithms(t *testing.T) {
	material := make([]byte, 100)
	for i := range material {
		material[i] = byte(i + 1)
	}
	name := func(s string) []byte { return append([]byte(s), make([]byte, 64-len(s))...) }
	concat := func(parts ...[]byte) (all []byte) {
		for _, part := range parts {
			all = append(all, part...)
		}
		return all
	}
	tests := []struct {
		suite tunnel.Suite
		want  map[uint16][]byte
	}{
		{tunnel.AES256GCM, map[uint16][]byte{
			nl.XFRMA_ALG_AEAD: concat(name("rfc4106(gcm(aes))"), native32(36*8, 128), material[:36])}},
		{tunnel.AES128CBCSHA1, map[uint16][]byte{
			nl.XFRMA_ALG_CRYPT:      concat(name("cbc(aes)"), native32(16*8), material[:16]),
			nl.XFRMA_ALG_AUTH_TRUNC: concat(name("hmac(sha1)"), native32(20*8, 96), material[16:36])}},
		{tunnel.NullSHA256, map[uint16][]byte{
			nl.XFRMA_ALG_CRYPT:      concat(name("ecb(cipher_null)"), native32(0)),
			nl.XFRMA_ALG_AUTH_TRUNC: concat(name("hmac(sha256)"), native32(32*8, 128), material[:32])}},
	}
	for _, test := range tests {
		t.Run(string(test.suite), func(t *testing.T) {
			spec := goodSpec()
			spec.Suite = test.suite
			p, err := Interface.plan(spec)
			if err != nil {
				t.Fatal(err)
			}
			lengths, err := test.suite.Transform()
			if err != nil {
				t.Fatal(err)
			}
			m := association{p, tunnel.Send}.message(material[:lengths.KeyMaterial()])
			got := attributesOf(t, m, nl.SizeofXfrmUsersaInfo)
			for _, other := range []uint16{nl.XFRMA_REPLAY_ESN_VAL, nl.XFRMA_ENCAP, nl.XFRMA_IF_ID} {
				if got[other] == nil {
					t.Errorf("attribute %d is missing", other)
				}
				delete(got, other)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("algorithms (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStateMessageHead(t *testing.T) {
	spec := goodSpec()
	spec.NoESN, spec.Lifetime, spec.ReplayWindow = true, 1500*time.Millisecond, 33
	p, err := Transport.plan(spec)
	if err != nil {
		t.Fatal(err)
	}
	a := association{p, tunnel.Receive}
	head := a.head()
	if got, want := head.Lft.HardAddExpiresSeconds, uint64(2); got != want {
		t.Errorf("lifetime: got %d s, want %d", got, want)
	}
	if head.Flags != 0 || head.Mode != uint8(netlink.XFRM_MODE_TRANSPORT) || nl.Swap32(head.Id.Spi) != 0x1001 {
		t.Errorf("got flags %#x, mode %d, SPI %#x; want 0, transport, 0x1001", head.Flags, head.Mode, nl.Swap32(head.Id.Spi))
	}
	if diff := cmp.Diff(native32(2, 0, 0, 0, 0, 33, 0, 0), a.replayState()); diff != "" {
		t.Errorf("replay state (-want +got):\n%s", diff)
	}
}

// What the kernel lists is read as it was written.
func TestPolicyRoundTrip(t *testing.T) {
	for _, form := range []Form{Interface, VTI, Policy, Transport} {
		p, err := form.plan(goodSpec())
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range p.policies() {
			want.index = 42
			m := newMessage((&nl.XfrmUserpolicyInfo{Sel: writeSelector(want.selector), Dir: uint8(want.direction), Index: 42}).Serialize())
			want.scope.add(m)
			got, err := readPolicy(m.bytes)
			if err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("%s: got %v, want %v", form, got, want)
			}
			if !got.overlaps(want) {
				t.Errorf("%s: a policy does not overlap itself", form)
			}
		}
	}
}

// A policy for an IPv6 prefix whose last 12 bytes are zero is none of IPv4.
func TestReadSelectorIPv6(t *testing.T) {
	want := prefixes("2001:2::/48", "2001:2::/48")
	written := writeSelector(want)
	if got := readSelector(&written); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func FuzzReadPolicy(f *testing.F) {
	f.Add((&nl.XfrmUserpolicyInfo{Sel: writeSelector(prefixes("0.0.0.0/0", "10.0.0.0/8"))}).Serialize())
	f.Fuzz(func(t *testing.T, answer []byte) {
		p, err := readPolicy(answer)
		if err == nil && p.selector.source.IsValid() && p.selector.destination.IsValid() && !p.overlaps(p) {
			t.Errorf("%v does not overlap itself", p)
		}
	})
}

// The kernel's keys come with an SA's counters, and are cleared with the answer.
func TestReadStateClears(t *testing.T) {
	answer := append((&nl.XfrmUsersaInfo{Reqid: 7, Curlft: nl.XfrmLifetimeCur{Packets: 3}}).Serialize(), "secret"...)
	s, err := readState([][]byte{answer})
	if err != nil || s.request != 7 || s.curlft.Packets != 3 {
		t.Errorf("got %+v, %v", s, err)
	}
	if strings.Contains(string(answer), "secret") {
		t.Error("the answer still holds the key")
	}
	if _, err := readState([][]byte{{1}}); err == nil {
		t.Error("a short answer: got no error")
	}
}

type lentKeys struct {
	tunnel.Keys // Not asked for anything but Key.
	lent        []byte
}

func (k *lentKeys) Key(_ tunnel.Direction, _, size int) ([]byte, error) {
	k.lent = []byte(strings.Repeat("k", size-1))
	return k.lent, nil
}

func TestMaterialRefusesShortKey(t *testing.T) {
	keys := &lentKeys{}
	_, err := suites[0].material(keys, tunnel.Send)
	expectError(t, err, "got 19 bytes, want 20")
	if strings.Contains(string(keys.lent), "k") {
		t.Error("the key is not cleared")
	}
}

func TestExplain(t *testing.T) {
	four, six := plan{algorithms: suites[0], local: netip.MustParseAddrPort("192.0.2.1:1")}, plan{algorithms: suites[0], local: netip.MustParseAddrPort("[2001:db8::1]:1"), udp: true}
	tests := []struct {
		plan plan
		err  error
		want string
	}{
		{four, unix.EPROTONOSUPPORT, "CONFIG_INET_ESP"},
		{six, unix.EPROTONOSUPPORT, "CONFIG_INET6_ESP"},
		{six, unix.EAFNOSUPPORT, "CONFIG_IPV6"},
		{six, unix.EINVAL, "Linux 5.8"},
		{four, unix.ENOSYS, "rfc4106(gcm(aes))"},
		{four, unix.ENOENT, "aes-128-gcm"},
	}
	for _, test := range tests {
		err := test.plan.explain(test.err)
		expectError(t, err, test.want)
		if !errors.Is(err, tunnel.ErrNotSupported) || !errors.Is(err, test.err) {
			t.Errorf("%v wraps not %v and %v", err, tunnel.ErrNotSupported, test.err)
		}
	}
	if err := four.explain(os.ErrPermission); errors.Is(err, tunnel.ErrNotSupported) {
		t.Errorf("got %v: want of a privilege is no want of support", err)
	}
}

const crypto = `name         : cbc(aes)
driver       : cbc(aes-generic)
priority     : 100
internal     : no

name         : cbc(aes)
driver       : __cbc-aes-aesni
priority     : 500
internal     : yes

name         : cbc(aes)
driver       : cbc-aes-aesni
priority     : 400
internal     : no
`

func TestParseCrypto(t *testing.T) {
	got := parseCrypto(strings.NewReader(crypto))
	want := map[string]cryptoDriver{"cbc(aes)": {"cbc-aes-aesni", 400}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(cryptoDriver{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("drivers (-want +got):\n%s", diff)
	}
	if got := got["gcm(aes)"].String(); got != "unknown" {
		t.Errorf("an algorithm that is not listed: got %q, want unknown", got)
	}
}

func TestParseDrops(t *testing.T) {
	got, err := parseDrops(strings.NewReader("XfrmInError \t0\nXfrmInNoStates\t12\n"))
	if diff := cmp.Diff(map[string]uint64{"XfrmInError": 0, "XfrmInNoStates": 12}, got); diff != "" || err != nil {
		t.Errorf("%v, counts (-want +got):\n%s", err, diff)
	}
	for _, bad := range []string{"XfrmInError\n", "XfrmInError -1\n", "a b c\n"} {
		if _, err := parseDrops(strings.NewReader(bad)); err == nil {
			t.Errorf("%q: got no error", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(crypto)
	f.Add("XfrmInError \t0\n")
	f.Fuzz(func(t *testing.T, text string) {
		parseCrypto(strings.NewReader(text))
		counts, err := parseDrops(strings.NewReader(text))
		if err == nil && len(counts) > len(text) {
			t.Errorf("%d counts of %d bytes", len(counts), len(text))
		}
	})
}
