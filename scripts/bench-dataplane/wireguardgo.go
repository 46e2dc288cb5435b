package main

import (
	"context"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"tunnelmark/scripts/internal/bench"
	"tunnelmark/tunnel"
	"tunnelmark/tunnel/inner"
)

const (
	// controlPatience is how long wireguard-go may take to open its control socket.
	controlPatience = 5 * time.Second
	controlPoll     = 10 * time.Millisecond
)

// wireGuardGo is wireguard-go's own program, as its authors ship it. The project's
// driver wireguard-user would leave a doubt: around the same module it counts packets
// and looks at where they come from, which takes the peer's time.
type wireGuardGo struct {
	program string // Its path.
	control string // Path of its control socket.
	process *bench.Process
	stop    context.CancelFunc
}

var _ tunnel.Detailed = (*wireGuardGo)(nil)

// findWireGuardGo looks beside this program, where make puts it, and in PATH.
func findWireGuardGo() (string, error) {
	if own, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(own), wireguardGoName)
		if path, err := exec.LookPath(beside); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath(wireguardGoName)
	if err != nil {
		return "", fmt.Errorf("find wireguard-go: %w; make bench-dataplane builds it: %w", err, tunnel.ErrNotSupported)
	}
	return path, nil
}

func checkWireGuardGo(tunnel.Spec) error {
	_, err := findWireGuardGo()
	return err
}

// openWireGuardGo does what wg-quick(8) would: it starts wireguard-go in the outer
// namespace, where its sockets stay, and moves its interface to the inner one.
func openWireGuardGo(ctx context.Context, spec tunnel.Spec, keys tunnel.Keys, place tunnel.Place) (io.Closer, error) {
	if err := place.Socket.Close(); err != nil {
		return nil, fmt.Errorf("free the outer port: %w", err)
	}
	program, err := findWireGuardGo()
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("tmb%d", os.Getpid()) // The control socket's directory is the whole machine's.
	w := &wireGuardGo{program: program, control: "/var/run/wireguard/" + name + ".sock"}
	if err := w.build(ctx, name, spec, keys, place); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

func (w *wireGuardGo) build(ctx context.Context, name string, spec tunnel.Spec, keys tunnel.Keys, place tunnel.Place) error {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	w.stop = stop
	w.process = bench.Start(running, place.Outer, bench.End{Name: w.program, Args: []string{"-f", name}, Closes: true}, "")
	settings, err := wireGuardSettings(spec, keys)
	if err != nil {
		return err
	}
	if err := w.set(ctx, settings); err != nil {
		return err
	}
	if err := bench.Command(ctx, place.Outer, fmt.Sprintf("ip link set %s netns %s", name, bench.NamespacePath(place.Inner))); err != nil {
		return err
	}
	side, err := inner.Configure(ctx, place.Inner, name, spec)
	if err != nil {
		return err
	}
	side.Close()
	return nil
}

// wireGuardSettings is a request of wireguard-go's control protocol
// (https://www.wireguard.com/xplatform/#configuration-protocol).
func wireGuardSettings(spec tunnel.Spec, keys tunnel.Keys) (string, error) {
	private, peer, err := keys.KeyPair()
	if err != nil {
		return "", fmt.Errorf("take key pair: %w", err)
	}
	return fmt.Sprintf("set=1\nprivate_key=%s\nlisten_port=%d\nreplace_peers=true\npublic_key=%s\nendpoint=%s\nallowed_ip=%s/32\n\n",
		hex.EncodeToString(private.Bytes()), spec.Local.Outer.Port(),
		hex.EncodeToString(peer.Bytes()), spec.Remote.Outer, spec.Remote.Inner4), nil
}

// set sends settings, once the control socket is there.
func (w *wireGuardGo) set(ctx context.Context, settings string) error {
	ctx, cancel := context.WithTimeout(ctx, controlPatience)
	defer cancel()
	conn, err := w.dial(ctx)
	if err != nil {
		return fmt.Errorf("reach wireguard-go: %w", err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, settings); err != nil {
		return fmt.Errorf("set up wireguard-go: %w", err)
	}
	answer := make([]byte, 64) // A line with a number, and an empty one.
	n, err := conn.Read(answer)
	if err != nil {
		return fmt.Errorf("set up wireguard-go: %w", err)
	}
	if got := strings.TrimSpace(string(answer[:n])); got != "errno=0" {
		return fmt.Errorf("set up wireguard-go: it answers %q", got)
	}
	return nil
}

func (w *wireGuardGo) dial(ctx context.Context) (net.Conn, error) {
	for {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "unix", w.control)
		if err == nil {
			deadline, _ := ctx.Deadline()
			return conn, conn.SetDeadline(deadline)
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-w.process.Ended():
			return nil, errors.Join(err, w.process.Wait())
		case <-time.After(controlPoll):
		}
	}
}

// Details name the module that the program was built from.
func (w *wireGuardGo) Details() []tunnel.Detail {
	version := "unknown"
	if info, err := buildinfo.ReadFile(w.program); err == nil {
		version = info.Main.Version
	}
	return []tunnel.Detail{{Name: "module", Value: version}}
}

// Close ends the program, which removes its interface and its control socket.
func (w *wireGuardGo) Close() error {
	w.stop()
	if err := w.process.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
