package api

import (
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// pusherStatuses are those of all answers that refuse something.
var pusherStatuses = [...]int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge,
	http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusGatewayTimeout}

// pusherCounters counts what backends ask. Any goroutine.
type pusherCounters struct {
	calls  [len(pusherCallNames)]atomic.Uint64
	errors [len(pusherStatuses)]atomic.Uint64
}

func (c *pusherCounters) refused(status int) {
	if i := slices.Index(pusherStatuses[:], status); i >= 0 {
		c.errors[i].Add(1)
	}
}

var (
	pusherCallsDesc  = prometheus.NewDesc("ringcast_pusher_requests_total", "Signed requests to the HTTP API of the Pusher protocol by what they ask.", []string{"call"}, nil)
	pusherErrorsDesc = prometheus.NewDesc("ringcast_pusher_request_errors_total", "Requests to the HTTP API of the Pusher protocol that were not answered with 200, by status; 401 is a request that no app has signed.", []string{"status"}, nil)
)

// Describe is part of prometheus.Collector.
func (p *Pusher) Describe(to chan<- *prometheus.Desc) {
	to <- pusherCallsDesc
	to <- pusherErrorsDesc
}

// Collect is part of prometheus.Collector.
func (p *Pusher) Collect(to chan<- prometheus.Metric) {
	for i, name := range pusherCallNames {
		to <- prometheus.MustNewConstMetric(pusherCallsDesc, prometheus.CounterValue, float64(p.count.calls[i].Load()), name)
	}
	for i, status := range pusherStatuses {
		to <- prometheus.MustNewConstMetric(pusherErrorsDesc, prometheus.CounterValue, float64(p.count.errors[i].Load()), strconv.Itoa(status))
	}
}
