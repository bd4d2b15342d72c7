package loop

import (
	"time"

	"ringcast/dialect"
)

// This file holds clients to what they may send in a second. Off by default, and then it costs a branch.
//
// What one second's worth exceeds is refused where it can be: a command with an id is not carried out and is told so. One
// without cannot be told, and nothing is dropped silently, so it is still carried out, for a grace of a further second's
// worth; beyond that the client is closed. Bytes cannot be refused one by one, nor pings.

const (
	burstNanos = int64(time.Second)     // what a client may be ahead of its rate
	graceNanos = 2 * int64(time.Second) // ahead by more than this it is closed
)

// rate is what each client may send in a second, of commands or of bytes. For each stands the moment at which all that
// it has sent would be due, had it come at the rate's even pace; how far ahead of now that is, is how far the client is
// over (the generic cell rate algorithm). One number a client, no timer, and nothing to be done for who is silent.
type rate struct {
	perSecond int64   // 0: any number
	due       []int64 // beside shard.clients, in nanoseconds of env.now; nil while there is no bound
}

// after is the moment due when a client has sent n more. n times a second in nanoseconds must fit an int64: reads do by far.
func (r *rate) after(slot uint32, n int, from int64) int64 {
	return max(r.due[slot], from) + int64(n)*int64(time.Second)/r.perSecond
}

// adopt goes over to another bound. Who was ahead stays so.
func (r *rate) adopt(perSecond, clients int) {
	r.perSecond = int64(perSecond)
	if perSecond == 0 {
		r.due = nil
	} else if r.due == nil {
		r.due = make([]int64, clients)
	}
}

// add makes room for a new client at the end.
func (r *rate) add() {
	if r.perSecond > 0 {
		r.due = append(r.due, 0)
	}
}

// drop moves the last client into a place.
func (r *rate) drop(slot uint32) {
	if r.perSecond == 0 {
		return
	}
	last := len(r.due) - 1
	r.due[slot] = r.due[last]
	r.due = r.due[:last]
	if cap(r.due) > clientsKeptMin && last < cap(r.due)/4 {
		r.due = append(make([]int64, 0, cap(r.due)/2), r.due...)
	}
}

// rates is a shard's. Owner: the loop.
type rates struct {
	on       bool
	commands rate // pings and pongs are commands too
	bytes    rate // of frames; request heads have bounds of their own

	// A server that stood still finds all at once what came meanwhile, and must not take it for a burst: see tick.
	tickAt    int64 // env.now at the last tick
	since     int64 // when the last standstill began
	forgiving int64 // until when it counts
}

const (
	// standstillMin is how long a loop with clients has to miss its ticks, in nanoseconds, to have stood still.
	standstillMin = int64(5 * tickPeriod / 2)
	// forgivenMax is how long, in nanoseconds, what had come before may take to be read.
	forgivenMax = int64(10 * time.Second)
)

// adopt goes over to other bounds.
func (r *rates) adopt(b *bounds, clients int) {
	r.commands.adopt(b.CommandsPerSecond, clients)
	r.bytes.adopt(b.BytesPerSecond, clients)
	r.on = b.CommandsPerSecond > 0 || b.BytesPerSecond > 0
}

func (r *rates) add() {
	r.commands.add()
	r.bytes.add()
}

func (r *rates) drop(slot uint32) {
	r.commands.drop(slot)
	r.bytes.drop(slot)
}

// start is for a loop that the clock has not woken, because it had no clients.
func (r *rates) start(now int64) { r.tickAt = now }

// tick notes that the loop runs, and how long it has not. SIGSTOP, a swapping machine or a turn that took too long: what
// comes late then is no client's doing. For as long as the standstill took, at most forgivenMax, each client is judged as
// if now had not passed its beginning: it may send what it could have sent meanwhile, and no more.
func (r *rates) tick(now int64) {
	if stood := now - r.tickAt; stood > standstillMin {
		r.since, r.forgiving = r.tickAt, now+min(stood, forgivenMax)
	}
	r.tickAt = now
}

// from is the earliest moment from which what comes now counts.
func (r *rates) from(now int64) int64 {
	if now-r.tickAt > standstillMin {
		r.tick(now)
	}
	if now < r.forgiving {
		return r.since
	}
	return now
}

// chargeBytes counts bytes that c has sent, whatever becomes of them, and closes it when they are beyond the grace.
func (s *shard) chargeBytes(c *client, n int) {
	if s.rates.bytes.perSecond == 0 || c.state != stateOpen {
		return
	}
	now := s.env.now()
	due := s.rates.bytes.after(c.slot, n, s.rates.from(now))
	s.rates.bytes.due[c.slot] = due
	if due-now > graceNanos {
		count(&s.count.RefusedBy, refusedRate)
		s.close(c, dialect.CauseByteRate)
	}
}

// mayCommand charges c with a command, or says that it is refused; then it is not charged. Over the rate an answerable one
// is refused, any other one beyond the grace.
func (s *shard) mayCommand(c *client, answerable bool) bool {
	now, bound := s.env.now(), graceNanos
	if answerable {
		bound = burstNanos
		if s.rates.bytes.perSecond > 0 && s.rates.bytes.due[c.slot]-now > bound {
			count(&s.count.RefusedBy, refusedRate)
			return false
		}
	}
	if s.rates.commands.perSecond == 0 {
		return true
	}
	due := s.rates.commands.after(c.slot, 1, s.rates.from(now))
	if due-now > bound {
		count(&s.count.RefusedBy, refusedRate)
		return false
	}
	s.rates.commands.due[c.slot] = due
	return true
}
