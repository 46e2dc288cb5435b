package lab_test

import (
	"math"
	"net"
	"testing"
	"time"

	"tunnelmark/lab"
	"tunnelmark/lab/labtest"
)

// What the device passes is compared with a model that is given the times of the
// very packets, so that a sender that is kept off the CPU changes both alike.
func TestPolicerIsExact(t *testing.T) {
	tests := []struct {
		name          string
		bitsPerSecond float64
		burstBytes    int
		outerBytes    int
		total         time.Duration
	}{
		{name: "350 Mbps, 64 KiB", bitsPerSecond: 350e6, burstBytes: 64 << 10, outerBytes: 1400, total: 2 * time.Second},
		{name: "40 Mbps, 64 KiB", bitsPerSecond: 40e6, burstBytes: 64 << 10, outerBytes: 1400, total: 2 * time.Second},
		{name: "90 Mbps, 16 KiB", bitsPerSecond: 90e6, burstBytes: 16 << 10, outerBytes: 1400, total: time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			labtest.CheckLeaks(t)
			device := lab.Device{Kind: lab.Policer, OuterBitsPerSecond: tt.bitsPerSecond, BurstBytes: tt.burstBytes}
			l := labtest.Build(t, joined(lab.Link{Device: device}))
			e := openEnds(t, l, v4)
			offered := 1.15 * tt.bitsPerSecond / 8 / float64(tt.outerBytes)
			log := pace(t, e.a, peerOf(e.b), tt.outerBytes, offered, tt.total)

			want := model(log, float64(tt.outerBytes), float64(tt.burstBytes), tt.bitsPerSecond/8e9)
			checkPassed(t, toward(t, l, "b"), log, want, tt.outerBytes)
		})
	}
}

func TestPacketLimitIsExact(t *testing.T) {
	labtest.CheckLeaks(t)
	const packetsPerSecond, burst, outerBytes = 30000, 64, 200
	device := lab.Device{Kind: lab.PacketLimit, PacketsPerSecond: packetsPerSecond, BurstPackets: burst}
	l := labtest.Build(t, joined(lab.Link{Device: device}))
	e := openEnds(t, l, v4)
	log := pace(t, e.a, peerOf(e.b), outerBytes, 1.15*packetsPerSecond, time.Second)
	checkPassed(t, toward(t, l, "b"), log, model(log, 1, burst, packetsPerSecond/1e9), outerBytes)
}

// checkPassed compares a meter with the model, within 0.2 % and the one packet
// that a train's times are uncertain by.
func checkPassed(t *testing.T, got lab.DeviceCounters, log []sent, want, outerBytes int) {
	t.Helper()
	var offered uint64
	for _, s := range log {
		offered += uint64(s.count)
	}
	if total := got.PassedPackets + got.DroppedPackets; total != offered {
		t.Errorf("want %d packets of wire size counted, got %d: %+v", offered, total, got)
	}
	if want := got.PassedPackets * uint64(outerBytes); got.PassedOuterBytes != want {
		t.Errorf("want %d bytes passed, got %d", want, got.PassedOuterBytes)
	}
	if want := got.DroppedPackets * uint64(outerBytes); got.DroppedOuterBytes != want {
		t.Errorf("want %d bytes dropped, got %d", want, got.DroppedOuterBytes)
	}
	off := float64(got.PassedPackets)/float64(want) - 1
	t.Logf("passed %d packets, model %d: off by %.4f %%", got.PassedPackets, want, off*100)
	if math.Abs(off) > 0.002+1/float64(want) {
		t.Errorf("want %d packets passed within 0.2 %%, got %d", want, got.PassedPackets)
	}
}

func TestDeviceTowardOneSite(t *testing.T) {
	labtest.CheckLeaks(t)
	device := lab.Device{Kind: lab.Policer, OuterBitsPerSecond: 1e6, BurstBytes: 3000, Toward: "b"}
	l := labtest.Build(t, joined(lab.Link{Device: device}))
	e := openEnds(t, l, v4)
	const packets, outerBytes = 80, 1400
	flood := func(from, to *net.UDPConn) {
		payload := make([]byte, outerBytes-ipv4UDPHeader)
		for range packets {
			if _, err := from.WriteToUDPAddrPort(payload, peerOf(to)); err != nil {
				t.Fatal(err)
			}
		}
	}
	flood(e.a, e.b)
	flood(e.b, e.a)

	limited, free := toward(t, l, "b"), toward(t, l, "a")
	if limited.Kind != lab.Policer || limited.DroppedPackets == 0 || limited.PassedPackets < 2 {
		t.Errorf("want drops toward b after a burst of 2 packets, got %+v", limited)
	}
	want := lab.DeviceCounters{Between: ab, Toward: "a", PassedPackets: packets, PassedOuterBytes: packets * outerBytes}
	if free != want {
		t.Errorf("want %+v, got %+v", want, free)
	}
}

// A shaper's rate shows in when its last packet leaves: no sooner than its rate
// allows, and its queue drops what it does not hold.
func TestShaperQueues(t *testing.T) {
	labtest.CheckLeaks(t)
	const bitsPerSecond, outerBytes, burst = 20e6, 1000, 10_000
	device := lab.Device{Kind: lab.Shaper, OuterBitsPerSecond: bitsPerSecond, BurstBytes: burst}
	l := labtest.Build(t, joined(lab.Link{Device: device}))
	e := openEnds(t, l, v4)
	log := pace(t, e.a, peerOf(e.b), outerBytes, 1.3*bitsPerSecond/8/outerBytes, time.Second)
	offered := uint64(8 * len(log))

	counters := toward(t, l, "b")
	deadline := time.Now().Add(5 * time.Second)
	for counters.PassedPackets+counters.DroppedPackets < offered && time.Now().Before(deadline) {
		counters = toward(t, l, "b")
	}
	drained := monotonic()
	if got := counters.PassedPackets + counters.DroppedPackets; got != offered {
		t.Fatalf("want %d packets accounted for at rest, got %d: %+v", offered, got, counters)
	}
	if want := counters.PassedPackets * outerBytes; counters.PassedOuterBytes != want {
		t.Errorf("want %d IP bytes passed, got %d", want, counters.PassedOuterBytes)
	}
	most := burst + bitsPerSecond/8e9*float64(drained-log[0].start)
	t.Logf("passed %d bytes of at most %.0f, dropped %d", counters.PassedOuterBytes, most, counters.DroppedOuterBytes)
	if passed := float64(counters.PassedOuterBytes); passed > most || passed < 0.9*most {
		t.Errorf("want 90 to 100 %% of %.0f bytes passed, got %.0f", most, passed)
	}
	if counters.DroppedPackets == 0 {
		t.Error("want drops from a full queue, got none")
	}
}
