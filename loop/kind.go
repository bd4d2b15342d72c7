package loop

import (
	"cmp"
	"fmt"
	"reflect"
	"time"

	"ringcast/loop/door"
	"ringcast/loop/order"
)

// Kind is what holds for the groups whose names match a pattern, in place of the fields of Limits with the same names, whose
// bounds hold here too.
type Kind struct {
	Match      string        // matches whole names, UTF-8; * matches any run of characters, also an empty one, and nothing else is special
	MembersMax int           // members of each such group; 0: any number
	History    int           // messages kept of each such group; 0: none
	HistoryTTL time.Duration // for which a message is kept, and a group after its last member, if it has a history; 0: Limits.HistoryTTL

	Presence  bool      // who the members are can be asked
	JoinLeave JoinLeave // with Presence: who hears of comings and goings
	Join      Access    // who may become a member: Anyone, Users or Tokens
	Publish   Access    // who may publish
	Fast      bool      // in a cluster: messages are put in order on each machine alone, and not kept. Without one it says nothing

	// Join, Publish were said of the kind itself, and of no more kinds than this one. Only so does a kind open to clients without a
	// signature what the Pusher protocol has for signed ones.
	JoinSaid, PublishSaid bool
}

// JoinLeave is who hears of a group's comings and goings.
type JoinLeave uint8

// The values of JoinLeave, and what an operator writes for them.
const (
	HearAsked JoinLeave = iota // "asked": members that have asked for it as they joined
	HearNone                   // "off": nobody
	HearAll                    // "all": all members whose dialect can tell of it
)

// Access is who may do something, see package door.
type Access = door.Access

// The values of Access, and what an operator writes for them.
const (
	Anyone  = door.ForAnyone  // "anyone"
	Users   = door.ForUsers   // "user": clients that have said who they are
	Members = door.ForMembers // "member": members of the group
	Tokens  = door.ForTokens  // "token": clients that were allowed to by name
	Servers = door.ForServers // "server": no client at all
)

// KindsMax bounds Limits.Kinds: a name may have to be compared with every pattern.
const KindsMax = 1000

// AllKinds is every kind of group, in the order in which a name is compared with their patterns. The last is that of all groups that
// match no other.
func (l *Limits) AllKinds() []Kind {
	all := make([]Kind, 0, len(l.Kinds)+1)
	for _, kind := range l.Kinds {
		kind.HistoryTTL = cmp.Or(kind.HistoryTTL, l.HistoryTTL)
		all = append(all, kind)
		if kind.Match == allNames {
			return all
		}
	}
	return append(all, l.otherGroups())
}

// allNames is the pattern that matches every name.
const allNames = "*"

// otherGroups is the kind of the groups that no kind matches.
func (l *Limits) otherGroups() Kind {
	return Kind{Match: allNames, MembersMax: l.MembersMax, History: l.History, HistoryTTL: l.HistoryTTL,
		Presence: l.Presence, JoinLeave: l.JoinLeave, Join: l.Join, Publish: l.Publish, Fast: l.Fast}
}

// check says which setting is beyond its bounds. Zero is always within them.
func (k *Kind) check() error {
	v, limits := reflect.ValueOf(k).Elem(), reflect.TypeFor[Limits]()
	for i := range v.NumField() {
		name, value := v.Type().Field(i).Name, v.Field(i)
		limit, is := limits.FieldByName(name)
		if !is || !value.CanInt() || value.IsZero() {
			continue
		}
		if err := checkBound(value, limit.Tag); err != nil {
			return fmt.Errorf("%q: %s: %w", k.Match, name, err)
		}
	}
	if err := k.checkAccess(); err != nil {
		return fmt.Errorf("%q: %w", k.Match, err)
	}
	return nil
}

// checkAccess says which setting has a value that it cannot have.
func (k *Kind) checkAccess() error {
	switch {
	case k.JoinLeave > HearAll:
		return fmt.Errorf("%s: %d is not HearAsked, HearNone or HearAll", "JoinLeave", k.JoinLeave)
	case k.Join != Anyone && k.Join != Users && k.Join != Tokens:
		return fmt.Errorf("%s: %d is not Anyone, Users or Tokens", "Join", k.Join)
	case k.Publish > Servers:
		return fmt.Errorf("%s: %d is not Anyone, Users, Members, Tokens or Servers", "Publish", k.Publish)
	}
	return nil
}

// kindOf is the first kind that matches a group's name, or else that of all other groups. Each pattern costs some tens of
// nanoseconds, so groups that a loop knows keep their kind, see shard.kindOf.
func (b *bounds) kindOf(group string) Kind {
	return b.withChannel(b.kindAt(b.kindIndex(group)), group)
}

// kindIndex is the place of that kind in Kinds, or one past its end.
func (b *bounds) kindIndex(group string) int {
	for i := range b.Kinds {
		if door.Matches(b.Kinds[i].Match, group) {
			return i
		}
	}
	return len(b.Kinds)
}

// kindAt is the kind at a place that kindIndex gave.
func (b *bounds) kindAt(index int) Kind {
	if index < len(b.Kinds) {
		return b.Kinds[index]
	}
	return b.otherGroups()
}

// kind is what holds for a group that this loop knows.
func (s *shard) kind(g *group) Kind {
	index, _ := s.kindOf(g)
	return s.bounds.withChannel(s.bounds.kindAt(index), g.name)
}

// kindOf is the place of g's kind in the bounds' Kinds, and how many patterns were compared for it: none if g has kept it since the
// bounds were last changed.
func (s *shard) kindOf(g *group) (index, compared int) {
	if g.kindsRead != s.bounds.generation {
		index = s.bounds.kindIndex(g.name)
		g.kind, g.kindsRead = uint16(index), s.bounds.generation
		compared = min(index+1, len(s.bounds.Kinds))
	}
	return int(g.kind), compared
}

// orderKind is what a group's home needs to know of its kind.
func (b *bounds) orderKind(group string) order.Kind {
	kind := b.kindOf(group)
	return order.Kind{Messages: kind.History, TTL: ticks(cmp.Or(kind.HistoryTTL, b.HistoryTTL)), Presence: kind.Presence, Fast: kind.Fast, Cache: b.cacheTicks(group)}
}
