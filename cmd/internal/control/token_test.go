package control

import (
	"strings"
	"testing"
	"time"
)

var tokenExpiry = time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC)

func mustToken(t testing.TB, address string) Token {
	t.Helper()
	token, err := newToken(address, Fingerprint{1, 2, 3}, tokenExpiry)
	must(t, err)
	return token
}

func TestTokenRoundTrip(t *testing.T) {
	for _, address := range []string{"192.0.2.1:7000", "[2001:db8::1]:7000", "a.example:7000", "unix:/run/tunnelmark.sock"} {
		t.Run(address, func(t *testing.T) {
			want := mustToken(t, address)
			got, err := ParseToken("  " + want.Text() + "\n")
			must(t, err)
			if !got.Expires.Equal(want.Expires) || got.secret != want.secret || got.Fingerprint != want.Fingerprint || got.Address != address {
				t.Errorf("the token has changed: address %s, expires %v", got.Address, got.Expires)
			}
		})
	}
}

func TestTokenText(t *testing.T) {
	token := Token{Address: "192.0.2.1:7000", Fingerprint: Fingerprint{1}, Expires: tokenExpiry, secret: [secretSize]byte{2}}
	const want = "tm1_AAAAAGsEKsABAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAMTkyLjAuMi4xOjcwMDB15J8O"
	if got := token.Text(); got != want {
		t.Errorf("text is %s, want %s", got, want)
	}
}

func TestParseTokenRefuses(t *testing.T) {
	good := mustToken(t, "192.0.2.1:7000").Text()
	cases := []struct{ name, text, want string }{
		{"empty", "", `does not begin with "tm1_"`},
		{"another version", "tm2_" + good[4:], `does not begin with "tm1_"`},
		{"cut short", good[:len(good)-8], "copied whole"},
		{"cut very short", good[:20], "wrong length"},
		{"a character changed", good[:30] + flip(good[30]) + good[31:], "check sum"},
		{"a line break inside", good[:30] + "\n" + good[30:], "missing or wrong"},
		{"no base64", good[:30] + "!" + good[31:], "missing or wrong"},
		{"far too long", good + strings.Repeat("A", 2000), "at most 1024"},
		{"no port", Token{Address: "192.0.2.1", Expires: tokenExpiry}.Text(), "host:port"},
		{"relative path", Token{Address: "unix:x", Expires: tokenExpiry}.Text(), "absolute path"},
		{"terminal escape in the address", Token{Address: "\x1b[2J:7000", Expires: tokenExpiry}.Text(), "control characters"},
		{"an expiry before 1970", Token{Address: "192.0.2.1:7000"}.Text(), "expiry is out of range"},
		{"no address", Token{Expires: tokenExpiry}.Text(), "address of 0 bytes"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseToken(c.text)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want an error with %q", err, c.want)
			}
			if len(c.text) > 20 && strings.Contains(err.Error(), c.text[4:20]) {
				t.Errorf("the error repeats the token: %v", err)
			}
		})
	}
}

func flip(c byte) string {
	if c == 'A' {
		return "B"
	}
	return "A"
}

func FuzzParseToken(f *testing.F) {
	f.Add(mustToken(f, "192.0.2.1:7000").Text())
	f.Add(mustToken(f, "unix:/a").Text())
	f.Add("tm1_")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := ParseToken(text)
		if err != nil {
			return
		}
		if got, want := token.Text(), strings.TrimSpace(text); got != want {
			t.Errorf("%q reads as a token of text %q", want, got)
		}
	})
}
