package strongswan

import (
	"bytes"
	"strings"
	"sync"
	"time"
)

const (
	journalLines = 40  // Kept.
	quotedLines  = 6   // In an error.
	longestLine  = 300 // Bytes of it that are kept.
)

// journal keeps the end of charon's log in memory. Each write rings the bell:
// what it means is asked of charon, not read here.
type journal struct {
	bell chan struct{}

	mu      sync.Mutex // Guards what follows.
	lines   []string
	partial []byte    // A line whose end has not come yet.
	asked   time.Time // When the peer was last sent the first request of an IKE_SA.
}

func newJournal() *journal { return &journal{bell: make(chan struct{}, 1)} }

// Write takes some of charon's standard error. It never fails.
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	rest := append(j.partial, p...)
	for {
		line, after, found := bytes.Cut(rest, []byte("\n"))
		if !found {
			break
		}
		j.addLocked(string(line))
		rest = after
	}
	j.partial = append([]byte(nil), rest[:min(len(rest), longestLine)]...)
	j.mu.Unlock()
	j.ring()
	return len(p), nil
}

// ring wakes whoever waits for news; one ring is kept for who comes later.
func (j *journal) ring() {
	select {
	case j.bell <- struct{}{}:
	default:
	}
}

func (j *journal) addLocked(line string) {
	if strings.Contains(line, "] initiating IKE_SA") || strings.Contains(line, "of request with message ID 0") {
		j.asked = time.Now()
	}
	j.lines = append(j.lines, line[:min(len(line), longestLine)])
	if extra := len(j.lines) - journalLines; extra > 0 {
		j.lines = append([]string(nil), j.lines[extra:]...)
	}
}

// lastAsked is when the peer was last sent an IKE_SA_INIT request, or a later
// time that is given.
func (j *journal) lastAsked(since time.Time) time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.asked.After(since) {
		return j.asked
	}
	return since
}

// tail is the last of the log, for an error.
func (j *journal) tail() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines[max(0, len(j.lines)-quotedLines):], "; ")
}

// find returns the last line that holds the words, "" where there is none.
func (j *journal) find(words string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := len(j.lines) - 1; i >= 0; i-- {
		if strings.Contains(j.lines[i], words) {
			return j.lines[i]
		}
	}
	return ""
}
