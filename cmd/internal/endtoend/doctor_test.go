package endtoend

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"

	"tunnelmark/cmd/internal/doctor"
	"tunnelmark/lab/labtest"
)

// Two agents, each in its site, examine their hosts; the pair is compared, and
// its firewall rules name both.
func TestDoctor(t *testing.T) {
	labtest.CheckLeaks(t)
	u := newUser(t, nil)
	serves("a", "--state", "state-a")(u, t, strings.Fields("tunnelmark-agent --name dc-a --outer 192.0.2.1 --listen 192.0.2.1:4600"))
	serves("b", "--state", "state-b")(u, t, strings.Fields("tunnelmark-agent --name dc-b --outer 192.0.2.5 --listen 192.0.2.5:4600"))
	u.succeed(t, []string{"tunnelmark", "pair", u.tokens["TOKEN-A"], u.tokens["TOKEN-B"]})

	document := u.doctor(t, 0)
	if len(document.Ends) != 2 || document.Pair == nil {
		t.Fatalf("%d ends, pair %v: want two and a pair", len(document.Ends), document.Pair)
	}
	wantFinding(t, document.Ends[0].Findings, "path", "route", "to 192.0.2.5")
	wantFinding(t, document.Ends[1].Findings, "path", "MTU", "1500 bytes")
	wantFinding(t, document.Ends[1].Findings, "nic", "interface", "driver veth")
	wantFinding(t, document.Pair.Findings, "pair", "drivers at both", "esp")
	wantFinding(t, document.Pair.Findings, "pair", "clocks", "dc-b is ")
	if len(document.Pair.Carries) == 0 || document.Pair.Carries[0].InnerMTU != 1438 {
		t.Errorf("the pair carries %+v, want inner packets of 1438 bytes at most", document.Pair.Carries)
	}

	for _, rule := range u.doctor(t, 0, "dc-a", "dc-b", "--ports").Rules {
		if strings.Contains(rule.IPTables, "-s 192.0.2.5 -d 192.0.2.1 -p udp --sport 4500:4510 --dport 4500:4510") && rule.End == "dc-a" {
			return
		}
	}
	t.Error("no rule lets tunnels of dc-b in at dc-a")
}

// An agent that is gone fails the command, and the other is examined all the same.
func TestDoctorOfOne(t *testing.T) {
	labtest.CheckLeaks(t)
	u := newUser(t, nil)
	serves("a", "--state", "state-a")(u, t, strings.Fields("tunnelmark-agent --name dc-a --outer 192.0.2.1 --listen 192.0.2.1:4600"))
	gone := u.start(t, "b", strings.Fields("tunnelmark-agent --name dc-b --outer 192.0.2.5 --listen 192.0.2.5:4600 --state state-b"))
	gone.stderr.until(t, "tunnelmark pair ")
	_, token, _ := strings.Cut(gone.stderr.String(), "tunnelmark pair ")
	u.succeed(t, []string{"tunnelmark", "pair", u.tokens["TOKEN-A"], strings.Fields(token)[0]})
	if err := gone.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	gone.wait(t)

	document := u.doctor(t, 1)
	if document.Ends[0].Error != "" || len(document.Ends[0].Findings) == 0 {
		t.Errorf("the agent that serves: %+v", document.Ends[0])
	}
	if !strings.Contains(document.Ends[1].Error, "agent dc-b: it cannot be reached") {
		t.Errorf("the agent that is gone: %+v", document.Ends[1])
	}
	for _, rule := range u.doctor(t, 1, "--ports").Rules {
		if rule.End == "dc-b" && strings.Contains(rule.NFTables, "tcp dport 4600") {
			return
		}
	}
	t.Error("no rule lets control in at the agent that cannot be reached")
}

// doctor runs the command in site a and reads its JSON.
func (u *user) doctor(t *testing.T, code int, arguments ...string) (document doctor.Document) {
	t.Helper()
	p := u.start(t, "a", append([]string{"tunnelmark", "doctor", "--json"}, arguments...))
	if got := p.wait(t); got != code {
		t.Fatalf("exit code %d, want %d\n%s", got, code, p.stderr)
	}
	// Errors follow the document: both streams are one here.
	if err := json.NewDecoder(strings.NewReader(p.stderr.String())).Decode(&document); err != nil {
		t.Fatalf("%v in\n%s", err, p.stderr)
	}
	return document
}

// wantFinding wants one whose figure says something.
func wantFinding(t *testing.T, findings []doctor.Finding, topic, subject, says string) {
	t.Helper()
	for _, f := range findings {
		if f.Topic == topic && f.Subject == subject {
			if !strings.Contains(f.Figure, says) {
				t.Errorf("%s %s: %q, want %q in it", topic, subject, f.Figure, says)
			}
			return
		}
	}
	t.Errorf("there is no finding of %s %s", topic, subject)
}
