package control

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// makeStateDir makes the directory, for this user alone.
func makeStateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create state directory: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("check state directory: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("check state directory: %s has mode %04o, others may enter; allowed is 0700 (chmod 700 %s)", dir, info.Mode().Perm(), dir)
	}
	return nil
}

// readPrivateFile reads at most limit bytes of a file that only its owner may
// read or write.
func readPrivateFile(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %04o, others may read or write it; allowed is 0600 (chmod 600 %s)", path, info.Mode().Perm(), path)
	}
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = fmt.Errorf("%s is longer than %d bytes", path, limit)
	}
	return content, err
}

// createFile writes a new file of mode 0600 whole or not at all. It wraps
// os.ErrExist where there is one already.
func createFile(path string, content []byte) error {
	return writeWith(path, content, os.Link)
}

// replaceFile is createFile, but replaces what is there.
func replaceFile(path string, content []byte) error {
	return writeWith(path, content, os.Rename)
}

// writeWith writes a temporary file beside path and publishes it, so that
// readers see the old content or the new one.
func writeWith(path string, content []byte, publish func(from, to string) error) error {
	temporary := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+rand.Text())
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = publish(temporary, path)
	}
	if removed := os.Remove(temporary); !errors.Is(removed, os.ErrNotExist) { // A rename took it.
		err = errors.Join(err, removed)
	}
	return err
}

// lockFile holds an advisory lock on path, against this and other processes,
// until the file it returns is closed.
func lockFile(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		file.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return file, nil
}
