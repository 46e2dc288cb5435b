package control

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// ErrWrongIdentity says that whoever answered at an agent's address does not
// hold the key that was pinned for that agent.
var ErrWrongIdentity = errors.New("the other end is not the agent that was paired")

// serverTLS asks every client for a certificate. TLS proves that the client
// holds its key (RFC 8446, Section 4.4.3); whether that key is pinned decides
// the gate, for each request, so that a removed pin stops working at once.
func serverTLS(identity *Identity) *tls.Config {
	config := baseTLS(identity)
	config.NextProtos = []string{"h2", "http/1.1"}
	config.ClientAuth = tls.RequireAnyClientCert
	config.VerifyConnection = func(state tls.ConnectionState) error {
		_, err := peerFingerprint(state.PeerCertificates)
		return err
	}
	return config
}

// clientTLS accepts one agent: the holder of the pinned key. Names and
// authorities prove nothing here, hence InsecureSkipVerify and the pin instead.
func clientTLS(identity *Identity, pin Fingerprint) *tls.Config {
	config := baseTLS(identity)
	config.NextProtos = []string{"h2"}
	config.ServerName = "tunnelmark-agent" // The same for all: it would go out in clear.
	config.InsecureSkipVerify = true
	config.VerifyConnection = func(state tls.ConnectionState) error {
		fingerprint, err := peerFingerprint(state.PeerCertificates)
		if err != nil {
			return err
		}
		if fingerprint != pin {
			return fmt.Errorf("%w: it is %s, pinned is %s", ErrWrongIdentity, fingerprint.Short(), pin.Short())
		}
		return nil
	}
	return config
}

func baseTLS(identity *Identity) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{identity.certificate},
		SessionTicketsDisabled: true, // Each connection proves possession anew.
	}
}

// peerFingerprint takes the fingerprint of the other end's certificate, whose
// key must be Ed25519. No other field of the certificate is looked at.
func peerFingerprint(chain []*x509.Certificate) (Fingerprint, error) {
	if len(chain) != 1 {
		return Fingerprint{}, fmt.Errorf("check certificate: %d certificates, want 1", len(chain))
	}
	if _, ok := chain[0].PublicKey.(ed25519.PublicKey); !ok {
		return Fingerprint{}, fmt.Errorf("check certificate: %s key, want Ed25519", chain[0].PublicKeyAlgorithm)
	}
	return sha256.Sum256(chain[0].RawSubjectPublicKeyInfo), nil
}
