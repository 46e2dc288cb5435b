//go:build kernel

package endtoend

import (
	"testing"

	"tunnelmark/lab/labtest"
)

// Scenarios whose tunnels are the kernel's, of the agents and of the gateways
// before them. An emulated machine is no place to measure, and on a busy host it may
// not finish a trial: what counts is that the load was carried in the packets that the
// tunnel makes of it.
func TestKernelScenarios(t *testing.T) {
	for _, name := range []string{"xfrm", "appliance"} {
		t.Run(name, func(t *testing.T) {
			labtest.CheckLeaks(t)
			results := labRun(t, shortened(t, name, "5s"))
			if len(results) != 1 || !carriedIn(results[0], 1464) {
				t.Errorf("%d results, devices %+v: want one, of outer packets of 1464 bytes", len(results), results[0].Truth.Devices)
			}
		})
	}
}
