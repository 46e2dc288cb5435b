package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/net/netutil"

	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/cmd/internal/control/controlv1/controlv1connect"
)

// What one server grants to all of its callers together, and to each.
const (
	maxConnections  = 128
	maxStreams      = 32 // Of one connection.
	maxRequestBytes = 64 << 10
	headerTimeout   = 10 * time.Second // Also of the TLS handshake.
	pairBodyTimeout = 10 * time.Second
	idleTimeout     = 2 * time.Minute
	// Control often shares the path under test, so that an overload may hold
	// pings back: these are longer than a trial's overload lasts.
	pingAfter      = time.Minute
	pingTimeout    = time.Minute
	shutdownPeriod = 5 * time.Second
)

// Server serves an agent's control. All fields are required.
type Server struct {
	Identity *Identity
	Trust    *Trust
	Tokens   *TokenStore
	// Service answers paired controllers. Its Pair is never called.
	Service       controlv1connect.AgentHandler
	Name, Version string // Of the agent.
	Logger        *slog.Logger
}

// Serve answers on the listener until ctx ends, which also ends the contexts of
// the requests; it then waits up to 5 s for their handlers. It closes the
// listener.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	server := s.httpServer(ctx)
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(netutil.LimitListener(listener, maxConnections), "", "") }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve control: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownPeriod)
	defer cancel()
	err := server.Shutdown(grace)
	err = errors.Join(err, server.Close())
	if stopped := <-ended; !errors.Is(stopped, http.ErrServerClosed) {
		err = errors.Join(err, stopped)
	}
	if err != nil {
		return fmt.Errorf("stop serving control: %w", err)
	}
	return nil
}

func (s *Server) httpServer(ctx context.Context) *http.Server {
	return &http.Server{
		Handler:           s.gate(),
		TLSConfig:         serverTLS(s.Identity),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams,
			SendPingTimeout:      pingAfter,
			PingTimeout:          pingTimeout,
			WriteByteTimeout:     pingTimeout,
		},
		ErrorLog: slog.NewLogLogger(s.Logger.Handler(), slog.LevelDebug),
	}
}

// gate lets controllers pass to everything and others to Pair alone. It stands
// before the RPC code: of an unpaired caller's other requests not even the body
// is read.
func (s *Server) gate() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(controlv1connect.NewAgentHandler(s.service(), s.options()...))
	refuse := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err := s.identify(r)
		switch {
		case err == nil:
		case !errors.Is(err, ErrNotTrusted):
			s.Logger.Error("could not look up caller", LogError, err)
			fallthrough
		case r.URL.Path != controlv1connect.AgentPairProcedure:
			s.refuse(refuse, w, r)
			return
		default: // Pair, by someone not pinned.
			if !s.hurry(w) {
				return
			}
		}
		mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, caller)))
	})
}

// identify says who sends. Where the error wraps ErrNotTrusted, it is somebody
// who is not a controller of this agent.
func (s *Server) identify(r *http.Request) (caller, error) {
	fingerprint, err := peerFingerprint(r.TLS.PeerCertificates)
	if err != nil {
		return caller{}, err
	}
	c := caller{fingerprint: fingerprint, remote: r.RemoteAddr}
	if remote, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		c.source = remote.Addr()
	}
	c.pin, err = s.Trust.Find(Controller, fingerprint)
	return c, err
}

// hurry bounds the time in which a stranger's body must arrive.
func (s *Server) hurry(w http.ResponseWriter) bool {
	err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(pairBodyTimeout))
	if err != nil {
		s.Logger.Error("could not set a deadline", LogError, err)
		http.Error(w, errUnauthenticated.Message(), http.StatusUnauthorized)
	}
	return err == nil
}

func (s *Server) refuse(writer *connect.ErrorWriter, w http.ResponseWriter, r *http.Request) {
	s.Logger.Debug("refused an unpaired caller", LogRemote, r.RemoteAddr)
	w.Header().Set("Connection", "close") // It need not come back on this one.
	if !writer.IsSupported(r) {
		http.Error(w, errUnauthenticated.Message(), http.StatusUnauthorized)
		return
	}
	writer.Write(w, r, errUnauthenticated) //nolint:errcheck // The caller may be gone; nothing is owed to it.
}

// service is the agent's, with Pair answered here.
func (s *Server) service() controlv1connect.AgentHandler {
	return service{s.Service, &pairing{
		identity: s.Identity, trust: s.Trust, tokens: s.Tokens,
		name: s.Name, version: s.Version, logger: s.Logger,
	}}
}

var _ controlv1connect.AgentHandler = service{}

type service struct {
	controlv1connect.AgentHandler
	pairing *pairing
}

func (s service) Pair(ctx context.Context, request *controlv1.PairRequest) (*controlv1.PairResponse, error) {
	return s.pairing.Pair(ctx, request)
}

func (s *Server) options() []connect.HandlerOption {
	return []connect.HandlerOption{
		connect.WithReadMaxBytes(maxRequestBytes),
		connect.WithSendMaxBytes(maxMessageBytes),
		connect.WithRecover(func(_ context.Context, spec connect.Spec, _ http.Header, value any) error {
			s.Logger.Error("request panicked", LogProcedure, spec.Procedure, LogPanic, value, LogStack, string(debug.Stack()))
			return connect.NewError(connect.CodeInternal, errors.New("internal error, see the agent's log"))
		}),
	}
}
