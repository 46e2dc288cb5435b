package strongswan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const swanctlPatience = 2 * time.Second // For its pipes, once it has been killed.

// swanctl gives charon one order, and returns what it prints.
func (c *charon) swanctl(ctx context.Context, arguments ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, c.programs.swanctl, append(arguments, "--uri", "unix://"+c.socket())...)
	// The directory is charon's: the host's own certificates and keys stay unread.
	command.Env = []string{"STRONGSWAN_CONF=" + c.files + "/strongswan.conf", "SWANCTL_DIR=" + c.files}
	output := &boundedBuffer{most: mostOutput + 1}
	complaint := &boundedBuffer{most: quotedLines * longestLine}
	command.Stdout, command.Stderr = output, complaint
	command.WaitDelay = swanctlPatience
	if err := command.Run(); err != nil {
		select {
		case <-c.ended:
			return nil, c.failure()
		default:
		}
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return output.Bytes(), fmt.Errorf("swanctl %s: %w: %s", arguments[0], err, lastLines(complaint.Bytes(), output.Bytes()))
	}
	return output.Bytes(), nil
}

// load gives charon the connection and its credentials. They lie, for as long as
// swanctl reads, in charon's file system in memory: swanctl takes no pipe.
func (c *charon) load(ctx context.Context, con connection) error {
	text := con.text()
	defer clear(text)
	path := filepath.Join(c.files, "swanctl.conf")
	err := os.WriteFile(path, text, 0o600)
	if err == nil {
		_, err = c.swanctl(ctx, "--load-all", "--noprompt")
	}
	return errors.Join(err, os.RemoveAll(path), os.RemoveAll(filepath.Join(c.files, privateDirectory)))
}

// install makes charon install the child's policies before there are SAs.
func (c *charon) install(ctx context.Context) error {
	_, err := c.swanctl(ctx, "--install", "--child", childName)
	return err
}

// initiate negotiates with the peer; it ends when that has worked or is given up.
func (c *charon) initiate(ctx context.Context) error {
	_, err := c.swanctl(ctx, "--initiate", "--child", childName)
	return err
}

// rekey begins to replace the child's keys.
func (c *charon) rekey(ctx context.Context) error {
	_, err := c.swanctl(ctx, "--rekey", "--child", childName)
	return err
}

// list reads back what has been negotiated.
func (c *charon) list(ctx context.Context) (association, error) {
	output, err := c.swanctl(ctx, "--list-sas", "--pretty")
	if err != nil {
		return association{}, err
	}
	return findAssociation(output)
}

// version is charon's own.
func (c *charon) version(ctx context.Context) (string, error) {
	output, err := c.swanctl(ctx, "--version", "--daemon", "--pretty")
	if err != nil {
		return "", err
	}
	reply, err := parseReply(output)
	if err != nil {
		return "", err
	}
	if len(reply.sections) != 1 || reply.sections[0].values["version"] == "" {
		return "", fmt.Errorf("ask charon's version: no answer in %.80q", output)
	}
	return reply.sections[0].values["version"], nil
}

// lastLines joins the end of several outputs for an error.
func lastLines(outputs ...[]byte) string {
	var lines []string
	for _, output := range outputs {
		lines = append(lines, strings.FieldsFunc(string(output), func(r rune) bool { return r == '\n' })...)
	}
	return strings.Join(lines[max(0, len(lines)-quotedLines):], "; ")
}

// boundedBuffer keeps the first bytes and drops the rest.
type boundedBuffer struct {
	kept bytes.Buffer // Not embedded: its ReadFrom knows no bound.
	most int
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	_, err := b.kept.Write(p[:min(len(p), b.most-b.kept.Len())])
	return len(p), err
}

func (b *boundedBuffer) Bytes() []byte { return b.kept.Bytes() }
