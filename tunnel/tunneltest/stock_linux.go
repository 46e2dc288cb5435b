package tunneltest

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// stock is what a driver could leave behind.
type stock struct {
	Descriptors int
	Interfaces  map[string][]string // By namespace.
}

func takeStock(t testing.TB, link *Link) stock {
	t.Helper()
	descriptors, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatalf("list descriptors: %v", err)
	}
	s := stock{Descriptors: len(descriptors), Interfaces: map[string][]string{}}
	if link == nil {
		return s
	}
	for name, site := range map[string]*Site{"left": link.Left, "right": link.Right} {
		s.Interfaces[name+" outer"] = interfaces(t, site.Outer)
		s.Interfaces[name+" inner"] = interfaces(t, site.Inner)
	}
	return s
}

// expectSame expects that nothing is more than it was. It waits a little: a
// goroutine that has been waited for takes a moment more to be gone.
func (s stock) expectSame(t testing.TB, link *Link) {
	t.Helper()
	var now stock
	if !eventually(func() bool { now = takeStock(t, link); return cmp.Equal(s, now) }) {
		t.Errorf("left behind (-before +after):\n%s", cmp.Diff(s, now))
	}
	var running []string
	if !eventually(func() bool { running = goroutines(); return len(running) == 0 }) {
		t.Errorf("left running:\n%s", strings.Join(running, "\n\n"))
	}
}

// goroutines returns the stacks of those that the test framework did not start.
// The suite has none of its own where it looks, so any is a driver's.
func goroutines() []string {
	buffer := make([]byte, 1<<20)
	buffer = buffer[:runtime.Stack(buffer, true)]
	var found []string
	for stack := range strings.SplitSeq(string(buffer), "\n\n") {
		_, creator, created := strings.Cut(stack, "\ncreated by ")
		if created && !strings.HasPrefix(creator, "testing.") && !strings.HasPrefix(creator, "os/signal.") {
			found = append(found, stack)
		}
	}
	return found
}
