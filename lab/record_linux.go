package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// recordsDir holds one record per named lab. It is lost at a reboot, and so are
// the names.
const recordsDir = "/run/tunnelmark/lab"

// record says which names under /run/netns are this program's.
type record struct {
	Lab        string  `json:"lab"`
	ProcessID  int     `json:"process_id"`                // that named it
	Started    uint64  `json:"process_started,omitempty"` // set where the names end with the process
	Namespaces []named `json:"namespaces"`
}

// named is one namespace under its name. The inode tells it from another's that
// has taken the name since.
type named struct {
	Name  string `json:"name"`
	Inode uint64 `json:"inode"`
}

// Down takes the names of a lab away; the kernel removes it when the last process
// in it has ended. A lab that is not up is an os.ErrNotExist. Names that stand for
// somebody else's namespace by now are left alone and reported, and the record
// with them.
func Down(_ context.Context, name string) error {
	if err := checkName("lab", name, maxTopologyName); err != nil {
		return err
	}
	r, err := readRecord(name)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("no lab %q is up: %w", name, os.ErrNotExist)
	}
	if err != nil {
		return fmt.Errorf("take lab %s down: %w", name, err)
	}
	if err := r.undo(); err != nil {
		return fmt.Errorf("take lab %s down: %w", name, err)
	}
	return nil
}

// Cleanup takes every named lab down, also those whose naming was interrupted, and
// every held namespace whose holder is gone, and returns their names. Labs without
// a name need no cleaning up.
func Cleanup(ctx context.Context) (removed []string, err error) {
	return downAll(ctx, func(name string) bool {
		r, err := readRecord(name)
		return err != nil || r.Started == 0 || !r.lives() // Down says what is wrong with a record.
	})
}

func downAll(ctx context.Context, which func(name string) bool) (removed []string, err error) {
	paths, err := filepath.Glob(recordPath("*"))
	if err != nil {
		return nil, fmt.Errorf("list labs: %w", err)
	}
	var errs []error
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return removed, errors.Join(append(errs, err)...)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		if !which(name) {
			continue
		}
		if err := Down(ctx, name); err != nil {
			errs = append(errs, err)
			continue
		}
		removed = append(removed, name)
	}
	return removed, errors.Join(errs...)
}

func recordPath(lab string) string { return filepath.Join(recordsDir, lab+".json") }

// create writes the record, whole or not at all; that it must not exist yet keeps
// two labs from one name.
func (r record) create() error {
	if err := os.MkdirAll(recordsDir, 0o755); err != nil {
		return fmt.Errorf("record lab: %w", err)
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("record lab: %w", err)
	}
	draft := fmt.Sprintf("%s.%d", recordPath(r.Lab), r.ProcessID)
	if err := os.WriteFile(draft, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("record lab: %w", err)
	}
	err = os.Link(draft, recordPath(r.Lab))
	if errors.Is(err, os.ErrExist) {
		err = fmt.Errorf("it is up already: take it down first (tunnelmark lab down %s): %w", r.Lab, os.ErrExist)
	}
	if err := errors.Join(err, os.Remove(draft)); err != nil {
		return fmt.Errorf("record lab %s: %w", r.Lab, err)
	}
	return nil
}

// undo takes the record's names away, and then the record, unless one of them is
// not ours.
func (r record) undo() error {
	var errs []error
	for _, n := range r.Namespaces {
		errs = append(errs, unbindName(n))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return os.Remove(recordPath(r.Lab))
}

func readRecord(lab string) (record, error) {
	file, err := os.Open(recordPath(lab))
	if err != nil {
		return record{}, err
	}
	defer file.Close()
	return decodeRecord(file, lab)
}

// decodeRecord reads a lab's record, which is bounded and names only files of its
// own directory: who can write it must not be able to have others removed.
func decodeRecord(from io.Reader, lab string) (record, error) {
	const largest = 1 << 20
	var r record
	decoder := json.NewDecoder(io.LimitReader(from, largest))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		return record{}, fmt.Errorf("read record of lab %s in %s: %w", lab, recordsDir, err)
	}
	if r.Lab != lab {
		return record{}, fmt.Errorf("read record of lab %s in %s: it is about lab %q", lab, recordsDir, r.Lab)
	}
	for _, n := range r.Namespaces {
		ours := n.Name == "tm-"+lab || strings.HasPrefix(n.Name, "tm-"+lab+"-")
		if !ours || filepath.Base(n.Name) != n.Name {
			return record{}, fmt.Errorf("read record of lab %s in %s: %q is not a name of that lab", lab, recordsDir, n.Name)
		}
	}
	return r, nil
}
