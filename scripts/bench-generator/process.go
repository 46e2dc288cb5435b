package main

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
)

// end is the program at one end of a load.
type end struct {
	name  string
	args  []string
	stdin []byte
}

// exchange is what both ends of one load wrote and used.
type exchange struct {
	sender, receiver       []byte // Their standard outputs.
	senderCPU, receiverCPU time.Duration
	// hostBusy is what all cores spent while the sender ran, other programs'
	// work included.
	hostBusy time.Duration
}

// exchange runs the receiver, waits until it has written ready, and runs the
// sender. Both have ended when it returns. An error comes with what they wrote.
func (l *link) exchange(ctx context.Context, receiver, sender end, ready string) (exchange, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := start(ctx, l.receiver, receiver, ready)
	select {
	case <-r.output.ready:
	case <-r.ended:
		return exchange{}, errors.Join(fmt.Errorf("start %s: it ended before it was ready", receiver.name), r.failure())
	}
	reader := hoststat.Reader{Root: hoststat.Root}
	before, err := reader.Read()
	if err != nil {
		cancel()
		<-r.ended
		return exchange{}, err
	}
	s := start(ctx, l.sender, sender, "")
	<-s.ended
	after, err := reader.Read()
	if err != nil || s.err != nil {
		cancel() // The receiver may wait for load that no longer comes.
	}
	<-r.ended
	done := exchange{
		sender: s.output.text.Bytes(), receiver: r.output.text.Bytes(),
		senderCPU: s.used(), receiverCPU: r.used(),
		hostBusy: after.Since(before).Busy,
	}
	return done, errors.Join(err, s.failure(), r.failure())
}

// process is a running program.
type process struct {
	cmd    *exec.Cmd
	output *watched
	stderr bytes.Buffer
	ended  chan struct{} // Closed once err is set.
	err    error
}

// start runs a program in the namespace until it ends by itself or ctx does. The
// kernel kills it when this process dies: the signal comes from the thread that
// started it, which therefore waits for it.
func start(ctx context.Context, in *namespace, e end, ready string) *process {
	p := &process{cmd: exec.CommandContext(ctx, e.name, e.args...), output: watch(ready), ended: make(chan struct{})}
	p.cmd.Stdin = bytes.NewReader(e.stdin)
	p.cmd.Stdout, p.cmd.Stderr = p.output, &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	go func() {
		defer close(p.ended)
		p.err = in.do(p.cmd.Run)
	}()
	return p
}

// failure is why an ended program failed, in its own words; nil if it did not.
func (p *process) failure() error {
	if p.err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w: %s", strings.Join(p.cmd.Args, " "), p.err, strings.TrimSpace(p.stderr.String()))
}

// used is the CPU time of an ended program, with all its threads (getrusage(2)).
func (p *process) used() time.Duration {
	if p.cmd.ProcessState == nil {
		return 0 // It did not start.
	}
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// watched keeps what is written to it, and says when a word was.
type watched struct {
	word  []byte
	ready chan struct{}
	once  sync.Once
	text  bytes.Buffer
}

func watch(word string) *watched {
	return &watched{word: []byte(word), ready: make(chan struct{})}
}

func (w *watched) Write(b []byte) (int, error) {
	n, err := w.text.Write(b)
	if bytes.Contains(w.text.Bytes(), w.word) {
		w.once.Do(func() { close(w.ready) })
	}
	return n, err
}
