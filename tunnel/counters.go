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
