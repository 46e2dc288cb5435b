package control

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"

	"tunnelmark/cmd/internal/control/controlv1/controlv1connect"
)

// TestWrongAgent: the client tells nothing to a server that holds another key.
func TestWrongAgent(t *testing.T) {
	a, imposter := newAgent(t, "127.0.0.1:0"), newAgent(t, "127.0.0.1:0")
	c := newController(t)
	token := a.mustIssue(t)
	token.Address = imposter.address
	err := c.pair(t, token)
	if !errors.Is(err, ErrWrongIdentity) || IsGone(err) {
		t.Errorf("got %v, want ErrWrongIdentity", err)
	}
	if text := Explain("a", err).Error(); !strings.Contains(text, "does not hold the key") {
		t.Errorf("explained as %q", text)
	}
	must(t, a.Tokens.Redeem(token.secret[:])) // The secret was not used up.
	a.wantServing(t)
	imposter.wantServing(t)
}

// TestWrongClients are clients that do not get as far as a request.
func TestWrongClients(t *testing.T) {
	a := newAgent(t, "127.0.0.1:0")
	good := newController(t).identity.certificate
	dial := func(config *tls.Config) func(*testing.T) error {
		return func(t *testing.T) error {
			config.InsecureSkipVerify = true
			conn, err := tls.Dial("tcp", a.address, config)
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = conn.Read(make([]byte, 1)) // In TLS 1.3 a refused certificate shows here.
			return err
		}
	}
	stolen := tls.Certificate{Certificate: good.Certificate, PrivateKey: newController(t).identity.private}
	cases := []struct {
		name string
		dial func(*testing.T) error
		want string
	}{
		{"no certificate", dial(&tls.Config{}), "certificate required"},
		{"another kind of key", dial(&tls.Config{Certificates: []tls.Certificate{ecdsaCertificate(t)}}), "bad certificate"},
		{"a chain", dial(&tls.Config{Certificates: []tls.Certificate{{
			Certificate: [][]byte{good.Certificate[0], good.Certificate[0]}, PrivateKey: good.PrivateKey,
		}}}), "bad certificate"},
		{"a certificate without its key", dial(&tls.Config{Certificates: []tls.Certificate{stolen}}), "error decrypting"},
		{"TLS 1.2", dial(&tls.Config{MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{good}}), "protocol version"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := c.dial(t); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	a.wantServing(t)
}

func ecdsaCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestGarbage writes what is no TLS.
func TestGarbage(t *testing.T) {
	a := newAgent(t, "127.0.0.1:0")
	noise := make([]byte, 64<<10)
	_, err := rand.Read(noise)
	must(t, err)
	for name, bytes := range map[string][]byte{
		"plain HTTP":                   []byte("POST " + controlv1connect.AgentPairProcedure + " HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"),
		"noise":                        noise,
		"a TLS record that never ends": {22, 3, 1, 0x40, 0},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", a.address)
			must(t, err)
			defer conn.Close()
			_, err = conn.Write(bytes)
			if name == "a TLS record that never ends" {
				must(t, err)
				return
			}
			answer, _ := io.ReadAll(conn) // The end of it: the agent closed.
			if strings.Contains(string(answer), "200 OK") {
				t.Errorf("answered %q", answer)
			}
		})
	}
	a.wantServing(t)
}
