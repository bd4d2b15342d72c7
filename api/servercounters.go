package api

import (
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// faultCodes are the codes of all faults.
var faultCodes = [...]int{100, 104, 106, 107, 108, 111, 112}

// serverCounters counts what backends ask. Any goroutine.
type serverCounters struct {
	commands     [len(methodNames)]atomic.Uint64
	faults       [len(faultCodes)]atomic.Uint64
	unauthorized atomic.Uint64
}

func (c *serverCounters) fault(f *fault) {
	for i, code := range faultCodes {
		if code == f.code {
			c.faults[i].Add(1)
		}
	}
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
	for i, name := range methodNames {
		to <- prometheus.MustNewConstMetric(commandsDesc, prometheus.CounterValue, float64(s.count.commands[i].Load()), name)
	}
	for i, code := range faultCodes {
		to <- prometheus.MustNewConstMetric(faultsDesc, prometheus.CounterValue, float64(s.count.faults[i].Load()), strconv.Itoa(code))
	}
	to <- prometheus.MustNewConstMetric(wrongKeyDesc, prometheus.CounterValue, float64(s.count.unauthorized.Load()))
}
