// Package strictyaml reads YAML files that people write, and refuses with file
// and line whatever it does not know: a key that is silently ignored is a
// setting that its author believes in.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"tunnelmark/cmd/internal/unit"
)

// MaxBytes bounds a file: those that people write are far smaller.
const MaxBytes = 1 << 20

// Reader takes the value of one key.
type Reader func(*yaml.Node) error

// Keys are the keys that a mapping may have.
type Keys map[string]Reader

// Parse reads one document. Errors start with "name:line:".
func Parse(name string, text []byte, read Reader) error {
	if len(text) > MaxBytes {
		return fmt.Errorf("%s: %d bytes are more than the %d that such a file may have", name, len(text), MaxBytes)
	}
	document, err := only(text)
	if err != nil {
		return fmt.Errorf("%s: %s", name, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	err = read(document)
	var at *Error
	if errors.As(err, &at) {
		return fmt.Errorf("%s:%d: %w", name, at.Line, at)
	}
	return err
}

// only returns the root of the one document that there must be.
func only(text []byte) (*yaml.Node, error) {
	documents := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	err := documents.Decode(&document)
	if errors.Is(err, io.EOF) || err == nil && len(document.Content) == 0 {
		return nil, errors.New("the file is empty")
	}
	if err != nil {
		return nil, err
	}
	if err := documents.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, errors.New("want one YAML document, not several")
	}
	return document.Content[0], nil
}

// Error says what is wrong at which line.
type Error struct {
	Line int
	Text string
}

func (e *Error) Error() string { return e.Text }

// At makes an error at the node's line.
func At(node *yaml.Node, format string, arguments ...any) error {
	return &Error{Line: node.Line, Text: fmt.Sprintf(format, arguments...)}
}

// String lists the allowed keys.
func (k Keys) String() string {
	return strings.Join(slices.Sorted(maps.Keys(k)), ", ")
}

// Read hands each value of a mapping to its key's reader; it is a Reader itself.
func (k Keys) Read(node *yaml.Node) error {
	if node.Kind != yaml.MappingNode {
		return At(node, "want a mapping with the keys %s", k)
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		read, known := k[key.Value]
		switch {
		case !known:
			return At(key, "unknown key %q; allowed: %s", key.Value, k)
		case seen[key.Value]:
			return At(key, "key %q is given twice", key.Value)
		case value.Kind == yaml.AliasNode:
			return At(value, "%s: aliases are not allowed", key.Value)
		}
		seen[key.Value] = true
		if err := read(value); err != nil {
			return under(key, err)
		}
	}
	return nil
}

// under puts the key's name before the error of its value.
func under(key *yaml.Node, err error) error {
	var at *Error
	if errors.As(err, &at) {
		return &Error{Line: at.Line, Text: key.Value + ": " + at.Text}
	}
	return At(key, "%s: %v", key.Value, err)
}

// Scalar reads one value with parse.
func Scalar[T any](into *T, parse func(string) (T, error)) Reader {
	return func(node *yaml.Node) error {
		if node.Kind != yaml.ScalarNode {
			return At(node, "want one value")
		}
		value, err := parse(node.Value)
		if err != nil {
			return At(node, "%v", err)
		}
		*into = value
		return nil
	}
}

// List reads a sequence of 1 to most items, each with item. An empty one is
// refused: whether it means none or all, its author would have to guess.
func List(most int, item func(*yaml.Node) error) Reader {
	return func(node *yaml.Node) error {
		if node.Kind != yaml.SequenceNode {
			return At(node, "want a list")
		}
		if len(node.Content) == 0 || len(node.Content) > most {
			return At(node, "want 1 to %d items, not %d", most, len(node.Content))
		}
		for _, child := range node.Content {
			if child.Kind == yaml.AliasNode {
				return At(child, "aliases are not allowed")
			}
			if err := item(child); err != nil {
				return err
			}
		}
		return nil
	}
}

// Text reads a string.
func Text(into *string) Reader {
	return Scalar(into, func(text string) (string, error) { return text, nil })
}

// Append reads a string onto the end of a list.
func Append(into *[]string) Reader {
	return func(node *yaml.Node) error {
		var text string
		err := Text(&text)(node)
		*into = append(*into, text)
		return err
	}
}

// Name reads a short name of lower-case letters, digits and dashes.
func Name(into *string) Reader { return Scalar(into, ParseName) }

// ParseName checks that a name can stand in file names and host names.
func ParseName(text string) (string, error) {
	if text == "" || len(text) > 32 || strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || strings.HasPrefix(text, "-") {
		return "", fmt.Errorf("%q is not a name of 1 to 32 lower-case letters, digits and dashes", text)
	}
	return text, nil
}

// OneOf reads one of the allowed words.
func OneOf(into *string, allowed ...string) Reader {
	return Scalar(into, func(text string) (string, error) {
		if !slices.Contains(allowed, text) {
			return "", fmt.Errorf("%q is not one of %s", text, strings.Join(allowed, ", "))
		}
		return text, nil
	})
}

// Int reads a whole number from least to most.
func Int(into *int, least, most int) Reader {
	return Scalar(into, func(text string) (int, error) {
		value, err := strconv.Atoi(text)
		if err != nil || value < least || value > most {
			return 0, fmt.Errorf("%q is not a whole number from %d to %d", text, least, most)
		}
		return value, nil
	})
}

// BitRate reads bit/s, as unit.BitRate does.
func BitRate(into *float64) Reader { return Scalar(into, unit.BitRate) }

// Bytes reads a number of bytes, as unit.Bytes does.
func Bytes(into *int) Reader { return Scalar(into, unit.Bytes) }

// Ratio reads a share from 0 to 1, as unit.Ratio does.
func Ratio(into *float64) Reader { return Scalar(into, unit.Ratio) }

// Bool reads true or false.
func Bool(into *bool) Reader { return Scalar(into, strconv.ParseBool) }

// Duration reads a time, as unit.Duration does.
func Duration(into *time.Duration) Reader { return Scalar(into, unit.Duration) }

// NotYet refuses a key that the format has and this version cannot do.
func NotYet(what string) Reader {
	return func(node *yaml.Node) error {
		if node.Kind == yaml.MappingNode && len(node.Content) == 0 {
			return nil // "limits: {}" asks for nothing.
		}
		return At(node, "%s is not yet supported; remove the key", what)
	}
}
