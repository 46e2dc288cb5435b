package lab

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// checkPrivilege names everything that the process lacks to build a lab. Its error
// is an os.ErrPermission where a capability is wanting.
func checkPrivilege() error {
	if missing, err := missingCapabilities(); err != nil {
		return err
	} else if len(missing) > 0 {
		return fmt.Errorf("need %s: run as root: %w", strings.Join(missing, " and "), os.ErrPermission)
	}
	return checkBPF()
}

// missingCapabilities asks for the calling thread.
func missingCapabilities() (missing []string, err error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return nil, fmt.Errorf("read capabilities: %w", err)
	}
	needed := []struct {
		name string
		bit  uint
	}{
		{"CAP_NET_ADMIN", unix.CAP_NET_ADMIN},
		{"CAP_SYS_ADMIN", unix.CAP_SYS_ADMIN},
	}
	for _, c := range needed {
		if data[c.bit/32].Effective&(1<<(c.bit%32)) == 0 {
			missing = append(missing, c.name)
		}
	}
	return missing, nil
}

// checkBPF tries what devices and counters are made of.
func checkBPF() error {
	// Kernels before 5.11 charge maps to the limit of locked memory.
	if err := rlimit.RemoveMemlock(); err != nil {
		return fmt.Errorf("raise limit of locked memory: %w", err)
	}
	m, err := newMeter(bucket{})
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("load eBPF program: refused although privileged (seccomp or kernel lockdown?): %w", err)
	}
	if err != nil {
		return fmt.Errorf("load eBPF program (needs a kernel with CONFIG_BPF_SYSCALL, 5.1 or later): %w", err)
	}
	return errors.Join(m.program.Close(), m.state.Close())
}
