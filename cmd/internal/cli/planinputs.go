package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"tunnelmark/analysis/report"
)

// planInputs opens what a plan is made from, and notes each for the report.
type planInputs struct {
	stdin io.Reader
	shown *progress
	taken string         // What standard input was read as.
	count int            // Of results in all files.
	read  []report.Input // In the order in which they were given.
}

// standardInput is the name of that file.
const standardInput = "-"

// open opens a file, or standard input once. What stops reading it is ctx.
func (p *planInputs) open(ctx context.Context, name, what string) (io.ReadCloser, error) {
	if name == standardInput {
		if p.taken != "" {
			return nil, fmt.Errorf("%s: standard input is read as %s already; give a file", what, p.taken)
		}
		p.taken = what
		stdin := func() (io.ReadCloser, error) { return io.NopCloser(p.stdin), nil }
		return p.watch(ctx, interruptible(ctx, stdin), name, 0), nil
	}
	file, size, err := openFile(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return p.watch(ctx, file, name, size), nil
}

// openFile opens a file and tells its size in bytes, which a pipe has not.
func openFile(ctx context.Context, name string) (file io.ReadCloser, size int64, err error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, 0, err
	case info.IsDir():
		return nil, 0, fmt.Errorf("%s is a directory; give a file", name)
	case info.Mode().IsRegular():
		file, err := os.Open(name)
		return file, info.Size(), err
	}
	return interruptible(ctx, func() (io.ReadCloser, error) { return os.Open(name) }), 0, nil
}

func nameOf(name string) string {
	if name == standardInput {
		return "standard input"
	}
	return name
}

// note adds an input to those that the report names.
func (p *planInputs) note(name, what, hash string) {
	p.read = append(p.read, report.Input{Name: nameOf(name), SHA256: hash, What: what})
}

func (p *planInputs) watch(ctx context.Context, file io.ReadCloser, name string, size int64) io.ReadCloser {
	return &watchedReader{ReadCloser: file, ctx: ctx, shown: p.shown, name: nameOf(name), size: size, told: time.Now()}
}

// watchedReader shows how far a long file is read, and ends when ctx does.
type watchedReader struct {
	io.ReadCloser
	ctx   context.Context
	shown *progress
	name  string
	size  int64 // In bytes; zero where it is not known.
	count int64
	told  time.Time
}

// showEvery is often enough for eyes.
const showEvery = 200 * time.Millisecond

func (w *watchedReader) Read(buffer []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.ReadCloser.Read(buffer)
	w.count += int64(n)
	if now := time.Now(); now.Sub(w.told) >= showEvery {
		w.told = now
		w.shown.live(w.describe())
	}
	return n, err
}

func (w *watchedReader) describe() string {
	if w.size == 0 {
		return fmt.Sprintf("reading %s: %s", w.name, formatBytes(float64(w.count)))
	}
	return fmt.Sprintf("reading %s: %s, %d %%", w.name, formatBytes(float64(w.count)), 100*w.count/w.size)
}

// interruptible reads what may never give anything, such as a terminal or a pipe that
// nobody writes to, until ctx ends. The goroutine ends when the source does, or else with
// the program: nothing can wake it.
func interruptible(ctx context.Context, open func() (io.ReadCloser, error)) io.ReadCloser {
	out, in := io.Pipe()
	stop := context.AfterFunc(ctx, func() { in.CloseWithError(ctx.Err()) })
	go func() {
		defer stop()
		source, err := open()
		if err == nil {
			_, err = io.Copy(in, source)
			source.Close()
		}
		in.CloseWithError(err)
	}()
	return out
}
