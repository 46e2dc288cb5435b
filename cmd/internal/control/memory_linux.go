package control

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// MemoryState is a state directory that only a descriptor holds: a tmpfs that
// is mounted nowhere. The kernel removes it with all that is in it when the
// process ends, however it ends.
type MemoryState struct {
	mount *os.File
}

// memoryStateSize bounds it: keys and pins are a few kB.
const memoryStateSize = "1m"

// NewMemoryState needs root and Linux 5.2.
func NewMemoryState() (*MemoryState, error) {
	fd, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open a file system in memory: %w", err)
	}
	defer func() { _ = unix.Close(fd) }() // Only the mount is kept.
	err = errors.Join(
		unix.FsconfigSetString(fd, "mode", "0700"),
		unix.FsconfigSetString(fd, "size", memoryStateSize),
		unix.FsconfigCreate(fd))
	if err != nil {
		return nil, fmt.Errorf("make a file system in memory: %w", err)
	}
	mount, err := unix.Fsmount(fd, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return nil, fmt.Errorf("hold a file system in memory: %w", err)
	}
	return &MemoryState{mount: os.NewFile(uintptr(mount), "tmpfs")}, nil
}

// Dir is the directory's path, for this process alone.
func (m *MemoryState) Dir() string { return fmt.Sprintf("/proc/self/fd/%d", m.mount.Fd()) }

// Close lets go of it.
func (m *MemoryState) Close() error { return m.mount.Close() }
