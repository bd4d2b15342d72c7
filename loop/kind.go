package loop

import (
	"cmp"
	"fmt"
	"reflect"
	"strings"
	"time"
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
	Join      Access    // who may become a member: not Members, not Servers
	Publish   Access    // who may publish
}

// JoinLeave is who hears of a group's comings and goings.
type JoinLeave uint8

// The values of JoinLeave, and what an operator writes for them.
const (
	HearAsked JoinLeave = iota // "asked": members that have asked for it as they joined
	HearNone                   // "off": nobody
	HearAll                    // "all": all members whose dialect can tell of it
)

// Access is who may do something.
type Access uint8

// The values of Access, and what an operator writes for them.
const (
	Anyone  Access = iota // "anyone"
	Users                 // "user": clients that have said who they are
	Members               // "member": members of the group
	Tokens                // "token": clients that were allowed to by name
	Servers               // "server": no client at all
)

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
	return nil
}

// kindOf is the first kind that matches a group's name, or else that of all other groups. Each pattern costs some tens of
// nanoseconds. It is called for joins, not for messages.
func (b *bounds) kindOf(group string) Kind {
	for i := range b.Kinds {
		if matches(b.Kinds[i].Match, group) {
			return b.Kinds[i]
		}
	}
	return Kind{MembersMax: b.MembersMax, History: b.History, HistoryTTL: b.HistoryTTL,
		Presence: b.Presence, JoinLeave: b.JoinLeave, Join: b.Join, Publish: b.Publish}
}

// historyOf is how many messages of a group are kept, 0 for none, and for how many ticks.
func (b *bounds) historyOf(group string) (messages int, ttlTicks uint32) {
	kind := b.kindOf(group)
	return kind.History, ticks(cmp.Or(kind.HistoryTTL, b.HistoryTTL))
}

// matches says whether a pattern matches a whole name. Each piece between two * is searched once, from where the piece before it
// ended, so there is no backtracking.
func matches(pattern, name string) bool {
	head, rest, any := strings.Cut(pattern, "*")
	if !any {
		return name == pattern
	}
	name, ok := strings.CutPrefix(name, head)
	for ok {
		piece, more, any := strings.Cut(rest, "*")
		if !any {
			return strings.HasSuffix(name, piece)
		}
		at := strings.Index(name, piece)
		if ok = at >= 0; ok {
			name, rest = name[at+len(piece):], more
		}
	}
	return false
}
