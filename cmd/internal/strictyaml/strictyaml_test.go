package strictyaml

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// settings has a key of each kind.
type settings struct {
	Name, About, Kind string
	Count, Size       int
	Rate, Share       float64
	For               time.Duration
	Words             []string
}

func (s *settings) keys() Keys {
	return Keys{
		"name":  Name(&s.Name),
		"about": Text(&s.About),
		"kind":  OneOf(&s.Kind, "one", "other"),
		"count": Int(&s.Count, 1, 9),
		"inner": Keys{
			"size":  Bytes(&s.Size),
			"rate":  BitRate(&s.Rate),
			"share": Ratio(&s.Share),
			"for":   Duration(&s.For),
		}.Read,
		"words": List(2, Append(&s.Words)),
		"later": NotYet("what comes later"),
	}
}

func TestParse(t *testing.T) {
	const text = `name: dc-a
about: "the first"
kind: other
count: 3
inner: {size: 64KiB, rate: 1.2G, share: 5%, for: 5ms}
words: [x, y]
later: {}
`
	var got settings
	if err := Parse("test.yaml", []byte(text), got.keys().Read); err != nil {
		t.Fatal(err)
	}
	want := settings{
		Name: "dc-a", About: "the first", Kind: "other", Count: 3,
		Size: 65536, Rate: 1.2e9, Share: 0.05, For: 5 * time.Millisecond, Words: []string{"x", "y"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Parse (-want +got):\n%s", diff)
	}
}

// What is not understood is refused, at its line, and never skipped.
func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "test.yaml: the file is empty",
		"# nothing":                     "test.yaml: the file is empty",
		"a: [":                          "test.yaml: line 1",
		"- a":                           "test.yaml:1: want a mapping with the keys about, count, ",
		"\nnam: x":                      `test.yaml:2: unknown key "nam"; allowed: about, `,
		"name: a\nname: b":              `test.yaml:2: key "name" is given twice`,
		"name: a\n---\nname: b":         "want one YAML document, not several",
		"name: a\n---\n]":               "want one YAML document, not several",
		"name: [a]":                     "test.yaml:1: name: want one value",
		"name: -a":                      "is not a name of 1 to 32",
		"name: A":                       "is not a name of 1 to 32",
		"kind: third":                   `kind: "third" is not one of one, other`,
		"count: 10":                     `count: "10" is not a whole number from 1 to 9`,
		"count: 1.5":                    "is not a whole number",
		"count: {}":                     "count: want one value",
		"inner: 3":                      "inner: want a mapping with the keys for, rate, share, size",
		"inner:\n  size: big":           `test.yaml:2: inner: size: "big" is not a size`,
		"words: x":                      "words: want a list",
		"words: []":                     "words: want 1 to 2 items, not 0",
		"words: [a, b, c]":              "words: want 1 to 2 items, not 3",
		"words: [[a]]":                  "words: want one value",
		"about: &x a\nwords: [*x]":      "test.yaml:2: words: aliases are not allowed",
		"about: &x a\nname: *x":         "test.yaml:2: name: aliases are not allowed",
		"inner: &x {size: 1}\n<<: *x":   `unknown key "<<"`,
		"later: {a: 1}":                 "later: what comes later is not yet supported",
		"later: yes":                    "later: what comes later is not yet supported",
		strings.Repeat("x", MaxBytes+1): "bytes are more than the",
	} {
		var got settings
		if err := Parse("test.yaml", []byte(text), got.keys().Read); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%.40q): %v, want %q", text, err, want)
		}
	}
}

// Whatever is read, an error names the file, and what is accepted is in range.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"name: a\ncount: 3", "inner: {size: 64KiB}", "words: [x]", "a: &a [*a]", "---\n---", "later: {}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got := settings{Count: 1}
		if err := Parse("fuzz.yaml", text, got.keys().Read); err != nil {
			if !strings.HasPrefix(err.Error(), "fuzz.yaml:") {
				t.Errorf("the error %q does not name the file", err)
			}
			return
		}
		if got.Count < 1 || got.Count > 9 || len(got.Words) > 2 || len(got.Name) > 32 || got.Size < 0 || got.For < 0 {
			t.Errorf("Parse accepts %+v", got)
		}
	})
}
