package xfrm

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"tunnelmark/lab/labtest"
	"tunnelmark/tunnel"
)

// The first thread never exits: no test may take it into a namespace.
func init() { runtime.LockOSThread() }

// Whatever this machine's kernel has or lacks, Check says it.
func TestCheckSaysWhatIsMissing(t *testing.T) {
	labtest.NeedRoot(t)
	for _, form := range []Form{Interface, VTI, Policy, Transport} {
		expectVerdict(t, Driver{form}.Check(goodSpec()))
	}
	expectVerdict(t, Guard{}.Check(goodSpec()))
	_, err := PerCPU()
	expectVerdict(t, err)
}

func expectVerdict(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if !errors.Is(err, tunnel.ErrNotSupported) || !strings.Contains(err.Error(), "CONFIG_") || !strings.Contains(err.Error(), "driver esp") {
		t.Errorf("got %q: want what is missing, the kernel's option, and another driver", err)
	}
	t.Log(err)
}
