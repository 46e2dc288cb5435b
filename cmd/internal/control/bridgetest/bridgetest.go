// Package bridgetest helps tests to see that nothing gets lost or mixed up where
// values cross between the islands and the contract: Fill gives every number of
// a value a figure of its own, Numbers lists those that came out at the other
// side.
package bridgetest

import (
	"reflect"
	"slices"
)

// Fill sets every number in what v points to, exported fields only, to a
// figure of its own. Pointers are followed, slices get one element.
func Fill(v any) {
	figure := 0
	fill(reflect.ValueOf(v).Elem(), &figure)
}

func fill(v reflect.Value, figure *int) {
	switch {
	case v.CanInt():
		*figure++
		v.SetInt(int64(*figure))
	case v.CanUint():
		*figure++
		v.SetUint(uint64(*figure))
	case v.CanFloat():
		*figure++
		v.SetFloat(float64(*figure))
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), figure)
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), figure)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), figure)
			}
		}
	}
}

// Numbers lists all numbers in v that are not zero, exported fields only, in
// ascending order.
func Numbers(v any) []float64 {
	numbers := collect(reflect.ValueOf(v), nil)
	slices.Sort(numbers)
	return numbers
}

func collect(v reflect.Value, into []float64) []float64 {
	switch {
	case v.CanInt():
		into = append(into, float64(v.Int()))
	case v.CanUint():
		into = append(into, float64(v.Uint()))
	case v.CanFloat():
		into = append(into, v.Float())
	case v.Kind() == reflect.Pointer && !v.IsNil():
		return collect(v.Elem(), into)
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			into = collect(v.Index(i), into)
		}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				into = collect(v.Field(i), into)
			}
		}
	}
	return slices.DeleteFunc(into, func(number float64) bool { return number == 0 })
}
