package esp

import (
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"

	"tunnelmark/tunnel"
)

// Generations of key material that the session gives: the first SA's own, and the
// secret behind all later ones.
const (
	firstGeneration = iota
	laterGenerations
)

// series makes the SAs of one direction, one generation after the other. The session
// forgets its secrets once the tunnel is open, so the series keeps a secret of its
// own, of which each generation makes the next one and leaves nothing (as RFC 8446,
// Section 7.2, does): whoever reads it can derive no key of a generation that
// was dropped.
type series struct {
	suite    suite
	extended bool
	ciphers  int    // How many goroutines use an SA at a time.
	spi      uint32 // Of the SA that is made next.
	take     func(size int) ([]byte, error)
	secret   []byte // nil where the suite has no keys.
}

func newSeries(s suite, keys tunnel.Keys, direction tunnel.Direction, spi uint32, extended bool, ciphers int) (*series, error) {
	made := &series{suite: s, extended: extended, ciphers: ciphers, spi: spi, take: sessionKey(keys, direction)}
	lengths, err := s.name.Transform()
	if err != nil || lengths.KeyMaterial() == 0 {
		return made, err
	}
	made.secret, err = keys.Key(direction, laterGenerations, sha256.Size)
	if err == nil && len(made.secret) != sha256.Size {
		err = fmt.Errorf("got %d bytes, want %d", len(made.secret), sha256.Size)
	}
	if err != nil {
		return nil, fmt.Errorf("take secret of later keys: %w", err)
	}
	return made, nil
}

// sessionKey takes the first generation's key material from the session.
func sessionKey(keys tunnel.Keys, direction tunnel.Direction) func(size int) ([]byte, error) {
	return func(size int) ([]byte, error) { return keys.Key(direction, firstGeneration, size) }
}

// next makes the next SA's transform and says which SPI it has.
func (s *series) next() (transform, uint32, error) {
	t, err := s.suite.transform(s.take, s.extended, s.ciphers)
	if err != nil {
		return transform{}, 0, err
	}
	spi := s.spi
	s.spi, s.take = nextSPI(spi), s.derive
	return t, spi, nil
}

// nextSPI counts in the lowest byte and goes around in it. So the SPIs of one series
// have the rest in common, by which filters and people know them, and none is ever a
// reserved one, which is below 256 (RFC 4303, Section 2.1).
func nextSPI(spi uint32) uint32 { return spi&seriesMask | (spi+1)&^seriesMask }

// seriesMask is what the SPIs of one series have in common.
const seriesMask = ^uint32(0xff)

// derive makes a later generation's key material, and the secret that is behind the
// ones after it (HKDF-Expand: RFC 5869, Section 2.3).
func (s *series) derive(size int) ([]byte, error) {
	material, err := hkdf.Expand(sha256.New, s.secret, "tunnelmark esp key material", size)
	if err != nil {
		return nil, err
	}
	secret, err := hkdf.Expand(sha256.New, s.secret, "tunnelmark esp later generations", sha256.Size)
	if err != nil {
		return nil, err
	}
	clear(s.secret)
	s.secret = secret
	return material, nil
}
