package main

import (
	"bytes"
	"fmt"
	"time"

	"ringcast/bench/check"
	"ringcast/bench/client"
)

// returner is one client that is cut off and comes back, see returners.
type returner struct {
	stage      lifeStage
	unanswered int32
	since      int64 // when it began to connect
	until      int64 // when it is given up; waiting: when it asks again
}

// bond is a returner's membership in one group.
type bond struct {
	group, member int32
	asked         int32 // id of its join, until that is answered; askLater: it is to be sent
}

const askLater = -1

type lifeStage uint8

const (
	lifeHere lifeStage = iota
	lifeAway
	lifeComing
	lifeAsking
	lifeWaiting
	lifeGone
)

const (
	// lookEvery is how often each returner is looked at, for the end of its patience.
	lookEvery = 20 * time.Millisecond
	// askAgainAfter is when a client asks again that was told to try later, about as centrifuge-js does.
	askAgainAfter = 500 * time.Millisecond
)

// joinIDs: the first command of a client, with the id that is its number and one more, is the connect.
const joinIDs = 2

func (b *returners) of(place int) []bond { return b.bonds[place*b.plan.Joins : (place+1)*b.plan.Joins] }

// Opened is called when a client may join: it asks for all its groups in one frame.
func (b *returners) Opened(c *client.Conn, _ int64) {
	r := &b.all[c.At]
	if r.stage != lifeComing {
		return // its first life, which has joined by now
	}
	r.stage, r.unanswered = lifeAsking, int32(b.plan.Joins)
	bonds := b.of(int(c.At))
	for j := range bonds {
		bonds[j].asked = askLater
	}
	b.ask(c)
}

// ask sends all joins that are to be sent.
func (b *returners) ask(c *client.Conn) {
	b.frame = b.frame[:0]
	bonds := b.of(int(c.At))
	for j := range bonds {
		bond := &bonds[j]
		if bond.asked != askLater {
			continue
		}
		if len(b.frame) > 0 {
			b.frame = append(b.frame, '\n')
		}
		bond.asked = int32(c.NextID())
		offset, epoch := b.courses[bond.group].Position(int(bond.member))
		join := b.g.Dialect().Join(b.names[bond.group], int(bond.asked), true)
		if epoch != "" { // else there is no position
			join = client.Resume(b.names[bond.group], int(bond.asked), offset, epoch)
		}
		b.frame = append(b.frame, join...)
	}
	b.g.SendText(c, b.frame)
}

// lookAll gives up those whose patience is over, and lets those ask again who were told to.
func (b *returners) lookAll(now int64) {
	for place := range b.all {
		r, c := &b.all[place], b.g.Conn(place)
		switch {
		case r.stage < lifeComing || r.stage == lifeGone || now < r.until:
		case r.stage == lifeWaiting:
			r.stage, r.until = lifeAsking, now+int64(max(client.Timeout, b.plan.Patience))
			b.ask(c)
		case r.stage == lifeComing:
			b.giveUp(c, "connect: no answer in time")
		default:
			b.giveUp(c, b.g.Dialect().NoReply())
		}
	}
}

// giveUp ends a client that cannot come back.
func (b *returners) giveUp(c *client.Conn, cause string) {
	r := &b.all[c.At]
	if r.stage == lifeGone {
		return
	}
	if r.stage != lifeHere {
		b.missing--
	}
	r.stage = lifeGone
	for _, bond := range b.of(int(c.At)) {
		b.gone[bond.group][bond.member] = true
	}
	b.faults.Add(check.Failed, 1, "%s did not come back: %s", b.name(int(c.At)), cause)
	b.g.Cut(c, cause)
}

// Cut is called for what the bench did not end itself. Who was here comes back; who was on its way is gone.
func (b *returners) Cut(c *client.Conn, cause string, _ bool) {
	switch r := &b.all[c.At]; {
	case b.start == 0 || r.stage == lifeGone: // the opening counts it, or giveUp has
	case r.stage == lifeHere:
		b.faults.Add(check.Cut, 1, "%s was cut off: %s", b.name(int(c.At)), cause)
		b.leave(r)
		b.queue = append(b.queue, c.At)
	default:
		b.giveUp(c, cause)
	}
}

// Replied handles the answer to a join.
func (b *returners) Replied(c *client.Conn, text []byte, now int64) {
	b.heardAt = b.g.Vigil()
	id, joined, err := b.answers.Read(text)
	r := &b.all[c.At]
	bond := b.asker(c, id)
	switch {
	case err == nil && bond == nil:
		b.faults.Add(check.Failed, 1, "%s got a reply to nothing: %.60q", b.name(int(c.At)), text)
	case r.stage == lifeHere && err == nil: // the first life
		bond.asked = 0
		if !joined.Recoverable {
			b.forgetful++
		}
		b.courses[bond.group].Join(int(bond.member), joined.Epoch, joined.Offset)
	case err == nil && joined.Refused != nil && joined.Temporary:
		b.found.AskedAgain++
		bond.asked = askLater
		r.stage, r.until = lifeWaiting, now+int64(askAgainAfter)
	case err == nil && joined.Refused != nil:
		b.giveUp(c, joined.Refused.Error())
	case err != nil:
		b.giveUp(c, err.Error())
	default:
		b.back(c, bond, joined, now)
	}
}

// asker is the membership whose join has an id.
func (b *returners) asker(c *client.Conn, id int) *bond {
	bonds := b.of(int(c.At))
	if j := id - int(c.Number) - joinIDs; j >= 0 && j < len(bonds) && int(bonds[j].asked) == id {
		return &bonds[j]
	}
	for j := range bonds { // asked again
		if id > 0 && int(bonds[j].asked) == id {
			return &bonds[j]
		}
	}
	return nil
}

// back takes a client in again in one of its groups.
func (b *returners) back(c *client.Conn, bond *bond, joined *client.Joined, now int64) {
	r, course := &b.all[c.At], b.courses[bond.group]
	bond.asked = 0
	r.unanswered--
	_, epoch := course.Position(int(bond.member))
	switch {
	case joined.Recovered && joined.Epoch != epoch:
		b.faults.Add(check.Altered, 1, "%s was given what it missed in the epoch %.20q, and had asked for it in %.20q", b.name(int(c.At)), joined.Epoch, epoch)
		b.found.Recovered++
	case joined.Recovered:
		b.found.Recovered++
	default:
		b.found.NotRecovered++
		if len(joined.Missed) > 0 {
			b.faults.Add(check.Foreign, uint64(len(joined.Missed)), "%s got %d messages with an answer that recovers nothing", b.name(int(c.At)), len(joined.Missed))
		}
		course.Anew(int(bond.member), joined.Epoch, joined.Offset)
	}
	if joined.Recovered {
		for i := range joined.Missed {
			b.found.Missed++
			b.take(c, bond, joined.Missed[i].Text, joined.Missed[i].Offset, now)
		}
	}
	if r.unanswered == 0 {
		record(b.latency, now-r.since)
		b.found.Returns++
		r.stage = lifeHere
		b.missing--
		if b.act == actStorm || b.act == actCuts {
			b.window.to = now
		}
	}
}

// Heard checks one live message.
func (b *returners) Heard(c *client.Conn, text []byte, from client.Origin, now int64) {
	b.heardAt = b.g.Vigil()
	if bonds := b.of(int(c.At)); from.Group >= 0 {
		if j := (from.Group - int(bonds[0].group) + b.plan.Groups) % b.plan.Groups; j < len(bonds) {
			if bonds[j].asked != 0 {
				b.faults.Add(check.Foreign, 1, "%s got a message of group %d before its join was answered", b.name(int(c.At)), from.Group)
			}
			b.take(c, &bonds[j], text, from.Offset, now)
			return
		}
	}
	b.faults.Add(check.Foreign, 1, "%s got a message that is of none of its groups: %.60q", b.name(int(c.At)), text)
}

// take checks one message of a group, live or missed.
func (b *returners) take(c *client.Conn, bond *bond, text []byte, offset uint64, now int64) {
	s, ok := check.ReadStamp(text)
	switch {
	case !ok || len(text) != b.plan.Size || !bytes.Equal(text[check.StampBytes:], b.fill):
		b.faults.Add(check.Altered, 1, "%s got a text of %d bytes that was not published: %.60q", b.name(int(c.At)), len(text), text)
	case int(s.Publisher) >= b.plan.load.streams() || int(s.Publisher)%b.plan.Groups != int(bond.group) || s.Due > now:
		b.faults.Add(check.Foreign, 1, "%s got publisher %d's #%d, which is not for it", b.name(int(c.At)), s.Publisher, s.Sequence)
	case b.courses[bond.group].Saw(int(bond.member), int(s.Publisher)/b.plan.Groups, s.Sequence, offset):
		b.found.Heard++
	}
}

func (b *returners) name(place int) string {
	first := b.of(place)[0]
	return fmt.Sprintf("group %d returner %d", first.group, first.member)
}
