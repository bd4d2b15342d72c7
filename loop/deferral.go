package loop

// deferral is how a busy loop puts off acting on what it reads until it has seen all sockets that were ready: what comes in
// together is put in order, sent and rung for together.
//
// Owner: the loop.
type deferral struct {
	on      bool  // the kick under way is for what was read and not acted upon, and not for passes
	since   int64 // when the loop last acted, or began to put it off
	heardAt int64 // end of the last callback that brought bytes
}

const (
	// busyGap is the time between two callbacks that bring bytes, in nanoseconds, below which a loop has not slept in
	// between: a read and a look at epoll take some 3 µs, falling asleep and waking up takes longer than this.
	busyGap = 10_000
	// deferMax is how long a busy loop, in nanoseconds, goes on reading before it acts without its kick, and how long until
	// it does so again: with thousands of ready sockets the kick is far away.
	deferMax = 300_000
)

// busy says whether a loop that reads now has not slept since it last did.
func (d *deferral) busy(now int64) bool { return now-d.heardAt < busyGap }

// begin puts acting off, until a kick.
func (d *deferral) begin(now int64) { d.on, d.since = true, now }

// over says whether it was put off for long enough.
func (d *deferral) over(now int64) bool { return now-d.since >= deferMax }
