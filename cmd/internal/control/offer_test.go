package control

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/tunnel"
)

func mustAddr(text string) netip.Addr { return netip.MustParseAddr(text) }

var compareAddresses = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
var compareAddrPorts = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

// sampleOffer is the initiator's; end 1 is the initiator, 2 the responder.
func sampleOffer(role controlv1.Role) Offer {
	end := map[controlv1.Role]string{controlv1.Role_ROLE_INITIATOR: "1", controlv1.Role_ROLE_RESPONDER: "2"}[role]
	return Offer{
		Session:       SessionID{0xaa, 0xbb},
		Role:          role,
		Outer:         mustAddr("192.0.2." + end),
		OuterMTU:      1500,
		Tunnels:       []TunnelEnd{{Port: 4500, SPI: 0x1000 + uint32(end[0])}},
		Driver:        "esp",
		Suite:         tunnel.AES128GCM,
		Encapsulation: tunnel.UDP,
		Inner4:        mustAddr("198.18.0." + end),
		Inner6:        mustAddr("2001:2::" + end),
		Limits:        Limits{MaxInnerBitsPerSecond: 1e9, MaxDuration: time.Minute, MaxInnerSize: 1400},
	}
}

// offerHex is sampleOffer with filled in fields: the bytes must not change
// between versions, or agents of different age would not agree.
const offerHex = "08011210aabb000000000000000000000000000018012220010000000000000000000000000000000000000000000000" +
	"00000000000000002a200200000000000000000000000000000000000000000000000000000000000000322009000000" +
	"000000000000000000000000000000000000000000000000000000003a04c000020140dc0b4a2808942310b1201a20" +
	"00000000000000000000000000000000000000000000000000000000000000005203" +
	"6573705a0b6165732d3132382d67636d62037564707204c61200017a1020010002000000000000000000000001820110" +
	"088094ebdc031080b09dc2df0118f80a880101900181b09dc2df01"

func filledOffer() Offer {
	offer := sampleOffer(controlv1.Role_ROLE_INITIATOR)
	offer.Issuer, offer.Peer = Fingerprint{1}, Fingerprint{2}
	offer.X25519 = make([]byte, x25519Size)
	offer.X25519[0] = 9
	offer.Tunnels[0].PublicKey = make([]byte, x25519Size)
	offer.Issued, offer.Expires = time.Unix(0, 1), time.Unix(60, 1)
	return offer
}

func TestOfferBytes(t *testing.T) {
	want := filledOffer()
	contents, err := want.marshal()
	must(t, err)
	if diff := cmp.Diff(offerHex, hex.EncodeToString(contents)); diff != "" {
		t.Errorf("bytes (-want +got):\n%s", diff)
	}
	got, err := unmarshalOffer(contents)
	must(t, err)
	if diff := cmp.Diff(&want, got, compareAddresses, compareAddrPorts); diff != "" {
		t.Errorf("round trip (-want +got):\n%s", diff)
	}
}

func TestOfferForm(t *testing.T) {
	cases := []struct {
		name   string
		change func(*controlv1.Offer)
		want   string
	}{
		{"another version", func(m *controlv1.Offer) { m.Version = 2 }, "version 2"},
		{"unknown field", func(m *controlv1.Offer) { setUnknown(m) }, "fields that version 1"},
		{"unknown field of the limits", func(m *controlv1.Offer) { setUnknown(m.Limits) }, "fields that version 1"},
		{"unknown field of a lifetime", func(m *controlv1.Offer) { m.Rekey = &controlv1.Lifetime{}; setUnknown(m.Rekey) }, "fields that version 1"},
		{"unknown field of a tunnel", func(m *controlv1.Offer) { setUnknown(m.Tunnels[0]) }, "fields that version 1"},
		{"no role", func(m *controlv1.Offer) { m.Role = 0 }, "role 0"},
		{"role of the future", func(m *controlv1.Offer) { m.Role = 7 }, "role 7"},
		{"short session id", func(m *controlv1.Offer) { m.SessionId = []byte{1} }, "session id of 1 bytes"},
		{"zero session id", func(m *controlv1.Offer) { m.SessionId = make([]byte, 16) }, "all zero"},
		{"short issuer", func(m *controlv1.Offer) { m.Issuer = []byte{1} }, "issuer of 1"},
		{"no peer", func(m *controlv1.Offer) { m.Peer = nil }, "peer of 0"},
		{"long X25519", func(m *controlv1.Offer) { m.X25519 = make([]byte, 33) }, "33 bytes"},
		{"no outer address", func(m *controlv1.Offer) { m.Outer = nil }, "outer address of 0"},
		{"outer address of 5 bytes", func(m *controlv1.Offer) { m.Outer = make([]byte, 5) }, "outer address of 5"},
		{"outer port", func(m *controlv1.Offer) { m.Tunnels[0].Port = 65536 }, "65536"},
		{"short public key", func(m *controlv1.Offer) { m.Tunnels[0].PublicKey = []byte{1} }, "public key of 1 bytes"},
		{"lifetime of keys", func(m *controlv1.Offer) { m.Rekey = &controlv1.Lifetime{TimeNs: -1} }, "rekeying after -1ns"},
		{"replay window", func(m *controlv1.Offer) { m.ReplayWindow = 4097 }, "replay window of 4097"},
		{"outer MTU", func(m *controlv1.Offer) { m.OuterMtu = 65536 }, "outer MTU 65536"},
		{"inner MTU", func(m *controlv1.Offer) { m.InnerMtu = 1 << 31 }, "inner MTU 2147483648"},
		{"IPv6 as IPv4", func(m *controlv1.Offer) { m.Inner4 = make([]byte, 16) }, "inner IPv4 address of 16"},
		{"IPv4 as IPv6", func(m *controlv1.Offer) { m.Inner6 = make([]byte, 4) }, "inner IPv6 address of 4"},
		{"no tunnel", func(m *controlv1.Offer) { m.Tunnels = nil }, "0 tunnels"},
		{"many tunnels", func(m *controlv1.Offer) { m.Tunnels = make([]*controlv1.TunnelEnd, 65) }, "65 tunnels"},
		{"no driver", func(m *controlv1.Offer) { m.Driver = "" }, "no driver"},
		{"long suite", func(m *controlv1.Offer) { m.Suite = strings.Repeat("x", 33) }, "longer than 32"},
		{"negative duration", func(m *controlv1.Offer) { m.Limits.MaxDurationNs = -1 }, "out of range"},
		{"large inner size", func(m *controlv1.Offer) { m.Limits.MaxInnerSize = 65536 }, "out of range"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			offer := filledOffer()
			contents, err := offer.marshal()
			must(t, err)
			var message controlv1.Offer
			must(t, proto.Unmarshal(contents, &message))
			c.change(&message)
			contents, err = proto.Marshal(&message)
			must(t, err)
			if _, err := unmarshalOffer(contents); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

// setUnknown gives a message a field of number 31.
func setUnknown(m proto.Message) { m.ProtoReflect().SetUnknown([]byte{0xf8, 0x01, 0x01}) }

func TestNewConsentRefusesWhatThePeerWould(t *testing.T) {
	offer := sampleOffer(controlv1.Role_ROLE_INITIATOR)
	offer.InnerMTU = -1
	if _, err := NewConsent(mustIdentity(t, stateDir(t)), offer, tokenExpiry); err == nil {
		t.Error("an offer with a negative MTU was signed")
	}
}

func FuzzUnmarshalOffer(f *testing.F) {
	contents, err := hex.DecodeString(offerHex)
	must(f, err)
	f.Add(contents)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, contents []byte) {
		offer, err := unmarshalOffer(contents)
		if err != nil {
			return
		}
		again, err := offer.marshal()
		must(t, err)
		second, err := unmarshalOffer(again)
		must(t, err)
		if diff := cmp.Diff(offer, second, compareAddresses, compareAddrPorts); diff != "" {
			t.Errorf("round trip (-want +got):\n%s", diff)
		}
	})
}
