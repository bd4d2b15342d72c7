package report

import (
	"fmt"
	"strings"
)

// CeilingPrefix begins the name of each run against the ceiling, the minimal server.
const CeilingPrefix = "ceiling"

// Goroutines is the name of runs against the server that is measured beside one with TLS, for which there is no ceiling: TLS as it is
// usual in Go, with a goroutine for each connection.
const Goroutines = "goroutines"

// IsBeside says whether a run was against a yardstick, a ceiling or another.
func (r *Run) IsBeside() bool { return r.IsCeiling() || r.Server == Goroutines }

// IsCeiling says whether a run was against the ceiling.
func (r *Run) IsCeiling() bool { return isCeiling(r.Server) }

func isCeiling(server string) bool { return strings.HasPrefix(server, CeilingPrefix) }

// sharesOfCeiling describes the first run relative to the yardsticks that were run beside it, and each further one of the same server.
func sharesOfCeiling(f *File) (all []string) {
	for i, mine := range f.Runs {
		if i == 0 && mine.IsBeside() {
			return nil
		}
		if !mine.IsBeside() {
			all = append(all, mine.shares(f.Runs[i+1:])...)
		}
	}
	return all
}

// shares describes r relative to the yardsticks among others.
func (r *Run) shares(others []*Run) []string {
	var all []string
	for _, c := range others {
		if !c.IsBeside() || c.flag("tls-resume") != r.flag("tls-resume") {
			continue
		}
		var parts []string
		if r.Fanout != nil && c.Fanout != nil {
			if a, b := r.Fanout.ServerMicros, c.Fanout.ServerMicros; a > 0 && b > 0 {
				parts = append(parts, fmt.Sprintf("%.2f × its CPU a delivery", a/b))
			}
			if r.Fanout.Latency.P99 > 0 && c.Fanout.Latency.P99 > 0 && !r.Fanout.LatencyVoid && !c.Fanout.LatencyVoid {
				parts = append(parts, fmt.Sprintf("%.2f × its p99", float64(r.Fanout.Latency.P99)/float64(c.Fanout.Latency.P99)))
			}
			if r.RateVoid || c.RateVoid {
				parts = append(parts, "rates are void")
			} else if c.Fanout.DeliveredPer > 0 {
				parts = append(parts, fmt.Sprintf("%.0f %% of its deliveries/s", 100*r.Fanout.DeliveredPer/c.Fanout.DeliveredPer))
			}
		}
		if r.Connect != nil && c.Connect != nil && r.Connect.ServerMicros > 0 && c.Connect.ServerMicros > 0 {
			parts = append(parts, fmt.Sprintf("%.2f × its CPU a handshake", r.Connect.ServerMicros/c.Connect.ServerMicros))
		}
		if r.Connect != nil && c.Connect != nil && r.Memory != nil && c.Memory != nil && r.Memory.RSSPerClient > 0 && c.Memory.RSSPerClient > 0 {
			parts = append(parts, fmt.Sprintf("%.1f × its memory a client", r.Memory.RSSPerClient/c.Memory.RSSPerClient))
		}
		if len(parts) > 0 {
			resumed := ""
			if r.flag("tls-resume") != "" {
				resumed = ", sessions resumed"
			}
			all = append(all, fmt.Sprintf("against %s%s: %s", c.Server, resumed, strings.Join(parts, ", ")))
		}
	}
	return all
}
