//go:build !linux

package tunnel

import "fmt"

// Namespace is a network namespace; only Linux has them.
type Namespace struct{}

// NewNamespace fails: network namespaces need Linux.
func NewNamespace() (*Namespace, error) {
	return nil, fmt.Errorf("network namespaces need Linux: %w", ErrNotSupported)
}
