package xfrm

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
)

// details say how a plan is carried out on this machine.
func (p plan) details(form Form) []tunnel.Detail {
	details := []tunnel.Detail{
		{Name: "kernel", Value: release()},
		{Name: "form", Value: form.String()},
		{Name: "mode", Value: modeName(p.transport)},
		{Name: "extended sequence numbers", Value: strconv.FormatBool(!p.noESN)},
		{Name: "replay window", Value: fmt.Sprintf("%d packets", p.window)},
		{Name: "hard lifetime", Value: p.lifetime.String()},
	}
	drivers := cryptoDrivers()
	for _, name := range p.names() {
		details = append(details, tunnel.Detail{Name: "kernel " + name, Value: drivers[name].String()})
	}
	return details
}

func modeName(transport bool) string {
	if transport {
		return "transport"
	}
	return "tunnel"
}

func release() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(name.Release[:])
}

// cryptoDriver is one implementation of an algorithm. The kernel takes the one of
// highest priority.
type cryptoDriver struct {
	name     string
	priority int
}

// String says "unknown" of the zero value.
func (d cryptoDriver) String() string {
	if d.name == "" {
		return "unknown"
	}
	return d.name
}

// cryptoDrivers are those that the kernel has loaded, by algorithm; none where
// that cannot be read, since details are not worth a failure.
func cryptoDrivers() map[string]cryptoDriver {
	file, err := os.Open("/proc/crypto")
	if err != nil {
		return nil
	}
	defer file.Close()
	return parseCrypto(file)
}

// mostCrypto bounds what is read of /proc/crypto, in bytes.
const mostCrypto = 1 << 20

// parseCrypto reads blocks of lines "field : value", which empty lines part.
// Implementations for the kernel's inner use only are left out.
func parseCrypto(r io.Reader) map[string]cryptoDriver {
	best := map[string]cryptoDriver{}
	block := map[string]string{}
	finish := func() {
		priority, err := strconv.Atoi(block["priority"])
		known, found := best[block["name"]]
		if err == nil && block["internal"] != "yes" && (!found || priority > known.priority) {
			best[block["name"]] = cryptoDriver{block["driver"], priority}
		}
		clear(block)
	}
	lines := bufio.NewScanner(io.LimitReader(r, mostCrypto))
	for lines.Scan() {
		field, value, found := strings.Cut(lines.Text(), ":")
		if !found {
			finish()
			continue
		}
		block[strings.TrimSpace(field)] = strings.TrimSpace(value)
	}
	finish()
	return best
}
