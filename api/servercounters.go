package api

import (
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// serverCounters counts what backends ask. Any goroutine.
type serverCounters struct {
	commands     [16]atomic.Uint64 // by the place of the method
	unauthorized atomic.Uint64
	faults       sync.Map // of *atomic.Uint64, by code
}

func (c *serverCounters) fault(f *fault) {
	n, known := c.faults.Load(f.code)
	if !known {
		n, _ = c.faults.LoadOrStore(f.code, new(atomic.Uint64))
	}
	n.(*atomic.Uint64).Add(1)
}

var (
	commandsDesc = prometheus.NewDesc("ringcast_api_commands_total", "Commands of the server API by method; each of many in one request is one.", []string{"method"}, nil)
	faultsDesc   = prometheus.NewDesc("ringcast_api_errors_total", "Commands of the server API that were answered with an error, by its code.", []string{"code"}, nil)
	wrongKeyDesc = prometheus.NewDesc("ringcast_api_unauthorized_total", "Requests to the server API without a key that counts.", nil, nil)
)

// Describe is part of prometheus.Collector.
func (s *Server) Describe(to chan<- *prometheus.Desc) {
	to <- commandsDesc
	to <- faultsDesc
	to <- wrongKeyDesc
}

// Collect is part of prometheus.Collector.
func (s *Server) Collect(to chan<- prometheus.Metric) {
	for i, m := range methodTable {
		to <- prometheus.MustNewConstMetric(commandsDesc, prometheus.CounterValue, float64(s.count.commands[i].Load()), m.name)
	}
	s.count.faults.Range(func(code, n any) bool {
		to <- prometheus.MustNewConstMetric(faultsDesc, prometheus.CounterValue, float64(n.(*atomic.Uint64).Load()), strconv.Itoa(code.(int)))
		return true
	})
	to <- prometheus.MustNewConstMetric(wrongKeyDesc, prometheus.CounterValue, float64(s.count.unauthorized.Load()))
}
