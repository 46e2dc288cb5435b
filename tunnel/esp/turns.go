package esp

// turns lets several workers do a thing one after the other, always in the same
// order: so packets leave in the order in which they came, whoever had them in
// between. A worker that has had its turn passes it on, or all others wait.
type turns []chan struct{}

func newTurns(workers int) turns {
	t := make(turns, workers)
	for i := range t {
		t[i] = make(chan struct{}, 1)
	}
	t[0] <- struct{}{}
	return t
}

// take waits until it is the worker's turn.
func (t turns) take(worker int) { <-t[worker] }

// pass lets the next worker have its turn.
func (t turns) pass(worker int) { t[(worker+1)%len(t)] <- struct{}{} }

// mostWorkers bounds those of a direction: reading and sending are done by one at a
// time, and more than this do not find anything left to do between them.
const mostWorkers = 8

// workersFor says how many workers each direction has on a machine of that many
// cores: both directions together use all. With one there is nothing to hand over.
func workersFor(cores int) int { return max(1, min(cores/2, mostWorkers)) }
