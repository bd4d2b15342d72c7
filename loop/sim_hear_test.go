package loop

import (
	"encoding/binary"
	"encoding/json"
	"strconv"
	"strings"
)

// read takes up to n bytes and acts on every whole frame.
func (a *actor) read(n int) {
	if a.killed {
		a.endIfOver()
		return
	}
	n = min(n, len(a.sock.kernel))
	a.readBytes += n
	a.heard = append(a.heard, a.unwrap(a.sock.kernel[:n])...)
	a.sock.kernel = a.sock.kernel[n:]
	for a.frame() {
	}
	a.endIfOver()
}

// endIfOver: a peer that has been told goodbye, or that broke off, closes its end.
func (a *actor) endIfOver() {
	if (a.closing || a.killed || a.sock.shut) && !a.sock.closed && len(a.toServer) == 0 && len(a.sock.kernel) == 0 {
		a.w.must(!a.sock.shut || a.killed || a.sock.peer == nil || a.sock.peer.ended, "actor %d: the end without a close_notify", a.index)
		a.sock.close()
	}
}

func (a *actor) frame() bool {
	if !a.upgraded {
		end := strings.Index(string(a.heard), "\r\n\r\n")
		if end < 0 {
			return false
		}
		if a.plainText != nil {
			a.w.must(strings.HasPrefix(string(a.heard), "HTTP/1.1 "), "plain HTTP: got %q", a.heard)
			a.heard, a.closing = nil, true
			return false
		}
		a.upgraded = strings.HasPrefix(string(a.heard), "HTTP/1.1 101 ")
		a.w.must(a.upgraded || strings.HasPrefix(string(a.heard), "HTTP/1.1 408 ") || strings.HasPrefix(string(a.heard), "HTTP/1.1 429 ") ||
			strings.HasPrefix(string(a.heard), "HTTP/1.1 503 ") && a.w.hub.bounds.Load().FragmentsBytesMax > 0, "handshake: got %q", a.heard)
		a.deflates = a.upgraded && a.w.accepted(string(a.heard[:end]), a.offers)
		a.heard = a.heard[end+4:]
		a.closing = !a.upgraded
		return a.upgraded
	}
	if len(a.heard) < 2 {
		return false
	}
	n, at := int(a.heard[1]), 2
	if n == 126 {
		if len(a.heard) < 4 {
			return false
		}
		n, at = int(a.heard[2])<<8|int(a.heard[3]), 4
	} else if n == 127 {
		if len(a.heard) < 10 {
			return false
		}
		n, at = int(binary.BigEndian.Uint64(a.heard[2:])), 10
	}
	if len(a.heard) < at+n {
		return false
	}
	op, payload := a.heard[0], string(a.heard[at:at+n])
	a.heard = a.heard[at+n:]
	payload = a.w.inflate(&op, payload, a.deflates)
	a.w.must(!a.closing, "actor %d: a frame after the Close frame: %q", a.index, payload)
	switch op {
	case 0x81:
		a.hear(payload)
	case 0x89:
		if !a.said {
			a.raw(0x8A, payload)
		}
	case 0x8A:
	case 0x88:
		a.closing = true
		a.checkClose(payload)
		if !a.said {
			a.raw(0x88, payload)
			a.said = true
		}
	default:
		a.w.must(false, "actor %d: frame %#x %q", a.index, op, payload)
	}
	return true
}

// hear takes a text frame: a reply or a message.
func (a *actor) hear(text string) {
	if a.loud && !a.greeted {
		a.w.must(text == "HELLO", "actor %d: greeted with %q", a.index, text)
		a.greeted = true
		return
	}
	if a.loud && (strings.HasPrefix(text, "M|") || strings.HasPrefix(text, "K") && strings.Contains(text, "|M|")) {
		a.heardLoudly(strings.ToLower(text))
		return
	}
	if a.loud && (strings.HasPrefix(text, "C|") || strings.HasPrefix(text, "W|")) {
		a.heardNews(text)
		return
	}
	if !a.loud && strings.HasPrefix(text, "m|") {
		a.message(text)
		return
	}
	if n, isGap := strings.CutPrefix(text, `{"event":"gap","messages":`); isGap {
		messages, err := strconv.Atoi(strings.TrimSuffix(n, "}"))
		a.w.must(err == nil && messages > 0 && a.w.hub.bounds.Load().SlowClient == SlowDrop && a.nextID > 0, "actor %d: gap %q", a.index, text)
		a.missed += uint64(messages)
		for _, t := range a.tracks {
			t.exact = false
		}
		a.log = append(a.log, simHeard{})
		return
	}
	if group, isParted := strings.CutPrefix(text, `{"event":"parted","group_id":"`); isParted {
		a.parted(strings.TrimSuffix(group, `"}`))
		return
	}
	if group, isRemoved := strings.CutPrefix(text, `{"event":"removed","group_id":"`); isRemoved {
		a.removed(group)
		return
	}
	if a.w.stranger && !strings.HasPrefix(text, `{"id":`) {
		return // a fuzzed client's message
	}
	var r struct {
		ID    int
		OK    bool
		Seq   *uint64
		Past  *loudPast
		Error *struct{ Code string }

		Present *[]uint64
	}
	a.w.must(json.Unmarshal([]byte(text), &r) == nil, "reply %q", text)
	c := a.asked[r.ID]
	a.w.must(c != nil, "actor %d: reply %q to nothing, or a second time", a.index, text)
	delete(a.asked, r.ID)
	a.w.must(r.OK != (r.Error != nil), "reply %q", text)
	if r.Error != nil {
		a.w.must(a.mayBeRefused(r.Error.Code, c), "actor %d: refused: %q", a.index, text)
	}
	switch c.verb {
	case "auth":
		a.tokenEnds = max(a.tokenEnds, c.ends)
	case "history":
		a.heardHistory(c, r.Past)
	case "presence":
		a.w.must(r.OK == (r.Present != nil), "reply %q", text)
		if r.OK {
			a.heardWho(c, *r.Present)
		}
	case "add_group":
		again := c.membership.ackedAt > 0
		c.membership.asks--
		c.membership.refused = c.membership.refused || !r.OK
		if r.OK && c.membership.ackedAt == 0 {
			c.membership.ackedAt = a.w.step
			c.membership.company.begin(a, c)
		}
		if r.OK && a.loud {
			a.cameBack(c, r.Past, again)
		}
	case "leave_group":
		c.membership.unsure = c.membership.unsure || !r.OK
		if c.membership.leaving--; r.OK && c.membership.leaving == 0 && c.membership.sentAt == 0 {
			c.membership.left, c.membership.unsure = true, false
		}
	case "send_to_group":
		a.w.must(r.OK == (r.Seq != nil), "reply %q", text)
		c.message.accepted = r.OK
		if r.OK {
			c.message.seq = *r.Seq
			in := c.membership
			a.w.must(a.w.changing || a.w.hub.bounds.Load().kindOf(c.group).Publish != Members || in != nil && in.asked(),
				"actor %d: no member, and published to %s, got %q", a.index, c.group, text)
		}
		a.w.must(!r.OK || a.w.tooLoud[c.message.number] == 0, "actor %d: message %d was refused by its home, got %q", a.index, c.message.number, text)
	}
}

// mayBeRefused says whether a world's bounds can be the reason of an error.
func (a *actor) mayBeRefused(code string, c *simCommand) bool {
	b := a.w.hub.bounds.Load()
	switch joins := c.verb == "add_group"; code {
	case "busy":
		return a.w.tight && c.verb != "leave_group" || a.loud && c.verb == "add_group" || c.verb == "history" || c.verb == "presence" // that is late
	case "unavailable":
		return c.verb == "send_to_group" && c.message.refused == ErrUnavailable
	case "unknown":
		return c.verb == "send_to_group" && c.message.refused == ErrUnconfirmed
	case "too_many_groups":
		return joins
	case "group_full":
		return joins && (b.kindOf(c.group).MembersMax > 0 || a.w.changing)
	case "groups_full":
		return joins && (b.GroupsMax > 0 || a.w.changing)
	case "forbidden": // not who is a member, or has asked to be before it published, unless a backend has taken it out
		in := c.membership
		return c.verb == "send_to_group" && (a.w.changing || b.kindOf(c.group).Publish == Members) &&
			(in == nil || in.refused || a.removedFrom[c.group] || in.sentAt == 0 || in.sentAt >= c.message.issuedAt)
	case "bad_token":
		return c.verb == "auth" && a.w.wall().Unix() >= c.ends
	case "unrecoverable":
		return c.verb == "history"
	case "not_member":
		return c.verb == "history" || c.verb == "presence" && !(c.clean && c.membership == a.joined[c.group] && c.membership.parted == 0 && !c.membership.removed)
	case "not_available":
		return c.verb == "history" || c.verb == "presence" && (a.w.changing || !b.kindOf(c.group).Presence)
	case "too_many_members":
		return c.verb == "presence" && a.w.mayBeCrowded()
	case "rate_limited":
		return b.CommandsPerSecond > 0 || b.BytesPerSecond > 0 || a.w.changing
	}
	return false
}

// message holds a group message against the promises that can be judged at once.
func (a *actor) message(text string) *simMessage {
	part := strings.SplitN(text, "|", 5)
	number, _ := strconv.Atoi(part[1])
	group, sender := part[2], part[3]
	a.w.must(number < len(a.w.sent) && a.w.sent[number].text == text, "actor %d: garbled %q", a.index, text)
	if said := a.w.sent[number].said; said != nil {
		said.heard = true
	}
	a.w.must(a.w.tooLoud[number] == 0, "actor %d: message %d was refused by its home", a.index, number)
	a.w.must(a.w.sent[number].refused != ErrUnavailable, "actor %d: message %d was refused as unavailable", a.index, number)
	a.w.must(!a.w.sent[number].leavesOut(a), "actor %d: message %d of %s leaves it out", a.index, number, group)
	m := a.joined[group]
	a.w.must(m != nil, "actor %d: a message of %s, which it never joined", a.index, group)
	a.w.must(!m.out(), "actor %d: message %d of %s, of which it was told that it is not a member", a.index, number, group)
	a.w.must(m.parted == 0 || m.unsure, "actor %d: message %d of %s, of which it was taken out, before it has joined again", a.index, number, group)
	a.w.must(!m.left, "actor %d: message %d of %s after its leave was answered", a.index, number, group)
	if a.got[group] == nil {
		a.got[group], a.lastOf[group] = map[int]bool{}, map[string]int{}
	}
	a.w.must(!a.got[group][number], "actor %d: message %d twice", a.index, number)
	a.got[group][number] = true
	last, any := a.lastOf[group][sender]
	a.w.must(!any || last < number, "actor %d: message %d of %s after %d", a.index, number, sender, last)
	a.lastOf[group][sender] = number
	a.saw[group] = append(a.saw[group], number)
	a.log = append(a.log, simHeard{a.w.sent[number]})
	return a.w.sent[number]
}
