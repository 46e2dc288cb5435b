package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/cmd/internal/control/controlv1/controlv1connect"
)

const (
	dialTimeout      = 10 * time.Second
	handshakeTimeout = 10 * time.Second
)

// Dial returns a client of the agent at the address (host:port or unix:/path)
// that holds the pinned key, and a function that closes its connections. It
// connects with the first call, and again when a connection is lost.
func Dial(address string, identity *Identity, pin Fingerprint) (controlv1connect.AgentClient, func(), error) {
	network, where, err := splitAddress(address)
	if err != nil {
		return nil, nil, fmt.Errorf("dial agent: %w", err)
	}
	if pin.IsZero() {
		return nil, nil, errors.New("dial agent: no fingerprint is pinned for it")
	}
	transport := newTransport(identity, pin, network, where)
	client := controlv1connect.NewAgentClient(
		&http.Client{Transport: transport, CheckRedirect: refuseRedirect},
		"https://agent", // The transport knows where it is.
		connect.WithReadMaxBytes(maxMessageBytes),
		connect.WithSendMaxBytes(maxRequestBytes),
	)
	return client, transport.CloseIdleConnections, nil
}

func newTransport(identity *Identity, pin Fingerprint, network, where string) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, where)
		},
		TLSClientConfig:        clientTLS(identity, pin),
		TLSHandshakeTimeout:    handshakeTimeout,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		Protocols:              new(http.Protocols),
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
	transport.Protocols.SetHTTP2(true)
	return transport
}

func refuseRedirect(*http.Request, []*http.Request) error {
	return errors.New("an agent does not redirect")
}

// PairWith redeems the token: the agent pins this controller under the name
// and the peers, and trust, the controller's, pins the agent. It returns that pin.
func PairWith(ctx context.Context, token Token, identity *Identity, trust *Trust, name string, peers []Pin) (Pin, error) {
	client, disconnect, err := Dial(token.Address, identity, token.Fingerprint)
	if err != nil {
		return Pin{}, fmt.Errorf("pair: %w", err)
	}
	defer disconnect()
	response, err := client.Pair(ctx, &controlv1.PairRequest{
		Secret: token.secret[:], ControllerName: name, Peers: peerMessages(peers),
	})
	if err != nil {
		return Pin{}, fmt.Errorf("pair: %w", err)
	}
	pin := Pin{Standing: Agent, Name: response.GetAgentName(), Fingerprint: token.Fingerprint, Address: token.Address, Added: time.Now()}
	if err := trust.Introduce(pin); err != nil {
		return Pin{}, fmt.Errorf("pair: %w", err)
	}
	return trust.Find(Agent, token.Fingerprint)
}

func peerMessages(pins []Pin) []*controlv1.Peer {
	peers := make([]*controlv1.Peer, len(pins))
	for i, pin := range pins {
		peers[i] = &controlv1.Peer{Name: pin.Name, Fingerprint: pin.Fingerprint[:], Address: pin.Address}
	}
	return peers
}
