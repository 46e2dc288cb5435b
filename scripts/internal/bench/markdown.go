package bench

import (
	"fmt"
	"slices"
	"strings"
)

// WriteTable writes a Markdown table.
func WriteTable(text *strings.Builder, titles []string, rows [][]string) {
	for _, cells := range slices.Concat([][]string{titles, slices.Repeat([]string{"---"}, len(titles))}, rows) {
		fmt.Fprintf(text, "| %s |\n", strings.Join(cells, " | "))
	}
}

// WriteFailures lists what failed, if anything did.
func WriteFailures(text *strings.Builder, failures []string) {
	if len(failures) > 0 {
		fmt.Fprintf(text, "\n## Failed\n\n")
	}
	for _, failure := range failures {
		fmt.Fprintf(text, "- %s\n", strings.ReplaceAll(failure, "\n", " "))
	}
}
