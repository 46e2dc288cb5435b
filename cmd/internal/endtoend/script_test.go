package endtoend

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"tunnelmark/lab/labtest"
)

// The command line, as scripts: testdata/script/*.txtar.
func TestScripts(t *testing.T) {
	runScripts(t, "testdata/script")
}

// Those that need root.
func TestRootScripts(t *testing.T) {
	labtest.CheckLeaks(t)
	runScripts(t, "testdata/root")
}

func runScripts(t *testing.T, dir string) {
	testscript.Run(t, testscript.Params{
		Dir: dir,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", programs+string(filepath.ListSeparator)+os.Getenv("PATH"))
			env.Setenv("HOME", env.WorkDir)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "demand": demand},
	})
}

// demand writes a CSV file of a demand that grows: demand FILE DAYS.
func demand(ts *testscript.TestScript, _ bool, arguments []string) {
	if len(arguments) != 2 {
		ts.Fatalf("usage: demand FILE DAYS")
	}
	days, err := strconv.Atoi(arguments[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(arguments[0]), growingDemand(days), 0o600))
}

// growingDemand is an hourly mean rate, from 200 Mbit/s in the busy hour of 1 January
// 2015 by 0.5 Mbit/s more each day, with less at night and at weekends.
func growingDemand(days int) []byte {
	text := []byte("timestamp,bits_per_second\n")
	at := time.Date(2015, time.January, 1, 0, 0, 0, 0, time.UTC)
	for hour := range 24 * days {
		busy := 200e6 + 0.5e6*float64(hour)/24
		if day := at.Weekday(); day == time.Saturday || day == time.Sunday {
			busy *= 0.6
		}
		rate := busy * (0.65 - 0.35*math.Cos(2*math.Pi*float64(hour)/24))
		text = fmt.Appendf(text, "%s,%.0f\n", at.Format(time.RFC3339), rate)
		at = at.Add(time.Hour)
	}
	return text
}

// exits runs a program and checks its exit code: exits 2 tunnelmark no-such.
func exits(ts *testscript.TestScript, _ bool, arguments []string) {
	if len(arguments) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGUMENTS...")
	}
	want, err := strconv.Atoi(arguments[0])
	ts.Check(err)
	err = ts.Exec(arguments[1], arguments[2:]...)
	got := 0
	if err != nil {
		exit, ok := err.(interface{ ExitCode() int })
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}
