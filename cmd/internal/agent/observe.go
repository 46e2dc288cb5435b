package agent

import (
	"net/netip"

	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/probe/hoststat"
	"tunnelmark/tunnel"
)

// observation is what the host has counted when a trial begins: all of it, as the
// agent's own namespace sees it, where the encrypted side is; and the network of
// the tunnel's clear side, which mostly is another.
type observation struct {
	host, clear     hoststat.Reader
	namespace       *tunnel.Namespace
	before, beneath hoststat.Snapshot
}

func observe(outer netip.Addr, path tunnel.Path) (o observation, err error) {
	o.host.Root, o.clear.Root, o.namespace = hoststat.Root, hoststat.Root, path.Namespace
	if i := interfaceOf(outer); i != nil {
		o.host.Interfaces = []string{i.Name}
	}
	if path.Interface != "" {
		o.clear.Interfaces = []string{path.Interface}
	}
	o.before, o.beneath, err = o.read()
	return o, err
}

func (o observation) read() (host, clear hoststat.Snapshot, err error) {
	if host, err = o.host.Read(); err != nil {
		return host, clear, err
	}
	err = o.namespace.Do(func() error {
		clear, err = o.clear.Read()
		return err
	})
	return host, clear, err
}

// since is what the host did since then.
func (o observation) since() (*controlv1.Host, error) {
	host, clear, err := o.read()
	if err != nil {
		return nil, err
	}
	return hostTo(host.Since(o.before), clear.Since(o.beneath).Network), nil
}
