package probetest

import (
	"net"
	"os"
	"runtime"
	"testing"
	"time"
)

// CheckLeaks fails the test if at its end there are goroutines or descriptors of this
// process which were not there before. labtest.CheckLeaks sees what is in the kernel.
func CheckLeaks(t testing.TB) {
	t.Helper()
	warmUp(t)
	routines, files := runtime.NumGoroutine(), descriptors(t)
	t.Cleanup(func() {
		deadline := time.Now().Add(5 * time.Second)
		for runtime.NumGoroutine() > routines || descriptors(t) > files {
			if time.Now().After(deadline) {
				stacks := make([]byte, 1<<16)
				t.Errorf("left behind: %d goroutines (were %d), %d descriptors (were %d)\n%s",
					runtime.NumGoroutine(), routines, descriptors(t), files, stacks[:runtime.Stack(stacks, true)])
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
}

// warmUp lets the runtime open what it needs for sockets.
func warmUp(t testing.TB) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
}

func descriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
