package loop

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"strings"
	"sync"
)

// This file is about addresses: how many connections each has, and whose word on a client's counts.

// addresses counts the connections of each address, on all loops. It is touched once when a client is seated and once
// when it is buried, never for a message; so locks will do, in stripes so that loops seldom meet at one. An address
// without connections has no entry.
//
// Owner: each stripe, whoever holds its lock.
type addresses struct {
	seed    maphash.Seed // else one who owns many networks could have all of his in one stripe
	stripes [addressStripes]struct {
		mu    sync.Mutex
		taken table[address, uint32]
	}
}

// addressStripes is several times as many as there may be loops.
const addressStripes = 256

// address is what the bound counts as one: an IPv4 address, or the upper half of an IPv6 one, because a /64 is what one
// household or machine is given and may pick from at will. IPv4 stands where IPv6 has only reserved networks.
type address uint64

func addressOf(a netip.Addr) address {
	if a = a.Unmap(); a.Is4() {
		v4 := a.As4()
		return 0xffff<<32 | address(binary.BigEndian.Uint32(v4[:]))
	}
	v6 := a.As16()
	return address(binary.BigEndian.Uint64(v6[:]))
}

func newAddresses() *addresses { return &addresses{seed: maphash.MakeSeed()} }

// take counts a connection from a, or refuses it when a has most already.
func (t *addresses) take(a address, most int) bool {
	s := &t.stripes[maphash.Comparable(t.seed, a)%addressStripes]
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.taken.m[a]
	if int(n) >= most {
		return false
	}
	if s.taken.m == nil {
		s.taken = newTable[address, uint32]()
	}
	s.taken.put(a, n+1)
	return true
}

// giveBack is the opposite of take.
func (t *addresses) giveBack(a address) {
	s := &t.stripes[maphash.Comparable(t.seed, a)%addressStripes]
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.taken.m[a]
	assert(n > 0, "addresses: a seat was given back that was not taken")
	if n > 1 {
		s.taken.m[a] = n - 1
	} else {
		s.taken.drop(a)
	}
}

// trusts says whether an address is a trusted proxy's.
func (b *bounds) trusts(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, network := range b.TrustedProxies {
		if network.Contains(a) {
			return true
		}
	}
	return false
}

// forwarded is the client in an X-Forwarded-For that a trusted proxy sent: each proxy has added the address of its peer
// on the right, so the first from there that is no trusted proxy's is the last that somebody trusted has seen; what
// stands left of it anybody may have written. Where all are trusted it is the leftmost. The zero AddrPort where there is
// none, or what would have to be trusted cannot be read.
func (b *bounds) forwarded(list string) (client netip.AddrPort) {
	for more := true; more; {
		var element string
		at := strings.LastIndexByte(list, ',')
		list, element, more = list[:max(at, 0)], strings.Trim(list[at+1:], " \t"), at >= 0
		if element == "" {
			continue
		}
		named, ok := forwardedAddress(element)
		if !ok {
			return netip.AddrPort{}
		}
		if client = named; !b.trusts(client.Addr()) {
			return client
		}
	}
	return client
}

// forwardedAddress reads an element of X-Forwarded-For; some proxies write a port behind the address.
func forwardedAddress(text string) (netip.AddrPort, bool) {
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")); err == nil && a.Zone() == "" {
		return netip.AddrPortFrom(a.Unmap(), 0), true
	}
	if a, err := netip.ParseAddrPort(text); err == nil && a.Addr().Zone() == "" {
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), true
	}
	return netip.AddrPort{}, false
}
