package tunnel

import (
	"fmt"
	"strings"
	"time"
)

// Lifetime says when a pair of SAs has served and a new one takes its place: as
// soon as either SA has used up one of the limits, which are soft (RFC 4301, Section
// 4.4.2.1). 0: not by that.
type Lifetime struct {
	Bytes   uint64 // Of inner IP packets.
	Packets uint64
	Time    time.Duration // Since the pair was made.
}

// Bounds of a lifetime. The least ones are beyond what can still be on its way: no
// replay window has more packets than LeastRekeyPackets, and no pair is replaced before
// LeastRekeyTime, whatever it has carried. The most are the confidentiality limit of AES-GCM for packets of at most 2^11 bytes
// (RFC 9001, Appendix B.1.1): 2^28 of them give an attacker an advantage of 2^-57.
// For CBC with blocks of the same size it is no worse, and ChaCha20 needs no limit.
// Sequence numbers of 32 bits then last for sixteen lifetimes.
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
		return fmt.Errorf("rekeying after %d bytes: want %d (16 MiB) to %d (512 GiB), or 0", l.Bytes, LeastRekeyBytes, uint64(MostRekeyBytes))
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
		limits = append(limits, fmt.Sprintf("%d bytes", l.Bytes))
	}
	if len(limits) == 0 {
		return "unlimited"
	}
	return strings.Join(limits, " or ")
}

// CheckNoRekey is for drivers whose keys nobody replaces for want of a lifetime: they
// refuse a spec with one, wrapping ErrNotSupported.
func (s Spec) CheckNoRekey() error {
	if s.Rekey == (Lifetime{}) {
		return nil
	}
	return fmt.Errorf("rekeying after %v: %w by this driver; leave it out, or use driver esp", s.Rekey, ErrNotSupported)
}
