// Package metrics shows what an agent does to Prometheus: its process, its
// sessions, the last trials (metrics.go), and what its tunnels count (tunnels.go), in
// base units. serve.go answers scrapes. It is the owner of client_golang.
//
// A trial's loss is in no metric: one agent knows only its own half of a trial,
// and the controller that knows both writes a report.
package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// The values of the label "role": which half of a trial this agent ran.
const (
	sender   = "sender"
	receiver = "receiver"
)

// Metrics counts what one agent does. Its methods may be called from several
// goroutines at once.
type Metrics struct {
	registry *prometheus.Registry

	sessions       prometheus.Gauge
	sessionsOpened prometheus.Counter
	sent, received prometheus.Counter
	trials         *prometheus.CounterVec
	// The last trial's series appear with the first trial: a zero before it
	// would look like a result.
	lastRate *prometheus.GaugeVec
	lastEnd  *prometheus.GaugeVec
}

// New returns the metrics of an agent of the given version, in a registry of
// their own.
func New(version string) *Metrics {
	m := &Metrics{
		registry:       prometheus.NewRegistry(),
		sessions:       gauge("sessions", "Sessions whose tunnel is up now."),
		sessionsOpened: counter("sessions_opened_total", "Sessions whose tunnel has been brought up."),
		sent:           counter("trial_sent_packets_total", "Packets that trials have sent into tunnels."),
		received:       counter("trial_received_packets_total", "Packets that trials have received from tunnels, without duplicates."),
		trials: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tunnelmark_trials_total", Help: "Trials that have ended, by this agent's half of them.",
		}, []string{"role"}),
		lastRate: lastTrial("inner_bytes_per_second", "Inner rate of the last trial: bytes of IP packets that entered or left the tunnel."),
		lastEnd:  lastTrial("end_timestamp_seconds", "When the last trial ended, since 1970."),
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(version),
		m.sessions, m.sessionsOpened, m.sent, m.received, m.trials, m.lastRate, m.lastEnd,
	)
	return m
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: "tunnelmark_" + name, Help: help})
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: "tunnelmark_" + name, Help: help})
}

func lastTrial(name, help string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "tunnelmark_last_trial_" + name, Help: help}, []string{"role"})
}

// buildInfo is a constant 1 that carries the version, as Prometheus' own
// exporters do it.
func buildInfo(version string) prometheus.Collector {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tunnelmark_build_info", Help: "Always 1; the label is the agent's version.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	info.Set(1)
	return info
}

// SessionOpened counts a session whose tunnel came up.
func (m *Metrics) SessionOpened() {
	m.sessions.Inc()
	m.sessionsOpened.Inc()
}

// SessionClosed counts the end of a session that SessionOpened counted.
func (m *Metrics) SessionClosed() { m.sessions.Dec() }

// TrialSent counts the sending half of a trial that has ended.
func (m *Metrics) TrialSent(packets uint64, innerBitsPerSecond float64) {
	m.sent.Add(float64(packets))
	m.trialEnded(sender, innerBitsPerSecond)
}

// TrialReceived counts the receiving half of a trial that has ended.
func (m *Metrics) TrialReceived(packets uint64, innerBitsPerSecond float64) {
	m.received.Add(float64(packets))
	m.trialEnded(receiver, innerBitsPerSecond)
}

func (m *Metrics) trialEnded(role string, innerBitsPerSecond float64) {
	m.trials.WithLabelValues(role).Inc()
	m.lastRate.WithLabelValues(role).Set(innerBitsPerSecond / 8) // Prometheus' base unit is the byte.
	m.lastEnd.WithLabelValues(role).Set(float64(time.Now().UnixNano()) / float64(time.Second))
}
