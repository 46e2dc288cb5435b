package esp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/tunnel"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	data, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// fixedKeys gives each direction a key that is told by its bytes.
type fixedKeys struct {
	tunnel.Keys // Not asked for anything but Key.
	key         []byte
}

func (k fixedKeys) Key(direction tunnel.Direction, generation, size int) ([]byte, error) {
	if k.key != nil {
		return bytes.Clone(k.key), nil
	}
	return bytes.Repeat([]byte{1}, size), nil
}

func mustTransform(t testing.TB, name tunnel.Suite, keys tunnel.Keys) transform {
	t.Helper()
	s, err := findSuite(name)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := s.transform(keys, tunnel.Send)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

var (
	left  = tunnel.End{Inner4: netip.MustParseAddr("198.18.0.1"), Inner6: netip.MustParseAddr("2001:2::1")}
	right = tunnel.End{Inner4: netip.MustParseAddr("198.18.0.2"), Inner6: netip.MustParseAddr("2001:2::2")}
)

const testSPI = 0x2002

// newSAs returns both ends of one direction, from left to right.
func newSAs(t testing.TB, name tunnel.Suite) (*outbound, *inbound) {
	t.Helper()
	out := newOutbound(testSPI, mustTransform(t, name, fixedKeys{}))
	return out, newInbound(testSPI, mustTransform(t, name, fixedKeys{}), newSelectors(left, right))
}

// ipv4 makes a packet from left to right with a recognisable payload.
func ipv4(length int) []byte {
	packet := make([]byte, length)
	packet[0] = 0x45
	binary.BigEndian.PutUint16(packet[2:], uint16(length))
	copy(packet[12:], left.Inner4.AsSlice())
	copy(packet[16:], right.Inner4.AsSlice())
	fillPattern(packet[20:])
	return packet
}

func ipv6(length int) []byte {
	packet := make([]byte, length)
	packet[0] = 0x60
	binary.BigEndian.PutUint16(packet[4:], uint16(length-40))
	copy(packet[8:], left.Inner6.AsSlice())
	copy(packet[24:], right.Inner6.AsSlice())
	fillPattern(packet[40:])
	return packet
}

func fillPattern(payload []byte) {
	for i := range payload {
		payload[i] = byte(i * 7)
	}
}

func sealed(out *outbound, inner []byte) []byte {
	buffer := make([]byte, headroom+len(inner)+tailroom)
	copy(buffer[headroom:], inner)
	return buffer[:out.seal(buffer, len(inner))]
}

// sealedPayload seals any payload, trailer included, as a peer gone wrong would.
func sealedPayload(out *outbound, payload []byte) []byte {
	buffer := make([]byte, headroom+len(payload)+icvLength)
	copy(buffer[headroom:], payload)
	out.sequence++
	return buffer[:out.encrypt(buffer, len(payload), out.sequence, out.sequence)]
}

// vectors are whole ESP packets that others have published. AAD is given apart:
// those without extended sequence numbers have a shorter one.
var vectors = []struct {
	name     string
	suite    tunnel.Suite
	key      string // With salt.
	aad, iv  string
	plain    string
	sealed   string
	extended bool // Extended sequence numbers.
}{
	{
		name:  "draft-mcgrew-gcm-test-01, page 6, AES-128-GCM with ESN",
		suite: tunnel.AES128GCM, extended: true,
		key: "4c80cdefbb5d10da906ac73c3613a634 2e443b68",
		aad: "00004321 8765432100000000", iv: "4956ed7e3b244cfe",
		plain: `45000048699a000080114db7c0a80102c0a801010a9bf15638d3010000010000
			00000000045f736970045f756470037369700963796265726369747902646b00
			0021000101020201`,
		sealed: `fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34
			cfa2436f14a3f3cf65925bf1f4a13c5d15b21e1884f5ff6247aeabb786b93bce
			61bc17d768fd9732 459018148f6cbe722fd04796562dfdb4`,
	},
	{
		name:  "draft-mcgrew-gcm-test-01, page 8, AES-256-GCM",
		suite: tunnel.AES256GCM,
		key:   "abbccddef00112233445566778899aababbccddef00112233445566778899aab 11223344",
		aad:   "4a2cbfe3 00000002", iv: "0102030405060708",
		plain: `4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee000000000
			7002400020bf0000020405b40101040201020201`,
		sealed: `ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763
			748a637985771d347f0545659f14e99def842d8e b335f4eecfdbf831824b4c4915956c96`,
	},
	{
		name:  "RFC 7634, Appendix A, ChaCha20-Poly1305",
		suite: tunnel.ChaCha20Poly1305,
		key:   "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f a0a1a2a3",
		aad:   "01020304 00000005", iv: "1011121314151617",
		plain: `45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10
			0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223
			2425262728292a2b2c2d2e2f303132333435363701020204`,
		sealed: `24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c6
			14ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3
			cbec163fac469b502773f6fb94e664da9165b82829f641e0 76aaa8266b7fb0f7b11b369907e1ad43`,
	},
}

// The cipher, its nonce and the order of ICV and ciphertext, for every suite.
func TestVectorsTransform(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			tr := mustTransform(t, v.suite, fixedKeys{key: unhex(t, v.key)})
			nonce := append(tr.salt[:], unhex(t, v.iv)...)
			got := tr.aead.Seal(nil, nonce, unhex(t, v.plain), unhex(t, v.aad))
			if diff := cmp.Diff(unhex(t, v.sealed), got); diff != "" {
				t.Errorf("sealed (-want +got):\n%s", diff)
			}
		})
	}
}

// The whole packet both ways, where the vector has the extended sequence numbers
// that this package always uses. What is inside is no tunnel's (next header 1),
// so the steps behind decryption would refuse it.
func TestVectorsPacket(t *testing.T) {
	for _, v := range vectors {
		if !v.extended {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			tr := mustTransform(t, v.suite, fixedKeys{key: unhex(t, v.key)})
			aad, plain := unhex(t, v.aad), unhex(t, v.plain)
			spi, sequence := binary.BigEndian.Uint32(aad), binary.BigEndian.Uint64(aad[4:])
			want := unhex(t, "00004321 00000000"+v.iv+v.sealed)

			got := make([]byte, headroom+len(plain)+icvLength)
			copy(got[headroom:], plain)
			newOutbound(spi, tr).encrypt(got, len(plain), sequence, binary.BigEndian.Uint64(unhex(t, v.iv)))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("encrypt (-want +got):\n%s", diff)
			}
			opened, ok := newInbound(spi, tr, selectors{}).decrypt(want, sequence, make([]byte, len(want)))
			if !ok {
				t.Fatal("decrypt: integrity check failed")
			}
			if diff := cmp.Diff(plain, opened); diff != "" {
				t.Errorf("decrypt (-want +got):\n%s", diff)
			}
		})
	}
}
