package strongswan

import (
	"fmt"

	"tunnelmark/tunnel"
)

// ikeProposal protects the negotiation itself; it is not what is measured.
const ikeProposal = "aes128gcm16-prfsha256-x25519"

// keyExchange gives each rekeying forward secrecy (RFC 7296, Section 1.3.1).
const keyExchange = "x25519"

// transforms are the suites in strongSwan's words.
var transforms = map[tunnel.Suite]string{
	tunnel.AES128GCM:        "aes128gcm16",
	tunnel.AES256GCM:        "aes256gcm16",
	tunnel.ChaCha20Poly1305: "chacha20poly1305",
	tunnel.AES128CBCSHA1:    "aes128-sha1",
	tunnel.AES256CBCSHA1:    "aes256-sha1",
	tunnel.AES128CBCSHA256:  "aes128-sha256",
	tunnel.AES256CBCSHA256:  "aes256-sha256",
	tunnel.AES128CBCSHA512:  "aes128-sha512",
	tunnel.AES256CBCSHA512:  "aes256-sha512",
	tunnel.NullSHA256:       "null-sha256",
}

// espProposal is the one proposal that both ends make, so that nothing else can
// be negotiated.
func espProposal(suite tunnel.Suite, noESN bool) (string, error) {
	transform, ok := transforms[suite]
	if !ok {
		return "", fmt.Errorf("suite %q is none of %q: %w", suite, tunnel.Suites(), tunnel.ErrNotSupported)
	}
	sequence := "esn"
	if noESN {
		sequence = "noesn"
	}
	return transform + "-" + keyExchange + "-" + sequence, nil
}
