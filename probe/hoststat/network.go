package hoststat

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
)

// networkCount is what a network namespace has counted since it was made.
type networkCount struct {
	interfaces []Interface // In the order of the reader's names.
	udp        UDP
	tcp        TCP
	xfrm       map[string]uint64 // Nil where the kernel counts none.
}

func (t thread) network(interfaces []string) (n networkCount, err error) {
	if n.interfaces, err = t.interfaces(interfaces); err != nil {
		return networkCount{}, err
	}
	if n.udp, n.tcp, err = t.transport(); err != nil {
		return networkCount{}, err
	}
	if n.xfrm, err = t.xfrm(); err != nil {
		return networkCount{}, err
	}
	return n, nil
}

func (t thread) interfaces(names []string) (found []Interface, err error) {
	all, err := t.task.NetDev()
	if err != nil {
		return nil, fmt.Errorf("read the interfaces' counters: %w", err)
	}
	for name, line := range all {
		if slices.Contains(names, name) {
			found = append(found, interfaceOf(line))
		}
	}
	slices.SortFunc(found, func(a, b Interface) int { return slices.Index(names, a.Name) - slices.Index(names, b.Name) })
	return found, nil
}

func interfaceOf(line procfs.NetDevLine) Interface {
	return Interface{
		Name:            line.Name,
		ReceivedPackets: line.RxPackets, ReceivedBytes: line.RxBytes,
		ReceiveErrors: line.RxErrors, ReceiveDropped: line.RxDropped,
		SentPackets: line.TxPackets, SentBytes: line.TxBytes,
		SendErrors: line.TxErrors, SendDropped: line.TxDropped,
	}
}

// transport reads the counters of UDP and TCP. Those of TCP are of IPv4 and IPv6
// together already.
func (t thread) transport() (UDP, TCP, error) {
	v4, err := t.task.Snmp()
	if err != nil {
		return UDP{}, TCP{}, fmt.Errorf("read the UDP counters: %w", err)
	}
	v6, err := t.task.Snmp6() // Empty where the kernel has no IPv6.
	if err != nil {
		return UDP{}, TCP{}, fmt.Errorf("read the UDP counters of IPv6: %w", err)
	}
	udp := UDP{
		Received:            count(v4.Udp.InDatagrams) + count(v6.Udp6.InDatagrams),
		NoPort:              count(v4.Udp.NoPorts) + count(v6.Udp6.NoPorts),
		ReceiveErrors:       count(v4.Udp.InErrors) + count(v6.Udp6.InErrors),
		ReceiveBufferErrors: count(v4.Udp.RcvbufErrors) + count(v6.Udp6.RcvbufErrors),
		SendBufferErrors:    count(v4.Udp.SndbufErrors) + count(v6.Udp6.SndbufErrors),
		ChecksumErrors:      count(v4.Udp.InCsumErrors) + count(v6.Udp6.InCsumErrors),
	}
	return udp, TCP{Retransmitted: count(v4.RetransSegs)}, nil
}

func count(v *float64) uint64 {
	if v == nil || *v < 0 {
		return 0
	}
	return uint64(*v)
}

// xfrm reads the counters of kernel IPsec under whatever names this kernel has:
// newer ones have more than procfs knows.
func (t thread) xfrm() (map[string]uint64, error) {
	file, err := os.Open(filepath.Join(t.root, "thread-self", "net", "xfrm_stat"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // A kernel without CONFIG_XFRM_STATISTICS.
	}
	if err != nil {
		return nil, fmt.Errorf("read the IPsec counters: %w", err)
	}
	defer file.Close()
	return parseXFRM(file)
}

// parseXFRM reads lines like "XfrmInNoStates  3" (Linux,
// Documentation/networking/xfrm/xfrm_proc.rst).
func parseXFRM(r io.Reader) (map[string]uint64, error) {
	counts := make(map[string]uint64)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		number, err := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read the IPsec counters: line %q: %w", lines.Text(), err)
		}
		counts[name] = number
	}
	return counts, lines.Err()
}
