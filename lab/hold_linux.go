package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// MaxHeldName is the length of the longest name that Hold takes, in bytes.
const MaxHeldName = maxTopologyName

// CheckHeldName says whether Hold would take the name, were it free.
func CheckHeldName(name string) error { return checkName("held namespace", name, MaxHeldName) }

// Hold gives the namespace behind a descriptor the name "tm-NAME" under
// /run/netns, for other programs to use, and records that this process holds it.
// release takes the name away; Forsaken and Cleanup do so for a process that died
// before. A name that is taken is an os.ErrExist.
func Hold(name string, descriptor int) (release func() error, err error) {
	if err := CheckHeldName(name); err != nil {
		return nil, err
	}
	var stat unix.Stat_t
	if err := unix.Fstat(descriptor, &stat); err != nil {
		return nil, fmt.Errorf("identify network namespace: %w", err)
	}
	r := record{Lab: name, ProcessID: os.Getpid(), Namespaces: []named{{Name: "tm-" + name, Inode: stat.Ino}}}
	if r.Started, err = startOf(r.ProcessID); err != nil {
		return nil, err
	}
	if err := prepareNames(); err != nil {
		return nil, err
	}
	if err := r.create(); err != nil {
		return nil, err
	}
	if err := bindName(r.Namespaces[0].Name, descriptor); err != nil {
		r.Namespaces = nil
		return nil, errors.Join(err, r.undo())
	}
	return r.undo, nil
}

// Forsaken takes away the names that processes held which are gone, and returns
// them. Those of "lab up" outlive their process on purpose and stay.
func Forsaken(ctx context.Context) (removed []string, err error) {
	return downAll(ctx, func(name string) bool {
		r, err := readRecord(name)
		return err == nil && r.Started != 0 && !r.lives()
	})
}

// lives says whether the process that holds the names is still the same one.
func (r record) lives() bool {
	started, err := startOf(r.ProcessID)
	return err == nil && started == r.Started
}

// startOf is when a process started, in clock ticks since boot: with its number
// it is unique (proc_pid_stat(5), field 22).
func startOf(process int) (uint64, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(process), "stat"))
	if err != nil {
		return 0, fmt.Errorf("look at process %d: %w", process, err)
	}
	_, rest, _ := strings.Cut(string(text), ") ") // A program's name may hold anything else.
	fields := strings.Fields(rest)
	const startTime = 22 - 3 // The third field is the first behind the name.
	if len(fields) <= startTime {
		return 0, fmt.Errorf("look at process %d: its stat has %d fields", process, len(fields))
	}
	return strconv.ParseUint(fields[startTime], 10, 64)
}
