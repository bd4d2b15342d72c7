package door

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Pace allows so many events a second, on all loops together. It is a token bucket of paceBurst's worth of events, at least one.
// All that it keeps is the time at which the bucket will be full. The zero value is a full bucket.
//
// Owner: any goroutine (atomic).
type Pace struct{ full atomic.Int64 } // nanoseconds on the callers' clock

// Allow says whether an event may happen at now, and counts it if so. now is in nanoseconds of one monotonic clock, and
// perSecond, at least 1, is the rate.
func (p *Pace) Allow(now int64, perSecond int) bool {
	each := int64(time.Second) / int64(perSecond)
	for {
		full := p.full.Load()
		next := max(full, now) + each
		if next-now > max(each, paceBurst) {
			return false
		}
		if p.full.CompareAndSwap(full, next) {
			return true
		}
	}
}

// paceBurst, in nanoseconds: small, so that a storm is spread evenly; large enough for a few events at one moment when there is
// none.
const paceBurst = int64(100 * time.Millisecond)

// RetryAfter is a random number of seconds, 1 to RetrySecondsMax, after which a refused client is to try again. It is random
// because many clients that were refused at one moment would else all come back at one moment.
func RetryAfter() int { return 1 + rand.IntN(RetrySecondsMax) }

// RetrySecondsMax bounds RetryAfter.
const RetrySecondsMax = 8
