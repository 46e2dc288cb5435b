package demand

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
)

// Times outside these years are a mistake: no interface counted traffic for a manager
// before 1988 (RFC 1066), and a plan looks years ahead, not centuries.
const (
	firstYear = 1988
	lastYear  = 2200
)

const timesAllowed = "a time such as 2026-01-31T15:04:05Z, 2026-01-31 15:04:05, or seconds or milliseconds since 1970"

// clock reads the times of a file.
type clock struct {
	zone *time.Location
	// local says that a time without a zone was read.
	local bool
	text  [48]byte // Of one time, reused.
}

// above is what the rows above say about the time of the next one.
type above struct {
	last     time.Time
	gap      time.Duration // Between last and the other time before it.
	backward bool
}

// read understands a cell. Times without a zone are of the clock's; where it put its
// clocks back and an hour came twice, the rows above tell which of both is meant.
func (c *clock) read(cell []byte, rows above) (time.Time, error) {
	at, zoned, ok := c.parse(cell)
	if !ok {
		return at, fmt.Errorf("%s is not %s", shown(cell), timesAllowed)
	}
	if year := at.Year(); year < firstYear || year > lastYear {
		return at, fmt.Errorf("%s is not a time between the years %d and %d", shown(cell), firstYear, lastYear)
	}
	if zoned {
		return at, nil
	}
	c.local = true
	if c.zone == time.UTC {
		return at, nil
	}
	at, ok = rows.resolve(at, c.zone)
	if !ok {
		return at, fmt.Errorf("%s does not exist in %s, whose clocks are put forward then: are the times of another zone?", shown(cell), c.zone)
	}
	return at, nil
}

// looksLikeTime says whether a cell can be a time.
func looksLikeTime(cell string) bool {
	_, err := (&clock{zone: time.UTC}).read([]byte(cell), above{})
	return err == nil
}

// parse reads a calendar date with a time of day, or a count since 1970. A time
// without a zone is given in UTC and is not zoned.
func (c *clock) parse(cell []byte) (at time.Time, zoned, ok bool) {
	if len(cell) >= 10 && (cell[4] == '-' || cell[4] == '/') && cell[7] == cell[4] && len(cell) <= 40 {
		return c.calendar(cell)
	}
	at, ok = sinceEpoch(cell)
	return at, true, ok
}

// calendar writes the time as RFC 3339 would and reads that.
func (c *clock) calendar(cell []byte) (at time.Time, zoned, ok bool) {
	text := append(c.text[:0], cell[:10]...)
	text[4], text[7] = '-', '-'
	day, rest := cell[:10], cell[10:]
	if len(rest) == 0 {
		rest = []byte("T00:00:00")
	}
	if rest[0] != 'T' && rest[0] != ' ' {
		return at, false, false
	}
	hour, zone := cutZone(rest[1:])
	text = append(append(text[:len(day)], 'T'), hour...)
	if len(hour) == len("15:04") {
		text = append(text, ":00"...)
	}
	text = append(text, zone...)
	switch {
	case len(zone) == 0:
		text = append(text, 'Z')
	case len(zone) == len("+01"):
		text = append(text, ":00"...)
	case len(zone) == len("+0100"):
		text = append(append(text[:len(text)-2], ':'), zone[3:]...)
	}
	return at, len(zone) > 0, at.UnmarshalText(text) == nil
}

// cutZone takes a zone off a time of day: Z, UTC, +01, +0100 or +01:00.
func cutZone(text []byte) (hour, zone []byte) {
	if rest, found := bytes.CutSuffix(text, []byte(" UTC")); found {
		return rest, []byte("Z")
	}
	for at, c := range text {
		if c == 'Z' || c == '+' || c == '-' {
			return bytes.TrimRight(text[:at], " "), text[at:]
		}
	}
	return text, nil
}

// sinceEpoch reads seconds since 1970 or, by their magnitude, milli-, micro- or
// nanoseconds: 10^11 s are in the year 5138, and 10^11 ms were in 1973.
func sinceEpoch(cell []byte) (time.Time, bool) {
	for _, c := range cell {
		if c != '.' && (c < '0' || c > '9') {
			return time.Time{}, false
		}
	}
	count, err := strconv.ParseFloat(string(cell), 64)
	if err != nil || count >= 1e20 {
		return time.Time{}, false
	}
	for count >= 1e11 {
		count /= 1e3
	}
	seconds := int64(count)
	return time.Unix(seconds, int64((count-float64(seconds))*1e9)).UTC(), true
}

// resolve finds the moment at which clocks in a zone show what wall shows in UTC. Of
// two it is the one that is next after last, or next before it where times go
// backward; or last itself, where a row repeats it: rows that are as far apart as both
// moments are no repetition. It is not ok where clocks never show that.
func (a above) resolve(wall time.Time, zone *time.Location) (at time.Time, ok bool) {
	early, late, ok := showing(wall, zone)
	repeats := a.gap <= late.Sub(early)/2
	if a.backward {
		if late.Before(a.last) || repeats && late.Equal(a.last) {
			return late, ok
		}
		return early, ok
	}
	if early.After(a.last) || repeats && early.Equal(a.last) {
		return early, ok
	}
	return late, ok
}

// showing is the first moment and the last at which clocks in a zone show what wall shows
// in UTC. They differ where clocks were put back, by an hour or, on Lord Howe Island, by half
// of one.
func showing(wall time.Time, zone *time.Location) (early, late time.Time, ok bool) {
	at := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), wall.Nanosecond(), zone)
	early, late = at, at
	begin, end := at.ZoneBounds()
	if other := wallAt(wall, begin.Add(-1), zone); shows(other, wall) && other.Before(at) {
		early = other
	}
	if other := wallAt(wall, end, zone); shows(other, wall) && other.After(at) {
		late = other
	}
	return early, late, shows(at, wall)
}

// wallAt is when clocks that differ from UTC as those in a zone do near a moment show what
// wall shows.
func wallAt(wall, near time.Time, zone *time.Location) time.Time {
	_, offset := near.In(zone).Zone()
	return wall.Add(-time.Duration(offset) * time.Second).In(zone)
}

// shows says whether clocks then show what wall shows in UTC.
func shows(at, wall time.Time) bool {
	_, offset := at.Zone()
	return at.Add(time.Duration(offset) * time.Second).Equal(wall)
}
