package loop

import (
	"time"

	"ringcast/dialect"
)

// This file bounds what a client may send in a second. It is off by default, and then costs a branch.
//
// A client may be ahead of its rate by one second's worth. Beyond that a command with an id is refused, and answered. One without
// an id cannot be answered, and nothing is dropped silently, so it is carried out for a further second's worth; beyond that the
// client is closed. Bytes and pings cannot be refused one by one either.

const (
	burstNanos = int64(time.Second)     // what a client may be ahead of its rate without consequences
	graceNanos = 2 * int64(time.Second) // a client that is ahead by more is closed
)

// rate is a bound on what each client may send in a second, of commands or of bytes. For each client it has the time at which all
// that it has sent would be due, had it come at an even pace; a client is ahead by as much as that is after now (the generic cell
// rate algorithm). That is one number a client and no timer, and nothing is to be done for a silent client.
type rate struct {
	perSecond int64   // 0: any number
	due       []int64 // by slot, as shard.clients, in nanoseconds of env.now; nil while there is no bound
}

// after is a client's due time when it has sent n more. n times the nanoseconds of a second must fit an int64, as the length of a
// read does by far.
func (r *rate) after(slot uint32, n int, from int64) int64 {
	return max(r.due[slot], from) + int64(n)*int64(time.Second)/r.perSecond
}

// adopt changes the bound. A client that is ahead stays ahead by the same time.
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

// move is for a client that goes to another slot.
func (r *rate) move(from, to uint32) {
	if r.perSecond > 0 {
		r.due[to] = r.due[from]
	}
}

// drop moves the last client to the slot of one that has gone.
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

// rates is a shard's rates.
//
// Owner: the loop.
type rates struct {
	on       bool
	commands rate // pings and pongs are commands too
	bytes    rate // of frames; request heads have bounds of their own
	events   eventRates

	// A server that stood still reads at once what came meanwhile, and must not take it for a burst: see tick.
	tickAt    int64 // env.now at the last tick
	since     int64 // when the last standstill began
	forgiving int64 // until then it is considered
}

const (
	// standstillMin is the time in nanoseconds for which a loop with clients has seen no tick if it stood still.
	standstillMin = int64(5 * tickPeriod / 2)
	// forgivenMax bounds the time, in nanoseconds, in which what came during a standstill may be read.
	forgivenMax = int64(10 * time.Second)
)

// adopt changes the bounds.
func (r *rates) adopt(b *bounds, clients int) {
	r.commands.adopt(b.CommandsPerSecond, clients)
	r.bytes.adopt(b.BytesPerSecond, clients)
	r.on = b.CommandsPerSecond > 0 || b.BytesPerSecond > 0
}

func (r *rates) add() {
	r.commands.add()
	r.bytes.add()
}

func (r *rates) move(from, to uint32) {
	r.commands.move(from, to)
	r.bytes.move(from, to)
}

func (r *rates) drop(slot uint32) {
	r.commands.drop(slot)
	r.bytes.drop(slot)
}

// start is called when a loop gets its first client: the clock does not wake loops without clients.
func (r *rates) start(now int64) { r.tickAt = now }

// tick notes that the loop runs, and whether it stood still before: by SIGSTOP, on a machine that swaps, or in a turn that
// took too long. What it then reads late is not the clients' fault. So for as long as the standstill took, at most
// forgivenMax, each client is judged as if what it sends had come from the standstill's beginning on: it may send what it
// could have sent meanwhile.
func (r *rates) tick(now int64) {
	if stood := now - r.tickAt; stood > standstillMin {
		r.since, r.forgiving = r.tickAt, now+min(stood, forgivenMax)
	}
	r.tickAt = now
}

// from is the time from which what comes now is due.
func (r *rates) from(now int64) int64 {
	if now-r.tickAt > standstillMin {
		r.tick(now)
	}
	if now < r.forgiving {
		return r.since
	}
	return now
}

// chargeBytes counts bytes that c has sent, and closes it when it is ahead by more than graceNanos.
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

// mayCommand counts a command of c; false: it is refused, and not counted. A command that can be answered is refused if c is
// ahead by more than burstNanos, any other if by more than graceNanos.
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

// subscribesAnew says whether a command has c subscribe to a channel of which it is no member. Such a one is not counted as a command as long
// as it is not refused: an SDK subscribes to all channels of its page at once and one by one, and again whenever it is connected anew, so a
// rate below their number would let no page in, however often it comes back. What a client may be in bounds them, and leaving counts.
func (s *shard) subscribesAnew(c *client, cmd *dialect.Command) bool {
	if cmd.Verb != dialect.AddGroup || !s.entry(c).Channels {
		return false
	}
	app := s.appOf(c)
	if app == nil {
		return false
	}
	g := s.groups.Get(app.Group(string(cmd.Group)))
	return g == nil || c.memberOf(g) < 0
}
