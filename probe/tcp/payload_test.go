package tcp

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"tunnelmark/probe/wire"
)

func TestPayload(t *testing.T) {
	for _, load := range []Load{{Flows: 1}, {Flows: 3, Write: 12345}, {Flows: MaxFlows, Write: 1}, {Flows: 2, Write: MaxWrite}} {
		p := newPayload(load, wire.Nonce{1})
		if len(p.bytes) < leastPayload || len(p.bytes)%load.write() != 0 {
			t.Errorf("%+v: payload of %d bytes, want a multiple of a write, and %d at least", load, len(p.bytes), leastPayload)
		}
		if !bytes.Equal(p.bytes, newPayload(load, wire.Nonce{1}).bytes) || bytes.Equal(p.bytes, newPayload(load, wire.Nonce{2}).bytes) {
			t.Errorf("%+v: want the same payload with the same nonce only", load)
		}
		for flow := range load.Flows {
			if place := p.place(flow, 0); place%load.write() != 0 || place >= len(p.bytes) {
				t.Errorf("%+v: flow %d begins at byte %d of %d, want the begin of a write", load, flow, place, len(p.bytes))
			}
		}
	}
}

func TestVerify(t *testing.T) {
	load := Load{Flows: 3, Write: 100_000}
	p := newPayload(load, wire.Nonce{1})
	twice := slices.Concat(p.bytes, p.bytes, p.bytes)
	for flow := range load.Flows {
		for _, at := range []uint64{0, 1, uint64(len(p.bytes)) - 1, 1 << 40} {
			first := p.place(flow, at)
			got := slices.Clone(twice[first : first+len(p.bytes)+5]) // Past the end at least once.
			if err := p.verify(got, flow, at); err != nil {
				t.Errorf("flow %d from byte %d: %v", flow, at, err)
			}
			for _, altered := range []int{0, len(got) / 2, len(got) - 1} {
				got[altered] ^= 1
				if err := p.verify(got, flow, at); !errors.Is(err, ErrAltered) {
					t.Errorf("flow %d from byte %d, byte %d altered: got error %v, want %v", flow, at, altered, err, ErrAltered)
				}
				got[altered] ^= 1
			}
		}
	}
}
