package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"tunnelmark/cmd/internal/doctor"
)

var sick = doctor.Document{
	Ends: []doctor.Report{
		{Name: "dc-a", Findings: []doctor.Finding{{Topic: "kernel", Subject: "release", State: doctor.OK, Figure: "6.1\x1b[2J"}}},
		{Name: "dc-b", Error: "agent dc-b: it did not answer in time"},
	},
	Rules: []doctor.Rule{{End: "dc-a", About: "control", IPTables: "iptables -I INPUT", NFTables: "nft insert"}},
}

// What agents said cannot steer a terminal.
func TestDoctorText(t *testing.T) {
	var out bytes.Buffer
	if err := (&doctorFlags{}).write(&out, sick); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); strings.Contains(got, "\x1b") || !strings.Contains(got, "6.1\uFFFD[2J") {
		t.Errorf("written %q, want what was said made harmless", got)
	}
}

func TestDoctorPorts(t *testing.T) {
	var out bytes.Buffer
	if err := (&doctorFlags{ports: true}).write(&out, sick); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.HasPrefix(got, "to let in at dc-a\n") || strings.Contains(got, "kernel") {
		t.Errorf("written %q, want the rules alone", got)
	}
}

func TestDoctorJSON(t *testing.T) {
	var out bytes.Buffer
	var read doctor.Document
	if err := (&doctorFlags{list: listFlag{json: true}}).write(&out, sick); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out.Bytes(), &read); err != nil || read.SchemaVersion != doctor.SchemaVersion || len(read.Ends) != 2 {
		t.Errorf("%v, read back %+v", err, read)
	}
}

// One that could not be asked fails the command, warnings do not.
func TestSilentEnds(t *testing.T) {
	if err := silentEnds(sick); err == nil || err.Error() != sick.Ends[1].Error || errors.Is(err, errMissed) {
		t.Errorf("one end is silent: %v", err)
	}
	if err := silentEnds(doctor.Document{Ends: sick.Ends[:1]}); err != nil {
		t.Errorf("no end is silent: %v", err)
	}
}
