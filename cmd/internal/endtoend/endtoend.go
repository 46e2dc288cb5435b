// Package endtoend holds the tests that use the programs as a user does: built
// as they are shipped, run as processes, judged by output, exit code, and what
// they leave behind.
package endtoend
