package wireguard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/inner"
)

const (
	// knock is an interval of keepalives, in force for a moment: that there is
	// one makes WireGuard send the first at once.
	knock = 25 * time.Second
	// handshakePoll is how often a handshake is looked for: WireGuard tells
	// nobody of one.
	handshakePoll = 5 * time.Millisecond
)

// engine is WireGuard at work on one interface.
type engine interface {
	// start has the interface, which is configured and up, carry packets.
	start() error
	// count gives the interface's statistics, and what only the engine knows,
	// their names.
	count(netlink.LinkStatistics) (tunnel.Counters, error)
	// close removes the interface and waits for all goroutines.
	close() error
}

// implementation is an engine and how to speak to it.
type implementation struct {
	engine
	version string
	// serve answers one connection to the control socket; nil if the kernel is to
	// be asked.
	serve func(net.Conn)
}

// half is one end of a tunnel that is up.
type half struct {
	wireguard implementation
	path      tunnel.Path
	remote    netip.AddrPort
	peer      wgtypes.Key // Public.
	side      *inner.Side // Nil until the interface is configured.

	mu     sync.Mutex // Guards what follows.
	closed bool
	last   tunnel.Counters
}

var (
	_ tunnel.Tunnel   = (*half)(nil)
	_ tunnel.Awaiter  = (*half)(nil)
	_ tunnel.Detailed = (*half)(nil)
)

// start configures WireGuard while it is down, so that it comes up with its port
// and peer at once, and has it greet the peer.
func (h *half) start(ctx context.Context, spec tunnel.Spec, settings *settings, place tunnel.Place) error {
	if err := h.configure(settings.config()); err != nil {
		return err
	}
	// WireGuard binds the port again, to all addresses.
	if err := place.Socket.Close(); err != nil {
		return fmt.Errorf("release outer port: %w", err)
	}
	var err error
	if h.side, err = inner.Configure(ctx, place.Inner, h.path.Interface, spec); err != nil {
		return err
	}
	if err := h.wireguard.start(); err != nil {
		return err
	}
	// Where the peer is not there yet, its own greeting will come.
	return h.configure(keepalive(h.peer, knock), keepalive(h.peer, 0))
}

func (h *half) configure(configs ...wgtypes.Config) error {
	return h.control(func(client *wgctrl.Client) error {
		for _, config := range configs {
			if err := client.ConfigureDevice(h.path.Interface, config); err != nil {
				return fmt.Errorf("configure WireGuard interface %s: %w", h.path.Interface, err)
			}
		}
		return nil
	})
}

func (h *half) control(f func(*wgctrl.Client) error) error {
	return control(h.path.Namespace, h.path.Interface, h.wireguard.serve, f)
}

// Path is inside the session's namespace, by IPv4 where the tunnel has it.
func (h *half) Path() tunnel.Path { return h.path }

// Await waits for the first handshake, after which both ends hold keys. Two ends
// that greet each other at the very same time try again after 5 s (WireGuard
// whitepaper, Section 6.1, Rekey-Timeout).
func (h *half) Await(ctx context.Context) error {
	return h.control(func(client *wgctrl.Client) error {
		tick := time.NewTicker(handshakePoll)
		defer tick.Stop()
		for {
			at, err := h.lastHandshake(client)
			if err != nil || !at.IsZero() {
				return err
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("await WireGuard handshake with %s: %w; does the network let UDP pass both ways?", h.remote, ctx.Err())
			case <-tick.C:
			}
		}
	})
}

// lastHandshake is the zero time where there was none. A closed half is an error.
func (h *half) lastHandshake(client *wgctrl.Client) (time.Time, error) {
	device, err := client.Device(h.path.Interface)
	if err != nil {
		return time.Time{}, fmt.Errorf("read WireGuard interface %s: %w", h.path.Interface, err)
	}
	device.PrivateKey = wgtypes.Key{}
	for i := range device.Peers {
		device.Peers[i].PresharedKey = wgtypes.Key{}
	}
	for _, peer := range device.Peers {
		switch {
		case peer.PublicKey != h.peer:
		case peer.LastHandshakeTime.Unix() <= 0: // Of user-space WireGuard, 1970 is none.
			return time.Time{}, nil
		default:
			return peer.LastHandshakeTime, nil
		}
	}
	return time.Time{}, fmt.Errorf("read WireGuard interface %s: its peer is gone: %w", h.path.Interface, net.ErrClosed)
}

// Details are the implementation, and the last handshake where there was one.
func (h *half) Details() []tunnel.Detail {
	details := []tunnel.Detail{{Name: "implementation", Value: h.wireguard.version}}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return details
	}
	var at time.Time
	err := h.control(func(client *wgctrl.Client) (err error) {
		at, err = h.lastHandshake(client)
		return err
	})
	if err == nil && !at.IsZero() {
		details = append(details, tunnel.Detail{Name: "last handshake", Value: at.UTC().Format(time.RFC3339)})
	}
	return details
}

// Counters holds after Close what it held before. What WireGuard refuses to open
// (replayed, forged, of no session) it does not count, and neither does this.
func (h *half) Counters() (tunnel.Counters, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return h.last, nil
	}
	return h.countLocked()
}

func (h *half) countLocked() (tunnel.Counters, error) {
	statistics, err := h.side.Statistics()
	if err != nil {
		return tunnel.Counters{}, err
	}
	h.last, err = h.wireguard.count(statistics)
	return h.last, err
}

// Close reads the last counts, while there is an interface, and removes it.
func (h *half) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	_, countErr := h.countLocked()
	if errors.Is(countErr, tunnel.ErrNotSupported) {
		countErr = nil
	}
	h.closed = true
	return errors.Join(countErr, h.release())
}

// release removes what is there: Open calls it for a half that is not complete.
func (h *half) release() error {
	if h.side != nil {
		h.side.Close()
	}
	return h.wireguard.close()
}
