package tcp

import (
	"fmt"
	"time"

	"tunnelmark/probe"
)

const (
	// silenceLimit is for how long a load goes on without any sign of life, and
	// feedbackLimit without an authenticated one.
	silenceLimit  = time.Second
	feedbackLimit = 3 * time.Second
	// watchEvery is the time between two looks for them.
	watchEvery = 100 * time.Millisecond
)

// signs are the latest signs of life from the receiver, in time of the sender's
// clock.
type signs struct {
	feedback time.Duration // When the last one came.
	progress time.Duration // When TCP was last seen to have more acknowledged.
	acked    uint64        // Bytes, of all flows together.
}

func (s *signs) see(acked uint64, now time.Duration) {
	if acked > s.acked {
		s.acked, s.progress = acked, now
	}
}

// silence is an error when there were none for too long. It is looked for every
// watchEvery, so it looks that far ahead.
func (s *signs) silence(now time.Duration) error {
	now += watchEvery
	switch {
	case now-s.feedback > feedbackLimit:
		return fmt.Errorf("%w: no feedback for %v", probe.ErrPeerSilent, feedbackLimit)
	case now-max(s.feedback, s.progress) > silenceLimit:
		return fmt.Errorf("%w: neither feedback nor acknowledgements for %v", probe.ErrPeerSilent, silenceLimit)
	}
	return nil
}
