package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"tunnelmark/cmd/internal/agent"
	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/metrics"
	"tunnelmark/cmd/internal/strictyaml"
	"tunnelmark/lab"
	"tunnelmark/tunnel"
)

const (
	defaultState  = "/var/lib/tunnelmark-agent"
	defaultListen = ":4600"
	// memoryState keeps nothing: for agents that live as long as a lab.
	memoryState = "memory"
	// firstToken is how long the token lives that is printed at the start.
	firstToken = time.Hour
)

// driversOf gives the drivers that an agent of some policy has.
type driversOf func(agent.Policy) map[string]tunnel.Driver

// serveFlags are the daemon's.
type serveFlags struct {
	name, policy, outer, ports string
	listen, advertise, state   string
	metrics                    string
	endWithStdin, verbose      bool
	drivers                    driversOf
}

func (f *serveFlags) addFlags(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&f.policy, "policy", "", "YAML file with name, outer, ports, limits, drivers, insecure, peers, strongswan")
	flags.StringVar(&f.name, "name", "", "what this agent is called (default: the policy's, else the host's name)")
	flags.StringVar(&f.outer, "outer", "", "address on which tunnels arrive; needed here or in the policy")
	flags.StringVar(&f.ports, "ports", "", "UDP ports on which tunnels may arrive (default 4500-4510)")
	flags.StringVar(&f.listen, "listen", defaultListen, "where controllers are served: host:port, unix:/path, or fd:N")
	flags.StringVar(&f.advertise, "advertise", "", "address of --listen in tokens (default: as it is, or this host's name where it is every address)")
	flags.StringVar(&f.state, "state", defaultState, `directory of identity, pins and tokens; "memory" forgets them at exit`)
	flags.StringVar(&f.metrics, "metrics", "", "host:port of /metrics and /healthz (default: off)")
	flags.BoolVar(&f.endWithStdin, "end-with-stdin", false, "exit when standard input closes, as it does when the parent dies")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "log more")
}

// run serves until ctx ends. It opens what may fail before it says anything.
func (f *serveFlags) run(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error {
	policy, err := f.readPolicy()
	if err != nil {
		return usageError{err}
	}
	if os.Geteuid() != 0 {
		return errors.New("it needs root: it makes network namespaces and TUN devices")
	}
	if err := policy.CheckOuter(); err != nil {
		return err
	}
	dir, release, err := f.stateDir()
	if err != nil {
		return err
	}
	defer release()
	log := newLogger(stderr, f.verbose)
	// An agent that was killed may have left names of held tunnels. They are no
	// reason not to serve.
	if _, err := lab.Forsaken(ctx); err != nil {
		log.Warn("names of held tunnels remain", control.LogReason, err.Error())
	}
	server, service, meter, err := f.build(policy, dir, log)
	if err != nil {
		return err
	}
	listeners, err := f.listenAll(ctx)
	if err != nil {
		return err
	}
	if err := f.introduce(stdout, server, listeners.control); err != nil {
		return errors.Join(err, listeners.Close())
	}
	if f.endWithStdin {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		// It ends with the process: a blocked read of standard input cannot be
		// interrupted.
		go func() { _, _ = io.Copy(io.Discard, stdin); cancel() }()
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return errors.Join(server.Serve(ctx, listeners.control), service.Shutdown()) })
	if listeners.metrics != nil {
		healthy := func() error { _, err := server.Trust.List(); return err }
		group.Go(func() error { return meter.Serve(ctx, listeners.metrics, healthy, server.Logger) })
	}
	return group.Wait()
}

// listeners are what the agent answers on.
type listeners struct {
	control net.Listener
	metrics net.Listener // Nil where metrics are off.
}

func (f *serveFlags) listenAll(ctx context.Context) (l listeners, err error) {
	if l.control, err = control.Listen(ctx, f.listen); err != nil || f.metrics == "" {
		return l, err
	}
	if l.metrics, err = new(net.ListenConfig).Listen(ctx, "tcp", f.metrics); err != nil {
		return l, errors.Join(fmt.Errorf("listen for metrics: %w", err), l.Close())
	}
	return l, nil
}

// Close is for listeners that nobody serves.
func (l listeners) Close() error {
	err := l.control.Close()
	if l.metrics != nil {
		err = errors.Join(err, l.metrics.Close())
	}
	return err
}

// readPolicy lays the flags over the file over the defaults.
func (f *serveFlags) readPolicy() (policy agent.Policy, err error) {
	policy = agent.DefaultPolicy()
	if f.policy != "" {
		if policy, err = agent.ReadPolicy(f.policy); err != nil {
			return policy, err
		}
	}
	if f.name != "" {
		if policy.Name, err = strictyaml.ParseName(f.name); err != nil {
			return policy, fmt.Errorf("--name: %w", err)
		}
	}
	if policy.Name == "" {
		if policy.Name, err = os.Hostname(); err != nil {
			return policy, fmt.Errorf("name the agent: %w; give --name", err)
		}
	}
	if f.outer != "" {
		if policy.Outer, err = agent.ParseOuter(f.outer); err != nil {
			return policy, fmt.Errorf("--outer: %w", err)
		}
	}
	if f.ports != "" {
		if policy.Ports, err = agent.ParsePorts(f.ports); err != nil {
			return policy, fmt.Errorf("--ports: %w", err)
		}
	}
	return policy, policy.Check()
}

func (f *serveFlags) stateDir() (dir string, release func(), err error) {
	if f.state != memoryState {
		return f.state, func() {}, nil
	}
	memory, err := control.NewMemoryState()
	if err != nil {
		return "", nil, err
	}
	return memory.Dir(), func() { _ = memory.Close() }, nil // The kernel frees it at exit in any case.
}

func (f *serveFlags) build(policy agent.Policy, dir string, log *slog.Logger) (*control.Server, *agent.Agent, *metrics.Metrics, error) {
	identity, err := control.LoadOrCreate(dir)
	if err != nil {
		return nil, nil, nil, err
	}
	trust, err := control.OpenTrust(dir)
	if err != nil {
		return nil, nil, nil, err
	}
	tokens, err := control.OpenTokens(dir, identity)
	if err != nil {
		return nil, nil, nil, err
	}
	meter := metrics.New(control.Version())
	service := agent.New(policy, identity, trust, f.drivers(policy), meter, log)
	meter.WatchTunnels(service.Tunnels)
	return &control.Server{
		Identity: identity, Trust: trust, Tokens: tokens, Service: service,
		Name: policy.Name, Version: control.Version(), Logger: log,
	}, service, meter, nil
}

// introduce says who this is, and prints a token while nobody is paired.
func (f *serveFlags) introduce(stdout io.Writer, server *control.Server, listener net.Listener) error {
	fmt.Fprintf(stdout, "tunnelmark-agent %s %q serves on %s\nidentity %s\n", control.Version(), server.Name, listener.Addr(), server.Identity.Fingerprint())
	pins, err := server.Trust.List()
	if err != nil {
		return err
	}
	for _, pin := range pins {
		if pin.Standing == control.Controller {
			return nil
		}
	}
	f.invite(stdout, server, listener)
	return nil
}

// invite prints a token. An agent that cannot make one serves all the same.
func (f *serveFlags) invite(stdout io.Writer, server *control.Server, listener net.Listener) {
	address := cmp.Or(f.advertise, reachable(listener.Addr()))
	token, err := server.Tokens.Issue(address, firstToken)
	if err != nil {
		fmt.Fprintf(stdout, "no controller is paired yet (%v); for a token run: tunnelmark-agent token\n", err)
		return
	}
	fmt.Fprintf(stdout, "no controller is paired yet; within %v run:\ntunnelmark pair %s\n", firstToken, token.Text())
}

// reachable is how controllers may reach a listener: as it is, or by this host's
// name where it listens on all addresses.
func reachable(listener net.Addr) string {
	if listener.Network() == "unix" {
		return "unix:" + absolute(listener.String())
	}
	host, port, err := net.SplitHostPort(listener.String())
	if err != nil {
		return listener.String()
	}
	if address, err := netip.ParseAddr(host); err == nil && !address.IsUnspecified() {
		return listener.String()
	}
	return net.JoinHostPort(hostName(), port)
}

// absolute leaves "@name", which is no path, as it is.
func absolute(path string) string {
	if whole, err := filepath.Abs(path); err == nil && !strings.HasPrefix(path, "@") {
		return whole
	}
	return path
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return strings.ToLower(name)
}

func newLogger(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}
