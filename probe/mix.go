package probe

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Mix is which sizes the packets of a load have: one, or several in an order that
// both ends know.
type Mix struct {
	// Sizes are lengths of inner IP packets, in bytes. Each pass over the load
	// has every one of them once, so a size that is there twice is sent twice as
	// often.
	Sizes []int
	// Seed orders the packets of each pass by a generator of pseudorandom numbers
	// (PCG, math/rand/v2). Zero keeps the order of Sizes.
	Seed uint64
	// Genome is how RFC 6985 writes the mix; empty where it was not given so.
	Genome string
}

// Fixed is the mix of one size.
func Fixed(size int) Mix { return Mix{Sizes: []int{size}} }

// genomeFrames are the letters of RFC 6985, Section 4, as lengths of Ethernet
// frames with their FCS.
var genomeFrames = map[rune]int{
	'a': 64, 'b': 128, 'c': 256, 'd': 512, 'e': 1024, 'f': 1280, 'g': 1518,
	'h': 2112, 'i': 9000, 'j': 16000,
}

// etherFrame is what a frame has beside its IP packet: 14 bytes of header and 4
// of FCS.
const etherFrame = 14 + 4

// ParseGenome reads an IMIX genome such as "aaafg" (RFC 6985). The letter z is a
// packet of mtu bytes. Letters whose packet is shorter than least bytes are
// refused, since the probe's own header must fit.
func ParseGenome(genome string, seed uint64, least, mtu int) (Mix, error) {
	mix := Mix{Seed: seed, Genome: genome}
	for _, letter := range genome {
		size, known := genomeFrames[letter]
		size -= etherFrame
		if letter == 'z' {
			size, known = mtu, true
		}
		switch {
		case !known:
			return Mix{}, fmt.Errorf("IMIX %q: letter %q: allowed are %s (RFC 6985)", genome, letter, genomeLetters)
		case size < least:
			return Mix{}, fmt.Errorf("IMIX %q: letter %q is a packet of %d bytes, the least that holds a probe has %d; the first that does is %q", genome, letter, size, least, firstLetter(least))
		}
		mix.Sizes = append(mix.Sizes, size)
	}
	return mix, mix.check()
}

const genomeLetters = "a to j, and z for the tunnel's MTU"

func firstLetter(least int) string {
	for _, letter := range "abcdefghij" {
		if genomeFrames[letter]-etherFrame >= least {
			return string(letter)
		}
	}
	return "z"
}

func (m Mix) check() error {
	if len(m.Sizes) == 0 || len(m.Sizes) > MaxSizes {
		return fmt.Errorf("%d sizes of packets: allowed are 1 to %d", len(m.Sizes), MaxSizes)
	}
	return nil
}

// Check refuses a mix that is empty, too long, or has a size outside of least to
// most bytes.
func (m Mix) Check(least, most int) error {
	if err := m.check(); err != nil {
		return err
	}
	for _, size := range m.Sizes {
		if size < least || size > most {
			return fmt.Errorf("inner size %d B: allowed are %d to %d B", size, least, most)
		}
	}
	return nil
}

// IsFixed says that all packets have one size.
func (m Mix) IsFixed() bool { return m.Least() == m.Most() }

// Least and Most are the smallest and the largest size, in bytes.
func (m Mix) Least() int { return slices.Min(m.Sizes) }

// Most is documented with Least.
func (m Mix) Most() int { return slices.Max(m.Sizes) }

// Mean is the mean size, in bytes.
func (m Mix) Mean() float64 { return float64(m.bytes()) / float64(len(m.Sizes)) }

func (m Mix) bytes() (sum int) {
	for _, size := range m.Sizes {
		sum += size
	}
	return sum
}

// String is the genome where there is one, else the sizes.
func (m Mix) String() string {
	if m.Genome != "" {
		return "IMIX - " + m.Genome
	}
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(m.Sizes), " ", ","), "[]") + " B"
}

// Order is the order of a mix's packets. Both ends draw the same from the same mix.
type Order struct {
	sizes  []int
	before []uint64 // Bytes of a pass before each place; one more than sizes.
}

// passes is after how many of them a seeded order begins again: long enough that
// no period of a device or of a queue meets it.
const passes = 64

// Order draws the order of the mix's packets.
func (m Mix) Order() *Order {
	sizes := m.Sizes
	if m.Seed != 0 && !m.IsFixed() {
		random := rand.New(rand.NewPCG(m.Seed, 0))
		sizes = nil
		for range passes {
			pass := slices.Clone(m.Sizes)
			random.Shuffle(len(pass), func(i, j int) { pass[i], pass[j] = pass[j], pass[i] })
			sizes = append(sizes, pass...)
		}
	}
	o := &Order{sizes: sizes, before: make([]uint64, len(sizes)+1)}
	for i, size := range sizes {
		o.before[i+1] = o.before[i] + uint64(size)
	}
	return o
}

// Size is the length of the packet with the number, in bytes.
func (o *Order) Size(number uint64) int { return o.sizes[number%uint64(len(o.sizes))] }

// Bytes are those of all packets before the one with the number.
func (o *Order) Bytes(number uint64) uint64 {
	n := uint64(len(o.sizes))
	return number/n*o.before[n] + o.before[number%n]
}
