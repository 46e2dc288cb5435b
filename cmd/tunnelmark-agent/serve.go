package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"tunnelmark/cmd/internal/agent"
	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/metrics"
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

// serveFlags are the daemon's.
type serveFlags struct {
	name, policy, outer, ports string
	listen, advertise, state   string
	metrics                    string
	endWithStdin, verbose      bool
	drivers                    map[string]tunnel.Driver
}

func (f *serveFlags) addFlags(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&f.policy, "policy", "", "YAML file with name, outer, ports, limits, drivers, peers")
	flags.StringVar(&f.name, "name", "", "what this agent is called (default: the policy's, else the host's name)")
	flags.StringVar(&f.outer, "outer", "", "address on which tunnels arrive; needed here or in the policy")
	flags.StringVar(&f.ports, "ports", "", "UDP ports on which tunnels may arrive (default 4500-4510)")
	flags.StringVar(&f.listen, "listen", defaultListen, "where controllers are served: host:port, unix:/path, or fd:N")
	flags.StringVar(&f.advertise, "advertise", "", "address in tokens (default: this host's name and the port of --listen)")
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
	dir, release, err := f.stateDir()
	if err != nil {
		return err
	}
	defer release()
	server, service, meter, err := f.build(policy, dir, newLogger(stderr, f.verbose))
	if err != nil {
		return err
	}
	listener, err := control.Listen(ctx, f.listen)
	if err != nil {
		return err
	}
	if err := f.introduce(stdout, server, listener); err != nil {
		return errors.Join(err, listener.Close())
	}
	group, ctx := errgroup.WithContext(ctx)
	if f.endWithStdin {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		// It ends with the process: a blocked read of standard input cannot be
		// interrupted.
		go func() { _, _ = io.Copy(io.Discard, stdin); cancel() }()
	}
	group.Go(func() error { return errors.Join(server.Serve(ctx, listener), service.Shutdown()) })
	if f.metrics != "" {
		group.Go(func() error { return serveMetrics(ctx, f.metrics, meter, server.Logger) })
	}
	return group.Wait()
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
		policy.Name = f.name
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
	service := agent.New(policy, identity, trust, f.drivers, meter, log)
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
	address := f.advertise
	if address == "" {
		address = defaultAdvertise(listener.Addr().String())
	}
	token, err := server.Tokens.Issue(address, firstToken)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "no controller is paired yet; within %v run:\ntunnelmark pair %s\n", firstToken, token.Text())
	return nil
}

// defaultAdvertise is this host's name with the port that is listened on.
func defaultAdvertise(listen string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen // A Unix socket.
	}
	return net.JoinHostPort(strings.ToLower(host), port)
}

// serveMetrics answers on a port of its own.
func serveMetrics(ctx context.Context, address string, meter *metrics.Metrics, log *slog.Logger) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen for metrics: %w", err)
	}
	return meter.Serve(ctx, listener, func() error { return nil }, log)
}

func newLogger(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}
