package door

import (
	"errors"
	"hash/maphash"
	"iter"
	"maps"
	"sync"
	"sync/atomic"

	"ringcast/loop/shrink"
)

// Revoked is the users whose tokens were revoked, each with a moment: what was issued before is refused. An entry goes when no token
// can be alive that it refuses. How long tokens live nobody says, so it is the longest life that was seen, and not less than
// revokedMin; where there was a token that never ends, entries stay. In memory only: a restart forgets them.
//
// Whoever revokes first calls Revoke and then looks for the clients that are there already; whoever lets a client in asks Refuses on
// the loop that has it from then on. So none is missed between the two.
//
// Owner: any goroutine; each stripe has a lock.
type Revoked struct {
	seed    maphash.Seed
	entries atomic.Int64
	life    atomic.Int64  // seconds that the token lived longest of all that were seen
	endless atomic.Bool   // one was seen that never ends
	next    atomic.Uint64 // the stripe that the next Revoke looks through beside its own
	stripes [addressStripes]struct {
		mu    sync.Mutex
		users shrink.Map[string, int64] // the moment, in Unix seconds
		swept int64                     // when entries were last looked through, likewise
	}
}

// RevokedMax bounds the users of a Revoked. At it a further one is refused, since in place of an entry that goes its tokens would be
// good again.
const RevokedMax = 100_000

// Times of entries, in seconds.
const (
	revokedMin    = 24 * 60 * 60 // an entry stays so long at least, as the tokens that live longest may not have been seen yet
	revokedSweeps = 60           // a stripe is looked through so seldom
)

// ErrRevokedFull says that as many users are revoked as may be.
var ErrRevokedFull = errors.New("too many users are revoked")

// NewRevoked is a table without entries.
func NewRevoked() *Revoked { return &Revoked{seed: maphash.MakeSeed()} }

// Revoke refuses a user's tokens that were issued before a moment, from now on; both in Unix seconds. An earlier moment than one that
// was named changes nothing. A token that was issued within the second of the moment is not refused. ErrRevokedFull: nothing was changed.
func (t *Revoked) Revoke(user string, before, now int64) error {
	if user == "" {
		return nil // a token without a name is nobody's
	}
	at := maphash.String(t.seed, user) % addressStripes
	t.sweep(at, now)
	t.sweep(t.next.Add(1)%addressStripes, now)
	for other := uint64(0); t.entries.Load() >= RevokedMax && other < addressStripes; other++ {
		t.sweep(other, now)
	}
	s := &t.stripes[at]
	s.mu.Lock()
	defer s.mu.Unlock()
	known, is := s.users.All()[user]
	switch {
	case is && known >= before:
	case !is && t.entries.Add(1) > RevokedMax:
		t.entries.Add(-1)
		return ErrRevokedFull
	default:
		s.users.Put(user, before)
	}
	return nil
}

// Refuses says whether a good token is refused because its user's were revoked. issuedAt 0: it does not say when it was issued, and
// is older than any revocation is.
func (t *Revoked) Refuses(user string, issuedAt int64) bool {
	if user == "" || t.entries.Load() == 0 {
		return false
	}
	s := &t.stripes[maphash.String(t.seed, user)%addressStripes]
	s.mu.Lock()
	defer s.mu.Unlock()
	before, is := s.users.All()[user]
	return is && issuedAt < before
}

// Before is the moment of a user; 0: it is none of the table.
func (t *Revoked) Before(user string) int64 {
	s := &t.stripes[maphash.String(t.seed, user)%addressStripes]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.users.Get(user)
}

// Saw notes how long a good token lives. now is in Unix seconds.
func (t *Revoked) Saw(token *Token, now int64) {
	if token.Expires == 0 {
		if !t.endless.Load() {
			t.endless.Store(true)
		}
		return
	}
	life := token.Expires - token.IssuedAt
	if token.IssuedAt == 0 {
		life = token.Expires - now
	}
	for seen := t.life.Load(); life > seen && !t.life.CompareAndSwap(seen, life); seen = t.life.Load() {
	}
}

// All is the users, each with its moment: those that are in it all the time, and maybe others. It copies a stripe at a time.
func (t *Revoked) All() iter.Seq2[string, int64] {
	return func(yield func(string, int64) bool) {
		for i := range t.stripes {
			s := &t.stripes[i]
			s.mu.Lock()
			users := maps.Clone(s.users.All())
			s.mu.Unlock()
			for user, before := range users {
				if !yield(user, before) {
					return
				}
			}
		}
	}
}

// Len is how many users are revoked.
func (t *Revoked) Len() int { return int(t.entries.Load()) }

// sweep drops the entries of a stripe that refuse nothing any more, unless it was looked through a moment ago.
func (t *Revoked) sweep(at uint64, now int64) {
	if t.endless.Load() {
		return
	}
	s := &t.stripes[at]
	s.mu.Lock()
	defer s.mu.Unlock()
	if now-s.swept < revokedSweeps {
		return
	}
	s.swept = now
	oldest := now - max(t.life.Load(), revokedMin)
	var over []string
	for user, before := range s.users.All() {
		if before < oldest {
			over = append(over, user)
		}
	}
	for _, user := range over {
		s.users.Delete(user)
		t.entries.Add(-1)
	}
}
