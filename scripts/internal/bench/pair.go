// Package bench is what the benchmarks of scripts share: a command line, rounds in
// which every job has its turn, two network namespaces with a process in each,
// iperf3 as the load, and figures for a table.
package bench

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"tunnelmark/tunnel"
)

// Pair is two network namespaces, one for each end of a load. They end with the
// processes in them, or with this one, whatever ends it.
type Pair struct {
	Sender, Receiver *tunnel.Namespace
}

// NewPair makes both. The main package must have locked its first thread, as
// tunnel.NewNamespace says.
func NewPair() (*Pair, error) {
	sender, err := tunnel.NewNamespace()
	if err != nil {
		return nil, err
	}
	receiver, err := tunnel.NewNamespace()
	if err != nil {
		_ = sender.Close()
		return nil, err
	}
	return &Pair{Sender: sender, Receiver: receiver}, nil
}

// Join connects both by a veth pair called "bench", whose offloads are on. The
// addresses are of one /24; the MTU is in bytes.
func (p *Pair) Join(ctx context.Context, mtu int, sender, receiver netip.Addr) error {
	for _, step := range []struct {
		in      *tunnel.Namespace
		command string
	}{
		{p.Sender, fmt.Sprintf("ip link add bench mtu %d type veth peer name bench mtu %d netns %s", mtu, mtu, NamespacePath(p.Receiver))},
		{p.Sender, fmt.Sprintf("ip address add %s/24 dev bench", sender)},
		{p.Receiver, fmt.Sprintf("ip address add %s/24 dev bench", receiver)},
		{p.Sender, "ip link set bench up"},
		{p.Receiver, "ip link set bench up"},
	} {
		if err := Command(ctx, step.in, step.command); err != nil {
			return err
		}
	}
	return nil
}

// Close lets go of both.
func (p *Pair) Close() {
	_ = p.Sender.Close()
	_ = p.Receiver.Close()
}

// NamespacePath names a namespace for other processes of this machine, as long as
// this one holds it.
func NamespacePath(n *tunnel.Namespace) string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.FD())
}

// Command runs a line of words in a namespace.
func Command(ctx context.Context, in *tunnel.Namespace, line string) error {
	words := strings.Fields(line)
	return in.Do(func() error {
		if output, err := exec.CommandContext(ctx, words[0], words[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", line, err, strings.TrimSpace(string(output)))
		}
		return nil
	})
}
