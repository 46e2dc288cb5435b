package strongswan

import (
	"fmt"
	"os"
)

// Where swanctl looks for certificates, below its directory.
const (
	certificateFile = "certificate.pem"
	authorityFile   = "authority.pem"

	privateDirectory = "private"
)

// Credentials are files in PEM of a public-key infrastructure that the user has
// already. Both ends must have been given some.
type Credentials struct {
	Certificate string // Path of this end's certificate.
	Key         string // Path of its private key, without a password.
	Authority   string // Path of the CA certificate that the peer's must come from.
}

// read returns the files as charon's directory shall hold them.
func (c *Credentials) read() (map[string][]byte, error) {
	files := make(map[string][]byte)
	if c == nil {
		return files, nil
	}
	for name, path := range map[string]string{
		"x509/" + certificateFile:     c.Certificate,
		privateDirectory + "/key.pem": c.Key,
		"x509ca/" + authorityFile:     c.Authority,
	} {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read credentials: %w", err)
		}
		files[name] = content
	}
	return files, nil
}
