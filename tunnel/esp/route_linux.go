package esp

import (
	"fmt"
	"net"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/inner"
	"tunnelmark/tunnel/overhead"
)

// outerMTU asks what the interface towards the peer takes. The socket itself could be
// asked (IP_MTU), but would tell what strangers have made the kernel believe, which
// does not bound what it sends (forbidFragments).
func outerMTU(outer *tunnel.Namespace, spec tunnel.Spec) (mtu overhead.PathMTU, err error) {
	err = outer.Do(func() error {
		index, err := inner.Outgoing(spec.Local.Outer, spec.Remote.Outer)
		if err != nil {
			return err
		}
		link, err := net.InterfaceByIndex(index)
		if err != nil {
			return fmt.Errorf("find interface %d towards %s: %w", index, spec.Remote.Outer, err)
		}
		mtu = overhead.PathMTU(link.MTU)
		return nil
	})
	return mtu, err
}
