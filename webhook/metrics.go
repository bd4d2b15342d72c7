package webhook

import "github.com/prometheus/client_golang/prometheus"

var (
	eventsDesc   = prometheus.NewDesc("ringcast_webhook_events_total", "Events of Pusher channels for webhooks by what became of them: told, lost as no request with them was answered with 2xx in time, or dropped beyond the bounds, or with their app.", []string{"outcome"}, nil)
	requestsDesc = prometheus.NewDesc("ringcast_webhook_requests_total", "Requests with such events by result.", []string{"result"}, nil)
	waitingDesc  = prometheus.NewDesc("ringcast_webhook_waiting_bytes", "What such events take that wait to be told, or are held back in case that who has gone comes back.", nil, nil)
)

// Describe is part of prometheus.Collector.
func (h *Hooks) Describe(to chan<- *prometheus.Desc) {
	to <- eventsDesc
	to <- requestsDesc
	to <- waitingDesc
}

// Collect is part of prometheus.Collector.
func (h *Hooks) Collect(to chan<- prometheus.Metric) {
	counter := func(of *prometheus.Desc, n uint64, label string) {
		to <- prometheus.MustNewConstMetric(of, prometheus.CounterValue, float64(n), label)
	}
	counter(eventsDesc, h.told.Load(), "told")
	counter(eventsDesc, h.lost.Load(), "lost")
	counter(eventsDesc, h.dropped.Load(), "dropped")
	counter(requestsDesc, h.done.Load(), "done")
	counter(requestsDesc, h.failed.Load(), "failed")
	to <- prometheus.MustNewConstMetric(waitingDesc, prometheus.GaugeValue, float64(h.bytes.Load()))
}
