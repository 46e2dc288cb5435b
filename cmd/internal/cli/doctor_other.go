//go:build !linux

package cli

import (
	"errors"

	"tunnelmark/cmd/internal/doctor"
)

// examineHere has nothing to examine: tunnels are built on Linux.
func examineHere(bool) (doctor.Document, error) {
	return doctor.Document{}, errors.New("no agent is paired, and this machine is no Linux that could be examined itself; pair with: tunnelmark pair TOKEN-A TOKEN-B")
}
