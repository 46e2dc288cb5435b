package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// Standing is what a pinned fingerprint may do.
type Standing string

// An agent pins controllers and peers, a controller pins agents.
const (
	Controller Standing = "controller" // May give this agent orders.
	Peer       Standing = "peer"       // May share sessions with this agent.
	Agent      Standing = "agent"      // Takes orders from this controller.
)

// ErrNotTrusted says that a fingerprint, or a name, is not pinned.
var ErrNotTrusted = errors.New("not trusted")

// Pin is one fingerprint that is trusted.
type Pin struct {
	Standing    Standing    `json:"standing"`
	Name        string      `json:"name"` // Unique in its standing.
	Fingerprint Fingerprint `json:"fingerprint"`
	Address     string      `json:"address,omitempty"` // Of an agent's control: host:port or unix:/path.
	Added       time.Time   `json:"added"`
}

const (
	trustFile    = "trust.json"
	trustVersion = 1
	maxPins      = 1024
	maxTrustFile = 1 << 20 // Bytes.
)

// Trust is the list of pins, kept in a file of the state directory. Changes by
// another process are seen at once. Its methods may be called from several
// goroutines at once.
type Trust struct {
	path string

	mu   sync.Mutex // Guards raw and pins.
	raw  []byte     // Of the file when pins was read from it.
	pins []Pin
}

// OpenTrust reads the pins in the state directory, where there are any.
func OpenTrust(dir string) (*Trust, error) {
	if err := makeStateDir(dir); err != nil {
		return nil, err
	}
	t := &Trust{path: filepath.Join(dir, trustFile)}
	_, err := t.List()
	return t, err
}

// List returns all pins, in the order in which they were added.
func (t *Trust) List() ([]Pin, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.reloadLocked(); err != nil {
		return nil, err
	}
	return slices.Clone(t.pins), nil
}

// Find returns the pin of a fingerprint in one standing, or wraps ErrNotTrusted.
func (t *Trust) Find(standing Standing, fingerprint Fingerprint) (Pin, error) {
	return t.find(func(p Pin) bool { return p.Standing == standing && p.Fingerprint == fingerprint },
		fmt.Sprintf("%s %s", standing, fingerprint))
}

// Named returns the pin of a name in one standing, or wraps ErrNotTrusted.
func (t *Trust) Named(standing Standing, name string) (Pin, error) {
	return t.find(func(p Pin) bool { return p.Standing == standing && p.Name == name },
		fmt.Sprintf("%s %q", standing, name))
}

func (t *Trust) find(match func(Pin) bool, subject string) (Pin, error) {
	pins, err := t.List()
	if err != nil {
		return Pin{}, err
	}
	at := slices.IndexFunc(pins, match)
	if at < 0 {
		return Pin{}, fmt.Errorf("find %s: %w", subject, ErrNotTrusted)
	}
	return pins[at], nil
}

// Add pins all of the given or none. A pin of the same standing and fingerprint
// is replaced; a name that another fingerprint has is refused, since a name must
// not change hands unseen.
func (t *Trust) Add(pins ...Pin) error {
	return t.add(pins, func(pin Pin) (Pin, error) {
		return pin, fmt.Errorf("pin %s %q: the name belongs to another fingerprint; remove that first", pin.Standing, pin.Name)
	})
}

// Introduce is Add, but where another fingerprint has the name, the new pin's
// name gets the beginning of its fingerprint: a token that was redeemed is gone
// and should not be for nothing.
func (t *Trust) Introduce(pins ...Pin) error {
	return t.add(pins, func(pin Pin) (Pin, error) {
		suffix := "-" + pin.Fingerprint.Short()
		room := maxNameLength - len(suffix)
		pin.Name = strings.ToValidUTF8(pin.Name[:min(len(pin.Name), room)], "") + suffix
		return pin, nil
	})
}

func (t *Trust) add(pins []Pin, taken func(Pin) (Pin, error)) error {
	return t.change(func(now []Pin) ([]Pin, error) {
		var err error
		for _, pin := range pins {
			if now, err = addOne(now, pin, taken); err != nil {
				return nil, err
			}
		}
		return now, nil
	})
}

func addOne(now []Pin, pin Pin, taken func(Pin) (Pin, error)) ([]Pin, error) {
	if err := pin.check(); err != nil {
		return nil, err
	}
	now = slices.DeleteFunc(now, func(p Pin) bool {
		return p.Standing == pin.Standing && p.Fingerprint == pin.Fingerprint
	})
	if named(now, pin) {
		var err error
		if pin, err = taken(pin); err != nil {
			return nil, err
		}
		if named(now, pin) {
			return nil, fmt.Errorf("pin %s %q: the name belongs to another fingerprint", pin.Standing, pin.Name)
		}
	}
	pin.Added = pin.Added.UTC().Truncate(time.Second)
	return append(now, pin), nil
}

// named says whether one of the pins has the standing and the name of pin.
func named(pins []Pin, pin Pin) bool {
	return slices.ContainsFunc(pins, func(p Pin) bool { return p.Standing == pin.Standing && p.Name == pin.Name })
}

// Remove takes back the pin of a name in one standing, or wraps ErrNotTrusted.
func (t *Trust) Remove(standing Standing, name string) error {
	return t.change(func(now []Pin) ([]Pin, error) {
		left := slices.DeleteFunc(slices.Clone(now), func(p Pin) bool { return p.Standing == standing && p.Name == name })
		if len(left) == len(now) {
			return nil, fmt.Errorf("remove %s %q: %w", standing, name, ErrNotTrusted)
		}
		return left, nil
	})
}

// change edits the list under a lock that other processes respect.
func (t *Trust) change(edit func([]Pin) ([]Pin, error)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	lock, err := lockFile(t.path + ".lock")
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := t.reloadLocked(); err != nil {
		return err
	}
	pins, err := edit(slices.Clone(t.pins))
	if err != nil {
		return err
	}
	if len(pins) > maxPins {
		return fmt.Errorf("write trust: %d pins, at most %d are allowed", len(pins), maxPins)
	}
	return t.writeLocked(pins)
}

// trustDocument is the file.
type trustDocument struct {
	Version int   `json:"version"`
	Pins    []Pin `json:"pins"`
}

func (t *Trust) writeLocked(pins []Pin) error {
	text, err := json.MarshalIndent(trustDocument{trustVersion, pins}, "", "  ")
	if err != nil {
		return fmt.Errorf("write trust: %w", err)
	}
	if err := replaceFile(t.path, append(text, '\n')); err != nil {
		return fmt.Errorf("write trust: %w", err)
	}
	return nil // The next reader reads the file.
}

// reloadLocked reads the file each time, since a removed pin must stop working
// at once, and parses it only where it has changed: time stamps are too coarse
// to tell.
func (t *Trust) reloadLocked() error {
	raw, err := readPrivateFile(t.path, maxTrustFile)
	if errors.Is(err, os.ErrNotExist) {
		t.raw, t.pins = nil, nil
		return nil
	}
	if err != nil {
		return fmt.Errorf("read trust: %w", err)
	}
	if t.raw != nil && bytes.Equal(raw, t.raw) {
		return nil
	}
	pins, err := parseTrust(raw)
	if err != nil {
		return fmt.Errorf("read trust: %s: %w", t.path, err)
	}
	t.raw, t.pins = raw, pins
	return nil
}

func parseTrust(raw []byte) ([]Pin, error) {
	var document trustDocument
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&document); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON object")
	}
	if document.Version != trustVersion {
		return nil, fmt.Errorf("version %d, this program reads %d", document.Version, trustVersion)
	}
	if len(document.Pins) > maxPins {
		return nil, fmt.Errorf("%d pins, at most %d are allowed", len(document.Pins), maxPins)
	}
	for _, pin := range document.Pins {
		if err := pin.check(); err != nil {
			return nil, err
		}
	}
	return document.Pins, nil
}

func (p Pin) check() error {
	switch p.Standing {
	case Controller, Peer, Agent:
	default:
		return fmt.Errorf("pin %q: standing %q, allowed are controller, peer and agent", p.Name, p.Standing)
	}
	if err := checkName(p.Name); err != nil {
		return fmt.Errorf("pin %s: %w", p.Standing, err)
	}
	if p.Fingerprint.IsZero() {
		return fmt.Errorf("pin %s %q: no fingerprint", p.Standing, p.Name)
	}
	if len(p.Address) > maxAddressBytes {
		return fmt.Errorf("pin %s %q: address of %d bytes, at most %d are allowed", p.Standing, p.Name, len(p.Address), maxAddressBytes)
	}
	return nil
}

// checkName allows what can be shown on a terminal and typed again.
func checkName(name string) error {
	if name == "" || len(name) > maxNameLength || !utf8.ValidString(name) {
		return fmt.Errorf("name of %d bytes, 1 to %d bytes of UTF-8 are allowed", len(name), maxNameLength)
	}
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }) {
		return fmt.Errorf("name %q has spaces or control characters", name)
	}
	return nil
}
