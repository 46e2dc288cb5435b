package lab

import "testing"

// Slots hold a packet of the MTU each, and neither overlap nor leave the memory.
func FuzzRingGeometry(f *testing.F) {
	f.Add(4096, 1500)
	f.Add(1, maxMTU)
	f.Add(100_000, minMTU)
	f.Fuzz(func(t *testing.T, slots, mtu int) {
		if slots < 1 || slots > 100_000 || mtu < minMTU || mtu > maxMTU {
			return // not what is asked for
		}
		g := newRingGeometry(slots, mtu)
		if g.slots() < slots {
			t.Errorf("want %d slots, got %d", slots, g.slots())
		}
		const alignment = 16 // TPACKET_ALIGNMENT
		if g.slotBytes < ringHeader+mtu || g.slotBytes%alignment != 0 {
			t.Errorf("want aligned slots for packets of %d bytes, got %d bytes", mtu, g.slotBytes)
		}
		for slot, end := 0, 0; slot < g.slots(); slot++ {
			from := g.offset(slot)
			if from < end || from/ringBlock != (from+g.slotBytes-1)/ringBlock || from+g.slotBytes > g.blocks*ringBlock {
				t.Fatalf("slot %d is from byte %d to %d, in blocks of %d", slot, from, from+g.slotBytes, ringBlock)
			}
			end = from + g.slotBytes
		}
	})
}
