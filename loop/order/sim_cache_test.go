package order

import "testing"

// This is the plain model of last messages. It sees each publish at the moment at which its home serves it, in what the home calls then to
// look at the kind of the group or at the time, and says what who joins then, or asks, is told.

// simLast is the last message of a group.
type simLast struct {
	message *simMessage // nil: there is none
	tick    uint32
	kinds   uint32 // the simulation's count of changes when it was said
}

// simPut is a publish that a home serves.
type simPut struct {
	simLast
	up   *lane[Request[*simPart, *simAsk]]
	head uint64
}

// simWant is what is to be told of a group's last message.
type simWant struct {
	has  bool // the kind has it kept
	last simLast
	left uint32 // ticks
	may  bool   // or that there is none: it may have been dropped
}

// simCaches is what was done of that in a simulation.
type simCaches struct{ hits, misses, dropped, off, ports, events int }

func (c *simCaches) add(of simCaches) {
	c.hits, c.misses, c.dropped, c.off = c.hits+of.hits, c.misses+of.misses, c.dropped+of.dropped, c.off+of.off
	c.ports, c.events = c.ports+of.ports, c.events+of.events
}

func (c *simCaches) check(t *testing.T, shape simShape) {
	if c.hits == 0 || c.misses == 0 || c.off == 0 || c.events == 0 || (c.ports == 0) != (shape.ports == 0) || shape.historyMax > 0 && c.dropped == 0 {
		t.Errorf("what was told of last messages: %+v", *c)
	}
}

// onCache is called while a home serves a request, before it has changed anything of what is cached.
func (s *sim) onCache() {
	if !s.cache || s.hs == nil {
		return
	}
	s.followCache()
	for _, h := range s.hs.homes {
		if h.serving == nil {
			continue
		}
		r := h.serving.front()
		group := s.group(r.Group())
		switch r.Op {
		case OpPublish:
			if r.Message.More == nil || !r.Message.More.ClientEvent {
				s.putting = &simPut{simLast{s.messageOf(string(r.Message.Payload())), s.now, s.kindChanges}, h.serving, h.serving.head.Load()}
			} else {
				s.caches.events++
			}
		case OpJoin:
			r.Client.last = s.wantLast(group)
		case OpCached:
			for _, q := range s.questions {
				if q.told == r.via.told {
					q.last = s.wantLast(group)
				}
			}
		case OpForget:
			if s.kinds[group].messages > 0 {
				s.lasts[group] = simLast{}
			}
		}
	}
}

// followCache has the model follow the last publish, if it was served since it was seen.
func (s *sim) followCache() {
	p := s.putting
	if p == nil || p.up.head.Load() == p.head {
		return
	}
	s.putting = nil
	group := s.group(p.message.group)
	if p.message.refused || p.message.repeats || p.kinds == s.kindChanges && s.kinds[group].cache == 0 {
		return
	}
	s.lasts[group] = p.simLast
}

// wantLast is what is to be told of a group's last message now.
func (s *sim) wantLast(group int) simWant {
	w, ticks := simWant{last: s.lasts[group]}, s.kinds[group].cache
	if w.has = ticks > 0; w.last.message != nil && s.now-w.last.tick >= ticks {
		w.last = simLast{}
	}
	w.left = ticks - (s.now - w.last.tick)
	w.may = s.historyMax > 0 || w.last.kinds != s.kindChanges // of another kind it may have been over
	return w
}

// judgeLast holds what was told against that.
func (s *sim) judgeLast(group string, got *Past, want simWant) {
	s.must(got.HasCached == want.has, "group %s: told that the last message is kept: %v, want %v", group, got.HasCached, want.has)
	switch m := want.last.message; {
	case !want.has || m == nil:
		s.must(got.Cached == nil, "group %s: told that %v was said last, want a miss; kept %v", group, got.Cached, want.has)
		if s.caches.misses++; !want.has {
			s.caches.off++
		}
	case got.Cached == nil:
		s.must(want.may, "group %s: told that nothing was said last, want message %d", group, m.index)
		s.caches.dropped++
	default:
		is := s.messageOf(string(got.Cached.Payload()))
		s.must(is == m && got.Cached.Group == group, "group %s: told that message %d was said last, want %d", group, is.index, m.index)
		s.must(got.left == 0 || got.left == want.left, "group %s: told that message %d is kept for %d ticks, want %d", group, m.index, got.left, want.left)
		s.caches.hits++
	}
}
