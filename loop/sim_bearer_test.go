package loop

import (
	"fmt"
	"strings"
	"time"

	"ringcast/loop/order"
)

// This file is tokens in a simulated world: clients show them, at any time, and renew them or not; they end; and a backend disconnects
// clients by their user, and takes them out of groups. Who is taken out hears nothing of the group any more (promise 3), nobody is
// closed for a token but its bearer, and nobody else misses anything (promise 8).

// simBearers counts what has happened.
type simBearers struct{ tokens, ends, disconnected, removed uint64 }

func (b *simBearers) add(o *simBearers) {
	b.tokens += o.tokens
	b.ends += o.ends
	b.disconnected += o.disconnected
	b.removed += o.removed
}

// wall is the wall clock of a world.
func (w *world) wall() time.Time { return time.Unix(wallStart, w.nanos) }

func (a *actor) user() string { return fmt.Sprint("user-", a.index) }

// auth shows a token that is good for some seconds.
func (a *actor) auth() {
	ends := a.w.wall().Unix() + 1 + int64(a.w.rng.IntN(8))
	if a.shows == 0 || ends < a.shows {
		a.shows = ends
	}
	a.ask(&simCommand{verb: "auth", group: "-", ends: ends}, fmt.Sprintf(`,"token":%q`, tokenOf(fmt.Sprintf(`{"sub":%q,"exp":%d}`, a.user(), ends))), true)
}

// reach is a backend's doing.
func (w *world) reach(a *actor) {
	target := Target{User: a.user()}
	if w.chance(60) && !a.sock.closed {
		target = Target{Client: a.sock.client.Number()}
	}
	for _, group := range w.groups {
		do := w.removing(group)
		if w.chance(5) {
			do = disconnecting(0, "")
		}
		if _, _, err := w.hub.dispatch(target, w.chance(50), do); err != nil {
			w.must(false, "an errand: %v", err)
		}
	}
}

// removing takes clients out of a group. A plain one that has used no id yet, and has no token, is told nothing: it would take it for a message.
func (w *world) removing(group string) func(*shard, *client) bool {
	do := unsubscribing(group)
	return func(s *shard, c *client) bool {
		told := c.dialect() != int(order.PlainForm) || c.is(markAsks) || s.hasToken(c)
		done := do(s, c)
		for _, a := range w.actors {
			if m := a.joined[group]; done && !told && m != nil && a.sock.client == c { // who connects at this moment has no socket, and has joined nothing
				m.silent = false
			}
		}
		return done
	}
}

// removed is the notice that a backend has taken the client out of a group.
func (a *actor) removed(text string) {
	group, why, _ := strings.Cut(text, `"`)
	m := a.joined[group]
	a.w.must(a.w.bearing && why == `,"reason":"server"}`, "actor %d was taken out of %s: %q", a.index, group, why)
	a.w.must(m != nil && !m.out(), "actor %d was taken out of %s, where it is not a member", a.index, group)
	a.w.bearers.removed++
	if a.removedFrom == nil {
		a.removedFrom = map[string]bool{}
	}
	a.removedFrom[group] = true
	*a.track(group) = simTrack{}
	m.company = simCompany{}                     // of who comes and goes meanwhile it hears nothing
	m.silent = false                             // of what it has asked without an id nobody says whether it came before
	for was := m; was != nil; was = was.before { // it may have said to leave since
		was.removed = true
	}
	if m.ackedAt == 0 && m.parted == 0 {
		return // it has said that it leaves, or has asked without an id
	}
	m.ackedAt, m.parted, m.refused = 0, 0, true
	if a.live() && a.w.chance(90) {
		a.join(group, true)
	}
}

// checkClose judges a Close frame by its code.
func (a *actor) checkClose(payload string) {
	switch {
	case strings.Contains(strings.ToLower(payload), "the token has ended"):
		a.w.must(a.shows != 0 && a.w.wall().Unix() >= a.shows, "actor %d: its token has ended, %d, at %d", a.index, a.shows, a.w.wall().Unix())
		a.w.bearers.ends++
	case strings.Contains(strings.ToLower(payload), "disconnected by the server"):
		a.w.must(a.w.bearing, "actor %d was disconnected", a.index)
		a.w.bearers.disconnected++
	}
}

// checkGrants: at rest nothing is allowed any more by a token that has ended, and as many users are known as have clients.
func (w *world) checkGrants() {
	users := map[string]bool{}
	for i, s := range w.hub.shards {
		for _, in := range s.bearers.ending {
			w.must(in.at > w.nanos-int64(2*tickPeriod), "loop %d: a grant that has ended %d ns ago is in force", i, w.nanos-in.at)
		}
		s.bearers.of.all(func(b *bearer) {
			w.must(b.client.is(markBearer) && s.bearer(b.client) == b, "loop %d: a bearer is not at its client's slot", i)
			if b.user() != "" {
				users[b.user()] = true
			}
		})
		w.must(len(s.bearers.errands) == 0, "loop %d has %d errands to do", i, len(s.bearers.errands))
	}
	w.must(w.hub.Users() == len(users), "got %d users, want %d", w.hub.Users(), len(users))
}

// checkNoBearers: when all have gone, nothing is left of who they were.
func (w *world) checkNoBearers() {
	w.must(w.hub.Users() == 0, "%d users are left", w.hub.Users())
	for i, s := range w.hub.shards {
		w.must(s.bearers.of.len == 0 && s.bearers.of.pages == nil && s.bearers.users.Len() == 0 && len(s.bearers.ending) == 0 && len(s.bearers.errands) == 0, "loop %d: something is left of bearers", i)
	}
}
