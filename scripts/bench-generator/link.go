package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// mtu of the veth pair fits the largest packets.
const mtu = 9000

// The benchmark's addresses are those for benchmarks (RFC 2544, Section C.2.2).
var (
	senderAddress   = netip.MustParseAddr("198.18.0.1")
	receiverAddress = netip.MustParseAddr("198.18.0.2")
)

// link is a veth pair between two network namespaces.
type link struct {
	sender, receiver *namespace
}

// newLink makes both namespaces and joins them.
func newLink(ctx context.Context) (*link, error) {
	sender, err := newNamespace()
	if err != nil {
		return nil, err
	}
	receiver, err := newNamespace()
	if err != nil {
		sender.close()
		return nil, err
	}
	l := &link{sender: sender, receiver: receiver}
	if err := l.join(ctx); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// join makes the pair in the sender's namespace, with one end in the receiver's.
func (l *link) join(ctx context.Context) error {
	far := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), l.receiver.file.Fd())
	for _, step := range []struct {
		in      *namespace
		command string
	}{
		{l.sender, fmt.Sprintf("ip link add bench mtu %d type veth peer name bench mtu %d netns %s", mtu, mtu, far)},
		{l.sender, fmt.Sprintf("ip address add %s/24 dev bench", senderAddress)},
		{l.receiver, fmt.Sprintf("ip address add %s/24 dev bench", receiverAddress)},
		{l.sender, "ip link set bench up"},
		{l.receiver, "ip link set bench up"},
	} {
		if err := step.in.command(ctx, step.command); err != nil {
			return err
		}
	}
	return nil
}

func (l *link) close() {
	l.sender.close()
	l.receiver.close()
}

// namespace is a network namespace that a descriptor and the processes in it hold:
// it ends with them.
type namespace struct {
	file *os.File
}

func newNamespace() (*namespace, error) {
	var file *os.File
	err := onOwnThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		// /proc/self would name the thread-group leader's.
		if file, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return fmt.Errorf("hold the network namespace: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &namespace{file: file}, nil
}

func (n *namespace) close() { n.file.Close() }

// do calls f on a thread of its own in the namespace, and returns what it does.
func (n *namespace) do(f func() error) error {
	return onOwnThread(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the network namespace: %w", err)
		}
		return f()
	})
}

// command runs a line of words in the namespace.
func (n *namespace) command(ctx context.Context, line string) error {
	words := strings.Fields(line)
	return n.do(func() error {
		if output, err := exec.CommandContext(ctx, words[0], words[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", line, err, strings.TrimSpace(string(output)))
		}
		return nil
	})
}

// onOwnThread runs f on a thread of its own and leaves it locked, so that the
// runtime discards the thread and with it the namespace that f may have entered.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}
