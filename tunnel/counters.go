package tunnel

// Add is the sum of both.
func (c Counters) Add(other Counters) Counters {
	return Counters{
		OutPackets:     c.OutPackets + other.OutPackets,
		OutInnerBytes:  c.OutInnerBytes + other.OutInnerBytes,
		InPackets:      c.InPackets + other.InPackets,
		InInnerBytes:   c.InInnerBytes + other.InInnerBytes,
		Malformed:      c.Malformed + other.Malformed,
		UnknownSPI:     c.UnknownSPI + other.UnknownSPI,
		BadICV:         c.BadICV + other.BadICV,
		Replayed:       c.Replayed + other.Replayed,
		WrongSelectors: c.WrongSelectors + other.WrongSelectors,
		Congested:      c.Congested + other.Congested,
		SendRefused:    c.SendRefused + other.SendRefused,
		DeliverRefused: c.DeliverRefused + other.DeliverRefused,
		OutOverrun:     c.OutOverrun + other.OutOverrun,
		InOverrun:      c.InOverrun + other.InOverrun,
		OuterErrors:    c.OuterErrors + other.OuterErrors,
	}
}

// Drop is one way in which packets end in a tunnel.
type Drop struct {
	Reason  string // For labels and keys, such as "bad_icv"; it does not change.
	Packets uint64
}

// Drops lists every reason to drop a packet, also those that none met.
func (c Counters) Drops() []Drop {
	return []Drop{
		{"malformed", c.Malformed},
		{"unknown_spi", c.UnknownSPI},
		{"bad_icv", c.BadICV},
		{"replayed", c.Replayed},
		{"wrong_selectors", c.WrongSelectors},
		{"congested", c.Congested},
		{"send_refused", c.SendRefused},
		{"deliver_refused", c.DeliverRefused},
		{"out_overrun", c.OutOverrun},
		{"in_overrun", c.InOverrun},
	}
}
