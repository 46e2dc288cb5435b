package tunnel

import "fmt"

// Suite names an ESP cipher suite after its IKE transforms, in lower case.
type Suite string

// The suites: AEADs (RFC 4106, RFC 7634), AES-CBC with an HMAC (RFC 3602 with
// RFC 2404 or RFC 4868), and NULL with an HMAC (RFC 2410).
const (
	AES128GCM        Suite = "aes-128-gcm"
	AES256GCM        Suite = "aes-256-gcm"
	ChaCha20Poly1305 Suite = "chacha20-poly1305"
	AES128CBCSHA1    Suite = "aes-128-cbc-sha1"   // HMAC-SHA1-96.
	AES256CBCSHA1    Suite = "aes-256-cbc-sha1"   // HMAC-SHA1-96.
	AES128CBCSHA256  Suite = "aes-128-cbc-sha256" // HMAC-SHA2-256-128.
	AES256CBCSHA256  Suite = "aes-256-cbc-sha256" // HMAC-SHA2-256-128.
	AES128CBCSHA512  Suite = "aes-128-cbc-sha512" // HMAC-SHA2-512-256.
	AES256CBCSHA512  Suite = "aes-256-cbc-sha512" // HMAC-SHA2-512-256.
	NullSHA256       Suite = "null-sha256"        // HMAC-SHA2-256-128, in clear: for measuring only.
)

// NullNull neither encrypts nor authenticates, which no SA may (RFC 4303, Section
// 3.2): it shows what a tunnel costs without its ciphers, and takes whatever anyone
// forges. Whoever offers it must be told so at both ends.
const NullNull Suite = "null-null"

// Transform is what a suite is made of. All lengths are in bytes.
type Transform struct {
	Key       int // Of the cipher, without its salt; 0 for NULL.
	Salt      int // Part of the nonce that comes with the key; AEADs have one.
	Integrity int // Key of the HMAC; 0 for AEADs.
	IV        int // In each packet, before the ciphertext.
	Align     int // Of the ciphertext: the cipher's block, at least ESP's 4 (RFC 4303, Section 2.4).
	ICV       int // Behind the ciphertext.
}

// KeyMaterial is how many bytes one SA takes from the session's keys: cipher
// key, then salt, then the HMAC's key.
func (t Transform) KeyMaterial() int { return t.Key + t.Salt + t.Integrity }

// IsAEAD says that one algorithm both encrypts and authenticates.
func (t Transform) IsAEAD() bool { return t.Integrity == 0 && t.ICV > 0 }

// suites is the one table of cipher suites. Lengths of AEADs: RFC 4106, Sections
// 3.1, 6 and 8.1; RFC 7634, Section 2. Of CBC: RFC 3602, Section 3. Of HMACs:
// RFC 2404, Section 5; RFC 4868, Section 2.6.
var suites = []struct {
	name Suite
	Transform
}{
	{AES128GCM, Transform{Key: 16, Salt: 4, IV: 8, Align: 4, ICV: 16}},
	{AES256GCM, Transform{Key: 32, Salt: 4, IV: 8, Align: 4, ICV: 16}},
	{ChaCha20Poly1305, Transform{Key: 32, Salt: 4, IV: 8, Align: 4, ICV: 16}},
	{AES128CBCSHA1, Transform{Key: 16, Integrity: 20, IV: 16, Align: 16, ICV: 12}},
	{AES256CBCSHA1, Transform{Key: 32, Integrity: 20, IV: 16, Align: 16, ICV: 12}},
	{AES128CBCSHA256, Transform{Key: 16, Integrity: 32, IV: 16, Align: 16, ICV: 16}},
	{AES256CBCSHA256, Transform{Key: 32, Integrity: 32, IV: 16, Align: 16, ICV: 16}},
	{AES128CBCSHA512, Transform{Key: 16, Integrity: 64, IV: 16, Align: 16, ICV: 32}},
	{AES256CBCSHA512, Transform{Key: 32, Integrity: 64, IV: 16, Align: 16, ICV: 32}},
	{NullSHA256, Transform{Integrity: 32, Align: 4, ICV: 16}},
	{NullNull, Transform{Align: 4}},
}

// Suites lists the suites that protect what they carry, AEADs first. Which of them
// a driver and a machine can do is the driver's to say.
func Suites() []Suite {
	var names []Suite
	for _, s := range suites {
		if s.name.Protects() {
			names = append(names, s.name)
		}
	}
	return names
}

// Protects says that the suite authenticates what it carries, at least.
func (s Suite) Protects() bool { return s != NullNull }

// Transform looks the suite up. One that has no name here is an error that wraps
// ErrNotSupported.
func (s Suite) Transform() (Transform, error) {
	for _, known := range suites {
		if known.name == s {
			return known.Transform, nil
		}
	}
	return Transform{}, fmt.Errorf("suite %q is none of %q: %w", s, Suites(), ErrNotSupported)
}
