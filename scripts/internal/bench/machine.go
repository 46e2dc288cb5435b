package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine is what the figures are of. What cannot be found out is "unknown".
type Machine struct {
	Cores                       int
	CPU, Kernel, Golang, Iperf3 string
}

const unknown = "unknown"

// ThisMachine describes the one that this process runs on.
func ThisMachine(ctx context.Context) Machine {
	return Machine{Cores: runtime.NumCPU(), CPU: cpuModel(), Kernel: kernelRelease(), Golang: runtime.Version(), Iperf3: iperf3Version(ctx)}
}

// String is a sentence.
func (m Machine) String() string {
	return fmt.Sprintf("%d cores (%s), Linux %s, %s, %s.", m.Cores, m.CPU, m.Kernel, m.Golang, m.Iperf3)
}

// cpuModel reads the name of the first core's (proc_cpuinfo(5)).
func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return unknown
	}
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return unknown
}

func kernelRelease() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return unknown
	}
	return unix.ByteSliceToString(name.Release[:])
}

// iperf3Version is the first line of what iperf3 says of itself, such as
// "iperf 3.12 (cJSON 1.7.15)".
func iperf3Version(ctx context.Context) string {
	text, err := exec.CommandContext(ctx, "iperf3", "--version").Output()
	if err != nil {
		return "iperf3 " + unknown
	}
	first, _, _ := strings.Cut(string(text), "\n")
	return first
}
