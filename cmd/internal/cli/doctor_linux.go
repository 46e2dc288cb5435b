package cli

import (
	"os"

	"tunnelmark/cmd/internal/agent"
	"tunnelmark/cmd/internal/doctor"
)

// examineHere examines this machine as an agent on it would.
func examineHere(try bool) (doctor.Document, error) {
	policy := agent.DefaultPolicy()
	policy.Name = "this machine"
	if name, err := os.Hostname(); err == nil {
		policy.Name = name
	}
	return doctor.Document{Ends: []doctor.Report{agent.SelfReport(policy, try)}}, nil
}
