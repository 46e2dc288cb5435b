package demand

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

// What a file may hold at most. Beyond it something else was meant.
const (
	mostLines = 100_000_000
	mostLine  = 64 << 10 // Bytes in one line.
	mostCells = 1000     // In one line: a switch has some hundred counters.
)

// lines reads a file line by line and hashes it.
type lines struct {
	reader *bufio.Reader
	hash   hash.Hash
	number int // Of the line that was read last, from 1.
}

func newLines(r io.Reader) *lines {
	hash := sha256.New()
	return &lines{reader: bufio.NewReaderSize(io.TeeReader(r, hash), mostLine), hash: hash}
}

// sum is the hash of all that was read.
func (l *lines) sum() string { return hex.EncodeToString(l.hash.Sum(nil)) }

// next returns the next line that is neither blank nor a comment, without its end,
// or io.EOF. It is valid, and may be written to, until the next call.
func (l *lines) next() ([]byte, error) {
	for {
		line, err := l.read()
		if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(line)) > 0 && line[0] != '#' {
			return line, nil
		}
	}
}

// read returns the next line as it is, without its end.
func (l *lines) read() ([]byte, error) {
	line, err := l.reader.ReadSlice('\n')
	l.number++
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("line %d is longer than %d bytes: is this a CSV file?", l.number, mostLine)
	case errors.Is(err, io.EOF) && len(line) == 0:
		return nil, io.EOF
	case err != nil && !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("read line %d: %w", l.number, err)
	case l.number > mostLines:
		return nil, fmt.Errorf("the file has more than %d lines: aggregate it to one sample a minute", mostLines)
	}
	if l.number == 1 {
		if line, err = withoutMark(line); err != nil {
			return nil, err
		}
	}
	return bytes.TrimRight(line, "\r\n"), nil
}

// withoutMark removes the byte order mark that spreadsheets write (RFC 3629,
// Section 6) and refuses those of UTF-16.
func withoutMark(line []byte) ([]byte, error) {
	if bytes.HasPrefix(line, []byte("\xff\xfe")) || bytes.HasPrefix(line, []byte("\xfe\xff")) {
		return nil, errors.New("the file is UTF-16 text: save it as UTF-8")
	}
	return bytes.TrimPrefix(line, []byte("\ufeff")), nil
}

// split appends the cells of a line to cells, without the space around them. Quotes
// are those of RFC 4180, Section 2, except that a cell ends with its line: a quote
// that is never closed must not swallow the file.
func split(cells [][]byte, line []byte, delimiter byte) ([][]byte, error) {
	for {
		cell, rest, more, err := cutCell(line, delimiter)
		if err != nil {
			return nil, err
		}
		if len(cells) == mostCells {
			return nil, fmt.Errorf("more than %d cells: is this a CSV file?", mostCells)
		}
		cells = append(cells, bytes.TrimSpace(cell))
		if !more {
			return cells, nil
		}
		line = rest
	}
}

// cutCell takes the first cell off a line, and says whether more follow.
func cutCell(line []byte, delimiter byte) (cell, rest []byte, more bool, err error) {
	if start := bytes.TrimLeft(line, " "); len(start) > 0 && start[0] == '"' {
		cell, line, err = unquote(start)
		if err != nil {
			return nil, nil, false, err
		}
		line = bytes.TrimLeft(line, " ")
		if len(line) > 0 && line[0] != delimiter {
			return nil, nil, false, errors.New("text follows a closing quote: a quote within a cell is written twice")
		}
	} else {
		at := bytes.IndexByte(line, delimiter)
		if at < 0 {
			return line, nil, false, nil
		}
		cell, line = line[:at], line[at:]
	}
	if len(line) == 0 {
		return cell, nil, false, nil
	}
	return cell, line[1:], true, nil
}

// unquote reads a cell in quotes, in place, and returns what follows it.
func unquote(line []byte) (cell, rest []byte, err error) {
	cell = line[1:1]
	for at := 1; at < len(line); at++ {
		if line[at] == '"' {
			if at+1 == len(line) || line[at+1] != '"' {
				return cell, line[at+1:], nil
			}
			at++
		}
		cell = append(cell, line[at])
	}
	return nil, nil, errors.New("a quote is not closed on its line")
}
