package main

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"ringcast/bench/check"
	"ringcast/bench/client"
)

// roamers are the members of the verb cluster on one generator. They speak the Centrifuge protocol, since that says with each message
// its place in the group's order, and lets one who was cut off come back with its position:
//
//	away ─► coming ─► asking ─► here
//	 ▲ the next node │  ▲  │ busy │
//	 └───────────────┘  └──┘      │ the connection ends
//	 └────────────────────────────┘
//
// Each is in one group. What they hear over all their lives, at whatever node, goes into the group's check.Log. Owner: their
// generator's thread during a phase, the verb between phases.
type roamers struct {
	client.Idle
	g       *client.Generator
	plan    *clusterLoad
	names   []string
	nodes   int
	quiet   bool // a connection that ends is no fault: the bench does things to nodes
	fill    []byte
	all     []*roamer
	logs    []*check.Log // by group; nil for those of other generators
	gone    [][]bool     // by group and member
	fresh   []int64      // by group: when something new was heard
	answers client.Answers
	faults  check.Faults

	opening    bool
	here       int
	start, end int64
	forgetful  int   // joins to a group without history
	heardAt    int64 // the last message or answer
	freshAt    int64 // the last new one
	silence    int64
	nextLook   int64

	delivery               *hdrhistogram.Histogram
	delivered              uint64
	cuts                   uint64
	cutCauses              map[string]int
	returns, missed        uint64
	recovered, unrecovered uint64
	shown                  atomic.Int64
}

// roamer is one member.
type roamer struct {
	number, group, member int32
	at, server            int
	stage                 lifeStage
	asked                 int   // id of its join; 0: it is answered
	until                 int64 // away, waiting: when it goes on; coming, asking: when it tries another node
	since                 int64 // since when it is not here
	joined                bool  // it has been here
}

// roamersLook is how often each is looked at.
const roamersLook = 5 * time.Millisecond

func newRoamers(l *clusterLoad, g *client.Generator, names []string, nodes, thread, threads int) *roamers {
	b := &roamers{g: g, plan: l, names: names, nodes: nodes, fill: check.Filling(l.Size), logs: make([]*check.Log, l.Groups), gone: make([][]bool, l.Groups),
		fresh: make([]int64, l.Groups), delivery: newHistogram(), cutCauses: map[string]int{}, opening: true}
	for group := thread; group < l.Groups; group += threads {
		b.gone[group] = make([]bool, l.membersOf(group))
		b.logs[group] = check.NewLog(l.membersOf(group), l.publishersOf(group), func(member int) string { return check.MemberName(group, member) },
			func(place int) string { return publisherName(l, group, place) }, &b.faults)
	}
	for n := range l.Members {
		if group := n % l.Groups; group%threads == thread {
			b.all = append(b.all, &roamer{number: int32(l.Publishers + n), group: int32(group), member: int32(n / l.Groups), at: len(b.all),
				server: nodeOf(group, n/l.Groups, nodes), stage: lifeAway})
		}
	}
	g.Reserve(len(b.all))
	g.SetPlay(b)
	return b
}

// name is how the check names a member, with the node at which it is.
func (b *roamers) name(r *roamer) string {
	return fmt.Sprintf("%s at node %d", check.MemberName(int(r.group), int(r.member)), r.server+1)
}

// open is the step in which all join for the first time.
func (b *roamers) open(deadline int64) client.Step {
	return func(now int64) (int64, bool) {
		b.look(now)
		return now + int64(roamersLook), b.here == len(b.all) || now >= deadline
	}
}

// listen is the step that begins with the publishers and ends when all have heard all that they must. said are the publishers' halves of
// the check, which are read only when over says that they are done.
func (b *roamers) listen(start int64, said []*check.Publishes, over func() bool) client.Step {
	b.opening, b.start, b.end = false, start, start+int64(b.plan.Time)
	for group := range b.fresh {
		b.fresh[group] = start
	}
	var overAt, completeAt int64
	linger := int64(lingerTime)
	return func(now int64) (int64, bool) {
		if now >= b.nextLook {
			b.nextLook = now + int64(roamersLook)
			b.look(now)
		}
		if !over() {
			return b.nextLook, false
		}
		if overAt == 0 {
			overAt = now
			if uncertain(said) {
				linger = int64(uncertainLinger)
			}
		}
		if !b.complete(said) {
			completeAt = 0
		} else if completeAt == 0 || b.heardAt > completeAt {
			completeAt = now
		}
		done := completeAt > 0 && now-completeAt >= linger || now-max(b.heardAt, overAt) > int64(b.plan.Patience) || now-overAt > int64(drainTime(b.plan.Patience))
		return now + int64(lifeTick), done
	}
}

// uncertainLinger is how long members listen at the end where not all was answered ok: what was refused must not come, and what is unknown
// may.
const uncertainLinger = 2 * time.Second

func uncertain(all []*check.Publishes) bool {
	for _, said := range all {
		if counts := said.Count(); counts[check.OK] < uint64(said.All()) {
			return true
		}
	}
	return false
}

// complete says that nothing is to be heard any more. Who is not here is waited for.
func (b *roamers) complete(said []*check.Publishes) bool {
	for _, r := range b.all {
		if r.stage != lifeHere && r.stage != lifeGone {
			return false
		}
	}
	for group, log := range b.logs {
		if log != nil && !log.Complete(said[group], b.gone[group]) {
			return false
		}
	}
	return true
}

// Opened is called when a client may join.
func (b *roamers) Opened(c *client.Conn, now int64) {
	r := b.all[c.At]
	r.stage, r.until = lifeAsking, now+int64(comeTime)
	b.ask(c, r)
}

// ask joins, with the position if there is one.
func (b *roamers) ask(c *client.Conn, r *roamer) {
	r.asked = c.NextID()
	offset, epoch := b.logs[r.group].Position(int(r.member))
	join := b.g.Dialect().Join(b.names[r.group], r.asked, true)
	if epoch != "" {
		join = client.Resume(b.names[r.group], r.asked, offset, epoch)
	}
	b.g.SendText(c, join)
}

// Replied handles the answer to a join.
func (b *roamers) Replied(c *client.Conn, text []byte, now int64) {
	r := b.all[c.At]
	id, joined, err := b.answers.Read(text)
	switch {
	case err == nil && (r.asked == 0 || id != r.asked):
		b.faults.Add(check.Failed, 1, "%s got a reply to nothing: %.60q", b.name(r), text)
	case err == nil && joined.Refused != nil && joined.Temporary:
		r.asked, r.stage, r.until = 0, lifeWaiting, now+int64(askAgainAfter)
	case err == nil && joined.Refused != nil:
		b.giveUp(c, r, joined.Refused.Error())
	case err != nil:
		b.giveUp(c, r, err.Error())
	default:
		b.take(c, r, joined, now)
	}
}

// take takes a member in.
func (b *roamers) take(c *client.Conn, r *roamer, joined *client.Joined, now int64) {
	log := b.logs[r.group]
	_, epoch := log.Position(int(r.member))
	r.asked, r.stage = 0, lifeHere
	b.here++
	switch {
	case !joined.Recoverable:
		b.forgetful++
	case !r.joined:
		log.Join(int(r.member), joined.Epoch, joined.Offset)
	case joined.Recovered:
		b.recovered++
		if joined.Epoch != epoch {
			b.faults.Add(check.Altered, 1, "%s was given what it missed in the epoch %.20q, and had asked for it in %.20q", b.name(r), joined.Epoch, epoch)
		}
		for i := range joined.Missed {
			b.missed++
			b.hear(r, joined.Missed[i].Text, joined.Missed[i].Offset, now)
		}
	default:
		b.unrecovered++
		if len(joined.Missed) > 0 {
			b.faults.Add(check.Foreign, uint64(len(joined.Missed)), "%s got %d messages with an answer that recovers nothing", b.name(r), len(joined.Missed))
		}
		log.Join(int(r.member), joined.Epoch, joined.Offset)
	}
	if r.joined {
		b.returns++
	}
	r.joined = true
}

// Heard checks one live message.
func (b *roamers) Heard(c *client.Conn, text []byte, from client.Origin, now int64) {
	r := b.all[c.At]
	switch {
	case from.Group != int(r.group):
		b.faults.Add(check.Foreign, 1, "%s got a message that is not of its group: %.60q", b.name(r), text)
	case r.stage != lifeHere:
		b.faults.Add(check.Foreign, 1, "%s got a message before its join was answered: %.60q", b.name(r), text)
	default:
		b.hear(r, text, from.Offset, now)
	}
}

// hear checks a message, live or missed.
func (b *roamers) hear(r *roamer, text []byte, offset uint64, now int64) {
	b.heardAt = now
	stamp, ok := check.ReadStamp(text)
	if !ok || !bytes.Equal(text[check.StampBytes:], b.fill) {
		b.faults.Add(check.Altered, 1, "%s got a text that nobody published: %.60q", b.name(r), text)
		return
	}
	group, place := int(stamp.Publisher)%b.plan.Groups, int(stamp.Publisher)/b.plan.Groups
	if int(stamp.Publisher) >= b.plan.Publishers || group != int(r.group) {
		b.faults.Add(check.Foreign, 1, "%s got publisher %d's #%d, who is of group %d", b.name(r), stamp.Publisher, stamp.Sequence, group)
		return
	}
	b.delivered++
	b.shown.Store(int64(b.delivered))
	record(b.delivery, now-stamp.Due)
	if b.logs[group].Saw(int(r.member), place, stamp.Sequence, offset) {
		if stamp.Due < b.end { // as all are
			b.silence = max(b.silence, now-b.fresh[group])
		}
		b.fresh[group], b.freshAt = now, now
	}
}

// Cut is called when a connection ends, or does not come about.
func (b *roamers) Cut(c *client.Conn, cause string, opening bool) {
	r := b.all[c.At]
	if r.stage == lifeGone {
		return
	}
	now := client.Clock()
	if r.stage == lifeHere {
		b.here--
		r.since = now
	}
	if !opening {
		b.cuts++
		b.cutCauses[cause]++
		if !b.quiet {
			b.faults.Add(check.Cut, 1, "%s was cut off: %s", b.name(r), cause)
		}
	}
	r.asked = 0
	r.stage, r.until, r.server = lifeAway, now+int64(comeAgainAfter), (r.server+1)%b.nodes
}

// look connects those who are away, lets those ask again who were told to, and sends those to another node who are not answered.
func (b *roamers) look(now int64) {
	for _, r := range b.all {
		if r.stage == lifeHere || r.stage == lifeGone || now < r.until {
			continue
		}
		c := b.g.Conn(r.at)
		switch r.stage {
		case lifeAway:
			if r.joined && now-r.since > int64(b.plan.Patience)+int64(backMax) {
				b.giveUp(c, r, "no node let it in")
			} else if b.g.CanBegin() {
				r.stage, r.until = lifeComing, now+int64(comeTime)
				b.g.BeginAt(r.at, int(r.number), r.server, now)
			}
		case lifeWaiting:
			r.stage, r.until = lifeAsking, now+int64(comeTime)
			b.ask(c, r)
		default:
			b.g.Cut(c, "no answer to a connect or join in time")
		}
	}
}

// backMax is how long a member tries to come back, beside the patience.
const backMax = 30 * time.Second

// giveUp ends a member that cannot come back.
func (b *roamers) giveUp(c *client.Conn, r *roamer, cause string) {
	if r.stage == lifeGone {
		return
	}
	r.stage = lifeGone
	b.gone[r.group][r.member] = true
	if !b.opening {
		b.faults.Add(check.Failed, 1, "%s did not come back: %s", b.name(r), cause)
	}
	b.g.Cut(c, cause)
}

// finish ends the silences at the end of the publishing, and gives up who is not back.
func (b *roamers) finish() {
	for _, r := range b.all {
		if r.stage != lifeHere && r.stage != lifeGone {
			b.gone[r.group][r.member] = true
			b.faults.Add(check.Failed, 1, "%s had not come back when all was over", b.name(r))
		}
	}
	for group, log := range b.logs {
		if log != nil && b.plan.publishersOf(group) > 0 {
			b.silence = max(b.silence, b.end-b.fresh[group])
		}
	}
}
