package strongswan

import (
	"bytes"
	"fmt"
	"strings"
)

// What is taken of swanctl's output, at most.
const (
	mostOutput = 1 << 20 // Bytes.
	mostDepth  = 16      // Sections in sections.
)

// section is one part of a vici message (README.md of strongSwan's vici plugin).
type section struct {
	name     string
	values   map[string]string
	lists    map[string][]string
	sections []*section
}

func newSection(name string) *section {
	return &section{name: name, values: map[string]string{}, lists: map[string][]string{}}
}

// child returns the first section of that name, nil where there is none.
func (s *section) child(name string) *section {
	for _, c := range s.sections {
		if c.name == name {
			return c
		}
	}
	return nil
}

// parseReply reads what swanctl prints with --pretty, one thing a line:
//
//	list-sa event {
//	  ike {
//	    state = ESTABLISHED
//	    local-ts = [
//	      198.18.0.1/32
//	    ]
//	  }
//	}
//
// and returns its messages as sections of one without a name.
func parseReply(output []byte) (*section, error) {
	if len(output) > mostOutput {
		return nil, fmt.Errorf("parse swanctl's reply: %d bytes, want at most %d", len(output), mostOutput)
	}
	p := replyParser{open: []*section{newSection("")}}
	for raw := range bytes.Lines(output) {
		p.number++
		if err := p.line(strings.TrimSpace(string(raw))); err != nil {
			return nil, fmt.Errorf("parse swanctl's reply: line %d: %w", p.number, err)
		}
	}
	if len(p.open) > 1 || p.list != "" {
		return nil, fmt.Errorf("parse swanctl's reply: ends inside %q", p.open[len(p.open)-1].name)
	}
	return p.open[0], nil
}

type replyParser struct {
	number int
	open   []*section // The outermost first.
	list   string     // Name of the list whose items come; empty outside one.
}

func (p *replyParser) line(text string) error {
	in := p.open[len(p.open)-1]
	switch {
	case text == "":
	case p.list != "" && text == "]":
		p.list = ""
	case p.list != "":
		in.lists[p.list] = append(in.lists[p.list], text)
	case text == "}":
		return p.leave()
	case strings.HasSuffix(text, " {"):
		return p.enter(strings.TrimSpace(strings.TrimSuffix(text, "{")))
	default:
		return p.assign(in, text)
	}
	return nil
}

func (p *replyParser) enter(name string) error {
	if name == "" || len(p.open) > mostDepth {
		return fmt.Errorf("section %q: want a name, and at most %d sections in one another", name, mostDepth)
	}
	s := newSection(name)
	in := p.open[len(p.open)-1]
	in.sections = append(in.sections, s)
	p.open = append(p.open, s)
	return nil
}

func (p *replyParser) leave() error {
	if len(p.open) == 1 {
		return fmt.Errorf("a section ends that did not begin")
	}
	p.open = p.open[:len(p.open)-1]
	return nil
}

func (p *replyParser) assign(in *section, text string) error {
	name, value, found := strings.Cut(text+" ", " = ") // A value may be empty.
	value = strings.TrimSpace(value)
	if !found || name == "" || value == "{" {
		return fmt.Errorf("%.80q is no key with a value", text)
	}
	if value == "[" {
		p.list = name
		in.lists[name] = nil
		return nil
	}
	in.values[name] = value
	return nil
}
