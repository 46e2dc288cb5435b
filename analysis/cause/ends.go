package cause

import (
	"fmt"
	"time"

	"tunnelmark/analysis"
)

const (
	// ownShare is how much of the loss the ends may have caused themselves.
	ownShare = 0.01
	// saturated is how busy a core is that can do no more: one tick in fifty is
	// left to accounting.
	saturated = 0.98
	// nearKnee is how far above the ceiling a load still shows what happens at
	// it; with heavier overload the ends may well be busy.
	nearKnee = 1.35
)

// generatorEvidence is whether the generator was the limit.
func generatorEvidence(c analysis.Ceiling) []analysis.Evidence {
	short, ok := shortest(c)
	e := analysis.Evidence{
		Signal: "share of the load that the generator could send while on the CPU", Unit: "ratio", Value: 1,
		Threshold: fmt.Sprintf("below %g, with no load that missed the loss goal", analysis.ValidShare), For: analysis.Generator,
	}
	if !ok {
		return []analysis.Evidence{e}
	}
	e.Value = shareSent(short)
	e.Holds = e.Value < analysis.ValidShare && c.InnerUpperBitsPerSecond == 0
	all := []analysis.Evidence{e, {
		Signal: "inner rate that the generator sent at most", Unit: "bit/s", Value: most(c),
		Threshold: "for information", Holds: e.Holds, For: analysis.Generator,
	}}
	if busy, measured := busiest(short.Sender); measured {
		all = append(all, analysis.Evidence{
			Signal: "use of the sender's busiest core then", Unit: "ratio", Value: busy,
			Threshold: fmt.Sprintf("at least %g where the core is the generator's limit", saturated), Holds: busy >= saturated, For: analysis.Generator,
		})
	}
	return all
}

// shortest is the paced trial in which the generator fell shortest of its load.
func shortest(c analysis.Ceiling) (trial analysis.Trial, ok bool) {
	least := 2.0
	for _, s := range c.Steps {
		t := s.Trial
		if t.Load.InnerBitsPerSecond == 0 {
			continue
		}
		if got := shareSent(t); got < least {
			trial, least, ok = t, got, true
		}
	}
	return trial, ok
}

// shareSent leaves out the time in which the host kept the sender off the CPU:
// what is not sent then is not for want of speed.
func shareSent(t analysis.Trial) float64 {
	ran := t.Elapsed - t.Skipped
	if ran <= 0 {
		return 1
	}
	return t.InnerSentBitsPerSecond() * t.Elapsed.Seconds() / ran.Seconds() / t.Load.InnerBitsPerSecond
}

// most is the highest inner rate that was sent.
func most(c analysis.Ceiling) float64 {
	var most float64
	for _, s := range c.Steps {
		if s.Trial.Load.InnerBitsPerSecond > 0 {
			most = max(most, s.Trial.InnerSentBitsPerSecond())
		}
	}
	return most
}

// endsEvidence is whether the ends themselves lost packets, where they were
// overloaded or near it.
func endsEvidence(c analysis.Ceiling) []analysis.Evidence {
	var lost, sockets, drivers, softnet uint64
	for _, t := range losing(c) {
		lost += t.Lost()
		sockets += t.SocketDrops
		drivers += t.TunnelDrops
		softnet += t.Sender.SoftnetDrops + t.Receiver.SoftnetDrops
	}
	all := []analysis.Evidence{
		ownLoss("the receiver's socket", sockets, lost),
		ownLoss("the tunnel's drivers", drivers, lost),
		ownLoss("the ends' network stacks (softnet)", softnet, lost),
	}
	return append(all, coreEvidence(c)...)
}

func ownLoss(where string, dropped, lost uint64) analysis.Evidence {
	e := analysis.Evidence{
		Signal: "share of the loss that " + where + " dropped", Unit: "ratio",
		Threshold: fmt.Sprintf("at most %g", ownShare), For: analysis.Policer,
	}
	if lost > 0 {
		e.Value = float64(dropped) / float64(lost)
	}
	e.Holds = e.Value <= ownShare
	return e
}

// coreEvidence is whether a load near the ceiling was lost with every core
// having time left: then no core is the limit. A trial in which one had not
// does not disprove that. Without figures of the hosts there is none.
func coreEvidence(c analysis.Ceiling) []analysis.Evidence {
	least, measured := 1.0, false
	for _, t := range losing(c) {
		if t.InnerSentBitsPerSecond() > nearKnee*c.InnerBitsPerSecond {
			continue
		}
		sender, ok := busiest(t.Sender)
		receiver, also := busiest(t.Receiver)
		if ok || also {
			least, measured = min(least, max(sender, receiver)), true
		}
	}
	if !measured {
		return nil
	}
	return []analysis.Evidence{{
		Signal: "use of the busiest core at either end in a load just above the ceiling", Unit: "ratio", Value: least,
		Threshold: fmt.Sprintf("below %g", saturated), Holds: least < saturated, For: analysis.Policer,
	}}
}

func busiest(h analysis.Host) (busy float64, measured bool) {
	for _, core := range h.Cores {
		busy = max(busy, 1-core.Idle)
	}
	return busy, len(h.Cores) > 0
}

// losing are the valid paced trials that missed the goal, up to the highest
// overload that counts: far beyond that, the ends drop packets of their own.
func losing(c analysis.Ceiling) []analysis.Trial {
	var trials []analysis.Trial
	for _, s := range c.Steps {
		if t := s.Trial; t.Valid() && t.LossRatio() > c.LossGoal && t.Elapsed > leastLength && t.InnerSentBitsPerSecond() <= mostHeight*c.InnerBitsPerSecond {
			trials = append(trials, t)
		}
	}
	return trials
}

// leastLength leaves out trials that were cut short.
const leastLength = 100 * time.Millisecond
