package strongswan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
)

const (
	startPatience = 30 * time.Second      // A loaded or emulated machine takes its time.
	startPoll     = 10 * time.Millisecond // Between two looks for the control socket.
	stopPatience  = 3 * time.Second       // From SIGTERM to SIGKILL.

	filesName = "tunnelmark"
)

// charon is one process of strongSwan's IKE daemon.
type charon struct {
	programs programs
	journal  *journal
	process  *os.Process
	files    string // Its directory, as seen from the agent's own mount namespace.
	ended    chan struct{}
	err      error // Why it ended; read after ended.
}

// startCharon starts charon in the given network namespace and returns once its
// control socket answers. files are put into its directory and cleared: one may
// hold a private key. Where it fails, or ctx ends meanwhile, nothing remains.
//
// The thread that starts charon is charon's for life: it has a mount namespace
// of its own, and charon is told to end when the thread ends, which is with the
// agent however that dies (PR_SET_PDEATHSIG is per thread). No file of charon's
// is ever seen outside, and none outlives both. The signal is SIGTERM, since
// charon knows what it has put into the kernel, and takes it out again.
func startCharon(ctx context.Context, programs programs, namespace *tunnel.Namespace, d daemon, files map[string][]byte) (*charon, error) {
	c := &charon{programs: programs, journal: newJournal(), ended: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		defer close(c.ended)
		runtime.LockOSThread() // For good: the thread is discarded with its namespaces.
		command, err := c.launch(namespace, d, files)
		started <- err
		if err == nil {
			c.err = command.Wait()
			c.journal.ring()
		}
	}()
	err := <-started
	for _, content := range files {
		clear(content)
	}
	if err != nil {
		<-c.ended
		return nil, fmt.Errorf("start charon: %w", err)
	}
	if err := c.awaitSocket(ctx); err != nil {
		return nil, fmt.Errorf("start charon: %w", errors.Join(err, c.stop()))
	}
	return c, nil
}

// launch runs on the thread that becomes charon's.
func (c *charon) launch(namespace *tunnel.Namespace, d daemon, files map[string][]byte) (*exec.Cmd, error) {
	if err := unix.Setns(namespace.FD(), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("enter network namespace: %w", err)
	}
	var err error
	if d.acquireExpires, err = acquireExpires(); err != nil {
		return nil, err
	}
	directory, err := hideFiles()
	if err != nil {
		return nil, err
	}
	d.vici = filepath.Join(directory, "vici")
	files["strongswan.conf"] = []byte(d.String())
	for name, content := range files {
		if err := writeFile(filepath.Join(directory, name), content); err != nil {
			return nil, err
		}
	}
	command := exec.Command(c.programs.charon)
	command.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "STRONGSWAN_CONF=" + filepath.Join(directory, "strongswan.conf")}
	command.Stderr = c.journal
	command.WaitDelay = stopPatience
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := command.Start(); err != nil {
		return nil, err
	}
	c.process = command.Process
	// The process is not waited for before ended, so its number stays its own.
	c.files = fmt.Sprintf("/proc/%d/root%s", c.process.Pid, directory)
	return command, nil
}

// acquireExpires is for how long the kernel keeps asking IKE daemons for an SA, in
// seconds, in the calling thread's namespace. Charon would set it to its own
// retransmissions' length, for every IPsec of the host, and leave it so.
func acquireExpires() (seconds string, err error) {
	text, err := os.ReadFile("/proc/sys/net/core/xfrm_acq_expires")
	if errors.Is(err, os.ErrNotExist) {
		return "", nil // Without XFRM.
	}
	return strings.TrimSpace(string(text)), err
}

// hideFiles gives the calling thread a mount namespace in which a file system in
// memory that is never swapped lies over /run: there are charon's control socket
// and, at a path that is compiled in, its process-id file. What the host unmounts
// goes here too, so that nothing of the host's is kept alive.
func hideFiles() (directory string, err error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return "", fmt.Errorf("unshare mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return "", fmt.Errorf("detach mount namespace: %w", err)
	}
	run, err := filepath.EvalSymlinks("/var/run")
	if err != nil {
		return "", fmt.Errorf("find run directory: %w", err)
	}
	if err := unix.Mount("ramfs", run, "ramfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
		return "", fmt.Errorf("mount file system in memory on %s: %w", run, err)
	}
	return filepath.Join(run, filesName), nil
}

func writeFile(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o600)
}

func (c *charon) socket() string { return filepath.Join(c.files, "vici") }

// awaitSocket returns once charon listens on its control socket, which it does
// last of all.
func (c *charon) awaitSocket(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for {
		connection, err := net.Dial("unix", c.socket())
		if err == nil {
			return connection.Close()
		}
		select {
		case <-c.ended:
			return c.failure()
		case <-ctx.Done():
			return fmt.Errorf("wait for its control socket: %w; it says: %s", ctx.Err(), c.journal.tail())
		case <-time.After(startPoll):
		}
	}
}

// failure says how charon ended. It must have.
func (c *charon) failure() error {
	how := "exit status 0"
	if c.err != nil {
		how = c.err.Error()
	}
	return fmt.Errorf("charon has ended (%s); it said: %s", how, c.journal.tail())
}

// stop ends charon, which tells the peer so and removes its SAs, and waits until
// it is gone. A charon that does not listen is killed.
func (c *charon) stop() error {
	_ = c.process.Signal(syscall.SIGTERM) // Refused only by one that has ended.
	select {
	case <-c.ended:
		return nil
	case <-time.After(stopPatience):
	}
	_ = c.process.Kill()
	<-c.ended
	return fmt.Errorf("stop charon: it took more than %v and was killed; it said: %s", stopPatience, c.journal.tail())
}

// gone says that charon has ended.
func (c *charon) gone() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}
