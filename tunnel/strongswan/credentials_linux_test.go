package strongswan_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/strongswan"
	"tunnelmark/tunnel/tunneltest"
)

// authority signs certificates of the ends.
type authority struct {
	t           *testing.T
	directory   string
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, directory: t.TempDir(), key: newKey(t)}
	a.certificate = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.sign("authority", a.certificate, a.key)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// credentials are those of a new end.
func (a *authority) credentials(name string, serial int64) *strongswan.Credentials {
	key := newKey(a.t)
	path := a.sign(name, &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return &strongswan.Credentials{
		Certificate: path,
		Key:         a.write(name+".key", "PRIVATE KEY", der),
		Authority:   filepath.Join(a.directory, "authority.pem"),
	}
}

func (a *authority) sign(name string, certificate *x509.Certificate, key *ecdsa.PrivateKey) string {
	der, err := x509.CreateCertificate(rand.Reader, certificate, a.certificate, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(name+".pem", "CERTIFICATE", der)
}

func (a *authority) write(name, kind string, der []byte) string {
	path := filepath.Join(a.directory, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

func TestCertificatesUserSpace(t *testing.T) {
	link := newLink(t)
	ca := newAuthority(t)
	leftSpec, rightSpec := link.Specs(userSpaceSpec(tunnel.AES256GCM), false)
	right := open(t, strongswan.Driver{UserSpace: true, Credentials: ca.credentials("right", 2)}, link.Right, rightSpec, "of no use")
	left := open(t, strongswan.Driver{UserSpace: true, Credentials: ca.credentials("left", 3)}, link.Left, leftSpec, "other")
	for _, half := range []tunnel.Tunnel{left, right} {
		if err := half.(tunnel.Awaiter).Await(soon(t)); err != nil {
			t.Fatal(err)
		}
	}
	near := tunneltest.Dial(t, left.Path().Namespace, left.Path().Local, left.Path().Remote)
	far := tunneltest.Dial(t, right.Path().Namespace, right.Path().Local, right.Path().Remote)
	if _, err := echo(near, far, times(3)); err != nil {
		t.Error(err)
	}
}

// Credentials that cannot be read are named before anything is touched.
func TestCertificatesMissing(t *testing.T) {
	link := newLink(t)
	spec, _ := link.Specs(userSpaceSpec(tunnel.AES128GCM), false)
	driver := strongswan.Driver{UserSpace: true, Credentials: &strongswan.Credentials{Certificate: "/nonexistent", Key: "/nonexistent", Authority: "/nonexistent"}}
	keys, _ := tunneltest.Keys("of no use")
	half, err := driver.Open(soon(t), spec, keys, tunnel.Place{Outer: link.Left.Outer, Inner: link.Left.Inner, Socket: listen(t, link.Left.Outer, spec.Local.Outer)})
	if err == nil || !strings.Contains(err.Error(), "/nonexistent") {
		t.Errorf("got %v, %v; want an error that names the file", half, err)
	}
}
