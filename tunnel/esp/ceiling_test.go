package esp

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
)

// newTestCeiling is that of a tunnel over UDP and IPv4 whose outer interface takes
// path.
func newTestCeiling(t testing.TB, suite tunnel.Suite, mtu int, path *overhead.PathMTU) *ceiling {
	t.Helper()
	added, err := overhead.ESP(suite, tunnel.UDP, overhead.IPv4)
	if err != nil {
		t.Fatal(err)
	}
	return newCeiling(added, mtu, func() (overhead.PathMTU, error) {
		if *path == 0 {
			return 0, errors.New("no route")
		}
		return *path, nil
	})
}

// The interface's MTU falls, nobody can say what it is, and it rises again.
func TestCeiling(t *testing.T) { synctest.Test(t, testCeiling) }

func testCeiling(t *testing.T) {
	path := overhead.PathMTU(1400)
	c := newTestCeiling(t, tunnel.AES128GCM, 1438, &path)
	const most = 1338 // At 1400: TestESP of package overhead, less 100.
	into := make([]byte, longestAnswer6)
	if !c.takes(1438) {
		t.Error("takes no packet of the tunnel's MTU before anything was refused")
	}
	c.look()
	if c.takes(most+1) || !c.takes(most) {
		t.Errorf("after a look: takes up to %d, want %d", c.most.Load(), most)
	}
	path = 0
	time.Sleep(betweenLooks)
	if length, passes := c.answer(into, unfragmented(1438)); length == 0 || passes {
		t.Errorf("packet that is too long: answer of %d bytes, passes %t", length, passes)
	}
	if got := checkAnswer(t, into[:576], unfragmented(1438)); got != most {
		t.Errorf("tells MTU %d, want %d", got, most)
	}
	path = 1500
	time.Sleep(betweenLooks)
	if length, passes := c.answer(into, unfragmented(1438)); length != 0 || !passes {
		t.Errorf("packet that is not too long any more: answer of %d bytes, passes %t", length, passes)
	}
	time.Sleep(betweenLooks)
	if path = 9000; !c.takes(1438) {
		t.Error("takes no packet of the tunnel's MTU")
	}
	if c.look(); c.takes(1439) {
		t.Error("takes packets longer than the tunnel's MTU")
	}
}

// What nobody may be told of takes no answer from those who may.
func TestCeilingSavesAnswers(t *testing.T) {
	path := overhead.PathMTU(1400)
	c := newTestCeiling(t, tunnel.AES128GCM, 1438, &path)
	into := make([]byte, longestAnswer6)
	c.look()
	for range 10 * mostAnswers {
		if length, passes := c.answer(into, ipv4(1438)); length != 0 || passes {
			t.Fatalf("packet that may be cut up: answer of %d bytes, passes %t", length, passes)
		}
	}
	if length, _ := c.answer(into, unfragmented(1438)); length == 0 {
		t.Error("packet that may not be cut up: got no answer")
	}
}

// A flood of packets that are too long is answered a few times per second.
func TestCeilingIsRateLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := overhead.PathMTU(1400)
		c := newTestCeiling(t, tunnel.AES128GCM, 1438, &path)
		into, answers := make([]byte, longestAnswer6), 0
		flood := func() (answered int) {
			before := answers
			for range 1000 {
				if length, _ := c.answer(into, unfragmented(1438)); length > 0 {
					answers++
				}
			}
			return answers - before
		}
		for _, step := range []struct {
			wait time.Duration
			want int
		}{{0, mostAnswers}, {0, 0}, {time.Second / answersPerSecond, 1}, {time.Second / 2, answersPerSecond / 2}, {time.Hour, mostAnswers}} {
			time.Sleep(step.wait)
			if got := flood(); got != step.want {
				t.Errorf("%v later: got %d answers, want %d", step.wait, got, step.want)
			}
		}
	})
}
