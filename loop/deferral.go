package loop

// deferral is how a busy loop defers acting on what it reads until it has read all sockets that were ready: what comes in
// together is put in order and sent together, with one wake-up of other loops.
//
// Owner: the loop.
type deferral struct {
	on      bool  // the kick under way is for what was read and not acted upon, and not for passes
	since   int64 // when the loop last acted, or began to defer
	heardAt int64 // end of the last callback that brought bytes
}

const (
	// busyGap, in nanoseconds: if less than that is between two callbacks that bring bytes, the loop has not slept in between. A
	// read and a look at epoll take some 3 µs; to fall asleep and wake up takes longer than busyGap.
	busyGap = 10_000
	// deferMax is how long, in nanoseconds, a busy loop goes on reading before it acts without waiting for its kick, again and
	// again: with thousands of ready sockets the kick comes late.
	deferMax = 300_000
)

// busy says whether a loop that reads now has not slept since it last read.
func (d *deferral) busy(now int64) bool { return now-d.heardAt < busyGap }

// begin defers acting until a kick.
func (d *deferral) begin(now int64) { d.on, d.since = true, now }

// over says whether acting was deferred for long enough.
func (d *deferral) over(now int64) bool { return now-d.since >= deferMax }
