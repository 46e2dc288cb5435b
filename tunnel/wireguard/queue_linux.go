package wireguard

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

// socketDrops is how many datagrams the kernel dropped because the queue of a
// socket was full, of those that listen at all addresses on that port:
// wireguard-go does not let others ask its sockets.
func socketDrops(namespace *tunnel.Namespace, port uint16) (drops uint64, err error) {
	err = namespace.Do(func() error {
		for _, table := range []string{"/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"} {
			n, err := readDrops(table, port)
			if err != nil && !errors.Is(err, os.ErrNotExist) { // A kernel without IPv6 has one.
				return fmt.Errorf("read drops of outer sockets: %w", err)
			}
			drops += n
		}
		return nil
	})
	return drops, err
}

func readDrops(table string, port uint16) (uint64, error) {
	file, err := os.Open(table)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }()
	return sumDrops(file, port)
}

// sumDrops reads a table of UDP sockets (udp4_seq_show of net/ipv4/udp.c): the
// second column is the local address and port in hexadecimal, the last, of 13,
// the drops. Addresses are in the host's byte order, ports are not.
func sumDrops(table io.Reader, port uint16) (sum uint64, err error) {
	const columns = 13
	wanted := fmt.Sprintf(":%04X", port)
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < columns || !strings.HasSuffix(fields[1], wanted) || !isUnspecified(fields[1]) {
			continue
		}
		drops, err := strconv.ParseUint(fields[columns-1], 10, 32)
		if err != nil {
			return 0, fmt.Errorf("read drops of the socket at %s: %w", fields[1], err)
		}
		sum += drops
	}
	return sum, lines.Err()
}

func isUnspecified(local string) bool {
	address, _, _ := strings.Cut(local, ":")
	return strings.Trim(address, "0") == ""
}
