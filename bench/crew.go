package main

import (
	"bytes"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"ringcast/bench/check"
	"ringcast/bench/client"
)

// crew is the play of fanout on one generator: it publishes, and it checks what the members hear. Owner: that
// generator's thread during a phase, the verb between phases.
type crew struct {
	client.Idle
	g          *client.Generator
	shown      *shown
	acks       *ackBox // nil without helpers
	plan       *load
	threads    int
	most       uint64 // messages that this crew may publish
	nextShow   int64
	fill       check.Fillings
	text       []byte                 // of a message that is to be compressed
	publishers []*publisher           // of the run; only the own ones are touched
	byConn     map[int32][]*publisher // own ones, by connection number
	ledgers    []*check.Ledger        // by group; nil for groups of other generators
	cutMembers [][]bool               // by group and member
	schedule   schedule               // open loop only
	helps      bool                   // the publishers are in another process
	shut       func() bool            // publishing is over although its time is not; nil: never
	told       func(due, now int64)   // is told of each delivery; nil: nobody is
	spurt      func() (rounds uint32) // messages that each publisher is to send at once beside the schedule; nil: none

	todo    []*publisher // own publishers that may have something to send
	spare   []*publisher // the list of the turn before, for its memory
	buf     []byte       // what is about to be written
	closing bool         // nothing new becomes due
	stalled bool         // the closed loop had no delivery for the patience
	overrun bool         // deliveries were still coming at drainTime

	published, expected, delivered uint64
	receivedBefore                 uint64 // of the generator's bytes: before publishing began
	answered                       uint64 // publishes; where each is answered
	started, ended                 int64  // ended: last delivery
	active                         int64  // last delivery or publish, by the generator's vigil
	latency, lateness              *hdrhistogram.Histogram
	acksLate                       *hdrhistogram.Histogram // from a helper's acknowledgement to its effect here
	faults                         check.Faults
}

const (
	// quietMax: a delivery that has not come for so long after the last one counts as lost, unless --patience says otherwise.
	quietMax = 2 * time.Second
	// drainMax bounds the time in which deliveries may keep coming, however slowly, see drainTime. It counts from when publishing was to end,
	// --time after the start, even if it ended before.
	drainMax = 2 * time.Minute
	// lingerTime is how long members listen after the last expected delivery, since a doubled one comes after it.
	lingerTime = 200 * time.Millisecond
	showEvery  = 500 * time.Millisecond // how often the progress line gets a new p99, which costs a walk over the histogram
	// messagesMax bounds a run's memory: the log of a group has an entry per message.
	messagesMax = 16 << 20

	latencyMax = int64(time.Minute) // a longer latency is recorded as this
	// Three digits from a microsecond up: below that reading the clock itself matters.
	latencyUnit   = int64(time.Microsecond)
	latencyDigits = 3
)

// drainTime is drainMax, or the patience if that is longer.
func drainTime(patience time.Duration) time.Duration { return max(drainMax, patience) }

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(latencyUnit, latencyMax, latencyDigits)
}

func record(h *hdrhistogram.Histogram, value int64) {
	_ = h.RecordValue(min(max(value, 0), latencyMax)) // within the bounds, so it cannot fail
}

// publish returns the step of the measured phase: it ends when all that was published has arrived, or will not.
func (c *crew) publish(start int64) client.Step {
	end := start + int64(c.plan.Time)
	c.started, c.active = start, c.g.Vigil()
	c.schedule.start, c.schedule.end = start, end
	if c.plan.Window > 0 {
		for _, p := range c.schedule.own {
			p.openWindow(c.plan.Window, c.ledgers[p.group].Present())
			c.mark(p)
		}
	}
	turns := 0
	return func(now int64) (int64, bool) {
		if now < start {
			return start, false
		}
		turns++
		c.takeAcks(now)
		if c.spurt != nil {
			c.schedule.spurt(c.spurt())
		}
		wake := end
		if !c.closing && c.plan.Rate > 0 {
			wake, c.closing = c.schedule.advance(now, c.mark)
		}
		if now >= end && turns > 1 || c.published >= c.most || c.shut != nil && c.shut() {
			c.closing = true
		}
		if c.closing {
			wake = now + int64(client.TurnMax) // from here on only deliveries and deadlines count
		}
		todo := c.todo
		c.todo = c.spare[:0] // send marks again what it could not finish
		for _, p := range todo {
			p.queued = false
			c.send(p)
		}
		c.spare = todo
		c.show(now)
		if len(c.todo) > 0 {
			wake = now
		}
		return wake, c.over(now, end)
	}
}

// show updates what the progress line shows.
func (c *crew) show(now int64) {
	c.shown.delivered.Store(int64(c.delivered))
	if now >= c.nextShow {
		c.nextShow = now + int64(showEvery)
		if c.latency.TotalCount() > 0 {
			c.shown.p99.Store(c.latency.ValueAtQuantile(99))
		}
	}
}

// takeAcks moves the windows by what helpers have acknowledged.
func (c *crew) takeAcks(now int64) {
	for _, a := range c.acks.take() {
		c.active = c.g.Vigil()
		record(c.acksLate, client.Clock()-a.saidAt)
		c.closing = c.closing || a.cut // as when a member is cut off here
		for _, ack := range a.floors {
			p := c.publishers[ack.Stream]
			p.floors[a.process] = ack.Floor
			if p.advance() {
				c.mark(p)
			}
		}
	}
}

// over says whether the phase has ended, successfully or not.
func (c *crew) over(now, end int64) bool {
	quiet := c.g.Vigil()-c.active > int64(c.plan.Patience)
	switch {
	case c.closing && c.delivered == c.expected && !c.unsent() && c.unanswered() == 0:
		return true
	case !c.closing:
		c.stalled = quiet && c.plan.Window > 0 // otherwise a closed loop would wait forever for what is lost
		return c.stalled
	case now-end > int64(drainTime(c.plan.Patience)):
		c.overrun = true
		return true
	}
	return quiet
}

// unsent: messages of an open loop that were due but that the socket has not accepted, since the server does not read.
func (c *crew) unsent() bool {
	if c.plan.Window > 0 || c.published >= c.most {
		return false
	}
	for _, p := range c.schedule.own {
		if p.sequence < p.allowed && !p.gone {
			return true
		}
	}
	return false
}

// unanswered is how many publishes have no answer yet, negative when there are more answers than publishes. What the answers to
// a publisher that was cut off would have been is unknown.
func (c *crew) unanswered() int64 {
	if !c.g.Dialect().Answers() {
		return 0
	}
	for _, p := range c.schedule.own {
		if p.gone {
			return 0
		}
	}
	return int64(c.published) - int64(c.answered)
}

func (c *crew) mark(p *publisher) {
	if !p.queued {
		p.queued = true
		c.todo = append(c.todo, p)
	}
}

// send publishes what p may, all in one write. While bytes wait for the socket nothing is added; messages become due all the
// same.
func (c *crew) send(p *publisher) {
	if p.conn.Waiting() {
		p.held = true
		return
	}
	if p.gone || c.closing && c.plan.Window > 0 {
		return
	}
	buf := c.buf[:0]
	frame := client.FrameHeaderMax + p.command.Len(client.IDMax, c.plan.Size)
	now := client.Clock() // after all that was done in this turn before
	for p.sequence < p.allowed && p.sequence < check.SequenceMax && c.published < c.most && (len(buf) == 0 || len(buf)+frame <= client.OutBytesMax) {
		due := now
		if c.plan.Rate > 0 {
			due = c.schedule.due(p.number, p.sequence)
			if !p.held {
				record(c.lateness, now-due)
			}
		}
		id := 0
		if p.command.Numbered() {
			id = p.conn.NextID()
		}
		buf = c.appendMessage(buf, p, id, due)
		p.sequence++
		c.published++
		c.expected += uint64(c.ledgers[p.group].Present())
	}
	c.buf = buf
	p.held = p.held && p.sequence < p.allowed
	if len(buf) > 0 {
		c.active = c.g.Vigil()
		c.g.Push(p.conn, buf)
	}
	if p.sequence < p.allowed && !p.conn.Waiting() && !p.gone && c.published < c.most {
		c.mark(p)
	}
}

// Heard checks one delivery and records its latency.
func (c *crew) Heard(m *client.Conn, text []byte, from client.Origin, now int64) {
	s, ok := check.ReadStamp(text)
	if !ok || len(text) != c.plan.Size && !s.IsProbe() {
		c.faults.Add(check.Altered, 1, "%s got a text of %d bytes that was not published: %.60q", c.name(m), len(text), text)
		return
	}
	if s.IsProbe() {
		return // the last probes of the opening may still be on their way
	}
	if !bytes.Equal(text[check.StampBytes:], c.fill.Of(s.Sequence)) {
		c.faults.Add(check.Altered, 1, "%s got publisher %d's #%d with another text: %.60q", c.name(m), s.Publisher, s.Sequence, text)
		return
	}
	if int(s.Publisher) < len(c.publishers) && c.overhears(m, c.publishers[s.Publisher]) {
		return
	}
	if int(s.Publisher) >= len(c.publishers) || !c.isMember(m, s.Publisher) {
		c.faults.Add(check.Foreign, 1, "%s got publisher %d's #%d, which is not for it", c.name(m), s.Publisher, s.Sequence)
		return
	}
	p := c.publishers[s.Publisher]
	if from.Group != p.group && from.Group != client.AnyGroup {
		c.faults.Add(check.Foreign, 1, "%s got publisher %d's #%d by the channel of another group", c.name(m), s.Publisher, s.Sequence)
		return
	}
	if s.Sequence >= p.sequence || c.helps && c.early(p, s.Sequence, now) {
		c.faults.Add(check.Foreign, 1, "%s got publisher %d's #%d, which was never sent", c.name(m), s.Publisher, s.Sequence)
		return
	}
	place, _ := c.plan.placeIn(p.group, m, c.threads)
	if !c.ledgers[p.group].Saw(place, p.place, s.Sequence) {
		return
	}
	c.delivered++
	c.active, c.ended = c.g.Vigil(), now
	record(c.latency, now-s.Due)
	if c.told != nil {
		c.told(s.Due, now)
	}
	if p.got != nil && p.acknowledge(s.Sequence) {
		c.mark(p)
	}
}

// Replied counts the answer to a publish, which may be a refusal: then its message is lost as well.
func (c *crew) Replied(m *client.Conn, text []byte, now int64) {
	c.answered++
	c.active = c.g.Vigil()
	if err := c.g.Dialect().CheckReply(client.OfSend, "", text, client.AnyID); err != nil {
		c.faults.Add(check.Failed, 1, "%s: %v", c.name(m), err)
	}
}

func (c *crew) Drained(m *client.Conn) {
	for _, p := range c.byConn[m.Number] {
		c.mark(p)
	}
}

func (c *crew) Cut(m *client.Conn, cause string, stillOpened bool) {
	if stillOpened {
		return // the opening counts it
	}
	c.faults.Add(check.Cut, 1, "%s was cut off: %s", c.name(m), cause)
	if m.Member != client.NotMember {
		for j := range c.plan.Joins {
			group := c.plan.groupOf(int(m.Group), j, c.threads)
			place, _ := c.plan.placeIn(group, m, c.threads)
			c.cutMembers[group][place] = true
		}
	}
	for _, p := range c.byConn[m.Number] {
		p.gone = true
	}
	if c.plan.Window > 0 {
		c.closing = true // a message can no longer reach all members, so no window would ever move again
	}
}

// overhears says that m is no member, and hears the message of another publisher only because it publishes to the same group itself.
func (c *crew) overhears(m *client.Conn, p *publisher) bool {
	if m.Member != client.NotMember || !c.g.Dialect().SendersJoin() || p.conn == m {
		return false
	}
	for _, own := range c.byConn[m.Number] {
		if own.group == p.group {
			return true
		}
	}
	return false
}

// isMember says whether a publisher's messages are for m at all.
func (c *crew) isMember(m *client.Conn, publisher uint32) bool {
	_, yes := c.plan.placeIn(c.publishers[publisher].group, m, c.threads)
	return yes
}

func (c *crew) name(m *client.Conn) string {
	if m.Member == client.NotMember {
		return "a publisher's connection"
	}
	return check.MemberName(int(m.Group), int(m.Member))
}

// finish ends the check: what has not come by now is lost. It is unknown what the server accepted from a publisher that was
// cut off, so only what at least one member saw counts as published.
func (c *crew) finish() (missedByCut uint64) {
	byGroup := map[int][]*publisher{}
	for _, p := range c.publishers {
		byGroup[p.group] = append(byGroup[p.group], p)
	}
	for group, l := range c.ledgers {
		if l == nil {
			continue
		}
		sent := make([]uint32, l.Publishers())
		for _, p := range byGroup[group] {
			if sent[p.place] = p.sequence; p.gone {
				sent[p.place] = max(l.Seen(p.place), p.elsewhere)
			}
		}
		missedByCut += l.Finish(sent, c.cutMembers[group])
	}
	switch n := c.unanswered(); {
	case n > 0:
		c.faults.Add(check.Failed, uint64(n), "%d of %d publishes were not answered", n, c.published)
	case n < 0:
		c.faults.Add(check.Failed, uint64(-n), "there were %d answers more than the %d publishes", -n, c.published)
	}
	if c.stalled {
		c.faults.Note("the window stood still for %v, so the run ended early", c.plan.Patience)
	}
	if c.overrun {
		c.faults.Note("deliveries were still coming %v after the end; what had not come by then is counted as lost", drainTime(c.plan.Patience))
	}
	if c.published >= messagesMax && c.plan.Messages == messagesMax {
		c.faults.Note("publishing stopped early, at the %d messages a run may hold", messagesMax)
	}
	return missedByCut
}

// digests are the orders of the groups with several publishers, for a comparison between processes.
func (c *crew) digests() (all []check.Digest) {
	for _, l := range c.ledgers {
		if l == nil {
			continue
		}
		if d, ok := l.Digest(); ok {
			all = append(all, d)
		}
	}
	return all
}
