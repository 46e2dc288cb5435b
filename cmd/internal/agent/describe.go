package agent

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/control/controlv1"
)

// Describe says what this agent is and what it can do.
func (a *Agent) Describe(_ context.Context, request *controlv1.DescribeRequest) (*controlv1.DescribeResponse, error) {
	hostname, _ := os.Hostname() // Its absence is no reason to refuse.
	fingerprint := a.identity.Fingerprint()
	kernel, memory := kernelAndMemory()
	return &controlv1.DescribeResponse{
		Name:            a.policy.Name,
		Version:         control.Version(),
		Hostname:        hostname,
		Kernel:          kernel,
		CpuModel:        cpuModel("/proc/cpuinfo"),
		Cores:           uint32(runtime.NumCPU()),
		MemoryBytes:     memory,
		GoVersion:       runtime.Version(),
		Drivers:         a.describeDrivers(request.GetDrivers()),
		Limits:          a.policy.limits().Message(),
		Sessions:        uint32(a.count()),
		MaxSessionAgeNs: int64(a.policy.MaxSession),
		Fingerprint:     fingerprint[:],
		OuterAddress:    a.policy.Outer.String(),
		FirstPort:       uint32(a.policy.Ports.First),
		LastPort:        uint32(a.policy.Ports.Last),
	}, nil
}

func kernelAndMemory() (kernel string, memoryBytes uint64) {
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		kernel = fmt.Sprintf("%s %s %s", unix.ByteSliceToString(name.Sysname[:]),
			unix.ByteSliceToString(name.Release[:]), unix.ByteSliceToString(name.Machine[:]))
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		memoryBytes = info.Totalram * uint64(info.Unit)
	}
	return kernel, memoryBytes
}

// cpuModel returns the first core's model name, "" where the file has none.
func cpuModel(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if name, value, found := strings.Cut(lines.Text(), ":"); found && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
