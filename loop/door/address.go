package door

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync"

	"ringcast/loop/assert"
	"ringcast/loop/shrink"
)

// Addresses counts the connections of each address, on all loops. It is touched once when a client takes its seat and once
// when that is given back, never for a message; so locks will do, in stripes so that loops seldom meet at one. An address
// without connections has no entry.
//
// Owner: each stripe, whoever holds its lock.
type Addresses struct {
	seed    maphash.Seed // else one who owns many networks could have all of his in one stripe
	stripes [addressStripes]struct {
		mu    sync.Mutex
		taken shrink.Map[Address, uint32]
	}
}

// addressStripes is several times as many as there may be loops.
const addressStripes = 256

// Address is what a bound counts as one: an IPv4 address, or the upper half of an IPv6 one, because a /64 is what one
// household or machine is given and may pick from at will. IPv4 stands where IPv6 has only reserved networks.
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

// Seats is how many connections each address has, of those that were counted. It goes through the whole table, so it is
// for whoever looks at it seldom; stripes are read one after another, not at one moment.
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

// take counts a connection from a, or refuses it when a has most already.
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
