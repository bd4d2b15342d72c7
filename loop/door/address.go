package door

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync"

	"ringcast/loop/assert"
	"ringcast/loop/shrink"
)

// Addresses counts the connections of each address, on all loops. It is used once when a connection is counted and once when it
// has gone, never for a message; so locks will do, in stripes so that loops seldom contend for one. An address without
// connections has no entry.
//
// Owner: any goroutine; each stripe has a lock.
type Addresses struct {
	seed    maphash.Seed // without one, an attacker with many networks could choose those that share a stripe
	stripes [addressStripes]struct {
		mu    sync.Mutex
		taken shrink.Map[Address, uint32]
	}
}

// addressStripes is several times the most loops.
const addressStripes = 256

// Address is what the bound counts as one address: an IPv4 address, or the upper 64 bits of an IPv6 address, because one
// household or machine is assigned a /64 and may use any address of it. IPv4 addresses
// have values that as IPv6 networks are reserved.
type Address uint64

// AddressOf is the Address that a is counted under. An IPv4 address in an IPv6 one is the IPv4 address.
func AddressOf(a netip.Addr) Address {
	if a = a.Unmap(); a.Is4() {
		v4 := a.As4()
		return 0xffff<<32 | Address(binary.BigEndian.Uint32(v4[:]))
	}
	v6 := a.As16()
	return Address(binary.BigEndian.Uint64(v6[:]))
}

// NewAddresses is a table without entries.
func NewAddresses() *Addresses { return &Addresses{seed: maphash.MakeSeed()} }

// Seats is the number of counted connections of each address. It copies the whole table, stripe by stripe, so it is slow and not
// of one moment.
func (t *Addresses) Seats() map[Address]int {
	seats := map[Address]int{}
	for i := range t.stripes {
		s := &t.stripes[i]
		s.mu.Lock()
		for a, n := range s.taken.All() {
			seats[a] = int(n)
		}
		s.mu.Unlock()
	}
	return seats
}

// take counts a connection from a; false: a has most already, and it is not counted.
func (t *Addresses) take(a Address, most int) bool {
	s := &t.stripes[maphash.Comparable(t.seed, a)%addressStripes]
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.taken.Get(a)
	if int(n) >= most {
		return false
	}
	s.taken.Put(a, n+1)
	return true
}

// giveBack is the opposite of take.
func (t *Addresses) giveBack(a Address) {
	s := &t.stripes[maphash.Comparable(t.seed, a)%addressStripes]
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.taken.Get(a)
	assert.That(n > 0, "addresses: a seat was given back that was not taken")
	if n > 1 {
		s.taken.Put(a, n-1)
	} else {
		s.taken.Delete(a)
	}
}
