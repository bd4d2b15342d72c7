package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"time"

	"ringcast/bench/check"
	"ringcast/bench/client"
	"ringcast/bench/report"
)

// lives are the short-lived clients of churn. Each has a place while it lives:
//
//	arriving ─► joining ─► staying ─► owed ─► leaving ─► left ─► closing ─► (free)
//	   │                                └──────── or not ──┴─┬────▲
//	   └ half a request, then a reset                        └ or a reset
//
// What is checked: a life receives unaltered messages of its own group, of each publisher an unbroken row of numbers; the
// row begins no later than with the first message that was sent after the join was answered (provided that others in the
// group received it, since otherwise it is not known), and goes on to the last one that another life of the group had
// received when the stay was over; after the answer to a leave nothing may come. Lives begin while it is time to publish and
// not later, so that a server that is behind then can catch up: what was due before the end and could not begin is counted.
// Owner: its generator's thread during a phase.
type lives struct {
	client.Idle
	g       *client.Generator
	session *session
	load    *load
	plan    *turnover
	proof   string
	fill    check.Fillings
	random  *rand.Rand

	all    []life // by place in the generator
	free   []int
	due    uint64 // lives that were due so far
	ledger *check.Ledger
	news   []check.News // by stream
	faults check.Faults
	counts report.Churn

	start, lastBirth, nextTick int64
	end                        int64 // of the time to publish
	failing                    bool  // the bench itself gives up the connection that is being cut
}

// life is one short-lived client.
type life struct {
	fate
	number   uint64
	asked    int // id of its last command
	group    int
	stage    stage
	until    int64 // when the stage ends at the latest
	joinedAt int64 // when the join was proved; 0: not yet
	heardAt  int64 // the last message, or the end of the stay, by the generator's vigil
	endedAt  int64 // the end of the stay
	left     bool  // its leave was answered
	missing  int   // publishers with messages that it still has to receive
	rows     []row // by place of the publisher in the group
}

// row is what a life knows of one publisher, besides what the ledger has.
type row struct {
	heard bool
	first uint32 // number of the first message
	owed  uint32 // it waits for all numbers below; 0: for nothing
}

type stage uint8

const (
	stageFree stage = iota
	stageArriving
	stageJoining
	stageStaying
	stageOwed // its time is over, but it has not received everything that it must
	stageLeaving
	stageLeft // watches for messages that must not come
	stageClosing
)

// fate is what a life will do, chosen at random before it begins.
type fate struct {
	half   bool // disconnects in the middle of its request
	leaves bool // by leave_group, before it ends
	breaks bool // ends with a reset, not with a close frame
	stay   time.Duration
}

const (
	leaveOneIn = 2
	breakOneIn = 2
	halfOneIn  = 4 // of those that disconnect

	// lifeTick is how often each place is checked, and so the resolution of a life's times.
	lifeTick = 2 * time.Millisecond
	// halfTime is the longest time that half a request is left open.
	halfTime = 20 * time.Millisecond
	// silenceTime is how long a life watches after its leave was answered.
	silenceTime = 50 * time.Millisecond
)

func newLives(l *load, t *turnover, proof string) *lives {
	v := &lives{load: l, plan: t, proof: proof, fill: l.fillings(), random: rand.New(rand.NewPCG(t.Seed, 0)),
		all: make([]life, t.Places), news: check.NewNews(l.streams())}
	// For a short-lived client only the row of each publisher can be checked.
	v.ledger = check.NewRows(t.Places, l.places(), func(place int) string { return v.name(&v.all[place]) }, &v.faults)
	for i := range v.all {
		v.all[i].rows = make([]row, l.places())
		v.free = append(v.free, i)
	}
	return v
}

// places is the number of publishers in the group that has the most.
func (l *load) places() int { return evenShare(l.streams(), l.Groups, 0) }

func (l *lives) clients() int                 { return l.plan.Places }
func (l *lives) seats(int) []client.Seat      { return nil }
func (l *lives) generator() *client.Generator { return l.g }

func (l *lives) arrive(g *client.Generator, s *session) { l.g, l.session = g, s }

// step begins lives by the clock alone and takes each through its stages.
func (l *lives) step(start int64, over func() bool) client.Step {
	l.g.Reserve(l.plan.Places)
	l.start, l.lastBirth, l.nextTick = start, start, start
	l.end = start + int64(l.load.Time)
	spacing := int64(0) // of an open loop's messages: none may be due in so much of the time at its end
	if l.load.Rate > 0 {
		spacing = int64(1e9/l.load.Rate) + 1
	}
	return func(now int64) (int64, bool) {
		last := over()
		// With --messages, a member that was cut off or a window that stood still, publishing ends before its time.
		if last && client.Clock() < l.end-spacing {
			l.end = now
		}
		next := l.bear(now)
		if now >= l.nextTick {
			l.nextTick = now + int64(lifeTick)
			for place := range l.all {
				if l.all[place].stage != stageFree {
					l.look(place, now)
				}
			}
		}
		return min(next, l.nextTick), last && len(l.free) == len(l.all) && l.nextBirth() >= l.end
	}
}

// nextBirth is when the next life is due.
func (l *lives) nextBirth() int64 { return l.start + int64(float64(l.due)*1e9/l.plan.Lives) }

// bear begins the lives that are due before the end, and returns when to look again. In the first turn at the end or after it, those
// that cannot begin at once are given up.
func (l *lives) bear(now int64) int64 {
	for born := 0; ; l.due++ {
		switch due := l.nextBirth(); {
		case due >= l.end:
			return now + int64(lifeTick)
		case due > now:
			return due
		case len(l.free) == 0 || now >= l.end && (born == client.BeginMax || !l.g.CanBegin()):
			l.counts.Behind++
			continue
		case born == client.BeginMax:
			return now // after what the others have received meanwhile is handled
		case !l.g.CanBegin():
			return now + int64(lifeTick)
		}
		born++
		place := l.free[len(l.free)-1]
		l.free = l.free[:len(l.free)-1]
		v := &l.all[place]
		clear(v.rows)
		*v = life{fate: drawFate(l.random, l.plan.Stay), number: l.due, group: int(l.due % uint64(l.load.Groups)), stage: stageArriving,
			until: now + int64(l.timeout()), rows: v.rows}
		if v.half {
			v.until = now + int64(v.stay)
		}
		l.lastBirth = now
		l.counts.Connects++
		l.g.Begin(place, l.load.clients()+int(l.due), v.group, v.half, now)
	}
}

func drawFate(r *rand.Rand, stayMax time.Duration) fate {
	f := fate{stay: time.Duration(r.Int64N(int64(stayMax))), leaves: r.IntN(leaveOneIn) == 0, breaks: r.IntN(breakOneIn) == 0}
	if r.IntN(halfOneIn) == 0 && f.breaks {
		f.half, f.stay = true, f.stay%halfTime
	}
	return f
}

// Opened is called when the handshake is through.
func (l *lives) Opened(c *client.Conn, now int64) {
	v := &l.all[c.At]
	v.stage, v.until = stageJoining, now+int64(l.timeout())
	if l.proof == proofProbe { // a probe would go to all members, so here the first message is the proof
		v.stage, v.until = stageStaying, now+int64(v.stay)
	}
	v.asked = c.NextID()
	l.g.AskJoin(c, l.session.groupName(v.group), v.asked, l.proof == proofReply)
}

// look moves a life to its next stage when a stage is over.
func (l *lives) look(place int, now int64) {
	v, c := &l.all[place], l.g.Conn(place)
	if c.Dead() { // it was not cut, so it is the end that it asked for
		l.counts.Closes++
		l.bury(place)
		return
	}
	if now < v.until {
		return
	}
	switch v.stage {
	case stageArriving:
		if v.half {
			l.breakOff(place)
			return
		}
		l.giveUp(c, "connect or handshake: no answer in time")
	case stageJoining:
		l.giveUp(c, l.g.Dialect().NoReply())
	case stageStaying:
		v.stage, v.heardAt, v.endedAt = stageOwed, l.g.Vigil(), now
		l.expect(v, place)
		fallthrough
	case stageOwed:
		longest := l.timeout() // it takes the place of another
		if now >= l.end {
			longest = drainTime(l.load.Patience)
		}
		if v.missing > 0 && l.g.Vigil()-v.heardAt <= int64(l.load.Patience) && now-v.endedAt <= int64(longest) {
			return
		}
		l.miss(v, place)
		if !v.leaves {
			l.part(place, now)
			return
		}
		v.stage, v.until = stageLeaving, now+int64(l.timeout())
		v.asked = c.NextID()
		l.g.SendText(c, l.g.Dialect().Leave(l.session.groupName(v.group), v.asked, l.proof == proofReply))
		if (l.proof == proofProbe || !l.g.Dialect().AnswersLeaves()) && v.stage == stageLeaving {
			l.counts.Leaves++
			l.part(place, now)
		}
	case stageLeaving:
		l.giveUp(c, "leave: no reply in time")
	case stageLeft:
		l.part(place, now)
	case stageClosing:
		l.giveUp(c, "close: the server did not end the connection in time")
	}
}

// timeout is how long a life waits for an answer.
func (l *lives) timeout() time.Duration { return max(client.Timeout, l.load.Patience) }

// part ends a life in the way chosen for it.
func (l *lives) part(place int, now int64) {
	v, c := &l.all[place], l.g.Conn(place)
	if v.breaks {
		l.breakOff(place)
		return
	}
	v.stage, v.until = stageClosing, now+int64(l.timeout())
	l.g.Goodbye(c)
}

func (l *lives) breakOff(place int) {
	l.g.Reset(l.g.Conn(place))
	l.counts.Aborts++
	l.bury(place)
}

// bury ends the check of a life and frees its place.
func (l *lives) bury(place int) {
	v := &l.all[place]
	for pub := range v.rows {
		l.ledger.Settle(place, pub)
		if k := &v.rows[pub]; k.heard && v.joinedAt > 0 {
			if n := l.of(v, pub).Since(v.joinedAt, k.first); n > 0 {
				l.ledger.Lost(place, pub, k.first-n, k.first)
			}
		}
	}
	v.stage = stageFree
	l.free = append(l.free, place)
}

// of is the news of publisher number pub in a life's group.
func (l *lives) of(v *life, pub int) *check.News {
	if stream := pub*l.load.Groups + v.group; stream < len(l.news) {
		return &l.news[stream]
	}
	return &check.News{} // this group has fewer publishers than others
}

// expect notes what others in its group have received and a life has not. The life stays until it has received that.
func (l *lives) expect(v *life, place int) {
	for pub := range v.rows {
		k, n := &v.rows[pub], l.of(v, pub)
		if k.heard && l.ledger.Next(place, pub) < n.Next() || !k.heard && v.joinedAt > 0 && n.Since(v.joinedAt, n.Next()) > 0 {
			k.owed = n.Next()
			v.missing++
		}
	}
}

// miss counts as lost what a life still has to receive.
func (l *lives) miss(v *life, place int) {
	for pub := range v.rows {
		k := &v.rows[pub]
		switch next := l.ledger.Next(place, pub); {
		case k.owed == 0:
		case k.heard:
			l.ledger.Lost(place, pub, next, k.owed)
		default:
			if n := l.of(v, pub).Since(v.joinedAt, k.owed); n > 0 {
				l.ledger.Lost(place, pub, k.owed-n, k.owed)
			}
		}
		k.owed = 0
	}
	v.missing = 0
}

// Heard checks one message, or handles the reply that a life waits for.
func (l *lives) Heard(c *client.Conn, text []byte, from client.Origin, now int64) {
	v := &l.all[c.At]
	s, ok := check.ReadStamp(text)
	switch {
	case !ok && from.Group == client.AnyGroup && len(text) > 0 && text[0] == '{' && (v.stage == stageJoining || v.stage == stageLeaving):
		l.Replied(c, text, now)
		return
	case ok && s.IsProbe():
		return
	case !ok || len(text) != l.load.Size || !bytes.Equal(text[check.StampBytes:], l.fill.Of(s.Sequence)):
		l.faults.Add(check.Altered, 1, "%s got a text of %d bytes that was not published: %.60q", l.name(v), len(text), text)
		return
	case int(s.Publisher) >= len(l.news) || int(s.Publisher)%l.load.Groups != v.group || from.Group != v.group && from.Group != client.AnyGroup || s.Due > now:
		l.faults.Add(check.Foreign, 1, "%s got publisher %d's #%d, which is not for it", l.name(v), s.Publisher, s.Sequence)
		return
	case v.left:
		l.faults.Add(check.Foreign, 1, "%s got publisher %d's #%d after its leave was answered", l.name(v), s.Publisher, s.Sequence)
		return
	}
	if l.listen(v, c, s) {
		l.counts.Heard++
	}
	if v.heardAt = l.g.Vigil(); v.joinedAt == 0 && l.proof == proofProbe {
		v.joinedAt = now
		l.counts.Joins++
	}
	l.news[s.Publisher].Note(s.Sequence, s.Due)
}

// listen puts a message into its row; it returns false for one that was there already.
func (l *lives) listen(v *life, c *client.Conn, s check.Stamp) bool {
	place, pub := int(c.At), int(s.Publisher)/l.load.Groups
	k := &v.rows[pub]
	switch {
	case !k.heard:
		k.heard, k.first = true, s.Sequence
		l.ledger.Begin(place, pub, s.Sequence)
	case s.Sequence < k.first: // from before the row began: the ledger would take it for a repeat
		l.ledger.SawBefore(place, pub, s.Sequence, k.first)
		k.first = s.Sequence
		return true
	}
	if !l.ledger.Saw(place, pub, s.Sequence) {
		return false
	}
	if k.owed > 0 && l.ledger.Next(place, pub) >= k.owed {
		k.owed = 0
		v.missing--
	}
	return true
}

// Replied handles the reply that a life waits for; it gets no other.
func (l *lives) Replied(c *client.Conn, text []byte, now int64) {
	v, what := &l.all[c.At], client.OfLeave
	switch v.stage {
	case stageJoining:
		what = client.OfJoin
	case stageLeaving:
	default:
		l.faults.Add(check.Failed, 1, "%s got a reply to nothing: %.60q", l.name(v), text)
		return
	}
	if err := l.g.Dialect().CheckReply(what, l.session.groupName(v.group), text, v.asked); err != nil {
		l.giveUp(c, err.Error())
		return
	}
	if v.stage == stageLeaving {
		l.counts.Leaves++
		v.left, v.stage, v.until = true, stageLeft, now+int64(silenceTime)
		return
	}
	l.counts.Joins++
	v.joinedAt, v.stage, v.until = now, stageStaying, now+int64(v.stay)
}

// giveUp cuts a life whose request was not answered.
func (l *lives) giveUp(c *client.Conn, cause string) {
	l.failing = true
	l.g.Cut(c, cause)
	l.failing = false
}

func (l *lives) Cut(c *client.Conn, cause string, stillOpened bool) {
	v := &l.all[c.At]
	if l.failing || stillOpened {
		l.faults.Add(check.Failed, 1, "%s failed: %s", l.name(v), cause)
	} else {
		l.faults.Add(check.Cut, 1, "%s was cut off: %s", l.name(v), cause)
	}
	l.bury(int(c.At))
}

func (l *lives) name(v *life) string { return fmt.Sprintf("life %d in group %d", v.number, v.group) }
