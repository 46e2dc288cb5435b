package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"tunnelmark/probe/hoststat"
	"tunnelmark/tunnel"
)

// closeGrace is how long a program that is asked to end may take.
const closeGrace = 5 * time.Second

// End is the program at one end.
type End struct {
	Name  string
	Args  []string
	Stdin []byte
	// Closes says that the program removes what it has made when it gets SIGTERM.
	// Others are killed.
	Closes bool
}

// Exchange is what both ends of one load wrote and used.
type Exchange struct {
	Sender, Receiver       []byte // Their standard outputs.
	SenderCPU, ReceiverCPU time.Duration
	// HostBusy is what all cores spent while the sender ran, other programs'
	// work included.
	HostBusy time.Duration
}

// Exchange runs the receiver, waits until it has written ready, and runs the
// sender. Both have ended when it returns. An error comes with what they wrote.
func (p *Pair) Exchange(ctx context.Context, receiver, sender End, ready string) (Exchange, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := Start(ctx, p.Receiver, receiver, ready)
	if _, err := r.Ready(ctx); err != nil {
		cancel()
		<-r.ended
		return Exchange{}, err
	}
	reader := hoststat.Reader{Root: hoststat.Root}
	before, err := reader.Read()
	if err != nil {
		cancel()
		<-r.ended
		return Exchange{}, err
	}
	s := Start(ctx, p.Sender, sender, "")
	<-s.ended
	after, err := reader.Read()
	if err != nil || s.err != nil {
		cancel() // The receiver may wait for load that no longer comes.
	}
	<-r.ended
	done := Exchange{
		Sender: s.output.text.Bytes(), Receiver: r.output.text.Bytes(),
		SenderCPU: s.used(), ReceiverCPU: r.used(),
		HostBusy: after.Since(before).Busy,
	}
	return done, errors.Join(err, s.failure(), r.failure())
}

// Process is a running program.
type Process struct {
	cmd    *exec.Cmd
	output *watched
	stderr bytes.Buffer
	ended  chan struct{} // Closed once err is set.
	err    error
}

// Start runs a program in the namespace until it ends by itself or ctx does. The
// kernel kills it when this process dies: the signal comes from the thread that
// started it, which therefore waits for it. Ready waits for that word.
func Start(ctx context.Context, in *tunnel.Namespace, e End, ready string) *Process {
	p := &Process{cmd: exec.CommandContext(ctx, e.Name, e.Args...), output: watch(ready), ended: make(chan struct{})}
	p.cmd.Stdin = bytes.NewReader(e.Stdin)
	p.cmd.Stdout, p.cmd.Stderr = p.output, &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if e.Closes {
		p.cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
		p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
		p.cmd.WaitDelay = closeGrace
	}
	go func() {
		defer close(p.ended)
		p.err = in.Do(p.cmd.Run)
	}()
	return p
}

// Ready waits until the program has written the word, and returns what it had
// written before. It is an error that it, or ctx, ends without.
func (p *Process) Ready(ctx context.Context) (said []byte, err error) {
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("start %s: %w", p.cmd.Args[0], context.Cause(ctx))
	case <-p.output.ready:
		return p.output.said, nil
	case <-p.ended:
		return nil, errors.Join(fmt.Errorf("start %s: it ended before it was ready", p.cmd.Args[0]), p.failure())
	}
}

// Number is the process's, once it is ready.
func (p *Process) Number() int { return p.cmd.Process.Pid }

// Ended is closed when the program has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Wait waits until the program has ended.
func (p *Process) Wait() error {
	<-p.ended
	return p.failure()
}

// failure is why an ended program failed, in its own words; nil if it did not.
func (p *Process) failure() error {
	if p.err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w: %s", strings.Join(p.cmd.Args, " "), p.err, strings.TrimSpace(p.stderr.String()))
}

// used is the CPU time of an ended program, with all its threads (getrusage(2)).
func (p *Process) used() time.Duration {
	if p.cmd.ProcessState == nil {
		return 0 // It did not start.
	}
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// watched keeps what is written to it, and says when a word was.
type watched struct {
	word  []byte
	ready chan struct{}
	said  []byte // What came before the word, once ready is closed.
	once  sync.Once
	text  bytes.Buffer
}

func watch(word string) *watched {
	return &watched{word: []byte(word), ready: make(chan struct{})}
}

func (w *watched) Write(b []byte) (int, error) {
	n, err := w.text.Write(b)
	if before, _, found := bytes.Cut(w.text.Bytes(), w.word); found {
		w.once.Do(func() {
			w.said = bytes.Clone(before)
			close(w.ready)
		})
	}
	return n, err
}
