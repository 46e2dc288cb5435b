package controller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"tunnelmark/analysis"
	"tunnelmark/analysis/cause"
	"tunnelmark/analysis/report"
	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/cmd/internal/kind"
	"tunnelmark/tunnel/overhead"
)

// Plan is what Find and Run share: from where to where, through what.
type Plan struct {
	From, To End
	Spec     Spec
	// Reproduce says how to ask the same again.
	Reproduce report.Reproduce
	// Tell is told what is going on, one short line at a time.
	Tell func(string)
}

// pending is a result under way.
type pending struct {
	report.Result
	began time.Time // With its monotonic reading, which JSON does not keep.
	// mostInner is the highest inner rate that both agents allow, bit/s.
	mostInner float64
	// halted: a condition ended the search before it was done.
	halted bool
	// mostSent is what the sender allows of all its loads together, bit/s.
	mostSent float64
}

// begin asks both ends what they are. question is all that the result depends
// on, beside the plan.
func (p Plan) begin(ctx context.Context, kind report.Kind, question any) (*pending, error) {
	now := time.Now()
	r := &pending{began: now, Result: report.Result{
		ToolVersion: control.Version(), Kind: kind, Started: now,
		Path:      report.Path{From: p.From.Name, To: p.To.Name},
		Reproduce: p.Reproduce,
	}}
	r.Reproduce.InputsSHA256 = p.hash(kind, question)
	for i, end := range []End{p.From, p.To} {
		description, err := p.ask(ctx, end)
		if err != nil {
			return nil, err
		}
		r.Environment = append(r.Environment, environmentFrom(end.Name, p.Spec.Driver, description))
		allowed := float64(description.GetLimits().GetMaxInnerBitsPerSecond())
		if i == 0 {
			r.mostSent = allowed
		}
		if i == 0 || allowed < r.mostInner {
			r.mostInner = allowed
		}
	}
	return r, nil
}

// ask has an end say what it is, and that it can build the plan's tunnel.
func (p Plan) ask(ctx context.Context, end End) (*controlv1.DescribeResponse, error) {
	description, err := end.Agent.Describe(ctx, &controlv1.DescribeRequest{Drivers: []string{p.Spec.Driver}})
	if err != nil {
		return nil, control.Explain(end.Name, err)
	}
	if err := supports(description, p.Spec.Driver); err != nil {
		return nil, fmt.Errorf("%s: %w", end.Name, err)
	}
	return description, nil
}

// supports refuses a driver that an end lacks, before anything is touched.
func supports(description *controlv1.DescribeResponse, name string) error {
	for _, driver := range description.GetDrivers() {
		switch {
		case driver.GetName() != name:
		case driver.GetSupported():
			return nil
		default:
			return fmt.Errorf("driver %s does not work there: %s", name, driver.GetReason())
		}
	}
	return fmt.Errorf("this agent (version %s) has no driver %s", description.GetVersion(), name)
}

// hash is over what was asked: equal hash, equal question.
func (p Plan) hash(kind report.Kind, question any) string {
	text, err := json.Marshal(struct {
		Kind     report.Kind
		From, To string
		Spec     Spec
		Scenario string
		Question any
	}{kind, p.From.Name, p.To.Name, p.Spec, p.Reproduce.Scenario, question})
	if err != nil {
		return "" // No field of it can fail.
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// within opens a session, does the work, and closes it whatever happens.
func (p Plan) within(ctx context.Context, spec Spec, work func(*Session) error) error {
	session, err := Open(ctx, p.From, p.To, spec, p.Tell)
	if err != nil {
		return err
	}
	return errors.Join(work(session), session.Close(ctx))
}

// fits refuses packets that the tunnel would have to fragment.
func (s *Session) fits(size int) error {
	if size > s.InnerMTU {
		return fmt.Errorf("packets of %d B do not fit the tunnel: its inner MTU is %d B; offer such packets or smaller ones", size, s.InnerMTU)
	}
	return nil
}

// assumedLink is the link for which a report says what a tunnel can carry at most
// where neither end knows its own, in bit/s.
const assumedLink = 1e9

// describe notes the tunnel that was built, what each of several carried, the size of
// the packets, and what their rate does not say.
func (s *Session) describe(r *pending, size int) {
	r.Tunnel = report.Tunnel{
		Driver: s.Spec.Driver, Suite: s.Spec.Suite, Encapsulation: s.Spec.Encapsulation,
		Count: s.Spec.Tunnels, InnerMTU: s.InnerMTU, OuterFamily: s.family(),
		Setup: max(s.Built[0].Setup, s.Built[1].Setup), Most: s.most(), PerTunnel: s.carried,
	}
	r.Size = report.Size{Inner: size, Outer: s.outerLength(size)}
	if caveat := kind.Caveat(s.Spec.Driver); caveat != "" && r.Kind != report.PathMTU {
		r.Notes = append([]string{caveat}, r.Notes...) // First: a text shows few.
	}
	for i, built := range s.Built {
		for _, detail := range built.Details {
			r.Environment[i].Details = append(r.Environment[i].Details, report.Detail{Name: detail.Name, Value: detail.Value})
		}
		if built.Evidence != nil {
			r.Evidence = append(r.Evidence, report.Evidence{Site: s.ends()[i].Name, Proven: built.Evidence.Proven, How: built.Evidence.How})
		}
	}
}

// outerLength is that of the packet which carries an inner one, in bytes; 0 where
// nobody tells what somebody else's gateway adds.
func (s *Session) outerLength(size int) int {
	if s.Spec.IsExisting() {
		return 0
	}
	return s.overhead.OuterLength(size)
}

// most is what the ends' links can carry through such a tunnel; nil where that is
// not known.
func (s *Session) most() *report.Most {
	if s.Spec.IsExisting() {
		return nil
	}
	link, assumed := s.LinkBitsPerSecond, s.LinkBitsPerSecond == 0
	if assumed {
		link = assumedLink
	}
	most := s.overhead.Most(link, overhead.PathMTU(s.OuterMTU))
	return &report.Most{
		LinkBitsPerSecond: link, LinkAssumed: assumed, LinkMTU: s.OuterMTU, InnerSize: most.InnerSize,
		InnerBitsPerSecond: most.InnerBitsPerSecond, GoodputBitsPerSecond: most.UDPGoodputBitsPerSecond,
	}
}

// conclude notes what a search has found, and judges it.
func (r *pending) conclude(ceiling analysis.Ceiling) {
	if ceiling.IsAvailable() {
		ceiling.At = time.Now()
	}
	verdict := cause.Judge(ceiling)
	r.Ceiling, r.Verdict = &ceiling, &verdict
}

func (r *pending) finish() report.Result {
	r.Finished = time.Now()
	r.Duration = r.Finished.Sub(r.began)
	return r.Result
}
