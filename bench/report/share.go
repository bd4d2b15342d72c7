package report

import (
	"fmt"
	"strings"
)

// CeilingPrefix begins the name of each run against the ceiling, the minimal server.
const CeilingPrefix = "ceiling"

// IsCeiling says whether a run was against the ceiling.
func (r *Run) IsCeiling() bool { return isCeiling(r.Server) }

func isCeiling(server string) bool { return strings.HasPrefix(server, CeilingPrefix) }

// sharesOfCeiling describes the first run relative to the ceilings that were run beside it.
func sharesOfCeiling(f *File) []string {
	mine := f.Runs[0]
	if mine.IsCeiling() {
		return nil
	}
	var all []string
	for _, c := range f.Runs[1:] {
		if !c.IsCeiling() {
			continue
		}
		var parts []string
		if mine.Fanout != nil && c.Fanout != nil {
			if a, b := mine.Fanout.ServerMicros, c.Fanout.ServerMicros; a > 0 && b > 0 {
				parts = append(parts, fmt.Sprintf("%.2f × its CPU a delivery", a/b))
			}
			if mine.Fanout.Latency.P99 > 0 && c.Fanout.Latency.P99 > 0 && !mine.Fanout.LatencyVoid && !c.Fanout.LatencyVoid {
				parts = append(parts, fmt.Sprintf("%.2f × its p99", float64(mine.Fanout.Latency.P99)/float64(c.Fanout.Latency.P99)))
			}
			if mine.RateVoid || c.RateVoid {
				parts = append(parts, "rates are void")
			} else if c.Fanout.DeliveredPer > 0 {
				parts = append(parts, fmt.Sprintf("%.0f %% of its deliveries/s", 100*mine.Fanout.DeliveredPer/c.Fanout.DeliveredPer))
			}
		}
		if mine.Connect != nil && c.Connect != nil && mine.Connect.ServerMicros > 0 && c.Connect.ServerMicros > 0 {
			parts = append(parts, fmt.Sprintf("%.2f × its CPU a handshake", mine.Connect.ServerMicros/c.Connect.ServerMicros))
		}
		if mine.Connect != nil && c.Connect != nil && mine.Memory != nil && c.Memory != nil && mine.Memory.RSSPerClient > 0 && c.Memory.RSSPerClient > 0 {
			parts = append(parts, fmt.Sprintf("%.1f × its memory a client", mine.Memory.RSSPerClient/c.Memory.RSSPerClient))
		}
		if len(parts) > 0 {
			all = append(all, fmt.Sprintf("against %s: %s", c.Server, strings.Join(parts, ", ")))
		}
	}
	return all
}
