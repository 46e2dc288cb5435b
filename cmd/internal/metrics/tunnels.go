package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"tunnelmark/tunnel"
)

// WatchTunnels shows what tunnels count, which it asks at each scrape: totals by
// driver that never go back, those of sessions that have ended included. It is called
// once; count may be called from several goroutines at once.
func (m *Metrics) WatchTunnels(count func() map[string]tunnel.Counters) {
	m.registry.MustRegister(&tunnels{
		count:   count,
		packets: ofTunnels("packets_total", "Packets that tunnels have sealed and sent (out), or received, opened and delivered (in).", "direction"),
		bytes:   ofTunnels("inner_bytes_total", "Bytes of these packets inside the tunnel.", "direction"),
		dropped: ofTunnels("dropped_packets_total", "Packets that ended in a tunnel, each for one reason.", "reason"),
		errors:  ofTunnels("outer_errors_total", "What the outer network reported about packets sent before, such as ICMP port unreachable."),
	})
}

// ofTunnels describes a metric with the label driver before its own. There are a
// dozen drivers, ten reasons and two directions.
func ofTunnels(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("tunnelmark_tunnel_"+name, help, append([]string{"driver"}, labels...), nil)
}

// tunnels makes metrics of counters that others keep.
type tunnels struct {
	count                           func() map[string]tunnel.Counters
	packets, bytes, dropped, errors *prometheus.Desc
}

var _ prometheus.Collector = (*tunnels)(nil)

// Describe names all metrics, also those that have no series yet.
func (t *tunnels) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{t.packets, t.bytes, t.dropped, t.errors} {
		descs <- desc
	}
}

// Collect gives a driver all its series, zeros included, from its first session on, so
// that rate() sees the first packet of a reason later. What the driver counts before it
// is first scraped is in no rate.
func (t *tunnels) Collect(metrics chan<- prometheus.Metric) {
	for driver, c := range t.count() {
		send := func(desc *prometheus.Desc, value uint64, labels ...string) {
			metrics <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(value), append([]string{driver}, labels...)...)
		}
		send(t.packets, c.OutPackets, "out")
		send(t.packets, c.InPackets, "in")
		send(t.bytes, c.OutInnerBytes, "out")
		send(t.bytes, c.InInnerBytes, "in")
		for _, drop := range c.Drops() {
			send(t.dropped, drop.Packets, drop.Reason)
		}
		send(t.errors, c.OuterErrors)
	}
}
