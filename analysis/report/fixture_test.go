package report

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"tunnelmark/analysis"
)

// The path of the fixtures: a policer of 350 Mbit/s outer and 64 KiB, behind
// AES-128-GCM over UDP over IPv4. A packet of 1400 B becomes
// 20 (IPv4) + 8 (UDP) + 8 (ESP) + 8 (IV) + 1404 (1400+2 in fours) + 16 (ICV).
const (
	innerSize   = 1400
	outerSize   = 20 + 8 + 8 + 8 + 1404 + 16
	policedRate = 350e6 // Outer bit/s.
	bucketBytes = 64 << 10
	innerLimit  = policedRate * innerSize / outerSize
)

// policed is the trial that such a path gives for an inner rate.
func policed(noise *rand.Rand, inner float64, duration time.Duration) analysis.Trial {
	t := analysis.Trial{
		Load:      analysis.Load{InnerBitsPerSecond: inner, Duration: duration},
		InnerSize: innerSize, OuterSize: outerSize,
		Elapsed: duration, Skipped: time.Duration(noise.IntN(900)) * time.Microsecond,
	}
	perSecond := inner * (1 - 0.0004*noise.Float64()) / 8 / innerSize
	limit := policedRate / 8 / outerSize
	t.Sent = uint64(perSecond * duration.Seconds())
	bucket := float64(bucketBytes) / outerSize
	for at := time.Duration(0); at < duration; at += 20 * time.Millisecond {
		wanted := perSecond*0.02 + noise.Float64() - 0.5
		passed := min(wanted, limit*0.02+bucket)
		bucket = max(0, min(bucket+limit*0.02-passed, float64(bucketBytes)/outerSize))
		passedTime := math.Floor(passed) / passed * (20e6 + 60e3*noise.NormFloat64())
		t.Windows = append(t.Windows, analysis.Window{
			Packets: uint64(passed), Start: at, End: at + time.Duration(passedTime),
			MinDelay: time.Duration(8+noise.IntN(40)) * time.Microsecond,
		})
		t.Received += uint64(passed)
	}
	t.Received = min(t.Received, t.Sent)
	if perSecond <= limit {
		t.Received = t.Sent
	}
	t.SenderTunnel = analysis.TunnelCounts{OutPackets: t.Sent, OutInnerBytes: t.Sent * innerSize}
	t.ReceiverTunnel = analysis.TunnelCounts{InPackets: t.Received, InInnerBytes: t.Received * innerSize}
	t.Variation = analysis.Variation{P50: 11 * time.Microsecond, P99: 94 * time.Microsecond, Max: 1310 * time.Microsecond}
	return t
}

func burst(noise *rand.Rand) analysis.Trial {
	passed := uint64(bucketBytes/outerSize + noise.IntN(4))
	return analysis.Trial{
		Load:      analysis.Load{InnerBitsPerSecond: 200 * innerSize * 8 / 1480e-6, Duration: 1480 * time.Microsecond},
		InnerSize: innerSize, OuterSize: outerSize,
		Sent: 200, Received: passed + 14, Elapsed: 1480 * time.Microsecond,
		FirstLoss: &analysis.FirstLoss{Packets: passed, After: 410 * time.Microsecond},
	}
}

func policerSteps() []analysis.Step {
	noise := rand.New(rand.NewPCG(1, 2))
	var steps []analysis.Step
	add := func(purpose analysis.Purpose, trial analysis.Trial) {
		steps = append(steps, analysis.Step{Purpose: purpose, Trial: trial})
	}
	for _, rate := range []float64{50e6, 100e6, 200e6, 400e6} {
		add(analysis.Explore, policed(noise, rate, 500*time.Millisecond))
	}
	add(analysis.Floor, policed(noise, 0.5*innerLimit, time.Second))
	for _, height := range []float64{1.3, 1.6} {
		add(analysis.Plateaus, policed(noise, height*innerLimit, 2*time.Second))
	}
	for range 9 {
		add(analysis.Burst, burst(noise))
	}
	add(analysis.Confirm, policed(noise, 0.99*innerLimit, 2*time.Second))
	add(analysis.Confirm, policed(noise, 1.01*innerLimit, 2*time.Second))
	for _, share := range []float64{1.005, 0.9975, 1.003, 0.9995} {
		add(analysis.Bisect, policed(noise, share*innerLimit, time.Second))
	}
	add(analysis.Qualify, policed(noise, 0.9975*innerLimit, 5*time.Second))
	return steps
}

// policerResult is a complete find in the lab.
func policerResult() Result {
	started := time.Date(2026, time.November, 23, 2, 10, 11, 0, time.UTC)
	ceiling := analysis.Ceiling{
		Manner: analysis.Overload, LossGoal: 0.001,
		InnerLowerBitsPerSecond: 0.9995 * innerLimit, InnerUpperBitsPerSecond: 1.003 * innerLimit,
		InnerBitsPerSecond: 1.0003 * innerLimit,
		InnerSize:          innerSize, OuterSize: outerSize, Qualified: true,
		Plateau: &analysis.Plateau{InnerBitsPerSecond: 1.0003 * innerLimit, Spread: 0.0021, Windows: 198, OfferedRatio: 1.3},
		Bucket:  &analysis.Bucket{OuterBytes: 67344, Spread: 0.045, Bursts: 9},
		Flat:    true,
		Overloads: []analysis.Plateau{
			{InnerBitsPerSecond: 1.0003 * innerLimit, Spread: 0.0021, Windows: 98, OfferedRatio: 1.3, LossRatio: 0.2306},
			{InnerBitsPerSecond: 1.0002 * innerLimit, Spread: 0.0024, Windows: 98, OfferedRatio: 1.6, LossRatio: 0.3749},
		},
		Steps: policerSteps(),
	}
	verdict := policerVerdict()
	truth := Compare(Expected{OuterBitsPerSecond: policedRate, Tolerance: 0.005, Cause: analysis.Policer}, ceiling, verdict.Cause)
	truth.Devices = []Device{{
		Link: "a-b", Toward: "b", Kind: "policer", OuterBitsPerSecond: policedRate, BurstOuterBytes: bucketBytes,
		PassedPackets: 519843, PassedOuterBytes: 519843 * outerSize, DroppedPackets: 38410, DroppedOuterBytes: 38410 * outerSize,
	}}
	return Result{
		SchemaVersion: SchemaVersion, ToolVersion: "0.1.0", Kind: Find,
		Started: started, Finished: started.Add(41200 * time.Millisecond), Duration: 41200 * time.Millisecond,
		Scenario: "srx-350", Path: Path{From: "a", To: "b"},
		Tunnel:  Tunnel{Driver: "esp", Suite: "aes-128-gcm", Encapsulation: "udp", Count: 1, InnerMTU: 1438, OuterFamily: "ipv4"},
		Size:    Size{Inner: innerSize, Outer: outerSize},
		Ceiling: &ceiling, Verdict: &verdict, Truth: &truth,
		Baseline:    &Baseline{InnerBitsPerSecond: 350.2e6},
		Environment: []End{end("a"), end("b")},
		Reproduce: Reproduce{
			CommandLine:  "tunnelmark lab run srx-350 --report report.html",
			Scenario:     scenarioText,
			InputsSHA256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		},
		Notes: []string{"Both ends run on one machine: the same cores send, encrypt, decrypt and receive."},
	}
}

func policerVerdict() analysis.Verdict {
	return analysis.Verdict{
		Cause:   analysis.Policer,
		Summary: "A policer passes 350.1 Mbit/s outer and drops the rest without queueing it.",
		Evidence: []analysis.Evidence{
			{Signal: "sent over asked, least of all trials", Value: 0.9996, Unit: "ratio", Threshold: "at least 0.98", Holds: false, For: analysis.Generator},
			{Signal: "plateau's spread over 20 ms windows", Value: 0.0021, Unit: "ratio", Threshold: "at most 0.01", Holds: true, For: analysis.Policer},
			{Signal: "delay growth under overload", Value: 0.000012, Unit: "s", Threshold: "at most 1 ms", Holds: true, For: analysis.Policer},
			{Signal: "loss at 99 % of the plateau", Value: 0, Unit: "ratio", Threshold: "at most 0.001", Holds: true, For: analysis.Policer},
			{Signal: "loss at 101 % less its expected loss", Value: 0.0004, Unit: "ratio", Threshold: "at most 0.003", Holds: true, For: analysis.Policer},
			{Signal: "bucket from short bursts", Value: 67344, Unit: "B", Threshold: "above 3 packets", Holds: true, For: analysis.Policer},
		},
	}
}

func end(site string) End {
	return End{
		Site: site, AgentVersion: "0.1.0", Hostname: "gw-" + site + ".example.net", Kernel: "Linux 6.18.3",
		CPU: "Intel(R) Xeon(R) Platinum 8488C", Cores: 2, Memory: 8 << 30, GoVersion: "go1.26.8", Driver: "esp, user space",
	}
}

const scenarioText = `version: 1
name: srx-350
about: an appliance that polices its IPsec traffic at 350 Mbps
sites: [a, b]
links:
  - between: [a, b]
    mtu: 1500
    device:
      kind: policer
      rate: 350Mbps
      burst: 64KiB
      toward: both
tunnel:
  driver: esp
  suite: aes-128-gcm
  encapsulation: udp
  count: 1
find:
  from: a
  to: b
  sizes: [1400]
truth:
  outer: 350Mbps
  tolerance: 0.5%
  cause: policer
`

// generatorResult has no upper bound: the sender was the limit.
func generatorResult() Result {
	r := policerResult()
	noise := rand.New(rand.NewPCG(3, 4))
	free := func(rate, sent float64) analysis.Trial {
		t := policed(noise, rate, time.Second)
		t.Sent = uint64(sent / 8 / innerSize)
		t.Received = t.Sent
		t.SenderTunnel.OutPackets, t.SenderTunnel.OutInnerBytes = t.Sent, t.Sent*innerSize
		t.ReceiverTunnel.InPackets, t.ReceiverTunnel.InInnerBytes = t.Received, t.Received*innerSize
		for i := range t.Windows {
			w := &t.Windows[i]
			w.Packets = t.Sent / 50
			w.End = w.Start + time.Duration(float64(w.Packets*innerSize*8)/sent*1e9)
		}
		return t
	}
	r.Scenario, r.Truth = "no-device", nil
	r.Baseline = &Baseline{InnerBitsPerSecond: 4.1e9, AtLeast: true}
	r.Ceiling = &analysis.Ceiling{
		Manner: analysis.Overload, LossGoal: 0.001, InnerLowerBitsPerSecond: 1.412e9, InnerBitsPerSecond: 1.412e9,
		InnerSize: innerSize, OuterSize: outerSize, GeneratorLimited: true,
		Steps: []analysis.Step{
			{Purpose: analysis.Explore, Trial: free(400e6, 399.9e6)},
			{Purpose: analysis.Explore, Trial: free(800e6, 799.7e6)},
			{Purpose: analysis.Explore, Trial: free(1.6e9, 1.412e9)},
			{Purpose: analysis.Bisect, Trial: free(1.5e9, 1.409e9)},
		},
	}
	r.Verdict = &analysis.Verdict{
		Cause:   analysis.Generator,
		Summary: "The sender could not offer more than 1.412 Gbit/s inner; the tunnel's own limit lies above it.",
		Evidence: []analysis.Evidence{
			{Signal: "sent over asked at the highest load", Value: 0.8825, Unit: "ratio", Threshold: "below 0.98", Holds: true, For: analysis.Generator},
		},
	}
	return r
}

// unknownResult has a ceiling that no known cause explains.
func unknownResult() Result {
	r := policerResult()
	r.Truth.CauseMet, r.Truth.Met, r.Truth.RateMet = false, false, true
	r.Ceiling.Qualified, r.Ceiling.Plateau, r.Ceiling.Bucket = false, nil, nil
	r.Ceiling.Note, r.Ceiling.Flat, r.Ceiling.Overloads = "The rate that passes falls as more is offered.", false, nil
	r.Verdict = &analysis.Verdict{
		Cause:   analysis.Unknown,
		Summary: "None of the known causes explains this ceiling.",
		Evidence: []analysis.Evidence{
			{Signal: "plateau's spread over 20 ms windows", Value: 0.083, Unit: "ratio", Threshold: "at most 0.01", For: analysis.Policer},
			{Signal: "delay growth under overload", Value: 0.0471, Unit: "s", Threshold: "at most 1 ms", For: analysis.Policer},
		},
	}
	return r
}

// emptyResult is a find that ran no trial.
func emptyResult() Result {
	r := policerResult()
	r.Ceiling = &analysis.Ceiling{Manner: analysis.Climb, LossGoal: 0.001, InnerSize: innerSize, OuterSize: outerSize}
	r.Verdict = &analysis.Verdict{Cause: analysis.Unknown, Summary: "No trial was run."}
	r.Truth, r.Baseline, r.Environment, r.Notes = nil, nil, nil, nil
	return r
}

// availableResult is a climb through a tunnel that was there before.
func availableResult() Result {
	r := policerResult()
	noise := rand.New(rand.NewPCG(9, 10))
	c := &analysis.Ceiling{
		Manner: analysis.Climb, Meaning: analysis.Available, At: time.Date(2026, time.November, 23, 5, 10, 42, 0, time.UTC),
		LossGoal: 0.001, Qualified: true, InnerSize: innerSize,
		InnerLowerBitsPerSecond: 0.995 * innerLimit, InnerUpperBitsPerSecond: 1.01 * innerLimit, InnerBitsPerSecond: 0.995 * innerLimit,
	}
	add := func(purpose analysis.Purpose, share float64, duration time.Duration) {
		trial := policed(noise, share*innerLimit, duration)
		trial.OuterSize, trial.SenderTunnel, trial.ReceiverTunnel = 0, analysis.TunnelCounts{}, analysis.TunnelCounts{}
		c.Steps = append(c.Steps, analysis.Step{Purpose: purpose, Trial: trial})
	}
	for share := 1.06; share > 0.003; share /= 1.1 {
		add(analysis.Explore, share, 200*time.Millisecond)
	}
	slices.Reverse(c.Steps)
	add(analysis.Bisect, 0.995, 400*time.Millisecond)
	add(analysis.Bisect, 1.01, 525*time.Millisecond)
	for range 4 {
		add(analysis.Qualify, 0.995, time.Second)
	}
	r.Ceiling = c
	r.Verdict = &analysis.Verdict{
		Cause:   analysis.Unknown,
		Summary: "Available capacity only, the cause is unknown: 333.0 Mbit/s inner passed beside whatever else used the path, 338.1 Mbit/s inner did not.",
		Evidence: []analysis.Evidence{
			{Signal: "share of the loss that the receiver's socket dropped", Unit: "ratio", Threshold: "at most 0.01", Holds: true, For: analysis.Unknown},
		},
	}
	r.Scenario, r.Truth, r.Baseline, r.Notes = "", nil, nil, nil
	r.Tunnel = Tunnel{Driver: "existing", Count: 1, InnerMTU: 1438}
	r.Size = Size{Inner: innerSize}
	r.Evidence = []Evidence{
		{Site: "a", Proven: false, How: "10.2.0.1 is reached by eth0, like any other address; nothing tells whether a gateway behind it encrypts"},
		{Site: "b", Proven: true, How: "10.1.0.1 is reached by interface st0"},
	}
	for i := range r.Environment {
		r.Environment[i].Driver = "existing"
		r.Environment[i].Details = []Detail{{"route", "10.2.0.1 dev eth0"}, {"path MTU", "1438 B"}}
	}
	r.Reproduce = Reproduce{CommandLine: "tunnelmark find a b --driver existing --html report.html"}
	return r
}

// tunnelsResult is of several tunnels, of which much is known.
func tunnelsResult() Result {
	r := policerResult()
	r.Scenario, r.Truth, r.Notes = "", nil, nil
	r.Evidence = []Evidence{{Site: "a", Proven: true, How: "interface ipsec0"}, {Site: "b", Proven: true, How: "interface ipsec0"}}
	r.Tunnel = Tunnel{
		Driver: "xfrm", Suite: "aes-128-gcm", Encapsulation: "udp", Count: 2, InnerMTU: 1438, OuterFamily: "ipv4", Setup: 35 * time.Millisecond,
		PerTunnel: []TunnelCount{
			{Number: 0, SentPackets: 310221, SentInnerBytes: 310221 * innerSize, ReceivedPackets: 291002, ReceivedInnerBytes: 291002 * innerSize},
			{Number: 1, SentPackets: 248032, SentInnerBytes: 248032 * innerSize, ReceivedPackets: 228841, ReceivedInnerBytes: 228841 * innerSize},
		},
		Most: &Most{LinkBitsPerSecond: 1e9, LinkMTU: 1500, InnerSize: 1438, InnerBitsPerSecond: 935.0e6, GoodputBitsPerSecond: 916.8e6},
	}
	r.Environment[0].Details = []Detail{{"kernel ESP", "xfrm interface"}, {"replay window", "64 packets"}}
	r.Environment[1].Details = []Detail{{"kernel ESP", "xfrm interface"}, {"offload", "none"}}
	return r
}

// longResult has more trials than a page.
func longResult() Result {
	r := policerResult()
	noise := rand.New(rand.NewPCG(5, 6))
	for i := range 120 {
		share := 0.9 + 0.2*noise.Float64()
		step := analysis.Step{Purpose: analysis.Bisect, Trial: policed(noise, share*innerLimit, 200*time.Millisecond)}
		step.Trial.Refused = uint64(i % 7)
		r.Ceiling.Steps = append(r.Ceiling.Steps, step)
	}
	return r
}

// runResult is three fixed loads.
func runResult() Result {
	r := policerResult()
	noise := rand.New(rand.NewPCG(7, 8))
	r.Kind, r.Scenario, r.Ceiling, r.Verdict, r.Truth, r.Baseline = Run, "", nil, nil, nil, nil
	for _, rate := range []float64{200e6, 330e6, 400e6} {
		r.Trials = append(r.Trials, policed(noise, rate, 3*time.Second))
	}
	r.Trials[1].Variation.P99 = 200 * time.Microsecond
	r.Reproduce = Reproduce{CommandLine: "tunnelmark run --from a --to b -u -b 200M,330M,400M@inner -t 3"}
	return r
}

// mixedResult is a load of UDP in both directions, of which all is told that can be.
func mixedResult() Result {
	r := runResult()
	there := r.Trials[2]
	there.Load.Burst, there.Segmented, there.Skipped = 4, true, 40*time.Millisecond
	there.Load.Mix = analysis.Mix{InnerSizes: []int{46, 46, 1500}, Seed: 7, Genome: "aag"}
	there.Pace = analysis.Pace{Windows: 30, Within: 0.9667, Worst: 0.021}
	there.Refused, there.SocketDrops, there.ReceiverOverruns, there.TunnelDrops = 3, 120, 7, 9
	there.SenderTunnel.InPackets, there.SenderTunnel.OuterErrors = 53_000, 2
	there.SenderTunnel.Dropped = map[string]uint64{"out_overrun": 1}
	there.ReceiverTunnel.Dropped = map[string]uint64{"bad_icv": 1, "in_overrun": 7}
	there.Reordered, there.ReorderExtent, there.ReorderLate, there.Duplicated = 14, 5, 3*time.Millisecond, 2
	there.Delay = analysis.Quantiles{Count: there.Received, P50: 12 * time.Microsecond, P99: 94 * time.Microsecond, Max: 2 * time.Millisecond}
	there.DelayDrift = 30 * time.Microsecond
	there.PerFlow = []analysis.Flow{
		{Port: 40001, Sent: there.Sent / 2, Received: there.Sent / 2, MeanDelay: 20 * time.Microsecond},
		{Port: 40002, Sent: there.Sent - there.Sent/2, Received: there.Received - there.Sent/2, MinDelay: 2100 * time.Microsecond, MeanDelay: 2200 * time.Microsecond},
	}
	there.Latency = &analysis.Latency{InnerBitsPerSecond: 400e6, Sent: 300, Received: 297, RTT: tripTimes(3)}
	there.Sender = analysis.Host{Busy: 1500 * time.Millisecond, Cores: []analysis.Core{{Idle: 0.6}, {SoftIRQ: 0.7, Idle: 0.1}}}
	there.Receiver = analysis.Host{Busy: 2500 * time.Millisecond, Cores: []analysis.Core{{Idle: 0.02}, {Idle: 0.3}}}
	back := r.Trials[0]
	back.Reverse = true
	r.Trials = []analysis.Trial{there, back}
	return r
}

// tripTimes are round trips around so many milliseconds.
func tripTimes(ms time.Duration) analysis.Quantiles {
	ms *= time.Millisecond
	return analysis.Quantiles{Count: 297, Min: ms / 2, Mean: ms, P50: ms, P90: 2 * ms, P99: 3 * ms, P999: 4 * ms, Max: 5 * ms}
}

// tcpResult is a load of four connections that was stopped.
func tcpResult() Result {
	r := runResult()
	r.Trials, r.Size = nil, Size{}
	flow := analysis.TCPFlow{
		SentGoodputBytes: 250e6, ReceivedGoodputBytes: 249e6, Retransmits: 12, MinRTT: 10 * time.Millisecond, MeanRTT: 12 * time.Millisecond, MaxRTT: 31 * time.Millisecond,
		MaxCwnd: 1 << 20, MSS: 1398, Congestion: "cubic", Busy: 9 * time.Second, RwndLimited: 3 * time.Second, SndbufLimited: 90 * time.Millisecond,
	}
	r.TCP = []analysis.TCPTrial{{
		Load:             analysis.TCPLoad{Flows: 4, Duration: 30 * time.Second, Congestion: "cubic"},
		SentGoodputBytes: 1e9, ReceivedGoodputBytes: 996e6, Elapsed: 10 * time.Second, ReceivedElapsed: 10 * time.Second,
		PerFlow: []analysis.TCPFlow{flow, flow, flow, flow},
		Quality: &analysis.TCPQuality{Efficiency: 0.9995, BufferDelay: 0.2, Baseline: 10 * time.Millisecond, TransferTime: 1.04, BottleneckGoodputBitsPerSecond: 840e6},
		Latency: &analysis.Latency{Sent: 1000, Received: 1000, RTT: tripTimes(12)},
		Stopped: "rtt>30ms: 31.2 ms", TunnelDrops: 4,
		SenderTunnel:   analysis.TunnelCounts{OutPackets: 724_638, OutInnerBytes: 1_037e6, InPackets: 40_200, InInnerBytes: 2_090_400},
		ReceiverTunnel: analysis.TunnelCounts{OutPackets: 40_200, OutInnerBytes: 2_090_400, InPackets: 724_634, InInnerBytes: 1_036e6, Dropped: map[string]uint64{"replayed": 4}},
		Sender:         analysis.Host{Busy: 4 * time.Second, Cores: []analysis.Core{{Idle: 0.6}}},
	}}
	r.Reproduce = Reproduce{CommandLine: "tunnelmark run a b -P 4 -t 30 --stop-if rtt>30ms"}
	return r
}

// latencyResult knows round trips at several loads, and the sizes that pass.
func latencyResult() Result {
	r := policerResult()
	r.Truth = nil
	for i, share := range []float64{0, 0.5, 0.8, 0.95} {
		r.Latencies = append(r.Latencies, analysis.Latency{
			Share: share, InnerBitsPerSecond: share * innerLimit, Sent: 300, Received: 300, KernelStamps: true,
			RTT: tripTimes(time.Duration(1 << i)), There: tripTimes(1), Back: tripTimes(2),
		})
	}
	r.PathMTU = &PathMTUs{
		There:    analysis.PathMTU{InnerSize: 1372, LocalMTU: 1438, BlackHoleFrom: 1373, Sent: 31, Elapsed: 3 * time.Second},
		Back:     analysis.PathMTU{InnerSize: 1438, LocalMTU: 1438, ICMPSaid: 1400, Sent: 12, Note: "ICMP said 1400 B, larger packets arrived."},
		MSSThere: &analysis.MSS{Sent: 1398, Received: 1320}, MSSBack: &analysis.MSS{Sent: 1398, Received: 1398},
	}
	return r
}

// pathMTUResult is of a search for sizes alone.
func pathMTUResult() Result {
	r := latencyResult()
	r.Kind, r.Ceiling, r.Verdict, r.Trials, r.Latencies = PathMTU, nil, nil, nil, nil
	return r
}

// hostileResult says the worst in every string that an agent controls.
func hostileResult() Result {
	const attack = `"><script>alert(1)</script><img src=x onerror=alert(1)>'{{.}}</style></title>` + "\x1b[2J\u202e\x00"
	r := policerResult()
	r.Path, r.Scenario, r.ToolVersion = Path{From: attack, To: attack}, attack, attack
	r.Tunnel = Tunnel{Driver: attack, Suite: attack, Encapsulation: attack, OuterFamily: attack, Count: -1}
	r.Ceiling.Manner = attack
	r.Ceiling.Steps[0].Purpose = attack
	r.Verdict = &analysis.Verdict{Cause: attack, Summary: attack, Evidence: []analysis.Evidence{
		{Signal: attack, Unit: attack, Threshold: attack, For: attack},
	}}
	r.Truth.Expected.Cause = attack
	r.Truth.Devices[0].Link, r.Truth.Devices[0].Kind, r.Truth.Devices[0].Toward = attack, attack, attack
	r.Environment = []End{{Site: attack, AgentVersion: attack, Hostname: attack, Kernel: attack, CPU: attack, GoVersion: attack, Driver: attack}}
	r.Reproduce = Reproduce{CommandLine: attack, Scenario: attack, InputsSHA256: attack}
	r.Notes = []string{attack}
	r.Evidence = []Evidence{{Site: attack, How: attack}}
	r.Environment[0].Details = []Detail{{attack, attack}}
	r.Ceiling.Steps[0].Trial.SenderTunnel.Dropped = map[string]uint64{attack: 1}
	r.Trials = []analysis.Trial{{Stopped: attack, Load: analysis.Load{Mix: analysis.Mix{InnerSizes: []int{46, 1500}, Genome: attack}}}}
	r.TCP = []analysis.TCPTrial{{Stopped: attack, PerFlow: []analysis.TCPFlow{{Congestion: attack}}}}
	r.PathMTU = &PathMTUs{There: analysis.PathMTU{Note: attack}}
	return r
}

// fixtures are the results that every writer must get right.
var fixtures = []struct {
	name   string
	result func() Result
}{
	{"policer", policerResult},
	{"generator", generatorResult},
	{"unknown", unknownResult},
	{"empty", emptyResult},
	{"long", longResult},
	{"run", runResult},
	{"mixed", mixedResult},
	{"tcp", tcpResult},
	{"latency", latencyResult},
	{"available", availableResult},
	{"tunnels", tunnelsResult},
	{"pmtu", pathMTUResult},
	{"hostile", hostileResult},
}

func fixtureName(name, format string) string { return fmt.Sprintf("testdata/%s.%s", name, format) }
