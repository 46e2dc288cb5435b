//go:build !linux

package cli

import "github.com/spf13/cobra"

// labCommands are none: the lab needs Linux's network namespaces.
func labCommands() []*cobra.Command { return nil }
