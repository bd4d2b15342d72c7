package certs

import "github.com/prometheus/client_golang/prometheus"

var (
	expiryDesc = prometheus.NewDesc("ringcast_tls_certificate_expiry_seconds",
		"Seconds until a certificate expires, by the first name that it is good for; less than 0 when it has. Of several for one name, the one that expires first.", []string{"name"}, nil)
	failuresDesc = prometheus.NewDesc("ringcast_tls_certificate_failures_total",
		"New certificates that were not used, as their files were wrong, and tries to obtain one from an ACME server that have failed.", nil, nil)
)

// Describe is part of prometheus.Collector.
func (s *Store) Describe(out chan<- *prometheus.Desc) { out <- expiryDesc; out <- failuresDesc }

// Collect is part of prometheus.Collector.
func (s *Store) Collect(out chan<- prometheus.Metric) {
	now, first := s.now(), map[string]float64{}
	for _, c := range s.Status() {
		if c.NotAfter.IsZero() {
			continue
		}
		name, left := "", c.NotAfter.Sub(now).Seconds()
		if len(c.Names) > 0 {
			name = c.Names[0]
		}
		if before, twice := first[name]; !twice || left < before {
			first[name] = left
		}
	}
	for name, left := range first {
		out <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue, left, name)
	}
	out <- prometheus.MustNewConstMetric(failuresDesc, prometheus.CounterValue, float64(s.failed.Load()))
}
