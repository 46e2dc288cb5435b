package tunnel

import (
	"fmt"
	"strings"
	"time"
)

// Lifetime says when a pair of SAs has served and a new one is to take its place: as
// soon as either end has sent as much under it, or has had it as long. These limits are
// soft (RFC 4301, Section 4.4.2.1): the end asks for the new pair then, and goes on under
// the old one until the peer has answered. What stops it is the end of the old one's
// sequence numbers. 0: not by that.
type Lifetime struct {
	Bytes   uint64 // Of inner IP packets that this end has sent.
	Packets uint64 // That it has sent.
	Time    time.Duration
}

// Bounds of a lifetime. The least ones are beyond what can still be on its way: no
// replay window has more packets than LeastRekeyPackets, and no pair is replaced before
// LeastRekeyTime, whatever it has carried. The most are the confidentiality limit of
// AES-GCM for packets of at most 2^11 bytes (RFC 9001, Appendix B.1.1): 2^28 of them give
// an attacker an advantage of 2^-57. For CBC with blocks of the same size it is no worse,
// and ChaCha20 needs no limit. Being soft, a lifetime is longer than that by what is sent
// until the peer answers; sequence numbers of 32 bits end after sixteen of them.
const (
	rekeyPacketBytes = 1 << 11

	LeastRekeyPackets = 1 << 13
	LeastRekeyBytes   = LeastRekeyPackets * rekeyPacketBytes
	LeastRekeyTime    = 100 * time.Millisecond

	MostRekeyPackets = 1 << 28
	MostRekeyBytes   = MostRekeyPackets * rekeyPacketBytes
)

// Check refuses what is out of bounds.
func (l Lifetime) Check() error {
	switch {
	case l.Bytes != 0 && (l.Bytes < LeastRekeyBytes || l.Bytes > MostRekeyBytes):
		return fmt.Errorf("rekeying after %s: want %s to %s, or 0", volume(l.Bytes), volume(LeastRekeyBytes), volume(MostRekeyBytes))
	case l.Packets != 0 && (l.Packets < LeastRekeyPackets || l.Packets > MostRekeyPackets):
		return fmt.Errorf("rekeying after %d packets: want %d to %d, or 0", l.Packets, LeastRekeyPackets, MostRekeyPackets)
	case l.Time != 0 && l.Time < LeastRekeyTime:
		return fmt.Errorf("rekeying after %v: want %v or more, or 0", l.Time, LeastRekeyTime)
	}
	return nil
}

// String is such as "1s or 1000000 packets"; "unlimited" of the zero value.
func (l Lifetime) String() string {
	var limits []string
	if l.Time != 0 {
		limits = append(limits, l.Time.String())
	}
	if l.Packets != 0 {
		limits = append(limits, fmt.Sprintf("%d packets", l.Packets))
	}
	if l.Bytes != 0 {
		limits = append(limits, volume(l.Bytes))
	}
	if len(limits) == 0 {
		return "unlimited"
	}
	return strings.Join(limits, " or ")
}

// volume says a number of bytes in the largest unit that divides it.
func volume(bytes uint64) string {
	switch {
	case bytes%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", bytes>>30)
	case bytes%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", bytes>>20)
	}
	return fmt.Sprintf("%d bytes", bytes)
}

// CheckNoRekey is for drivers that know no lifetime of keys: they refuse a spec with one,
// wrapping ErrNotSupported.
func (s Spec) CheckNoRekey() error {
	if s.Rekey == (Lifetime{}) {
		return nil
	}
	return fmt.Errorf("rekeying after %v: %w by this driver; leave it out, or use driver esp", s.Rekey, ErrNotSupported)
}
