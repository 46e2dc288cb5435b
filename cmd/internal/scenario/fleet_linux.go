package scenario

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/controller"
	"tunnelmark/lab"
)

const (
	// startTimeout bounds how long an agent may take to print its token.
	startTimeout = 10 * time.Second
	// stopTimeout is how long an agent may take to end by itself.
	stopTimeout = 5 * time.Second
	// keptLog is how much of an agent's log is kept for an error, in bytes.
	keptLog = 2048
	// tokenPrefix starts the line on which an agent prints its token.
	tokenPrefix = "tunnelmark pair "
)

// fleet is the agents of a lab, one process in each site. They serve control on
// descriptors that they inherit, never over the measured link, and end when the
// pipe to their standard input closes: with this process, however it ends.
type fleet struct {
	// ctx ends when an agent dies.
	ctx      context.Context
	cancel   context.CancelCauseFunc
	waiting  sync.WaitGroup
	agents   []*agentProcess
	state    *control.MemoryState
	identity *control.Identity
	close    []func()
}

// agentProcess is one of them.
type agentProcess struct {
	site     string
	command  *exec.Cmd
	stdin    io.Closer
	token    chan string
	log      *tail
	exited   chan struct{}
	stopping chan struct{}
}

func startFleet(ctx context.Context, s Scenario, built *lab.Lab, o Options) (_ *fleet, err error) {
	f := &fleet{}
	f.ctx, f.cancel = context.WithCancelCause(ctx)
	defer func() {
		if err != nil {
			err = errors.Join(err, f.stop())
		}
	}()
	if f.state, err = control.NewMemoryState(); err != nil {
		return nil, err
	}
	if f.identity, err = control.LoadOrCreate(f.state.Dir()); err != nil {
		return nil, err
	}
	for _, site := range s.Topology.Sites {
		host, err := built.Host(site)
		if err != nil {
			return nil, err
		}
		o.Tell("starting tunnelmark-agent in " + site)
		if err := f.start(site, host.V4.String(), built, o); err != nil {
			return nil, fmt.Errorf("start the agent of %s: %w", site, err)
		}
	}
	return f, nil
}

// start runs one agent inside its site.
func (f *fleet) start(site, outer string, built *lab.Lab, o Options) error {
	// An abstract socket leaves no file; its name is drawn so that labs do not meet.
	address := "@tunnelmark-lab-" + rand.Text()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: address, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen for the agent: %w", err)
	}
	defer func() { _ = listener.Close() }() // The agent has a copy of its own.
	handed, err := listener.File()
	if err != nil {
		return fmt.Errorf("hand the listener down: %w", err)
	}
	defer handed.Close()
	a := &agentProcess{
		site: site, token: make(chan string, 1), log: &tail{},
		exited: make(chan struct{}), stopping: make(chan struct{}),
	}
	a.command = exec.Command(o.AgentProgram, "--name", site, "--outer", outer, "--state", "memory",
		"--listen", "fd:3", "--advertise", "unix:"+address, "--end-with-stdin")
	a.command.ExtraFiles = []*os.File{handed}
	a.command.Stderr = a.log
	// Its own group: Ctrl-C is for the controller, which closes sessions first.
	a.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return f.launch(a, built)
}

func (f *fleet) launch(a *agentProcess, built *lab.Lab) (err error) {
	if a.stdin, err = a.command.StdinPipe(); err != nil {
		return err
	}
	stdout, err := a.command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := built.Start(a.site, a.command); err != nil {
		return err
	}
	f.agents = append(f.agents, a)
	f.waiting.Go(func() {
		a.readToken(stdout)
		err := a.command.Wait()
		close(a.exited)
		select {
		case <-a.stopping:
		default:
			f.cancel(fmt.Errorf("the agent of %s died: %w%s", a.site, exitError(err), a.log.quote()))
		}
	})
	return nil
}

// readToken reads what the agent prints until it closes its output.
func (a *agentProcess) readToken(stdout io.Reader) {
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if token, found := strings.CutPrefix(lines.Text(), tokenPrefix); found {
			select {
			case a.token <- token:
			default: // One is enough.
			}
		}
	}
}

func exitError(err error) error {
	if err == nil {
		return errors.New("it exited by itself")
	}
	return err
}

// pair redeems each agent's token and introduces every agent to the others.
func (f *fleet) pair() (map[string]controller.End, error) {
	trust, err := control.OpenTrust(f.state.Dir())
	if err != nil {
		return nil, err
	}
	tokens, err := f.tokens()
	if err != nil {
		return nil, err
	}
	ends := map[string]controller.End{}
	for i, token := range tokens {
		pin, err := control.PairWith(f.ctx, token, f.identity, trust, "lab", f.peersOf(i, tokens))
		if err != nil {
			return nil, control.Explain(f.agents[i].site, err)
		}
		end, disconnect, err := controller.Dial(pin, f.identity)
		if err != nil {
			return nil, err
		}
		f.close = append(f.close, disconnect)
		ends[f.agents[i].site] = end
	}
	return ends, nil
}

func (f *fleet) tokens() ([]control.Token, error) {
	ctx, cancel := context.WithTimeout(f.ctx, startTimeout)
	defer cancel()
	var tokens []control.Token
	for _, a := range f.agents {
		select {
		case text := <-a.token:
			token, err := control.ParseToken(text)
			if err != nil {
				return nil, fmt.Errorf("read the token of %s: %w", a.site, err)
			}
			tokens = append(tokens, token)
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the token of the agent of %s: %w", a.site, context.Cause(ctx))
		}
	}
	return tokens, nil
}

func (f *fleet) peersOf(i int, tokens []control.Token) []control.Pin {
	var peers []control.Pin
	for j, token := range tokens {
		if j != i {
			peers = append(peers, control.Pin{Standing: control.Peer, Name: f.agents[j].site, Fingerprint: token.Fingerprint, Address: token.Address})
		}
	}
	return peers
}

// whyGone puts the death of an agent in the place of the errors that follow
// from it.
func (f *fleet) whyGone(err error) error {
	if cause := context.Cause(f.ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// stop ends all agents, gently first, and waits for them. Only processes that
// this fleet has started are signalled.
func (f *fleet) stop() error {
	for _, disconnect := range f.close {
		disconnect()
	}
	for _, a := range f.agents {
		close(a.stopping)
		_ = a.stdin.Close() // Already closed where the agent is gone.
	}
	deadline := time.NewTimer(stopTimeout)
	defer deadline.Stop()
	for _, a := range f.agents {
		select {
		case <-a.exited:
		case <-deadline.C:
			deadline.Reset(0) // None of the others gets more time.
			_ = a.command.Process.Kill()
		}
	}
	f.waiting.Wait()
	f.cancel(nil)
	if f.state == nil {
		return nil
	}
	return f.state.Close()
}

// tail keeps the end of an agent's log, for the error that says why the agent
// died.
type tail struct {
	mu   sync.Mutex // Guards kept.
	kept []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	t.kept = t.kept[max(0, len(t.kept)-keptLog):]
	return len(p), nil
}

func (t *tail) quote() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.kept) == 0 {
		return ""
	}
	return "; its log ends with:\n" + string(bytes.TrimSpace(t.kept))
}
