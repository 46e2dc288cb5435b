package esp

import (
	"bytes"
	"container/heap"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"tunnelmark/tunnel"
)

// newEnds are the generations of both ends, left and right. Their keys are those of
// fixedKeys, the same for both directions.
func newEnds(t testing.TB, name tunnel.Suite, extended bool, l tunnel.Lifetime, clock func() time.Time) (near, far *generations) {
	t.Helper()
	const leftSPI = 0x10ff // Goes around with the first rekeying.
	near = newEnd(t, name, extended, l, clock, testSPI, leftSPI, newSelectors(right, left))
	return near, newEnd(t, name, extended, l, clock, leftSPI, testSPI, newSelectors(left, right))
}

// workers is how many may use the SAs of newEnds at a time.
const workers = 4

func newEnd(t testing.TB, name tunnel.Suite, extended bool, l tunnel.Lifetime, clock func() time.Time, sendSPI, receiveSPI uint32, s selectors) *generations {
	t.Helper()
	suite, err := findSuite(name)
	if err != nil {
		t.Fatal(err)
	}
	out, outErr := newSeries(suite, fixedKeys{}, tunnel.Send, sendSPI, extended, workers+1)
	in, inErr := newSeries(suite, fixedKeys{}, tunnel.Receive, receiveSPI, extended, workers)
	if outErr != nil || inErr != nil {
		t.Fatal(outErr, inErr)
	}
	g, err := newGenerations(out, in, s, defaultWindow, l, clock)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// keyedSuites are those whose keys can be replaced.
func keyedSuites() []suite {
	return slices.DeleteFunc(slices.Clone(suites), func(s suite) bool { return !s.name.Protects() })
}

// Without keys anybody could forge a question: it moves nobody, and nobody asks one.
func TestKeylessStays(t *testing.T) {
	c := newClock()
	near, far := newEnds(t, tunnel.NullNull, true, tunnel.Lifetime{Packets: 1}, c.read)
	near.sendOn(ipv4(100))
	c.sleep(askAge)
	near.demand()
	if dummies, again := near.poll(); len(dummies) != 0 || again != rest {
		t.Errorf("got %d dummy packets and %v until the next, want none", len(dummies), again)
	}
	for _, forged := range near.next.appendDummy(nil, question) {
		expectVerdict(t, "question", far, forged, dummy)
	}
	expectGenerations(t, "after a question", near, far, 0, 0)
}

// sendOn seals an inner packet under the current generation.
func (g *generations) sendOn(inner []byte) []byte {
	sa, first, granted := g.reserve(1, len(inner))
	if granted == 0 {
		panic("sequence numbers are used up")
	}
	defer g.sent(sa)
	buffer := make([]byte, sa.headroom+len(inner)+sa.tailroom())
	copy(buffer[sa.headroom:], inner)
	return buffer[:sa.seal(0, buffer, len(inner), first)]
}

// poll returns the dummy packets that are due, instead of sending them.
func (g *generations) poll() (dummies [][]byte, again time.Duration) {
	again = g.attend(func(due [][]byte) { dummies = due })
	return dummies, again
}

// take opens a datagram as the receiver does.
func (g *generations) take(datagram []byte) ([]byte, verdict) {
	sa, into := g.find(datagram), make([]byte, len(datagram))
	length, v := open(sa, datagram, into)
	switch v {
	case delivered, wrongSelectors:
		g.heard(sa, false)
	case dummy:
		g.heard(sa, asks(into[:length]))
	}
	return into[:length], v
}

// clock is one that stands still.
type clock struct{ now time.Time }

func newClock() *clock { return &clock{now: time.Unix(1000, 0)} }

func (c *clock) read() time.Time { return c.now }

func (c *clock) sleep(d time.Duration) { c.now = c.now.Add(d) }

// deliver carries the dummy packets that an end has to send now.
func deliver(t *testing.T, from, to *generations) (count int) {
	t.Helper()
	dummies, _ := from.poll()
	for _, packet := range dummies {
		if _, v := to.take(packet); v != dummy {
			t.Fatalf("dummy packet: got verdict %d, want %d", v, dummy)
		}
	}
	return len(dummies)
}

func expectGenerations(t *testing.T, when string, near, far *generations, wantNear, wantFar uint64) {
	t.Helper()
	if near.count() != wantNear || far.count() != wantFar {
		t.Fatalf("%s: ends are at generations %d and %d, want %d and %d", when, near.count(), far.count(), wantNear, wantFar)
	}
}

func expectVerdict(t *testing.T, what string, g *generations, packet []byte, want verdict) {
	t.Helper()
	if _, got := g.take(packet); got != want {
		t.Errorf("%s: got verdict %d, want %d", what, got, want)
	}
}

// Every suite, step by step: the whole pair is replaced, and what is still on its way
// is opened, once.
func TestReplacePair(t *testing.T) {
	for _, s := range keyedSuites() {
		for _, extended := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, extended %t", s.name, extended), func(t *testing.T) {
				c := newClock()
				near, far := newEnds(t, s.name, extended, tunnel.Lifetime{}, c.read)
				for generation := range uint64(300) { // SPIs go around.
					c.sleep(askAge)
					late := near.sendOn(ipv4(60))
					moved := near.demand()
					deliver(t, near, far)
					expectGenerations(t, "asked", near, far, generation, generation+1)
					between := near.sendOn(ipv4(60))
					deliver(t, far, near)
					expectGenerations(t, "answered", near, far, generation+1, generation+1)
					<-moved
					for what, packet := range map[string][]byte{"late": late, "between": between, "new": near.sendOn(ipv4(60))} {
						expectVerdict(t, what, far, packet, delivered)
						if s.name.Protects() {
							expectVerdict(t, what+" again", far, packet, replayed)
						}
					}
				}
			})
		}
	}
}

// What an end does about a generation that is used up: it asks, again where there is no
// answer, and goes on under the old one meanwhile.
func TestUsedUp(t *testing.T) {
	const packets, size = 10, 100
	tests := []struct {
		name     string
		lifetime tunnel.Lifetime
		after    time.Duration
	}{
		{"packets", tunnel.Lifetime{Packets: packets}, askAge},
		{"bytes", tunnel.Lifetime{Bytes: packets * size}, askAge},
		{"time", tunnel.Lifetime{Time: time.Second}, time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newClock()
			near, far := newEnds(t, tunnel.AES128GCM, true, test.lifetime, c.read)
			c.sleep(test.after - 1)
			for range packets - 1 {
				near.sendOn(ipv4(size))
			}
			if dummies, _ := near.poll(); len(dummies) != 0 {
				t.Fatalf("asks %d times before its lifetime is over", len(dummies))
			}
			c.sleep(1)
			near.sendOn(ipv4(size))
			for range 3 { // These questions are lost.
				if dummies, again := near.poll(); len(dummies) != 1 || again != askAgain {
					t.Fatalf("got %d dummy packets and %v until the next, want 1 and %v", len(dummies), again, askAgain)
				}
				if dummies, _ := near.poll(); len(dummies) != 0 {
					t.Fatalf("asks again at once")
				}
				c.sleep(askAgain)
			}
			if got := deliver(t, near, far) + deliver(t, far, near); got != 2 {
				t.Errorf("got %d dummy packets, want a question and an answer", got)
			}
			expectGenerations(t, "at last", near, far, 1, 1)
			if dummies, _ := near.poll(); len(dummies) != 0 {
				t.Error("asks at once for the one after")
			}
		})
	}
}

// A limit that is reached wakes who sends dummy packets, once.
func TestUsedUpWakes(t *testing.T) {
	near, _ := newEnds(t, tunnel.AES128GCM, true, tunnel.Lifetime{Packets: 2}, newClock().read)
	near.sendOn(ipv4(40))
	if len(near.wake) != 0 {
		t.Error("woken before the lifetime is over")
	}
	near.sendOn(ipv4(40))
	<-near.wake
	near.sendOn(ipv4(40))
	if len(near.wake) != 0 {
		t.Error("woken again")
	}
}

// Both ends' limits at once replace one generation, not two.
func TestBothAsk(t *testing.T) {
	c := newClock()
	near, far := newEnds(t, tunnel.AES128GCM, true, tunnel.Lifetime{Time: time.Second}, c.read)
	c.sleep(time.Second)
	crossing, _ := near.poll()
	deliver(t, far, near)
	expectGenerations(t, "one has heard", near, far, 1, 0)
	expectVerdict(t, "question", far, crossing[0], dummy)
	deliver(t, near, far)
	deliver(t, far, near)
	expectGenerations(t, "both have", near, far, 1, 1)
}

// Data under the next generation tells as much as an answer, which then may be lost.
func TestDataAnswers(t *testing.T) {
	c := newClock()
	near, far := newEnds(t, tunnel.AES128GCM, true, tunnel.Lifetime{}, c.read)
	c.sleep(askAge)
	near.demand()
	deliver(t, near, far)
	expectVerdict(t, "data", near, far.sendOn(ipv4back(60)), delivered)
	expectGenerations(t, "after data", near, far, 1, 1)
}

// ipv4back is ipv4 from right to left.
func ipv4back(length int) []byte {
	packet := ipv4(length)
	copy(packet[12:], right.Inner4.AsSlice())
	copy(packet[16:], left.Inner4.AsSlice())
	return packet
}

// Only what is authentic moves an end, and nothing does before its time.
func TestMovesNothing(t *testing.T) {
	c := newClock()
	near, far := newEnds(t, tunnel.AES128GCM, true, tunnel.Lifetime{}, c.read)
	c.sleep(askAge)
	near.demand()
	questions, _ := near.poll()
	forged := bytes.Clone(questions[0])
	forged[len(forged)-1] ^= 1
	expectVerdict(t, "forged question", far, forged, badICV)
	expectVerdict(t, "keepalive", far, []byte{0xff}, malformed)
	expectGenerations(t, "after a forgery", near, far, 0, 0)
	expectVerdict(t, "question", far, questions[0], dummy)
	deliver(t, far, near)

	c.sleep(leastAge - 1)
	early := near.next.appendDummy(nil, question)
	expectVerdict(t, "early question", far, early[0], dummy)
	expectGenerations(t, "asked too early", near, far, 1, 1)
	near.demand()
	if dummies, again := near.poll(); len(dummies) != 0 || again != askAge-leastAge+1 {
		t.Errorf("got %d dummy packets and %v until the next, want none before %v", len(dummies), again, askAge)
	}
}

// What is older than the previous generation is not even looked at, whether it was
// delivered or not.
func TestDroppedGeneration(t *testing.T) {
	c := newClock()
	near, far := newEnds(t, tunnel.AES128GCM, true, tunnel.Lifetime{}, c.read)
	seen, late := near.sendOn(ipv4(60)), near.sendOn(ipv4(60))
	expectVerdict(t, "first", far, seen, delivered)
	for range 2 {
		c.sleep(askAge)
		near.demand()
		deliver(t, near, far)
		deliver(t, far, near)
	}
	expectVerdict(t, "again", far, seen, unknownSPI)
	expectVerdict(t, "too late", far, late, unknownSPI)
}

// Sequence numbers that come to their end are replaced with their keys, long before
// any packet is refused.
func TestSequenceNumbersAreReplaced(t *testing.T) {
	c := newClock()
	near, far := newEnds(t, tunnel.AES128GCM, false, tunnel.Lifetime{}, c.read)
	c.sleep(askAge)
	near.sending.sequence = tunnel.MostRekeyPackets - 1
	near.sendOn(ipv4(40))
	deliver(t, near, far)
	deliver(t, far, near)
	expectGenerations(t, "used up", near, far, 1, 1)
	if got := near.sending.sequence; got != 1 { // The question's.
		t.Errorf("sequence number: got %d, want 1", got)
	}

	c.sleep(askAge)
	near.sending.sequence = near.sending.last
	near.owed = true
	if dummies, _ := near.poll(); len(dummies) != 1 {
		t.Errorf("got %d dummy packets, want a question and no answer without a sequence number", len(dummies))
	}
}

// Keys are new in each generation and direction, and the same at both ends.
func TestSeries(t *testing.T) {
	s, err := findSuite(tunnel.NullSHA256)
	if err != nil {
		t.Fatal(err)
	}
	begin := func(direction tunnel.Direction) *series {
		made, err := newSeries(s, directedKeys{}, direction, 0xabcdeffe, true, 1)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	one, same, other := begin(tunnel.Send), begin(tunnel.Send), begin(tunnel.Receive)
	seen := map[string]bool{}
	for i, wantSPI := range []uint32{0xabcdeffe, 0xabcdefff, 0xabcdef00, 0xabcdef01} {
		packets := map[*series]string{}
		for _, made := range []*series{one, same, other} {
			sealing, spi, err := made.next()
			if err != nil || spi != wantSPI {
				t.Fatalf("generation %d: got SPI %#x and %v, want %#x", i, spi, err, wantSPI)
			}
			packets[made] = string(sealed(newOutbound(testSPI, sealing), ipv4(40)))
		}
		if packets[one] != packets[same] {
			t.Errorf("generation %d: ends differ", i)
		}
		if packets[one] == packets[other] || seen[packets[one]] || seen[packets[other]] {
			t.Errorf("generation %d: keys are used twice", i)
		}
		seen[packets[one]], seen[packets[other]] = true, true
	}
}

// directedKeys are told by direction and generation.
type directedKeys struct{ tunnel.Keys }

func (directedKeys) Key(direction tunnel.Direction, generation, size int) ([]byte, error) {
	return bytes.Repeat([]byte{byte(1 + direction), byte(1 + generation)}, size/2), nil
}

// Nothing of a secret that was used remains.
func TestSeriesClearsSecret(t *testing.T) {
	s, err := findSuite(tunnel.AES128GCM)
	if err != nil {
		t.Fatal(err)
	}
	made, err := newSeries(s, fixedKeys{}, tunnel.Send, testSPI, true, 1)
	if err != nil {
		t.Fatal(err)
	}
	first := made.secret
	for range 2 {
		if _, _, err := made.next(); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first, make([]byte, len(first))) {
		t.Error("the secret behind later generations is not cleared")
	}
}

// TestModel has two ends on a network that loses and reorders, with any limits, and
// expects of every packet that arrives no more than leastAge after the fastest one
// could have that it is delivered, once; of the ends that they are never more than one
// generation apart; and that they come on in spite of all loss.
func TestModel(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := newModel(t, rand.New(rand.NewPCG(seed, 6)))
			m.run(20 * time.Second)
			if m.loss < 0.5 && min(m.ends[0].count(), m.ends[1].count()) < 5 {
				t.Errorf("ends are at generations %d and %d after %v", m.ends[0].count(), m.ends[1].count(), m.elapsed())
			}
		})
	}
}

// model is a network of two ends; its events are in order of time.
type model struct {
	*testing.T
	clock
	random *rand.Rand
	start  time.Time
	ends   [2]*generations
	events events

	loss  float64       // Share of packets.
	delay time.Duration // Of the fastest packet.
	every [2]time.Duration
	burst time.Duration // For how long nothing passes, now and then.
	dark  time.Time     // Until when nothing passes.

	sent      [2]uint32 // Packets, each of which carries its number.
	delivered [2]map[uint32]bool
}

type event struct {
	at time.Time
	do func()
}

type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].at.Before(e[j].at) }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func newModel(t *testing.T, random *rand.Rand) *model {
	m := &model{T: t, clock: *newClock(), random: random}
	m.start = m.now
	lifetime := tunnel.Lifetime{Time: time.Duration(100+random.IntN(900)) * time.Millisecond}
	if random.IntN(2) == 0 {
		lifetime.Packets = uint64(1 + random.IntN(200))
	}
	if random.IntN(2) == 0 {
		lifetime.Bytes = uint64(1 + random.IntN(20000))
	}
	m.loss = []float64{0, 0.01, 0.3, 0.8}[random.IntN(4)]
	m.delay = time.Duration(random.IntN(150)) * time.Millisecond
	m.burst = time.Duration(random.IntN(1000)) * time.Millisecond
	suite := keyedSuites()[random.IntN(len(keyedSuites()))].name
	m.ends[0], m.ends[1] = newEnds(t, suite, random.IntN(2) == 0, lifetime, m.read)
	for i := range m.ends {
		m.delivered[i] = map[uint32]bool{}
		m.every[i] = []time.Duration{2 * time.Millisecond, 20 * time.Millisecond, time.Second, time.Hour}[random.IntN(4)]
		m.after(0, func() { m.send(i) })
		m.after(0, func() { m.poll(i) })
		m.after(0, func() { m.rekey(i) })
	}
	m.after(0, m.darken)
	return m
}

func (m *model) elapsed() time.Duration { return m.now.Sub(m.start) }

func (m *model) after(d time.Duration, do func()) { heap.Push(&m.events, event{m.now.Add(d), do}) }

func (m *model) run(d time.Duration) {
	for end := m.now.Add(d); m.now.Before(end) && !m.Failed(); {
		next := heap.Pop(&m.events).(event)
		m.now = next.at
		next.do()
		for i := range m.ends {
			m.wake(i)
		}
		a, b := m.ends[0].count(), m.ends[1].count()
		if max(a, b)-min(a, b) > 1 {
			m.Fatalf("ends are at generations %d and %d", a, b)
		}
	}
}

func (m *model) wake(i int) {
	select {
	case <-m.ends[i].wake:
		m.transmit(i)
	default:
	}
}

// poll is the timer of an end.
func (m *model) poll(i int) {
	again := m.transmit(i)
	m.after(min(again, 10*time.Millisecond), func() { m.poll(i) })
}

func (m *model) transmit(i int) (again time.Duration) {
	dummies, again := m.ends[i].poll()
	for _, packet := range dummies {
		m.carry(func() {
			if _, v := m.ends[1-i].take(packet); v != dummy && v != unknownSPI {
				m.Errorf("dummy packet: verdict %d", v)
			}
		})
	}
	return again
}

// carry has a packet arrive late, or never.
func (m *model) carry(arrive func()) {
	if m.random.Float64() < m.loss || m.now.Before(m.dark) {
		return
	}
	m.after(m.delay+time.Duration(m.random.Int64N(int64(leastAge))), arrive)
}

// send is the clear side of an end.
func (m *model) send(i int) {
	m.after(m.every[i], func() { m.send(i) })
	number, inner := m.sent[i], ipv4(64)
	if i == 1 {
		inner = ipv4back(64)
	}
	m.sent[i]++
	binary.BigEndian.PutUint32(inner[20:], number)
	packet := m.ends[i].sendOn(inner)
	m.carry(func() {
		plain, v := m.ends[1-i].take(packet)
		switch {
		case v != delivered:
			m.Errorf("packet %d of end %d: got verdict %d, want delivered", number, i, v)
		case m.delivered[i][number]:
			m.Errorf("packet %d of end %d is delivered twice", number, i)
		case !bytes.Equal(plain, inner):
			m.Errorf("packet %d of end %d is another", number, i)
		}
		m.delivered[i][number] = true
	})
}

// rekey is an order from outside, now and then.
func (m *model) rekey(i int) {
	m.after(time.Duration(m.random.Int64N(int64(3*time.Second))), func() { m.rekey(i) })
	m.ends[i].demand()
}

func (m *model) darken() {
	m.after(4*time.Second, m.darken)
	m.dark = m.now.Add(m.burst)
}
