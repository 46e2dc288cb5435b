package strongswan

import (
	"time"

	"tunnelmark/tunnel"
)

// details tell what has been negotiated, where something has.
func (k *keeper) details() []tunnel.Detail {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.now.carries {
		return []tunnel.Detail{{Name: "negotiated", Value: "nothing yet"}}
	}
	child := k.now.child
	details := []tunnel.Detail{
		{Name: "IKE proposal", Value: k.now.ike},
		{Name: "ESP proposal", Value: child.algorithms},
		{Name: "sequence numbers", Value: choose(child.esn, "extended", "32-bit")},
		{Name: "encapsulation", Value: string(choose(child.udp, tunnel.UDP, tunnel.Raw))},
		{Name: "SPI in", Value: child.spiIn},
		{Name: "SPI out", Value: child.spiOut},
	}
	if k.setup > 0 {
		details = append(details, tunnel.Detail{Name: "setup time", Value: k.setup.Round(time.Millisecond).String()})
	}
	return details
}

func choose[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}
