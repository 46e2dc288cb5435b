package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"connectrpc.com/connect"

	"tunnelmark/cmd/internal/control/controlv1"
)

// maxPeers bounds how many peers one call introduces.
const maxPeers = 64

// errUnauthenticated is all that an unpaired caller is told.
var errUnauthenticated = connect.NewError(connect.CodeUnauthenticated, errors.New("not paired with this agent"))

// pairing answers Pair, the only call that an unpaired caller reaches.
type pairing struct {
	identity *Identity
	trust    *Trust
	tokens   *TokenStore
	name     string
	version  string
	logger   *slog.Logger
	attempts attempts
}

// Pair redeems the token and pins the caller and its peers. Wrong, expired and
// used secrets are answered alike.
func (p *pairing) Pair(ctx context.Context, request *controlv1.PairRequest) (*controlv1.PairResponse, error) {
	caller := callerIn(ctx)
	logger := p.logger.With(LogFingerprint, caller.fingerprint.Short(), LogRemote, caller.remote)
	if !p.attempts.allow(caller.source, time.Now()) {
		return nil, connect.NewError(connect.CodeResourceExhausted, errors.New("too many attempts to pair; wait a minute"))
	}
	pins, err := p.pins(caller.fingerprint, request)
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	if err := p.tokens.Redeem(request.GetSecret()); err != nil {
		logger.Warn("refused to pair", LogError, err)
		return nil, errUnauthenticated
	}
	if err := p.trust.Introduce(pins...); err != nil {
		logger.Error("could not pin", LogError, err)
		return nil, connect.NewError(connect.CodeInternal, err)
	}
	logger.Info("paired", LogController, request.GetControllerName(), LogPeers, len(pins)-1)
	return &controlv1.PairResponse{AgentName: p.name, Version: p.version}, nil
}

// pins are the caller as a controller, and its peers.
func (p *pairing) pins(caller Fingerprint, request *controlv1.PairRequest) ([]Pin, error) {
	if len(request.GetPeers()) > maxPeers {
		return nil, fmt.Errorf("%d peers, at most %d are allowed", len(request.GetPeers()), maxPeers)
	}
	now := time.Now()
	pins := []Pin{{Standing: Controller, Name: request.GetControllerName(), Fingerprint: caller, Added: now}}
	for _, peer := range request.GetPeers() {
		fingerprint, err := FingerprintFromBytes(peer.GetFingerprint())
		if err != nil {
			return nil, fmt.Errorf("peer %q: %w", peer.GetName(), err)
		}
		// What carries the offers must not be able to sign one.
		if fingerprint == caller {
			return nil, fmt.Errorf("peer %q has the controller's own fingerprint", peer.GetName())
		}
		pins = append(pins, Pin{Standing: Peer, Name: peer.GetName(), Fingerprint: fingerprint, Address: peer.GetAddress(), Added: now})
	}
	for _, pin := range pins {
		if err := pin.check(); err != nil {
			return nil, err
		}
		// Its own key as a peer would let an offer be reflected.
		if pin.Fingerprint == p.identity.Fingerprint() {
			return nil, fmt.Errorf("%s %q has this agent's own fingerprint", pin.Standing, pin.Name)
		}
	}
	return pins, nil
}

// caller is who sent a request.
type caller struct {
	fingerprint Fingerprint
	remote      string     // For people.
	source      netip.Addr // Zero on a Unix socket.
	pin         Pin        // Zero where the caller is not a controller.
}

type callerKey struct{}

func callerIn(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// CallerFrom returns the pin of the controller whose request this is. It is
// false outside of a request.
func CallerFrom(ctx context.Context) (Pin, bool) {
	c := callerIn(ctx)
	return c.pin, !c.pin.Fingerprint.IsZero()
}

// WithCaller is for tests of a service without a network.
func WithCaller(ctx context.Context, pin Pin) context.Context {
	return context.WithValue(ctx, callerKey{}, caller{fingerprint: pin.Fingerprint, pin: pin})
}
