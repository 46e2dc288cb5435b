package xfrm

import "tunnelmark/tunnel"

// half is one end of a tunnel that is up: what protects, and where load enters.
type half struct {
	*protection
	path    tunnel.Path
	details []tunnel.Detail
}

var (
	_ tunnel.Tunnel   = (*half)(nil)
	_ tunnel.Detailed = (*half)(nil)
)

// Path is inside the session's namespace for the route-based forms, and in the
// agent's own for the others.
func (h *half) Path() tunnel.Path { return h.path }

// Details name the kernel, its algorithms and their implementations.
func (h *half) Details() []tunnel.Detail { return h.details }
