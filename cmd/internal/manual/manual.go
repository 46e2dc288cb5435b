// Package manual writes the man pages of a program from its commands.
package manual

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// Command is the hidden subcommand that writes the pages of the program it is
// added to, one per command, into a directory; section is theirs: "1" for a
// user's commands, "8" for a daemon's. The pages carry today's date, or that of
// the environment variable SOURCE_DATE_EPOCH.
func Command(section string) *cobra.Command {
	return &cobra.Command{
		Use:    "man DIRECTORY",
		Short:  "Write the man pages",
		Hidden: true,
		Args:   cobra.ExactArgs(1), // Hidden: only make install runs it.
		RunE: func(command *cobra.Command, given []string) error {
			return write(command.Root(), section, given[0])
		},
	}
}

func write(root *cobra.Command, section, directory string) error {
	root.DisableAutoGenTag = true // No "auto generated" line with a date of its own.
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return fmt.Errorf("write man pages: %w", err)
	}
	header := doc.GenManHeader{Section: section, Source: "tunnelmark", Manual: "tunnelmark manual"}
	if err := doc.GenManTree(root, &header, directory); err != nil {
		return fmt.Errorf("write man pages: %w", err)
	}
	return nil
}
