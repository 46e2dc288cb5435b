package esp

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/tunnel"
)

// vectors are ESP packets that others have published, from SPI to ICV. What is
// inside them is no tunnel's (most have next header 1), so the steps behind
// decryption would refuse it.
var vectors = []struct {
	name     string
	suite    tunnel.Suite
	key      string // Of the cipher, with salt. The HMAC's is zero, and its ICV no vector's.
	extended bool   // Extended sequence numbers.
	high     uint32 // Of the sequence number: the half that is not sent.
	header   string // SPI and the low half.
	iv       string
	plain    string
	sealed   string // With the ICV of AEADs.
}{
	{
		name:  "draft-mcgrew-gcm-test-01, page 6, AES-128-GCM with ESN",
		suite: tunnel.AES128GCM, extended: true, high: 0x87654321,
		key:    "4c80cdefbb5d10da906ac73c3613a634 2e443b68",
		header: "00004321 00000000", iv: "4956ed7e3b244cfe",
		plain: `45000048699a000080114db7c0a80102c0a801010a9bf15638d3010000010000
			00000000045f736970045f756470037369700963796265726369747902646b00
			0021000101020201`,
		sealed: `fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34
			cfa2436f14a3f3cf65925bf1f4a13c5d15b21e1884f5ff6247aeabb786b93bce
			61bc17d768fd9732 459018148f6cbe722fd04796562dfdb4`,
	},
	{
		name:   "draft-mcgrew-gcm-test-01, page 8, AES-256-GCM",
		suite:  tunnel.AES256GCM,
		key:    "abbccddef00112233445566778899aababbccddef00112233445566778899aab 11223344",
		header: "4a2cbfe3 00000002", iv: "0102030405060708",
		plain: `4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee000000000
			7002400020bf0000020405b40101040201020201`,
		sealed: `ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763
			748a637985771d347f0545659f14e99def842d8e b335f4eecfdbf831824b4c4915956c96`,
	},
	{
		name:   "RFC 7634, Appendix A, ChaCha20-Poly1305",
		suite:  tunnel.ChaCha20Poly1305,
		key:    "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f a0a1a2a3",
		header: "01020304 00000005", iv: "1011121314151617",
		plain: `45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10
			0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223
			2425262728292a2b2c2d2e2f303132333435363701020204`,
		sealed: `24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c6
			14ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3
			cbec163fac469b502773f6fb94e664da9165b82829f641e0 76aaa8266b7fb0f7b11b369907e1ad43`,
	},
	{
		name:   "RFC 3602, Section 4, case 5, transport mode",
		suite:  tunnel.AES128CBCSHA1,
		key:    "90d382b410eeba7ad938c46cec1a82bf",
		header: "00004321 00000001", iv: "e96e8c08ab465763fd098d45dd3ff893",
		plain: `08000ebda70a00008e9c083db95b070008090a0b0c0d0e0f1011121314151617
			18191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637
			0102030405060708090a0b0c0d0e0e01`,
		sealed: `f663c25d325c18c6a9453e194e120849a4870b66cc6b9965330013b4898dc856
			a4699e523a55db080b59ec3a8e4b7e52775b07d1db34ed9c538ab50c551b874a
			a269add047ad2d5913ac19b7cfbad4a6`,
	},
	{
		name:   "RFC 3602, Section 4, case 6, transport mode",
		suite:  tunnel.AES128CBCSHA256,
		key:    "90d382b410eeba7ad938c46cec1a82bf",
		header: "00004321 00000008", iv: "69d08df7d203329db093fc4924e5bd80",
		plain:  "0800b5e8a80a0500a69c083d0b660e00777777777777777777777777 01020201",
		sealed: "f51995881ec4e0c4488987ce742e8109689bb379d2d750c0d915dca346a89f75",
	},
	{
		name:   "RFC 3602, Section 4, case 7, tunnel mode",
		suite:  tunnel.AES128CBCSHA256,
		key:    "0123456789abcdef0123456789abcdef",
		header: "00008765 00000002", iv: "f4e765244f6407adf13dc1380f673f37",
		plain: `45000054090400004001f988c0a87b03c0a87bc808009f76a90a0100b49c083d
			02a2040008090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223
			2425262728292a2b2c2d2e2f3031323334353637 0102030405060708090a0a04`,
		sealed: `773b5241a4c449225e4f3ce5ed611b0c237ca96cf74a93013c1b0ea1a0cf70f8
			e4ecaec78ac53aad7a0f022b859243c647752e94a859352b8a4d4d2decd136e5
			c177f132ad3fbfb2201ac9904c74ee0a109e0ca1e4dfe9d5a100b842f1c22f0d`,
	},
	{
		name:   "RFC 3602, Section 4, case 8, tunnel mode",
		suite:  tunnel.AES128CBCSHA512,
		key:    "0123456789abcdef0123456789abcdef",
		header: "00008765 00000005", iv: "85d47224b5f3dd5d2101d4ea8dffab22",
		plain: `45000044090c00004001f990c0a87b03c0a87bc80800d63caa0a0200c69c083d
			a3de0300ffffffffffffffffffffffffffffffffffffffffffffffffffffffff
			ffffffff 0102030405060708090a0a04`,
		sealed: `15b92683819596a8047232cc00f7048fe45318e11f8a0f62ede3c3fc61203bb5
			0f980a08c9843fd3a1b06d5c07ff9639b7eb7dfb3512e5de435e7207ed971ef3
			d2726d9b5ef6affc6d17a0decbb13892`,
	},
	{
		name:   "NIST SP 800-38A, Appendix F.2.5, AES-256-CBC",
		suite:  tunnel.AES256CBCSHA512,
		key:    "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
		header: "00000100 00000001", iv: "000102030405060708090a0b0c0d0e0f",
		plain: `6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51
			30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710`,
		sealed: `f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d
			39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b`,
	},
}

// Whole packets both ways: header, nonce or IV, and the order of ICV and ciphertext.
func TestVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			lengths, err := v.suite.Transform()
			if err != nil {
				t.Fatal(err)
			}
			key := append(unhex(t, v.key), make([]byte, lengths.Integrity)...)
			tr := mustTransform(t, v.suite, fixedKeys{key: key}, v.extended)
			header, plain, want := unhex(t, v.header), unhex(t, v.plain), unhex(t, v.header+v.iv+v.sealed)
			low := binary.BigEndian.Uint32(header[4:])
			sequence := uint64(v.high)<<32 | uint64(low)

			got := packetOf(tr.layout, binary.BigEndian.Uint32(header), low, plain)
			copy(got[headerLength:], unhex(t, v.iv))
			tr.ciphers[0].(interface{ encrypt([]byte, uint64) }).encrypt(got, sequence)
			if diff := cmp.Diff(want, got[:len(want)]); diff != "" {
				t.Errorf("encrypt (-want +got):\n%s", diff)
			}
			opened, ok := tr.ciphers[0].open(got, sequence, make([]byte, len(got)))
			if !ok {
				t.Fatal("open: integrity check failed")
			}
			if diff := cmp.Diff(plain, opened); diff != "" {
				t.Errorf("open (-want +got):\n%s", diff)
			}
		})
	}
}

// The test cases of McGrew and Viega, "The Galois/Counter Mode of Operation
// (GCM)", Appendix B, that have a nonce of 96 bits and a key of 128 or 256.
func TestVectorsGCM(t *testing.T) {
	const (
		key    = "feffe9928665731c6d6a8f9467308308"
		nonce  = "cafebabefacedbaddecaf888"
		plain  = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
		beside = "feedfacedeadbeeffeedfacedeadbeefabaddad2"
	)
	tests := []struct{ name, key, nonce, plain, beside, want string }{
		{"1", "00000000000000000000000000000000", "000000000000000000000000", "", "", "58e2fccefa7e3061367f1d57a4e7455a"},
		{"2", "00000000000000000000000000000000", "000000000000000000000000", "00000000000000000000000000000000", "",
			"0388dace60b6a392f328c2b971b2fe78 ab6e47d42cec13bdf53a67b21257bddf"},
		{"3", key, nonce, plain + "1aafd255", "", `42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e
			21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985 4d5c2af327cd64a62cf35abd2ba6fab4`},
		{"4", key, nonce, plain, beside, `42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e
			21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091 5bc94fbc3221a5db94fae95ae7121a47`},
		{"13", "0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
		{"15", key + key, nonce, plain + "1aafd255", "", `522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa
			8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad b094dac5d93471bdec1a502270e3cc6c`},
		{"16", key + key, nonce, plain, beside, `522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa
			8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662 76fc6ece0f4e1768cddf8853bb2d551b`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			aead, err := newGCM(unhex(t, test.key))
			if err != nil {
				t.Fatal(err)
			}
			got := aead.Seal(nil, unhex(t, test.nonce), unhex(t, test.plain), unhex(t, test.beside))
			if diff := cmp.Diff(unhex(t, test.want), got); diff != "" {
				t.Errorf("sealed (-want +got):\n%s", diff)
			}
		})
	}
}

// ICVs of HMACs, cut as their RFCs say.
func TestVectorsHMAC(t *testing.T) {
	repeat := bytes.Repeat
	counted := make([]byte, 32)
	for i := range counted {
		counted[i] = byte(i + 1)
	}
	jefe, want := []byte("Jefe"), []byte("what do ya want for nothing?")
	tests := []struct {
		name      string
		suite     tunnel.Suite
		key, data []byte
		want      string
	}{
		// RFC 2404, Section 5, refers to RFC 2202, Section 3, cut to 96 bits.
		{"RFC 2202, SHA-1, case 1", tunnel.AES128CBCSHA1, repeat([]byte{0x0b}, 20), []byte("Hi There"), "b617318655057264e28bc0b6"},
		{"RFC 2202, SHA-1, case 3", tunnel.AES256CBCSHA1, repeat([]byte{0xaa}, 20), repeat([]byte{0xdd}, 50), "125d7342b9ac11cd91a39af4"},
		{"RFC 2202, SHA-1, case 5", tunnel.AES256CBCSHA1, repeat([]byte{0x0c}, 20), []byte("Test With Truncation"), "4c1a03424b55e07fe7f27be1"},
		// RFC 4868, Section 2.7.2.
		{"RFC 4868, AUTH256-1", tunnel.NullSHA256, repeat([]byte{0x0b}, 32), []byte("Hi There"), "198a607eb44bfbc69903a0f1cf2bbdc5"},
		{"RFC 4868, AUTH256-2", tunnel.NullSHA256, repeat(jefe, 8), want, "167f928588c5cc2eef8e3093caa0e87c"},
		{"RFC 4868, AUTH256-3", tunnel.AES128CBCSHA256, repeat([]byte{0xaa}, 32), repeat([]byte{0xdd}, 50), "cdcb1220d1ecccea91e53aba3092f962"},
		{"RFC 4868, AUTH256-4", tunnel.AES256CBCSHA256, counted, repeat([]byte{0xcd}, 50), "372efcf9b40b35c2115b1346903d2ef4"},
		{"RFC 4868, AUTH512-1", tunnel.AES128CBCSHA512, repeat([]byte{0x0b}, 64), []byte("Hi There"),
			"637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8"},
		{"RFC 4868, AUTH512-2", tunnel.AES128CBCSHA512, repeat(jefe, 16), want, "cb370917ae8a7ce28cfd1d8f4705d6141c173b2a9362c15df235dfb251b15454"},
		{"RFC 4868, AUTH512-3", tunnel.AES256CBCSHA512, repeat([]byte{0xaa}, 64), repeat([]byte{0xdd}, 50),
			"2ee7acd783624ca9398710f3ee05ae41b9f9b0510c87e49e586cc9bf961733d8"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			lengths, err := test.suite.Transform()
			if err != nil {
				t.Fatal(err)
			}
			key := append(make([]byte, lengths.Key), test.key...)
			s := mustTransform(t, test.suite, fixedKeys{key: key}, false).ciphers[0].(*separate)
			for range 2 { // The second time from the state that the HMAC has kept.
				if diff := cmp.Diff(unhex(t, test.want), s.authenticate(test.data, 0)); diff != "" {
					t.Errorf("ICV (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// With extended sequence numbers an HMAC goes over the high half as well, behind
// all that is sent (RFC 4303, Section 2.2.1).
func TestHighHalfIsAuthenticated(t *testing.T) {
	sa := func(extended bool) *separate {
		return mustTransform(t, tunnel.NullSHA256, fixedKeys{}, extended).ciphers[0].(*separate)
	}
	packet := ipv4(40)
	want := sa(false).authenticate(append(bytes.Clone(packet), 0x01, 0x02, 0x03, 0x04), 0)
	if diff := cmp.Diff(want, sa(true).authenticate(packet, 0x01020304_05060708)); diff != "" {
		t.Errorf("ICV (-want +got):\n%s", diff)
	}
}
