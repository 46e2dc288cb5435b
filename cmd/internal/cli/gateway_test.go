package cli

import (
	"strings"
	"testing"
)

func TestGatewayCounter(t *testing.T) {
	for line, want := range map[string]string{ // The error, "" for none.
		"echo 42":                         "",
		"printf '\\n 42\\n'":              "",
		"echo 18446744073709551615":       "",
		"echo":                            `it printed "", want one whole number`,
		"echo -1":                         `it printed "-1"`,
		"echo packets: 42; echo more":     `it printed "packets: 42"`,
		"yes 4 | head -c 100000":          "want one whole number",
		"echo who are you >&2; exit 255":  `exit status 255: who are you`,
		"echo 18446744073709551616":       "want one whole number",
		"/no/such/program 2>&1; exit 127": "exit status 127",
	} {
		_, err := gatewayCounter(line)(t.Context())
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", line, err, want)
		}
	}
	if gatewayCounter("") != nil {
		t.Error("no command counts")
	}
}
