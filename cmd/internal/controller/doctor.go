package controller

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"time"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/cmd/internal/doctor"
)

const (
	// diagnoseTimeout bounds each question to one agent.
	diagnoseTimeout = 20 * time.Second
	// maxFindings and maxFindingText bound what is taken of one agent's answer.
	maxFindings    = 256
	maxFindingText = 1024 // Bytes.
)

// Patient is an agent to examine.
type Patient struct {
	End
	Address string // Of its control.
}

// Diagnose asks all agents at once to examine their hosts. Two are a pair: each
// also looks at its path to the other. An agent that does not answer has that as
// its report's error. try the kernel's drivers, too.
func Diagnose(ctx context.Context, patients []Patient, try bool) doctor.Document {
	reports := Describe(ctx, patients, doctor.Drivers(try)...)
	var asking sync.WaitGroup
	for i, patient := range patients {
		if reports[i].Error != "" {
			continue
		}
		peer := ""
		if len(patients) == 2 {
			peer = reports[1-i].Outer // Read only: findings alone are written meanwhile.
		}
		asking.Go(func() { examine(ctx, patient, &controlv1.DiagnoseRequest{PeerOuter: peer, Try: try}, &reports[i]) })
	}
	asking.Wait()
	document := doctor.Document{Ends: reports}
	if len(reports) == 2 && reports[0].Error == "" && reports[1].Error == "" {
		pair := doctor.Compare(reports[0], reports[1])
		document.Pair = &pair
	}
	return document
}

// Describe asks all agents at once what they are, and whether the named drivers
// work there, for which kernels may load modules.
func Describe(ctx context.Context, patients []Patient, drivers ...string) []doctor.Report {
	reports := make([]doctor.Report, len(patients))
	var asking sync.WaitGroup
	for i, patient := range patients {
		asking.Go(func() { reports[i] = describe(ctx, patient, drivers) })
	}
	asking.Wait()
	return reports
}

func describe(ctx context.Context, patient Patient, drivers []string) doctor.Report {
	report := doctor.Report{Name: patient.Name, Address: patient.Address}
	ctx, cancel := context.WithTimeout(ctx, diagnoseTimeout)
	defer cancel()
	d, err := patient.Agent.Describe(ctx, &controlv1.DescribeRequest{Drivers: drivers})
	if err != nil {
		report.Error = control.Explain(patient.Name, err).Error()
		return report
	}
	report.Version = bounded(d.GetVersion())
	if outer, err := netip.ParseAddr(d.GetOuterAddress()); err == nil {
		report.Outer = outer.String() // It becomes part of commands.
	}
	report.FirstPort, report.LastPort = uint16(d.GetFirstPort()), uint16(d.GetLastPort())
	for _, driver := range d.GetDrivers()[:min(len(d.GetDrivers()), maxFindings)] {
		report.Drivers = append(report.Drivers, doctor.Driver{
			Name: bounded(driver.GetName()), Supported: driver.GetSupported(), Tried: driver.GetTried(), Reason: bounded(driver.GetReason()),
		})
	}
	return report
}

// examine adds the findings to a report, or the error that there was instead.
func examine(ctx context.Context, patient Patient, request *controlv1.DiagnoseRequest, report *doctor.Report) {
	ctx, cancel := context.WithTimeout(ctx, diagnoseTimeout)
	defer cancel()
	from := time.Now()
	d, err := patient.Agent.Diagnose(ctx, request)
	if err != nil {
		report.Error = control.Explain(patient.Name, err).Error()
		return
	}
	report.Asked = doctor.Asked{From: from, To: time.Now()}
	for _, f := range d.GetFindings()[:min(len(d.GetFindings()), maxFindings)] {
		report.Findings = append(report.Findings, doctor.Finding{
			Topic: bounded(f.GetTopic()), Subject: bounded(f.GetSubject()), State: doctor.State(bounded(f.GetState())),
			Figure: bounded(f.GetFigure()), Cost: bounded(f.GetCost()), Remedy: bounded(f.GetRemedy()),
		})
	}
}

// bounded makes one line of what a remote agent said.
func bounded(text string) string {
	return strings.Join(strings.Fields(strings.ToValidUTF8(text[:min(len(text), maxFindingText)], "")), " ")
}
