package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// splitAddress takes the address of an agent's control apart: host:port,
// unix:/path or unix:@name.
func splitAddress(address string) (network, where string, err error) {
	if address == "" || len(address) > maxAddressBytes {
		return "", "", fmt.Errorf("address of %d bytes, allowed are 1 to %d", len(address), maxAddressBytes)
	}
	if strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return "", "", fmt.Errorf("address %q has spaces or control characters", address)
	}
	if path, found := strings.CutPrefix(address, "unix:"); found {
		// "@name" is an abstract socket, of a lab's agents: it leaves no file behind.
		if !filepath.IsAbs(path) && !strings.HasPrefix(path, "@") {
			return "", "", fmt.Errorf("address %q: want unix: and an absolute path, or unix:@ and a name", address)
		}
		return "unix", path, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", "", fmt.Errorf("address %q: want host:port or unix:/path", address)
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
		return "", "", fmt.Errorf("address %q: port %q, allowed are 1 to 65535", address, port)
	}
	if host == "" {
		return "", "", fmt.Errorf("address %q names no host", address)
	}
	return "tcp", address, nil
}

// Listen opens what an agent serves control on: "host:port" (port 0 takes a free
// one, an empty host all addresses), "unix:/path", "unix:@name", or "fd:N", a listening stream
// socket that the parent process handed down as descriptor N.
func Listen(ctx context.Context, where string) (net.Listener, error) {
	if number, found := strings.CutPrefix(where, "fd:"); found {
		return listenDescriptor(number)
	}
	if path, found := strings.CutPrefix(where, "unix:"); found {
		return listenUnix(ctx, path)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", where)
	if err != nil {
		return nil, fmt.Errorf("listen for control: %w", err)
	}
	return listener, nil
}

// listenDescriptor takes over descriptor N: it is closed here, its copy in the
// listener lives on.
func listenDescriptor(number string) (net.Listener, error) {
	fd, err := strconv.ParseUint(number, 10, 16)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("listen for control: descriptor %q, allowed are 3 to 65535", number)
	}
	file := os.NewFile(uintptr(fd), "control")
	defer file.Close()
	listener, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("listen for control on descriptor %d: %w", fd, err)
	}
	return listener, nil
}

// listenUnix replaces a socket that a killed agent left behind, and no other.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if errors.Is(err, syscall.EADDRINUSE) && abandoned(ctx, path) {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("listen for control: remove abandoned socket: %w", err)
		}
		listener, err = new(net.ListenConfig).Listen(ctx, "unix", path)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for control: %w", err)
	}
	if strings.HasPrefix(path, "@") {
		return listener, nil // No file, no mode: TLS alone decides who may.
	}
	if err := os.Chmod(path, 0o600); err != nil {
		listener.Close()
		return nil, fmt.Errorf("listen for control: %w", err)
	}
	return listener, nil
}

// abandoned says that path is a socket on which nobody listens. (Connecting to a
// file of another kind is refused just the same.)
func abandoned(ctx context.Context, path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return false
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
