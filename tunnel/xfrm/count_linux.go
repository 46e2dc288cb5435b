package xfrm

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"tunnelmark/tunnel"
)

// header is what an IP header takes of a packet, in bytes, without options.
func (p plan) header() uint64 {
	if p.local.Addr().Is4() {
		return 20
	}
	return 40
}

// count adds what one SA counted. The kernel counts the packet that ESP protects:
// in tunnel mode all of the inner packet, in transport mode what is behind its IP
// header (xfrm_output_one of net/xfrm/xfrm_output.c, xfrm_input of
// net/xfrm/xfrm_input.c).
func (a association) count(s state, counters *tunnel.Counters) {
	bytes := s.curlft.Bytes
	if a.transport {
		bytes += s.curlft.Packets * a.header()
	}
	if a.direction == tunnel.Send {
		counters.OutPackets, counters.OutInnerBytes = s.curlft.Packets, bytes
		return
	}
	counters.InPackets, counters.InInnerBytes = s.curlft.Packets, bytes
	counters.BadICV = uint64(s.stats.IntegrityFailed)
	counters.Replayed = uint64(s.stats.ReplayWindow) + uint64(s.stats.Replay)
}

// dropCounts are counters of a whole namespace, for what no SA counts: a packet
// without an SA, or one that its policy refused. Other IPsec of this host may
// have a part in them. Of several tunnels of a session the first has them, so that
// the sum counts no packet twice.
type dropCounts struct {
	namespace *tunnel.Namespace
	start     map[string]uint64
}

func newDropCounts(namespace *tunnel.Namespace) (*dropCounts, error) {
	start, err := readDrops(namespace)
	return &dropCounts{namespace, start}, err
}

// read is what was dropped since newDropCounts; nothing of nil. The names are explained
// in Linux' Documentation/networking/xfrm_proc.rst.
func (d *dropCounts) read() (tunnel.Counters, error) {
	if d == nil {
		return tunnel.Counters{}, nil
	}
	now, err := readDrops(d.namespace)
	if err != nil {
		return tunnel.Counters{}, err
	}
	since := func(names ...string) (sum uint64) {
		for _, name := range names {
			sum += now[name] - d.start[name]
		}
		return sum
	}
	return tunnel.Counters{
		Malformed:      since("XfrmInHdrError", "XfrmInStateModeError"),
		UnknownSPI:     since("XfrmInNoStates"),
		WrongSelectors: since("XfrmInTmplMismatch", "XfrmInNoPols", "XfrmInPolBlock"),
		SendRefused:    since("XfrmOutError", "XfrmOutNoStates", "XfrmOutStateExpired"),
	}, nil
}

// readDrops is empty on a kernel that keeps no such counts (CONFIG_XFRM_STATISTICS).
func readDrops(namespace *tunnel.Namespace) (counts map[string]uint64, err error) {
	err = namespace.Do(func() error {
		// Not /proc/net: that is the namespace of the process's first thread.
		file, err := os.Open("/proc/thread-self/net/xfrm_stat")
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		defer file.Close()
		counts, err = parseDrops(file)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read counts of dropped packets: %w", err)
	}
	return counts, nil
}

// mostStatistics bounds what is read of a file of /proc, in bytes.
const mostStatistics = 1 << 16

// parseDrops reads lines of a name and a number.
func parseDrops(r io.Reader) (map[string]uint64, error) {
	counts := map[string]uint64{}
	lines := bufio.NewScanner(io.LimitReader(r, mostStatistics))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) != 2 {
			return nil, fmt.Errorf("line %q: want a name and a number", lines.Text())
		}
		n, err := strconv.ParseUint(fields[1], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", lines.Text(), err)
		}
		counts[fields[0]] = n
	}
	return counts, lines.Err()
}
