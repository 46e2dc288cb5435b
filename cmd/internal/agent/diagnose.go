package agent

import (
	"context"
	"fmt"
	"net/netip"

	"connectrpc.com/connect"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/cmd/internal/doctor"
	"tunnelmark/tunnel/xfrm"
)

// Diagnose examines this agent's host, and the path to the peer where one is
// named. It sends nothing; for kernel ESP, if asked to try, the kernel may load modules.
func (a *Agent) Diagnose(_ context.Context, request *controlv1.DiagnoseRequest) (*controlv1.DiagnoseResponse, error) {
	var peer netip.Addr
	if text := request.GetPeerOuter(); text != "" {
		var err error
		if peer, err = netip.ParseAddr(text); err != nil {
			return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("outer address of the peer: %w", err))
		}
	}
	response := &controlv1.DiagnoseResponse{}
	for _, f := range doctor.Examine(hostOf(a.policy, peer.Unmap(), request.GetTry())) {
		response.Findings = append(response.Findings, &controlv1.Finding{
			Topic: f.Topic, Subject: f.Subject, State: string(f.State),
			Figure: f.Figure, Cost: f.Cost, Remedy: f.Remedy,
		})
	}
	return response, nil
}

func hostOf(policy Policy, peer netip.Addr, try bool) doctor.Host {
	host := doctor.Here(policy.Outer, peer)
	host.FirstPort, host.LastPort = policy.Ports.First, policy.Ports.Last
	if try {
		host.PerCPUSAs, _ = xfrm.PerCPU() // Where it cannot be asked, this process has no kernel ESP.
	}
	return host
}

// SelfReport is what an agent with that policy would find on this machine, for who
// has none running yet. Where the policy has no outer address, the usual one is
// taken. try the kernel's drivers, too.
func SelfReport(policy Policy, try bool) doctor.Report {
	host := hostOf(policy, netip.Addr{}, try)
	report := doctor.Report{
		Name: policy.Name, Version: control.Version(),
		FirstPort: policy.Ports.First, LastPort: policy.Ports.Last,
		Findings: doctor.Examine(host),
	}
	if host.Outer.IsValid() {
		report.Outer = host.Outer.String()
	}
	would := &Agent{policy: policy, drivers: Drivers(policy)}
	for _, d := range would.describeDrivers(doctor.Drivers(try)) {
		report.Drivers = append(report.Drivers, doctor.Driver{Name: d.GetName(), Supported: d.GetSupported(), Tried: d.GetTried(), Reason: d.GetReason()})
	}
	report.Carries = doctor.Own(report)
	return report
}
