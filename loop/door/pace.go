package door

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Pace lets so many through in a second, on all loops together. It is a bucket that runs full at that rate and holds
// paceBurst of it, or one; all that is kept is when it will be full. The zero value is an empty one.
//
// Owner: any goroutine.
type Pace struct{ full atomic.Int64 } // nanoseconds on the callers' clocks, which agree within microseconds

// Allow lets one more through at now, in nanoseconds, or says that perSecond, 1 or more, have been let through already.
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

// paceBurst, in nanoseconds: small, so that a storm is spread evenly; large enough that a few who come at one moment on
// a calm day all get in.
const paceBurst = int64(100 * time.Millisecond)

// RetryAfter is the seconds, 1 to RetrySecondsMax, after which one of many who were refused in one moment is to try again:
// each another number, else they would all be back in one moment.
func RetryAfter() int { return 1 + rand.IntN(RetrySecondsMax) }

// RetrySecondsMax bounds RetryAfter.
const RetrySecondsMax = 8
