package tunnel

import (
	"reflect"
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
