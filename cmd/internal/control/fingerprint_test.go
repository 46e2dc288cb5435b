package control

import (
	"crypto/ed25519"
	"encoding/hex"
	"strings"
	"testing"
)

// RFC 8032, Section 7.1, TEST 1: a public key that does not change.
const (
	rfc8032Public  = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
	fingerprintRFC = "a3r73d62-fg5wbk2z-kv66mhw3-blwnwiyr-gs7dbz23-ivpy4g3z-f6uyi5gv"
)

func TestFingerprintText(t *testing.T) {
	public, err := hex.DecodeString(rfc8032Public)
	must(t, err)
	f, err := fingerprintOf(ed25519.PublicKey(public))
	must(t, err)
	// As openssl pkey -pubin -outform DER and sha256sum give it.
	if got, want := hex.EncodeToString(f[:]), "06e3fd8fda29bb60ab59557de61edb0aecdb231134be30e75b455f8e1b792fa9"; got != want {
		t.Errorf("fingerprint is %s, want %s", got, want)
	}
	if got := f.String(); got != fingerprintRFC {
		t.Errorf("text is %s, want %s", got, fingerprintRFC)
	}
	if got, want := f.Short(), fingerprintRFC[:8]; got != want {
		t.Errorf("short is %s, want %s", got, want)
	}
}

func TestParseFingerprint(t *testing.T) {
	cases := []struct {
		name, text, wantError string
	}{
		{"as printed", fingerprintRFC, ""},
		{"upper case", strings.ToUpper(fingerprintRFC), ""},
		{"spaces for hyphens", strings.ReplaceAll(fingerprintRFC, "-", " "), ""},
		{"no hyphens", strings.ReplaceAll(fingerprintRFC, "-", ""), ""},
		{"empty", "", "0 letters"},
		{"a group short", fingerprintRFC[9:], "48 letters"},
		{"a digit that base32 has not", "0" + fingerprintRFC[1:], "a to z and 2 to 7"},
		{"groups exchanged", fingerprintRFC[9:17] + "-" + fingerprintRFC[:8] + fingerprintRFC[17:], "check sum"},
		{"too long", strings.Repeat("-", 1000) + fingerprintRFC, "1062 characters"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f, err := ParseFingerprint(c.text)
			if c.wantError != "" {
				if err == nil || !strings.Contains(err.Error(), c.wantError) {
					t.Fatalf("got %v, want an error with %q", err, c.wantError)
				}
				return
			}
			if err != nil || f.String() != fingerprintRFC {
				t.Errorf("got %s, %v", f, err)
			}
		})
	}
}

func TestParseFingerprintFindsEveryWrongCharacter(t *testing.T) {
	for at := range fingerprintRFC {
		for _, other := range "abcdefghijklmnopqrstuvwxyz234567" {
			text := fingerprintRFC[:at] + string(other) + fingerprintRFC[at+1:]
			if _, err := ParseFingerprint(text); err == nil && text != fingerprintRFC {
				t.Errorf("%s was taken for %s", text, fingerprintRFC)
			}
		}
	}
}

func FuzzParseFingerprint(f *testing.F) {
	f.Add(fingerprintRFC)
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := ParseFingerprint(text)
		if err != nil {
			return
		}
		again, err := ParseFingerprint(parsed.String())
		if err != nil || again != parsed {
			t.Errorf("%q reads as %s, which reads as %s, %v", text, parsed, again, err)
		}
	})
}
