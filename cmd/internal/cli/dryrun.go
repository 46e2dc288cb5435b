package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"tunnelmark/analysis"
	"tunnelmark/analysis/search"
	"tunnelmark/cmd/internal/controller"
	"tunnelmark/cmd/internal/unit"
)

// forecast is what find --dry-run tells.
type forecast struct {
	From  string `json:"from"`
	To    string `json:"to"`
	Sizes []int  `json:"sizes_bytes"` // One search each.
	controller.Forecast
}

// forecast says what the search would do at most. Only where no --max-rate is given the
// agents are asked for theirs.
func (f *findFlags) forecast(command *cobra.Command, given []string, plan controller.FindPlan) error {
	if f.options.MaxInnerBitsPerSecond == 0 {
		ends, disconnect, err := dialEnds(&f.state, given[0], given[1])
		defer disconnect()
		if err != nil {
			return err
		}
		plan.From, plan.To = ends[0], ends[1]
	}
	planned, err := plan.Forecast(command.Context())
	if err != nil {
		return err
	}
	told := forecast{From: given[0], To: given[1], Sizes: f.sizes, Forecast: planned}
	if f.output.json {
		encoder := json.NewEncoder(command.OutOrStdout())
		encoder.SetIndent("", "  ")
		return encoder.Encode(told)
	}
	return told.write(command.OutOrStdout())
}

func (f forecast) write(w io.Writer) error {
	searches := "1 search"
	if n := len(f.Sizes); n > 1 {
		searches = fmt.Sprintf("%d searches, one for each size; the figures are of one", n)
	}
	text := fmt.Sprintf("Dry run   %s → %s, %s: nothing was sent\n", printable(f.From), printable(f.To), searches)
	text += describePlan("Tunnel", f.Tunnel)
	if f.Baseline != nil {
		text += describePlan("Baseline", *f.Baseline)
	}
	_, err := io.WriteString(w, text)
	return err
}

// describePlan is one search in four lines.
func describePlan(name string, p search.Forecast) string {
	manner := fmt.Sprintf("%s, from %s inner", p.Manner, unit.FormatBitRate(p.FirstInnerBitsPerSecond))
	if p.Manner == analysis.Climb {
		manner += fmt.Sprintf(", each load at most %g times the highest clean one", p.MostOverClean)
	}
	return fmt.Sprintf("%-10s%s\n", name, manner) +
		fmt.Sprintf("  peak    at most %s inner\n", unit.FormatBitRate(p.MostInnerBitsPerSecond)) +
		fmt.Sprintf("  bytes   at most %s of inner packets, in %v and %d trials\n", formatBytes(p.MostInnerBytes), p.MostTraffic, p.MostTrials) +
		fmt.Sprintf("  loss    at most %s in which more is lost than the goal\n", formatSeconds(p.MostLossy))
}

func formatSeconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + " s"
}

// formatBytes writes a volume in decimal units, as rates are.
func formatBytes(bytes float64) string {
	for _, step := range []struct {
		least float64
		name  string
	}{{1e12, "TB"}, {1e9, "GB"}, {1e6, "MB"}} {
		if bytes >= step.least {
			return strconv.FormatFloat(bytes/step.least, 'f', 1, 64) + " " + step.name
		}
	}
	return strconv.FormatFloat(bytes/1e3, 'f', 1, 64) + " kB"
}
