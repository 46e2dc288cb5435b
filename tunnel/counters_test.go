package tunnel

import (
	"reflect"
	"slices"
	"testing"
)

// A counter that is new must not be left out of sums.
func TestAddCountsAll(t *testing.T) {
	var one Counters
	fields := reflect.ValueOf(&one).Elem()
	for i := range fields.NumField() {
		fields.Field(i).SetUint(uint64(i) + 1)
	}
	sum := reflect.ValueOf(one.Add(one))
	for i := range sum.NumField() {
		if got, want := sum.Field(i).Uint(), 2*(uint64(i)+1); got != want {
			t.Errorf("%s: got %d, want %d", sum.Type().Field(i).Name, got, want)
		}
	}
}

// What a half counts has passed, or is a report about the outer network, or was
// dropped for a reason that has a name.
func TestDropsNameAll(t *testing.T) {
	passed := []string{"OutPackets", "OutInnerBytes", "InPackets", "InInnerBytes", "OuterErrors"}
	fields := reflect.TypeFor[Counters]()
	reasons := map[string]bool{}
	for i := range fields.NumField() {
		var one Counters
		reflect.ValueOf(&one).Elem().Field(i).SetUint(1)
		var met []string
		for _, drop := range one.Drops() {
			if drop.Packets == 1 {
				met = append(met, drop.Reason)
			}
		}
		name := fields.Field(i).Name
		if got, want := len(met) == 1, !slices.Contains(passed, name); got != want {
			t.Errorf("%s is a reason to drop: %t (%q), want %t", name, got, met, want)
		}
		for _, reason := range met {
			reasons[reason] = true
		}
	}
	if want := fields.NumField() - len(passed); len(reasons) != want {
		t.Errorf("%d reasons, want %d", len(reasons), want)
	}
}
