package web

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rota-scheduler/rota/transport/access"
)

const metricDenials = "rota_denials_total"

// denials counts the calls and HTTP requests that were refused for want of a right.
type denials struct {
	guard *access.Guard
	desc  *prometheus.Desc
}

func newDenials(g *access.Guard) denials {
	return denials{g, prometheus.NewDesc(metricDenials, "Calls and HTTP requests that were refused because the caller was not known, or lacked the right.", []string{"right", "reason"}, nil)}
}

// Describe implements prometheus.Collector.
func (d denials) Describe(out chan<- *prometheus.Desc) { out <- d.desc }

// Collect implements prometheus.Collector.
func (d denials) Collect(out chan<- prometheus.Metric) {
	for what, n := range d.guard.Denials() {
		out <- prometheus.MustNewConstMetric(d.desc, prometheus.CounterValue, float64(n), string(what.Right), string(what.Reason))
	}
}
