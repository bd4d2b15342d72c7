package door

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"ringcast/loop/assert"
	"ringcast/loop/shrink"
)

// Users counts the clients of each user, on all loops, as Addresses counts connections: with locks in stripes, used when a client
// has said who it is and when it has gone. A user without clients has no entry; who has no name is not counted.
//
// Owner: any goroutine; each stripe has a lock.
type Users struct {
	seed     maphash.Seed
	distinct atomic.Int64
	stripes  [addressStripes]struct {
		mu      sync.Mutex
		clients shrink.Map[string, uint32]
	}
}

// NewUsers is a table without entries.
func NewUsers() *Users { return &Users{seed: maphash.MakeSeed()} }

// Come counts a client of a user. The name is kept while the user has clients.
func (t *Users) Come(user string) {
	if user == "" {
		return
	}
	s := &t.stripes[maphash.String(t.seed, user)%addressStripes]
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.clients.Get(user)
	if n == 0 {
		t.distinct.Add(1)
	}
	s.clients.Put(user, n+1)
}

// Go is the opposite of Come, for a client of which that was said.
func (t *Users) Go(user string) {
	if user == "" {
		return
	}
	s := &t.stripes[maphash.String(t.seed, user)%addressStripes]
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.clients.Get(user)
	assert.That(n > 0, "users: a client has gone that had not come")
	if n > 1 {
		s.clients.Put(user, n-1)
	} else if n == 1 {
		t.distinct.Add(-1)
		s.clients.Delete(user)
	}
}

// Clients is how many clients a user has.
func (t *Users) Clients(user string) int {
	s := &t.stripes[maphash.String(t.seed, user)%addressStripes]
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.clients.Get(user))
}

// Len is how many users have clients.
func (t *Users) Len() int { return int(t.distinct.Load()) }
