package report

import "tunnelmark/analysis"

// method says in a few sentences how the figures came about and what they do
// not say.
func method(r Result) []string {
	if r.Ceiling == nil && len(r.Trials) == 0 && len(r.TCP) > 0 {
		return []string{ofTCP}
	}
	sentences := []string{
		"Each trial sends UDP packets of one size at a constant rate through the tunnel, in one direction, and counts them at the other end. " +
			"The load of a trial is what was really sent; a trial that sent less than 98 % of what was asked is invalid and decides nothing. " +
			"Packets that the sender’s own stack refused are not loss; lost is what was sent and never received.",
	}
	if len(r.TCP) > 0 {
		sentences = append(sentences, ofTCP)
	}
	if c := r.Ceiling; c != nil {
		sentences = append(sentences, bounds(*c)+manner(*c))
		sentences = append(sentences, estimates(*c)...)
	}
	return append(sentences,
		"One-way delay is relative to the least of its trial, so no clock has to be synchronised; clocks that drift apart add some microseconds per second. "+
			"The figures hold for this packet size, this direction and this time; TCP, other sizes and several flows may find another limit.")
}

const ofTCP = "A trial of TCP sends as much as its connections take, or the rate that was asked for, and is counted in payload: what was retransmitted counts once. " +
	"Sent is by the sender’s clock, received by the receiver’s. Round trips, retransmissions and what held a connection back are what the sender’s kernel says of it (TCP_INFO); " +
	"efficiency and buffer delay are those of RFC 6349."

func bounds(c analysis.Ceiling) string {
	switch {
	case c.InnerUpperBitsPerSecond == 0 && c.InnerLowerBitsPerSecond == 0:
		return "No valid trial was run, so no rate is stated. "
	case c.InnerUpperBitsPerSecond == 0:
		return "No load failed, so the " + figureName(&c) + " has a lower bound only: the highest load that met the loss goal. "
	case c.InnerLowerBitsPerSecond == 0:
		return "No load met the loss goal, so the " + figureName(&c) + " has an upper bound only: the lowest load that failed. "
	}
	return "The interval lies between the highest load that met the loss goal, below every load that did not, and the lowest that did not; the " + figureName(&c) + " is the best single figure in it. "
}

func manner(c analysis.Ceiling) string {
	const climbed = "The search came from below: no load was more than a tenth above the highest that was clean, " +
		"which means that it lost no more than the goal and let no queue grow, and loads that lost more were bounded in total time."
	switch {
	case c.Manner == analysis.Overload:
		return "The search was allowed to overload the path, since nothing else uses it."
	case c.IsAvailable():
		return climbed + " Other traffic may share the path, so what was found is what was left at that time; " +
			"traffic that gives way to load, as TCP does, can make it more, and its own peaks can make it less."
	case c.Manner == analysis.Climb:
		return climbed
	}
	return ""
}

func estimates(c analysis.Ceiling) []string {
	var sentences []string
	if c.Plateau != nil {
		sentences = append(sentences, "The plateau is the rate that arrived in windows of about 20 ms while more was offered than passes, over the windows near their median: that leaves out a bucket’s first burst and the sender’s pauses.")
	}
	if c.Bucket != nil {
		sentences = append(sentences, "The bucket is the median over short bursts of the bytes that passed before the first loss, less what flowed out of the bucket meanwhile.")
	}
	return sentences
}
