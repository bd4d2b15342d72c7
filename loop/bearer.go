package loop

import (
	goheap "container/heap"

	"ringcast/dialect"
	"ringcast/loop/door"
	"ringcast/loop/shrink"
)

// This file is who clients are: what is known of those that have shown a token. How tokens come in is in token.go, what they allow is
// decided in access.go, and what becomes of their bearers when they end is in grant.go.

// bearer is what is known of a client that has shown a token, good or bad, or a signature that says who it is. Most members of presence
// channels have shown no more than that, for one group: so what only others have is in more. It takes 32 bytes, and that 112, which are
// size classes (TestABearerFitsItsSizeClass).
//
// Owner: the loop.
type bearer struct {
	client      *client
	group       *group       // a group for which it has nothing but who it is there; nil: there is none
	as          *dialect.Who // who it is there
	*bearerMore              // nil: nothing of that
}

// bearerMore is what bearers have that have shown a token, or belong to an app that is not the first.
type bearerMore struct {
	app    *door.App         // the app of the Pusher protocol to which the client belongs, as it was when it came; nil: it is the first, or none
	grant  grant             // that of its connection; without a token: it has shown none that is good
	only   *grant            // what it has for one of the groups that it is a member of, or has asked to be: most have no more, and a map takes 250 bytes
	groups map[*group]*grant // what it has for others of them

	next, before *bearer // others of its user, of this loop

	welcome *welcome // its connect is still to be answered; nil: it was
	checks  checks

	bad  uint8 // tokens that it has shown and that are not valid
	deaf bool  // its connect was refused: nothing that it says is heard any more
}

// bearers are those of a shard. A client is in the table if it has the mark, so to look for most takes no look-up. It stays there until it
// is buried.
//
// Owner: the loop.
type bearers struct {
	of     bearersOf
	users  shrink.Map[string, *bearer] // the one of each user that came last; the others hang at it
	ending grants
	late   bool // grants have ended that the last turn has left to the next

	errands  []*errand
	acts     int // that are left to errands in this turn
	looks    int // likewise
	welcomes welcomes
}

// extend makes b have more, if it has not.
func (b *bearer) extend() *bearer {
	if b.bearerMore == nil {
		b.bearerMore = &bearerMore{}
		b.grant.bearer = b
	}
	return b
}

// connection is the grant of its connection; nil: it has shown no token.
func (b *bearer) connection() *grant {
	if b == nil || b.bearerMore == nil {
		return nil
	}
	return &b.grant
}

// token is the good token of its connection; nil: there is none.
func (b *bearer) token() *door.Token {
	if in := b.connection(); in != nil {
		return in.token
	}
	return nil
}

// hasToken says whether a client has shown a good token of its connection.
func (s *shard) hasToken(c *client) bool { return s.tokenOf(c) != nil }

// tokenOf is the good token of a client's connection; nil: there is none.
func (s *shard) tokenOf(c *client) *door.Token { return s.bearer(c).token() }

// user is the name of b's user; empty: it has none.
func (b *bearer) user() string {
	if token := b.token(); token != nil {
		return token.User
	}
	return ""
}

// take gives a bearer the token of its connection, which is its first or of the same user as the one before.
func (s *shard) take(c *client, token *door.Token) {
	who := whoOf(token, nil)
	if who != nil { // what is said is kept once
		token.User, token.Info = who.User(), who.Info()
	}
	s.takeAs(c, token, who)
}

// takeAs is take for a user who is somebody else to others than to backends.
func (s *shard) takeAs(c *client, token *door.Token, who *dialect.Who) {
	b := s.known(c).extend()
	first := b.grant.token == nil
	if first && token.User != "" {
		s.hub.users.Come(token.User)
		if b.next = s.bearers.users.Get(token.User); b.next != nil {
			b.next.before = b
		}
		s.bearers.users.Put(token.User, b)
	}
	b.grant.token, b.grant.who = token, who
	s.endAt(&b.grant, token.Ends)
	if first && s.bounds.anyPresence {
		s.announceAgain(c)
	}
}

// whoOf is the user of a connection's token as others are told of it, in a group with what is said of it there; nil: there is nothing to
// tell. The token may be nil.
func whoOf(token *door.Token, groupInfo []byte) *dialect.Who {
	who := dialect.WhoIs{GroupInfo: groupInfo}
	if token != nil {
		who.User, who.Info = token.User, token.Info
	}
	if who.User == "" && who.Info == nil && groupInfo == nil {
		return nil
	}
	return who.Who()
}

// who is c as others in a group are told of it; nil: it is nobody.
func (c *client) who(g *group) *dialect.Who { return c.shard.bearer(c).who(g, g.name) }

// who is b as others are told of it in a group of a name; nil: it is nobody. g is nil if this loop does not know the group.
func (b *bearer) who(g *group, name string) *dialect.Who {
	if b == nil {
		return nil
	}
	if g != nil && b.group == g {
		return b.as
	}
	if in := b.in(g); in != nil {
		return in.who
	}
	return b.whoElse(name)
}

// whoElse is likewise b in a group for which it has nothing but what its connection's token says.
func (b *bearer) whoElse(group string) *dialect.Who {
	if token := b.token(); token != nil {
		if info := token.Groups[group]; info != nil {
			return whoOf(token, info)
		}
	}
	return b.whoUsually()
}

// whoUsually is b in groups where it is nobody else.
func (b *bearer) whoUsually() *dialect.Who {
	if in := b.connection(); in != nil {
		return in.who
	}
	return nil
}

// identify has a request to join say who a client is in a group, where its home wants to know. It returns what the client has for the group
// from now on: in, or where its connection's token has something to say of it there, that; nil: nothing.
func (s *shard) identify(c *client, in *grant, g *group, wanted bool, r *request) *grant {
	b := s.bearer(c)
	who := b.who(g, g.name)
	switch {
	case in != nil:
		who = in.who
	case b != nil && who != b.whoUsually():
		in = &grant{who: who}
	}
	if wanted {
		r.Identify(who)
	}
	return in
}

// sign has a message say who has said it. named: users are named whatever their dialect.
func (s *shard) sign(c *client, m *message) (named bool) {
	who := s.bearer(c).who(s.groups.Get(m.Group), m.Group)
	if who == nil {
		return false
	}
	m.More = &dialect.More{Who: who}
	return who.User() != ""
}

// forgetBearer takes a client that is buried out of the tables. It is a member of no group any more.
func (s *shard) forgetBearer(c *client) {
	b := s.bearer(c)
	if b == nil {
		return
	}
	for _, e := range s.bearers.errands {
		e.passOver(b)
	}
	if user := b.user(); user != "" {
		s.hub.users.Go(user)
		switch {
		case b.before != nil:
			b.before.next = b.next
		case b.next != nil:
			s.bearers.users.Put(user, b.next)
		default:
			s.bearers.users.Delete(user)
		}
		if b.next != nil {
			b.next.before = b.before
		}
	}
	if in := b.connection(); in != nil {
		s.bearers.ending.drop(in)
	}
	s.bearers.of.set(c.slot, nil)
	c.marks &^= markBearer // its slot is another's soon
}

// hold has a client that has just asked to be a member of a group, or is one, have a grant there from now on, in place of the one before.
func (b *bearer) hold(g *group, in *grant) {
	b.release(g)
	if in.token == nil && b.group == nil {
		b.group, b.as = g, in.who
		return
	}
	b.extend()
	in.bearer, in.group = b, g
	if b.only == nil {
		b.only = in
		return
	}
	if b.groups == nil {
		b.groups = map[*group]*grant{}
	}
	b.groups[g] = in
}

// in is what b has for a group beside who it is there; nil: nothing.
func (b *bearer) in(g *group) *grant {
	if b.bearerMore == nil {
		return nil
	}
	if b.only != nil && b.only.group == g {
		return b.only
	}
	return b.groups[g]
}

// release ends what a client has for a group. It is called whenever a membership ends.
func (b *bearer) release(g *group) {
	if b.group == g {
		b.group, b.as = nil, nil
		return
	}
	in := b.in(g)
	if in == nil {
		return
	}
	b.client.shard.bearers.ending.drop(in)
	if in == b.only {
		b.only = nil
		return
	}
	if delete(b.groups, g); len(b.groups) == 0 {
		b.groups = nil
	}
}

// grants are those that end, the first to end in front.
type grants []*grant

func (gs grants) Len() int           { return len(gs) }
func (gs grants) Less(i, j int) bool { return gs[i].at < gs[j].at }
func (gs grants) Swap(i, j int) {
	gs[i], gs[j] = gs[j], gs[i]
	gs[i].place, gs[j].place = i+1, j+1
}

func (gs *grants) Push(x any) {
	in := x.(*grant)
	*gs = append(*gs, in)
	in.place = len(*gs)
}

func (gs *grants) Pop() any {
	last := len(*gs) - 1
	in := (*gs)[last]
	(*gs)[last] = nil
	*gs = (*gs)[:last]
	if cap(*gs) > clientsKeptMin && last < cap(*gs)/4 {
		*gs = append(make(grants, 0, cap(*gs)/2), *gs...)
	}
	in.place = 0
	return in
}

// drop takes a grant out, if it is there.
func (gs *grants) drop(in *grant) {
	if in.place > 0 {
		goheap.Remove(gs, in.place-1)
	}
}

// put puts a grant in at a time, or moves it there; 0: it never ends.
func (gs *grants) put(in *grant, at int64) {
	switch in.at = at; {
	case at == 0:
		gs.drop(in)
	case in.place > 0:
		goheap.Fix(gs, in.place-1)
	default:
		goheap.Push(gs, in)
	}
}
