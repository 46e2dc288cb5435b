package controller

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/cmd/internal/control/controlv1/controlv1connect"
	"tunnelmark/cmd/internal/doctor"
	"tunnelmark/cmd/internal/kind"
)

// sickAgent answers with what it was given, and keeps what it was asked.
type sickAgent struct {
	controlv1connect.UnimplementedAgentHandler
	described *controlv1.DescribeResponse
	findings  []*controlv1.Finding
	refuse    error // Of Diagnose.

	tried []string
	peer  string
}

func (s *sickAgent) Describe(_ context.Context, m *controlv1.DescribeRequest) (*controlv1.DescribeResponse, error) {
	s.tried = m.GetDrivers()
	if s.described == nil {
		return nil, connect.NewError(connect.CodeFailedPrecondition, errors.New("it cannot say"))
	}
	return s.described, nil
}

func (s *sickAgent) Diagnose(_ context.Context, m *controlv1.DiagnoseRequest) (*controlv1.DiagnoseResponse, error) {
	s.peer = m.GetPeerOuter()
	return &controlv1.DiagnoseResponse{Findings: s.findings}, s.refuse
}

func (s *sickAgent) serve(t *testing.T, name string) Patient {
	t.Helper()
	_, handler := controlv1connect.NewAgentHandler(s)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	client := controlv1connect.NewAgentClient(server.Client(), server.URL)
	return Patient{End: End{Name: name, Agent: client}, Address: name + ".example:4600"}
}

func newSick(outer string) *sickAgent {
	return &sickAgent{
		described: &controlv1.DescribeResponse{
			Version: "v1", OuterAddress: outer, FirstPort: 4500, LastPort: 4510,
			Drivers: []*controlv1.Driver{{Name: "esp", Supported: true}, {Name: "gre", Reason: "no ip_gre"}},
		},
		findings: []*controlv1.Finding{
			{Topic: "clock", Subject: "time", State: "ok", Figure: time.Now().Format(time.RFC3339Nano)},
			{Topic: "clock", Subject: "examined in", State: "ok", Figure: "1us"},
		},
	}
}

func TestDiagnosePair(t *testing.T) {
	a, b := newSick("192.0.2.1"), newSick("192.0.2.5")
	document := Diagnose(t.Context(), []Patient{a.serve(t, "dc-a"), b.serve(t, "dc-b")}, true)
	if a.peer != "192.0.2.5" || b.peer != "192.0.2.1" {
		t.Errorf("paths to %s and %s were looked at, want each to the other's address", a.peer, b.peer)
	}
	if diff := cmp.Diff(kind.Names(), a.tried); diff != "" {
		t.Errorf("drivers tried (-want +got)\n%s", diff)
	}
	if document.Pair == nil || document.Pair.Ends != [2]string{"dc-a", "dc-b"} {
		t.Fatalf("pair = %+v", document.Pair)
	}
	clocks := false
	for _, f := range document.Pair.Findings {
		clocks = clocks || f.Subject == "clocks" && strings.Contains(f.Figure, "dc-b is ")
	}
	if !clocks {
		t.Errorf("the clocks are not compared: %+v", document.Pair.Findings)
	}
	got := document.Ends[0]
	got.Findings, got.Asked = nil, doctor.Asked{}
	want := doctor.Report{
		Name: "dc-a", Address: "dc-a.example:4600", Version: "v1", Outer: "192.0.2.1", FirstPort: 4500, LastPort: 4510,
		Drivers: []doctor.Driver{{Name: "esp", Supported: true}, {Name: "gre", Reason: "no ip_gre"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("report (-want +got)\n%s", diff)
	}
}

// One end's failure is told, and costs only the comparison.
func TestDiagnoseFailures(t *testing.T) {
	for name, broken := range map[string]*sickAgent{
		"cannot describe": {},
		"cannot diagnose": {described: newSick("192.0.2.5").described, refuse: connect.NewError(connect.CodeFailedPrecondition, errors.New("it has no time"))},
	} {
		well := newSick("192.0.2.1")
		document := Diagnose(t.Context(), []Patient{well.serve(t, "dc-a"), broken.serve(t, "dc-b")}, true)
		if document.Pair != nil {
			t.Errorf("%s: a pair of one end: %+v", name, document.Pair)
		}
		if document.Ends[0].Error != "" || len(document.Ends[0].Findings) != 2 {
			t.Errorf("%s: the end that is well: %+v", name, document.Ends[0])
		}
		if !strings.Contains(document.Ends[1].Error, "agent dc-b: it ") {
			t.Errorf("%s: error %q, want which agent and why", name, document.Ends[1].Error)
		}
	}
}

func TestDiagnoseOne(t *testing.T) {
	alone := newSick("192.0.2.1")
	document := Diagnose(t.Context(), []Patient{alone.serve(t, "dc-a")}, true)
	if alone.peer != "" || document.Pair != nil || len(document.Ends) != 1 || document.Ends[0].Error != "" {
		t.Errorf("one agent alone: asked for a path to %q, document %+v", alone.peer, document)
	}
}

// What a remote agent says is bounded, and becomes part of no command.
func TestDiagnoseHostile(t *testing.T) {
	hostile := newSick("192.0.2.1; reboot")
	hostile.described.Version = "v1\n\n" + strings.Repeat("x", 100_000)
	for range 10 * maxFindings {
		hostile.findings = append(hostile.findings, &controlv1.Finding{Topic: "a\nb", Figure: strings.Repeat("é", maxFindingText)})
	}
	report := Diagnose(t.Context(), []Patient{hostile.serve(t, "dc-a")}, true).Ends[0]
	if report.Outer != "" || len(report.Version) > maxFindingText || strings.Contains(report.Version, "\n") {
		t.Errorf("outer %q, version of %d bytes", report.Outer, len(report.Version))
	}
	if len(report.Findings) != maxFindings {
		t.Fatalf("%d findings, want the first %d", len(report.Findings), maxFindings)
	}
	last := report.Findings[maxFindings-1]
	if len(last.Figure) > maxFindingText || last.Topic != "a b" || strings.ToValidUTF8(last.Figure, "") != last.Figure {
		t.Errorf("finding of %d bytes, topic %q", len(last.Figure), last.Topic)
	}
}
