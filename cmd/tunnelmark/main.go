// Command tunnelmark gives the orders: it measures what a tunnel carries, says
// what stops it, and writes the report.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"tunnelmark/cmd/internal/cli"
)

// The process's first thread never exits: a namespace that it entered would
// outlive its descriptor. Locked to main, no other goroutine can land on it.
func init() { runtime.LockOSThread() }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
