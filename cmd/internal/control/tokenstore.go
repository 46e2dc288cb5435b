package control

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ErrTokenRefused says that a token is wrong, expired, used before, or another
// agent's. It does not say which.
var ErrTokenRefused = errors.New("the pairing token is not valid")

const (
	tokenDir      = "tokens"
	tokenSuffix   = ".json"
	maxTokens     = 64 // Outstanding at one time.
	maxTokenFile  = 1 << 10
	maxTokenLife  = 7 * 24 * time.Hour
	maxTokenFiles = 4 * maxTokens // Looked at in one go.
	minTokenLife  = time.Second
)

// TokenStore keeps the outstanding tokens of an agent, one file each, in its
// state directory. A file holds the secret's hash only. Several processes may
// use it at once: `tunnelmark-agent token` issues while the agent redeems.
type TokenStore struct {
	dir         string
	fingerprint Fingerprint
}

// OpenTokens opens the store of the agent that has the identity.
func OpenTokens(stateDir string, identity *Identity) (*TokenStore, error) {
	if err := makeStateDir(stateDir); err != nil {
		return nil, err
	}
	dir := filepath.Join(stateDir, tokenDir)
	if err := makeStateDir(dir); err != nil {
		return nil, err
	}
	return &TokenStore{dir: dir, fingerprint: identity.Fingerprint()}, nil
}

// storedToken is the file.
type storedToken struct {
	Hash    []byte    `json:"hash"`
	Expires time.Time `json:"expires"`

	path string
}

// Issue makes a token by which a controller finds the agent at the address. It
// can be redeemed once, until ttl has passed.
func (s *TokenStore) Issue(address string, ttl time.Duration) (Token, error) {
	if ttl < minTokenLife || ttl > maxTokenLife {
		return Token{}, fmt.Errorf("issue token: valid for %v, allowed are %v to %v", ttl, minTokenLife, maxTokenLife)
	}
	outstanding, err := s.sweep(time.Now())
	if err != nil {
		return Token{}, fmt.Errorf("issue token: %w", err)
	}
	if len(outstanding) >= maxTokens {
		return Token{}, fmt.Errorf("issue token: %d are outstanding, at most %d are allowed", len(outstanding), maxTokens)
	}
	token, err := newToken(address, s.fingerprint, time.Now().Add(ttl))
	if err != nil {
		return Token{}, fmt.Errorf("issue token: %w", err)
	}
	return token, s.write(token)
}

func (s *TokenStore) write(token Token) error {
	text, err := json.Marshal(storedToken{Hash: hashSecret(token.secret[:]), Expires: token.Expires})
	if err == nil {
		err = createFile(filepath.Join(s.dir, rand.Text()+tokenSuffix), text)
	}
	if err != nil {
		return fmt.Errorf("issue token: %w", err)
	}
	return nil
}

// Redeem uses up the token of the secret. Of several callers, in this process or
// others, one succeeds: the one whose remove the kernel carries out. All others
// get ErrTokenRefused, whatever the reason.
func (s *TokenStore) Redeem(secret []byte) error {
	outstanding, err := s.sweep(time.Now())
	if err != nil {
		return fmt.Errorf("redeem token: %w", err)
	}
	err = ErrTokenRefused
	for _, stored := range outstanding { // All of them: the time tells nothing.
		if proves(secret, stored.Hash) && os.Remove(stored.path) == nil {
			err = s.sync()
		}
	}
	return err
}

// sync makes a removal outlive a loss of power, after which the token would be
// valid again.
func (s *TokenStore) sync() error {
	dir, err := os.Open(s.dir)
	if err != nil {
		return fmt.Errorf("redeem token: %w", err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("redeem token: %w", err)
	}
	return nil
}

// sweep removes what has expired and returns the rest. A file that is no token
// is left alone; it redeems nothing.
func (s *TokenStore) sweep(now time.Time) ([]storedToken, error) {
	dir, err := os.Open(s.dir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(maxTokenFiles)
	if len(names) == 0 {
		return nil, nil // Readdirnames returns io.EOF for an empty directory.
	}
	if err != nil {
		return nil, err
	}
	var outstanding []storedToken
	for _, name := range names {
		stored, err := s.read(name)
		switch {
		case err != nil:
		case !now.Before(stored.Expires):
			_ = os.Remove(stored.path) // Where it fails, the next sweep tries again; expired it is.
		default:
			outstanding = append(outstanding, stored)
		}
	}
	return outstanding, nil
}

func (s *TokenStore) read(name string) (storedToken, error) {
	stored := storedToken{path: filepath.Join(s.dir, name)}
	if strings.HasPrefix(name, ".") || !strings.HasSuffix(name, tokenSuffix) {
		return stored, fmt.Errorf("%s is no token", stored.path)
	}
	text, err := readPrivateFile(stored.path, maxTokenFile)
	if err != nil {
		return stored, err
	}
	return stored, json.Unmarshal(text, &stored)
}
