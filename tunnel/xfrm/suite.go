package xfrm

import (
	"fmt"

	"tunnelmark/tunnel"
)

// algorithms is a suite as the kernel names it, in the notation of
// /proc/crypto. AEADs have cipher and no integrity.
type algorithms struct {
	suite     tunnel.Suite
	cipher    string
	integrity string
	options   string // Of the kernel's configuration that bring them.
}

const (
	gcm = "CONFIG_CRYPTO_GCM, CONFIG_CRYPTO_SEQIV"
	cbc = "CONFIG_CRYPTO_CBC, CONFIG_CRYPTO_AUTHENC, CONFIG_CRYPTO_ECHAINIV, CONFIG_CRYPTO_"
)

// suites maps the one table of cipher suites to the kernel's (aead_list, aalg_list
// and ealg_list of net/xfrm/xfrm_algo.c).
var suites = []algorithms{
	{tunnel.AES128GCM, "rfc4106(gcm(aes))", "", gcm},
	{tunnel.AES256GCM, "rfc4106(gcm(aes))", "", gcm},
	{tunnel.ChaCha20Poly1305, "rfc7539esp(chacha20,poly1305)", "", "CONFIG_CRYPTO_CHACHA20POLY1305"},
	{tunnel.AES128CBCSHA1, "cbc(aes)", "hmac(sha1)", cbc + "SHA1"},
	{tunnel.AES256CBCSHA1, "cbc(aes)", "hmac(sha1)", cbc + "SHA1"},
	{tunnel.AES128CBCSHA256, "cbc(aes)", "hmac(sha256)", cbc + "SHA256"},
	{tunnel.AES256CBCSHA256, "cbc(aes)", "hmac(sha256)", cbc + "SHA256"},
	{tunnel.AES128CBCSHA512, "cbc(aes)", "hmac(sha512)", cbc + "SHA512"},
	{tunnel.AES256CBCSHA512, "cbc(aes)", "hmac(sha512)", cbc + "SHA512"},
	{tunnel.NullSHA256, "ecb(cipher_null)", "hmac(sha256)", "CONFIG_CRYPTO_NULL, CONFIG_CRYPTO_AUTHENC, CONFIG_CRYPTO_SHA256"},
}

func findSuite(name tunnel.Suite) (algorithms, error) {
	known := make([]tunnel.Suite, 0, len(suites))
	for _, s := range suites {
		if s.suite == name {
			return s, nil
		}
		known = append(known, s.suite)
	}
	return algorithms{}, fmt.Errorf("suite %q is none of %q: %w", name, known, tunnel.ErrNotSupported)
}

// names are those that /proc/crypto lists.
func (a algorithms) names() []string {
	if a.integrity == "" {
		return []string{a.cipher}
	}
	return []string{a.cipher, a.integrity}
}

// firstGeneration is the only one: the kernel's SAs end with the session.
const firstGeneration = 0

// material takes one direction's key material from the session. The caller
// clears it.
func (a algorithms) material(keys tunnel.Keys, direction tunnel.Direction) ([]byte, error) {
	lengths, err := a.suite.Transform()
	if err != nil {
		return nil, err
	}
	material, err := keys.Key(direction, firstGeneration, lengths.KeyMaterial())
	if err != nil {
		return nil, fmt.Errorf("take key of suite %q: %w", a.suite, err)
	}
	if len(material) != lengths.KeyMaterial() {
		clear(material)
		return nil, fmt.Errorf("take key of suite %q: got %d bytes, want %d", a.suite, len(material), lengths.KeyMaterial())
	}
	return material, nil
}
