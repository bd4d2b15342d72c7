package door

import (
	"net/netip"
	"strings"
)

// AddressRules is what an operator says of addresses. Immutable while in use.
type AddressRules struct {
	PerAddress    int            // connections from one Address; 0: any number, and none is counted
	Proxies       []netip.Prefix // whose word on a client's address counts
	ProxyProtocol bool           // they begin with a PROXY protocol header
}

// trusts says whether an address is a trusted proxy's.
func (r *AddressRules) trusts(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, network := range r.Proxies {
		if network.Contains(a) {
			return true
		}
	}
	return false
}

// Source is where a connection comes from, where that is more than the address of its socket: its seat is counted, or its
// peer is a trusted proxy, which names somebody else. Most connections have none: nil is good for every method that reads,
// and for Forwarded and Leave.
//
// Owner: whoever owns the connection.
type Source struct {
	named   netip.AddrPort // by the proxy's word, port 0 if that word has none; zero: nobody was named
	address Address        // under which its seat is counted
	seated  bool           // its seat is counted
	trusted bool           // the peer is a trusted proxy
	awaits  bool           // the proxy has yet to send its PROXY protocol header
	told    bool           // it has sent it
}

// Named is the client by a trusted proxy's word, with port 0 if that word has none. The zero AddrPort: nobody was named.
func (s *Source) Named() netip.AddrPort {
	if s == nil {
		return netip.AddrPort{}
	}
	return s.named
}

// Trusted says whether the peer is a trusted proxy.
func (s *Source) Trusted() bool { return s != nil && s.trusted }

// AwaitsProxy says whether the peer has yet to send its PROXY protocol header.
func (s *Source) AwaitsProxy() bool { return s != nil && s.awaits }

// Seat is the Address that the connection is counted under; false when it is not counted.
func (s *Source) Seat() (Address, bool) {
	if s == nil || !s.seated {
		return 0, false
	}
	return s.address, true
}

// Arrive judges a new connection by its peer's address: false when that has as many connections as it may. A trusted
// proxy's address stands for all who are behind it, so it is never counted: they are, when the proxy has named them. The
// caller gives the Source to Leave, once, when the connection has gone; after false there is nothing to give back.
func (t *Addresses) Arrive(peer netip.Addr, r *AddressRules) (*Source, bool) {
	if r.PerAddress == 0 && len(r.Proxies) == 0 || !peer.IsValid() {
		return nil, true
	}
	if r.trusts(peer) {
		return &Source{trusted: true, awaits: r.ProxyProtocol}, true
	}
	if r.PerAddress == 0 {
		return nil, true
	}
	s := &Source{}
	return s, t.seat(s, peer, r)
}

// Proxied notes whom a PROXY protocol header says that the proxy speaks for; the zero AddrPort: nobody. False when that
// address has as many connections as it may.
func (t *Addresses) Proxied(s *Source, client netip.AddrPort, r *AddressRules) bool {
	s.awaits, s.told = false, true
	return t.name(s, client, r)
}

// Forwarded notes whom an HTTP proxy says that it speaks for, by the value of its X-Forwarded-For; false when that address
// has as many connections as it may. The word of a peer that is no trusted proxy is not heard. Behind a PROXY protocol
// header it counts only if that has named a trusted proxy: else the client wrote it itself.
func (t *Addresses) Forwarded(s *Source, list string, r *AddressRules) bool {
	if !s.Trusted() || s.told && !(s.named.IsValid() && r.trusts(s.named.Addr())) {
		return true
	}
	if client := r.forwarded(list); client.IsValid() {
		return t.name(s, client, r)
	}
	return true
}

// Leave gives the seat back, if there is one.
func (t *Addresses) Leave(s *Source) {
	if s != nil && s.seated {
		s.seated = false
		t.giveBack(s.address)
	}
}

// name notes whom a trusted proxy speaks for, and counts its seat. Nobody, or one of the proxies themselves, is not counted.
func (t *Addresses) name(s *Source, client netip.AddrPort, r *AddressRules) bool {
	s.named = client
	if !client.IsValid() || r.trusts(client.Addr()) {
		return true
	}
	return t.seat(s, client.Addr(), r)
}

// seat counts a connection under its address, and refuses it when that has as many as it may.
func (t *Addresses) seat(s *Source, a netip.Addr, r *AddressRules) bool {
	if r.PerAddress > 0 && !s.seated {
		s.address = AddressOf(a)
		s.seated = t.take(s.address, r.PerAddress)
		return s.seated
	}
	return true
}

// forwarded is the client in an X-Forwarded-For that a trusted proxy sent: each proxy has added the address of its peer
// on the right, so the first from there that is no trusted proxy's is the last that somebody trusted has seen; what
// stands left of it anybody may have written. Where all are trusted it is the leftmost. The zero AddrPort where there is
// none, or what would have to be trusted cannot be read.
func (r *AddressRules) forwarded(list string) (client netip.AddrPort) {
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
		if client = named; !r.trusts(client.Addr()) {
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
