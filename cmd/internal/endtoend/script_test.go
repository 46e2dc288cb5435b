package endtoend

import (
	"fmt"
	"math"
	"math/rand/v2"
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

// growingDemand is an hourly mean rate, in busy hours from 200 Mbit/s on 1 January 2015 by
// 0.5 Mbit/s more each day, with less at night and at weekends, and days that differ.
func growingDemand(days int) []byte {
	text := []byte("timestamp,bits_per_second\n")
	noise := rand.New(rand.NewPCG(2015, 1))
	for day := range days {
		busy := (200e6 + 0.5e6*float64(day)) * math.Exp(0.05*noise.NormFloat64())
		date := time.Date(2015, time.January, 1+day, 0, 0, 0, 0, time.UTC)
		if date.Weekday() == time.Saturday || date.Weekday() == time.Sunday {
			busy *= 0.6
		}
		for hour := range 24 {
			rate := busy * (0.65 - 0.35*math.Cos(2*math.Pi*float64(hour)/24))
			text = fmt.Appendf(text, "%s,%.0f\n", date.Add(time.Duration(hour)*time.Hour).Format(time.RFC3339), rate)
		}
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
