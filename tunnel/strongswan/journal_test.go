package strongswan

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestJournalKeepsTheEnd(t *testing.T) {
	j := newJournal()
	for i := range 3 * journalLines {
		fmt.Fprintf(j, "line %d\n", i)
	}
	fmt.Fprint(j, strings.Repeat("x", 2*longestLine))
	if got := len(j.lines); got != journalLines {
		t.Errorf("keeps %d lines, want %d", got, journalLines)
	}
	if got := len(j.partial); got != longestLine {
		t.Errorf("keeps %d bytes of a line without end, want %d", got, longestLine)
	}
	last := fmt.Sprintf("line %d", 3*journalLines-1)
	if got := j.tail(); !strings.HasSuffix(got, last) || strings.Count(got, "; ") != quotedLines-1 {
		t.Errorf("tail is %q, want %d lines up to %q", got, quotedLines, last)
	}
	if got := j.find("line 1"); !strings.Contains(got, "line 1") {
		t.Errorf("find returns %q", got)
	}
	if got := j.find("line 0\n"); got != "" {
		t.Errorf("find returns %q, want nothing", got)
	}
}

func TestJournalRings(t *testing.T) {
	j := newJournal()
	fmt.Fprint(j, "one\ntwo\n")
	fmt.Fprint(j, "three\n")
	<-j.bell // Kept for who comes later.
	select {
	case <-j.bell:
		t.Error("rings twice where nobody listened")
	default:
	}
}

// Setup time counts from the request that the peer has answered.
func TestJournalKnowsWhenThePeerWasAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		began := time.Now()
		if got := j.lastAsked(began); !got.Equal(began) {
			t.Errorf("asked at %v, want %v", got, began)
		}
		time.Sleep(time.Second)
		fmt.Fprint(j, "04[IKE] initiating IKE_SA ike[1] to 192.0.2.2\n")
		time.Sleep(time.Second)
		fmt.Fprint(j, "05[IKE] retransmit 1 of request with mess")
		fmt.Fprint(j, "age ID 0\n06[IKE] something else\n")
		time.Sleep(time.Second)
		if got, want := j.lastAsked(began), began.Add(2*time.Second); !got.Equal(want) {
			t.Errorf("asked at %v, want %v", got, want)
		}
	})
}
