package agent

import (
	"net/netip"
	"slices"
	"testing"

	"connectrpc.com/connect"

	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/cmd/internal/doctor"
)

func TestDiagnose(t *testing.T) {
	a := &Agent{policy: testPolicy("a")}
	response, err := a.Diagnose(t.Context(), &controlv1.DiagnoseRequest{PeerOuter: "127.0.0.2"})
	if err != nil {
		t.Fatal(err)
	}
	found := func(topic, subject string) *controlv1.Finding {
		at := slices.IndexFunc(response.GetFindings(), func(f *controlv1.Finding) bool {
			return f.GetTopic() == topic && f.GetSubject() == subject
		})
		if at < 0 {
			t.Fatalf("there is no finding of %s %s in %v", topic, subject, response.GetFindings())
		}
		return response.GetFindings()[at]
	}
	for _, want := range []doctor.Finding{
		{Topic: "kernel", Subject: "release"},
		{Topic: "nic", Subject: "interface", Figure: "lo, driver not told"},
		{Topic: "path", Subject: "route", Figure: "to 127.0.0.2"},
		{Topic: "ports", Subject: "for tunnels", Figure: "UDP 45000-45100, 101 of 101 free"},
	} {
		f := found(want.Topic, want.Subject)
		if f.GetState() != string(doctor.OK) || want.Figure != "" && f.GetFigure() != want.Figure {
			t.Errorf("%s %s: %s: %q, want ok: %q", want.Topic, want.Subject, f.GetState(), f.GetFigure(), want.Figure)
		}
	}
}

// Without a peer no path is looked at; one that is no address is refused.
func TestDiagnosePeer(t *testing.T) {
	a := &Agent{policy: testPolicy("a")}
	response, err := a.Diagnose(t.Context(), &controlv1.DiagnoseRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range response.GetFindings() {
		if f.GetTopic() == "path" {
			t.Errorf("a path to nobody: %v", f)
		}
	}
	if _, err := a.Diagnose(t.Context(), &controlv1.DiagnoseRequest{PeerOuter: "dc-b.example"}); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("a peer that is no address: %v, want %v", err, connect.CodeInvalidArgument)
	}
}

// Every driver of the table is told of, with why it does not work.
func TestSelfReport(t *testing.T) {
	policy := testPolicy("here")
	policy.Outer = netip.Addr{}
	report := SelfReport(policy, true)
	if report.Name != "here" || len(report.Findings) == 0 || len(report.Drivers) != len(Drivers(policy)) {
		t.Errorf("report of %q has %d findings and %d drivers, want %d drivers", report.Name, len(report.Findings), len(report.Drivers), len(Drivers(policy)))
	}
	for _, d := range report.Drivers {
		if d.Supported == (d.Reason != "") {
			t.Errorf("driver %+v: want a reason where it is not supported, and only there", d)
		}
	}
}
