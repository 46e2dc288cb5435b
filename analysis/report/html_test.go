package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

func TestWriteHTMLGolden(t *testing.T) {
	golden(t, fixtureName("policer", "html"), output(t, WriteHTML, policerResult()))
}

func TestWriteHTMLIsSound(t *testing.T) {
	for _, f := range fixtures {
		t.Run(f.name, func(t *testing.T) {
			text := output(t, WriteHTML, f.result())
			if err := sound(text); err != nil {
				t.Error(err)
			}
		})
	}
}

// voidElements have no end tag (HTML Living Standard, Section 13.1.2).
var voidElements = []string{"meta"}

// allowed are the elements that the page is made of. None loads or runs
// anything.
var allowed = strings.Fields(`html head meta title style body main header nav section footer
	a p h1 h2 h3 span strong dl div dt dd table caption thead tbody tr th td
	figure figcaption ul li pre code svg desc g path rect text`)

// forbidden attributes load, run or style; a link may lead to the page itself.
var forbidden = regexp.MustCompile(`^(on.*|src|srcset|href|xlink:href|action|data|style|background|poster)$`)

// sound says what is wrong with a page: tags that do not nest, elements and
// attributes that the template does not have, identifiers given twice or not
// at all, figures that are no numbers.
func sound(text []byte) error {
	var open []string
	ids, wanted := map[string]bool{}, []string{}
	for z := html.NewTokenizer(bytes.NewReader(text)); ; {
		switch kind := z.Next(); kind {
		case html.ErrorToken:
			if !errors.Is(z.Err(), io.EOF) || len(open) > 0 {
				return fmt.Errorf("page ends inside %v: %w", open, z.Err())
			}
			return missing(ids, wanted)
		case html.StartTagToken, html.SelfClosingTagToken:
			token := z.Token()
			if !slices.Contains(allowed, token.Data) {
				return fmt.Errorf("element %q is not the template's", token.Data)
			}
			for _, a := range token.Attr {
				if id, inside := strings.CutPrefix(a.Val, "#"); token.Data == "a" && a.Key == "href" && inside {
					wanted = append(wanted, id)
					continue
				}
				if forbidden.MatchString(a.Key) || strings.Contains(a.Val, "NaN") || strings.Contains(a.Val, "Inf") && a.Key != "content" {
					return fmt.Errorf("attribute %s=%q of %s", a.Key, a.Val, token.Data)
				}
				switch a.Key {
				case "id":
					if ids[a.Val] {
						return fmt.Errorf("id %q twice", a.Val)
					}
					ids[a.Val] = true
				case "aria-labelledby":
					wanted = append(wanted, strings.Fields(a.Val)...)
				}
			}
			if kind == html.StartTagToken && !slices.Contains(voidElements, token.Data) {
				open = append(open, token.Data)
			}
		case html.EndTagToken:
			name := z.Token().Data
			if len(open) == 0 || open[len(open)-1] != name {
				return fmt.Errorf("</%s> inside %v", name, open)
			}
			open = open[:len(open)-1]
		case html.CommentToken:
			return fmt.Errorf("a comment: %s", z.Token().Data)
		}
	}
}

func missing(ids map[string]bool, wanted []string) error {
	for _, id := range wanted {
		if !ids[id] {
			return fmt.Errorf("the page refers to id %q, which is not there", id)
		}
	}
	return nil
}

func TestWriteHTMLAccessible(t *testing.T) {
	for _, f := range fixtures {
		t.Run(f.name, func(t *testing.T) { accessible(t, output(t, WriteHTML, f.result())) })
	}
}

// accessible says where headings skip a level, and tables and charts cannot be told.
func accessible(t *testing.T, text []byte) {
	t.Helper()
	root, err := html.Parse(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	level := 0
	for n := range root.Descendants() {
		switch n.Data {
		case "h1", "h2", "h3":
			if next := int(n.Data[1] - '0'); next > level+1 {
				t.Errorf("%s after h%d", n.Data, level)
			} else {
				level = next
			}
		case "table":
			if n.FirstChild.NextSibling.Data != "caption" {
				t.Error("a table without a caption")
			}
		case "th":
			if attribute(n, "scope") == "" {
				t.Error("a th without a scope")
			}
		case "svg":
			if attribute(n, "role") != "img" && attribute(n, "aria-hidden") != "true" {
				t.Error("an svg without role")
			}
		}
	}
}

func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func TestWriteHTMLShows(t *testing.T) {
	ceiling, generator, empty, run := policerResult, generatorResult, emptyResult, runResult
	tests := []struct {
		name    string
		result  func() Result
		has     []string
		without []string
	}{
		{"every chart", ceiling, []string{`id="delivered-wide-title"`, `id="delivered-narrow-title"`, `id="loss-title"`, `id="loss-close-title"`, `id="course-wide-title"`, `id="delay-wide-title"`}, nil},
		{"headline", ceiling, []string{"<strong>334.8\u00a0Mbit/s</strong>", "<strong>350.1\u00a0Mbit/s</strong> outer"}, []string{"at least</span>"}},
		{"policy", ceiling, []string{`content="default-src 'none'; style-src 'unsafe-inline'; img-src data:"`}, []string{"http://", "https://", "@import", "url("}},
		{"open ceiling", generator, []string{`<span class="bound">at least</span>`, "not of the tunnel"}, []string{`line ceiling`, `id="loss-close-title"`}},
		{"no trials", empty, []string{"Not measured", "No trial was run."}, []string{`id="charts"`, `id="course"`}},
		{"latency under load", latencyResult, []string{`id="latency-title"`, "95\u00a0% of the ceiling", `id="path-mtu"`, "1,398\u00a0B clamped to 1,320\u00a0B"}, []string{`id="tcp"`, `id="seen"`}},
		{"TCP", tcpResult, []string{`id="tcp"`, `<span class="layer">goodput</span>`, "4 flows, cubic", "stopped: rtt&gt;30ms"}, []string{`id="charts"`, `id="layers-caption"`, "No trial was run.", "UDP packets of one size"}},
		{"all that a load showed", mixedResult, []string{`id="seen"`, "120 at the receiver’s socket", `id="trials"`}, []string{`id="tcp"`}},
		{"fixed loads", run, []string{"Fixed loads through the tunnel", `id="delivered-wide-title"`}, []string{`id="verdict"`, `line ceiling`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text := string(output(t, WriteHTML, test.result()))
			for _, part := range test.has {
				if !strings.Contains(text, part) {
					t.Errorf("page has no %q", part)
				}
			}
			for _, part := range test.without {
				if strings.Contains(text, part) {
					t.Errorf("page has %q", part)
				}
			}
		})
	}
}
