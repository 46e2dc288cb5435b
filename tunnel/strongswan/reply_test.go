package strongswan

import (
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var sections = cmp.AllowUnexported(section{})

// However it is filled, a bounded buffer keeps no more than it may: exec fills it
// by ReadFrom where it has that.
func TestBoundedBuffer(t *testing.T) {
	const text = "more than ten bytes"
	buffer := &boundedBuffer{most: 10}
	copied, err := io.Copy(buffer, io.LimitReader(strings.NewReader(text), 100))
	if err != nil || copied != int64(len(text)) || string(buffer.Bytes()) != text[:10] {
		t.Errorf("copied %d bytes, %v, and kept %q", copied, err, buffer.Bytes())
	}
}

func TestParseReply(t *testing.T) {
	tests := []struct {
		name string
		text string
		want *section
	}{
		{"empty", "", newSection("")},
		{"message without content", "list-sas reply {\n}\n", parent("", newSection("list-sas reply"))},
		{"value with spaces and signs", "e event {\n  id = C=CH, CN=a = b\n}\n", parent("", &section{
			name: "e event", values: map[string]string{"id": "C=CH, CN=a = b"}, lists: map[string][]string{},
		})},
		{"value that is empty", "a =\n", &section{values: map[string]string{"a": ""}, lists: map[string][]string{}}},
		{"list", "a = [\n  1\n  2\n]\n", &section{values: map[string]string{}, lists: map[string][]string{"a": {"1", "2"}}}},
		{"section in a section", "a {\n  b {\n  }\n}\n", parent("", parent("a", newSection("b")))},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseReply([]byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, sections); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func parent(name string, child *section) *section {
	s := newSection(name)
	s.sections = []*section{child}
	return s
}

func TestParseReplyRefuses(t *testing.T) {
	tests := []struct{ name, text string }{
		{"end without begin", "}\n"},
		{"no end", "a {\n"},
		{"list without end", "a = [\n 1\n"},
		{"neither key nor section", "hello\n"},
		{"section without a name", " {\n}\n"},
		{"too deep", strings.Repeat("a {\n", mostDepth+1) + strings.Repeat("}\n", mostDepth+1)},
		{"too long", strings.Repeat("\n", mostOutput+1)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got, err := parseReply([]byte(test.text)); err == nil {
				t.Errorf("got %v, want an error", got)
			}
		})
	}
}

// What has been parsed is written and parsed again: it must be the same.
func FuzzParseReply(f *testing.F) {
	sample, err := os.ReadFile("testdata/list-sas.txt")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sample)
	f.Add([]byte("a = [\n]\nb {\n  c =\n}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		first, err := parseReply(text)
		if err != nil {
			return
		}
		var b strings.Builder
		write(&b, first)
		second, err := parseReply([]byte(b.String()))
		if err != nil {
			t.Fatalf("parse what was written: %v\n%s", err, b.String())
		}
		if !reflect.DeepEqual(first, second) { // cmp.Diff is slow where nothing differs.
			t.Errorf("(-first +second):\n%s", cmp.Diff(first, second, sections))
		}
		if _, err := findAssociation(text); err != nil {
			t.Errorf("look for an association: %v", err)
		}
	})
}

func write(b *strings.Builder, s *section) {
	for _, key := range slices.Sorted(maps.Keys(s.values)) {
		fmt.Fprintf(b, "%s = %s\n", key, s.values[key])
	}
	for _, key := range slices.Sorted(maps.Keys(s.lists)) {
		fmt.Fprintf(b, "%s = [\n%s\n]\n", key, strings.Join(s.lists[key], "\n"))
	}
	for _, child := range s.sections {
		fmt.Fprintf(b, "%s {\n", child.name)
		write(b, child)
		fmt.Fprintf(b, "}\n")
	}
}
