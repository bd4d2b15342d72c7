package api

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// PublicStats is the state of a Public at about one moment. Gauges are of that moment, the others count since the start.
type PublicStats struct {
	Connections int               `json:"connections"` // gauge: with a place
	Keyed       int               `json:"keyed"`       // gauge: of these, those that have shown a valid key
	Idle        int               `json:"idle"`        // gauge: of these, those on which no request is under way
	Beyond      int               `json:"beyond"`      // gauge: beyond the bound; each is answered one request
	Requests    uint64            `json:"requests"`    // those refused too
	Refused     map[string]uint64 `json:"refused"`     // requests, and connections that were closed without a word, by reason
	Displaced   uint64            `json:"displaced"`   // idle connections closed for a newcomer
	Panics      uint64            `json:"panics"`      // of handlers; any is a bug
}

// publicCounters are the part of it that only grows.
type publicCounters struct {
	requests, panics atomic.Uint64

	full    atomic.Uint64 // no place
	origin  atomic.Uint64 // the page's origin is not allowed
	body    atomic.Uint64 // a body that says it is over the bound; one that does not say so is the handler's
	address atomic.Uint64 // too many connections from the client's address, as a proxy has named it in a further request
}

// Stats reads them.
func (p *Public) Stats() PublicStats {
	c, s := &p.count, PublicStats{}
	s.Connections, s.Keyed, s.Idle, s.Beyond = p.guests.sizes()
	s.Requests, s.Displaced, s.Panics = c.requests.Load(), p.guests.displaced.Load(), c.panics.Load()
	s.Refused = map[string]uint64{"full": c.full.Load(), "origin": c.origin.Load(), "body": c.body.Load(), "address": c.address.Load()}
	return s
}

// A Public is a prometheus.Collector: its metrics are read from Stats at each scrape.
var (
	publicConnections = prometheus.NewDesc("ringcast_http_connections", "HTTP connections by state: idle ones, those with a request under way, and those beyond the bound, which are answered one.", []string{"state"}, nil)
	publicKeyed       = prometheus.NewDesc("ringcast_http_keyed_connections", "HTTP connections that have shown a valid key.", nil, nil)
	publicRequests    = prometheus.NewDesc("ringcast_http_requests_total", "HTTP requests, those refused too.", nil, nil)
	publicRefused     = prometheus.NewDesc("ringcast_http_refused_total", "HTTP requests refused before anything was done for them, by reason; connections that were closed without a word are among the full.", []string{"reason"}, nil)
	publicDisplaced   = prometheus.NewDesc("ringcast_http_displaced_total", "Idle HTTP connections that were closed for a newcomer.", nil, nil)
	publicPanics      = prometheus.NewDesc("ringcast_http_panics_total", "Requests whose handling panicked; the connection was closed. Any is a bug.", nil, nil)
)

// Describe is part of prometheus.Collector.
func (p *Public) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{publicConnections, publicKeyed, publicRequests, publicRefused, publicDisplaced, publicPanics} {
		out <- d
	}
}

// Collect is part of prometheus.Collector.
func (p *Public) Collect(out chan<- prometheus.Metric) {
	s := p.Stats()
	gauge := func(d *prometheus.Desc, n int, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge(publicConnections, s.Idle, "idle")
	gauge(publicConnections, s.Connections-s.Idle, "active")
	gauge(publicConnections, s.Beyond, "beyond")
	gauge(publicKeyed, s.Keyed)
	counter(publicRequests, s.Requests)
	for reason, n := range s.Refused {
		counter(publicRefused, n, reason)
	}
	counter(publicDisplaced, s.Displaced)
	counter(publicPanics, s.Panics)
}
