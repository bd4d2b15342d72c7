package loop

import (
	goheap "container/heap"

	"ringcast/dialect"
	"ringcast/loop/door"
	"ringcast/loop/shrink"
)

// This file is who clients are: what is known of those that have shown a token. How tokens come in is in token.go, what they allow is
// decided in access.go, and what becomes of their bearers when they end is in grant.go.

// bearer is what is known of a client that has shown a token, good or bad.
//
// Owner: the loop.
type bearer struct {
	client *client
	grant  grant             // that of its connection; without a token: it has shown none that is good
	groups map[*group]*grant // what it has for some of the groups that it is a member of, or has asked to be

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
	of     shrink.Map[*client, *bearer]
	users  shrink.Map[string, *bearer] // the one of each user that came last; the others hang at it
	ending grants
	late   bool // grants have ended that the last turn has left to the next

	errands  []*errand
	welcomes welcomes
}

// bearer is what is known of a client; nil: nothing, as of most.
func (s *shard) bearer(c *client) *bearer {
	if !c.is(markBearer) {
		return nil
	}
	return s.bearers.of.Get(c)
}

// known is that of a client that is to be known from now on.
func (s *shard) known(c *client) *bearer {
	if b := s.bearer(c); b != nil {
		return b
	}
	b := &bearer{client: c}
	b.grant.bearer = b
	s.bearers.of.Put(c, b)
	c.marks |= markBearer
	return b
}

// hasToken says whether a client has shown a good token of its connection.
func (s *shard) hasToken(c *client) bool { return s.tokenOf(c) != nil }

// tokenOf is the good token of a client's connection; nil: there is none.
func (s *shard) tokenOf(c *client) *door.Token {
	if b := s.bearer(c); b != nil {
		return b.grant.token
	}
	return nil
}

// user is the name of b's user; empty: it has none.
func (b *bearer) user() string {
	if b == nil || b.grant.token == nil {
		return ""
	}
	return b.grant.token.User
}

// take gives a bearer the token of its connection, which is its first or of the same user as the one before.
func (s *shard) take(c *client, token *door.Token) {
	b := s.known(c)
	first := b.grant.token == nil
	if first && token.User != "" {
		s.hub.users.Come(token.User)
		if b.next = s.bearers.users.Get(token.User); b.next != nil {
			b.next.before = b
		}
		s.bearers.users.Put(token.User, b)
	}
	b.grant.token, b.grant.who = token, whoOf(token, nil)
	s.endAt(&b.grant, token.Ends)
	if first && s.bounds.anyPresence {
		s.announceAgain(c)
	}
}

// whoOf is the user of a connection's token as others are told of it, in a group with what is said of it there; nil: there is nothing to
// tell. The token may be nil.
func whoOf(token *door.Token, groupInfo []byte) *dialect.Who {
	who := dialect.Who{GroupInfo: groupInfo}
	if token != nil {
		who.User, who.Info = token.User, token.Info
	}
	if who.User == "" && who.Info == nil && groupInfo == nil {
		return nil
	}
	return &who
}

// who is c as others in a group are told of it; nil: it is nobody.
func (c *client) who(g *group) *dialect.Who { return c.shard.bearer(c).who(g, g.name) }

// who is b as others are told of it in a group of a name; nil: it is nobody. g is nil if this loop does not know the group.
func (b *bearer) who(g *group, name string) *dialect.Who {
	if b == nil {
		return nil
	}
	if in := b.groups[g]; in != nil {
		return in.who
	}
	return b.whoElse(name)
}

// whoElse is likewise b in a group for which it has nothing but what its connection's token says.
func (b *bearer) whoElse(group string) *dialect.Who {
	if token := b.grant.token; token != nil {
		if info := token.Groups[group]; info != nil {
			return whoOf(token, info)
		}
	}
	return b.grant.who
}

// identify has a request to join say who a client is in a group, where its home wants to know. It returns what the client has for the group
// from now on: in, or where its connection's token has something to say of it there, that; nil: nothing.
func (s *shard) identify(c *client, in *grant, g *group, wanted bool, r *request) *grant {
	b := s.bearer(c)
	who := b.who(g, g.name)
	switch {
	case in != nil:
		who = in.who
	case b != nil && who != b.grant.who:
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
	return who.User != ""
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
	s.bearers.ending.drop(&b.grant)
	s.bearers.of.Delete(c)
}

// hold has a client that has just asked to be a member of a group, or is one, have a grant there from now on, in place of the one before.
func (b *bearer) hold(g *group, in *grant) {
	b.release(g)
	if b.groups == nil {
		b.groups = map[*group]*grant{}
	}
	in.bearer, in.group = b, g
	b.groups[g] = in
}

// release ends what a client has for a group. It is called whenever a membership ends.
func (b *bearer) release(g *group) {
	if in := b.groups[g]; in != nil {
		b.client.shard.bearers.ending.drop(in)
		delete(b.groups, g)
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
