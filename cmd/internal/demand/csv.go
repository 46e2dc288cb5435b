package demand

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// ReadCSV reads demand from a CSV file: a column of times and one of rates or of a
// counter, and optionally those of the way back and of packets.
//
// Cells are apart by comma, semicolon or tab; lines that are blank or begin with #
// are passed over. The rows may go forward or backward in time. A cell that is empty
// or says null, NaN, U or - is a gap. Errors name the line and what is allowed;
// only those of r itself are of another kind, and are wrapped.
func ReadCSV(r io.Reader, o Options) (Demands, error) {
	o, err := o.checked()
	if err != nil {
		return Demands{}, err
	}
	f := &csvFile{lines: newLines(r), clock: clock{zone: o.Location}}
	if err := f.open(o); err != nil {
		return Demands{}, err
	}
	if err := f.rows(); err != nil {
		return Demands{}, err
	}
	d, err := f.fold.finish()
	if err != nil {
		return Demands{}, err
	}
	d.SHA256 = f.lines.sum()
	d.Notes = append(f.notes(), d.Notes...)
	return d, nil
}

// csvFile is a file that is being read.
type csvFile struct {
	lines     *lines
	clock     clock
	delimiter byte
	layout    layout
	width     int      // Cells in every line.
	cells     [][]byte // Of the last line.
	current   row
	fold      *folder
}

// open reads the first line, chooses the columns by it and, where it is no header,
// takes it for the first row.
func (f *csvFile) open(o Options) error {
	line, err := f.firstLine()
	if err != nil {
		return err
	}
	if f.cells, err = split(nil, line, f.delimiter); err != nil {
		return fmt.Errorf("line %d: %w", f.lines.number, err)
	}
	f.width = len(f.cells)
	if f.width < 2 {
		return fmt.Errorf("line %d has one cell: a time and a rate are needed, with comma, semicolon or tab between them", f.lines.number)
	}
	head := newTable(texts(f.cells))
	if f.layout, err = head.layout(o); err != nil {
		return err
	}
	f.fold = newFolder(o)
	for kind, n := range f.layout.numbers {
		if n != nil {
			n.commas = f.delimiter != ','
			f.fold.use(kind, n.label, &n.measure)
		}
	}
	if len(head.names) == 0 {
		return f.row()
	}
	return nil
}

// firstLine finds the delimiter: that of a line "sep=;" as spreadsheets write it, else
// tab, semicolon or comma, whichever the first line has.
func (f *csvFile) firstLine() ([]byte, error) {
	line, err := f.next()
	if err != nil {
		return nil, err
	}
	if named, found := bytes.CutPrefix(line, []byte("sep=")); found && len(named) == 1 {
		f.delimiter = named[0]
		return f.next()
	}
	f.delimiter = ','
	for _, delimiter := range []byte{'\t', ';'} {
		if bytes.IndexByte(line, delimiter) >= 0 {
			f.delimiter = delimiter
			break
		}
	}
	return line, nil
}

// next returns a line where there must be one.
func (f *csvFile) next() ([]byte, error) {
	line, err := f.lines.next()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty: a time and a rate are needed in each line")
	}
	return line, err
}

// rows folds all lines that follow.
func (f *csvFile) rows() error {
	for {
		line, err := f.lines.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if f.cells, err = split(f.cells[:0], line, f.delimiter); err != nil {
			return fmt.Errorf("line %d: %w", f.lines.number, err)
		}
		if err := f.row(); err != nil {
			return err
		}
	}
}

// row folds the cells of one line.
func (f *csvFile) row() error {
	r := &f.current
	r.line, r.values = f.lines.number, nothing
	if len(f.cells) != f.width {
		return fmt.Errorf("line %d has %d cells where the first line has %d", r.line, len(f.cells), f.width)
	}
	var err error
	if r.at, err = f.clock.read(f.cells[f.layout.time], f.fold.above()); err != nil {
		return fmt.Errorf("line %d: %w", r.line, err)
	}
	for kind, n := range f.layout.numbers {
		if n == nil {
			continue
		}
		if r.values[kind], err = n.read(f.cells[n.column], r.line); err != nil {
			return err
		}
	}
	return f.fold.add(r)
}

// notes say what was taken as what.
func (f *csvFile) notes() []string {
	notes := f.layout.notes
	what := [kinds]string{"the demand", "the demand of the way back", "its packets", "the packets of the way back"}
	for kind, n := range f.layout.numbers {
		if n == nil || n.unitLine == 0 {
			continue
		}
		manner := "in"
		if n.measure.total {
			manner = "a counter of"
		}
		notes = append(notes, fmt.Sprintf("Column %s was read as %s, %s %s.", n.label, what[kind], manner, n.measure.name))
	}
	if f.clock.local {
		notes = append(notes, fmt.Sprintf("Times have no zone and were read as of %s.", f.clock.zone))
	}
	return notes
}

func texts(cells [][]byte) []string {
	texts := make([]string, len(cells))
	for i, cell := range cells {
		texts[i] = string(cell)
	}
	return texts
}
