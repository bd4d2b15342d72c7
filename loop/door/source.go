package door

import (
	"net/netip"
	"slices"
	"strings"
)

// AddressRules is what an operator configures about addresses. Immutable while in use.
type AddressRules struct {
	PerAddress    int            // bound on the connections from one Address; 0: no bound, and none is counted
	Proxies       []netip.Prefix // trusted proxies, which name the client that they forward
	ProxyProtocol bool           // their connections begin with a PROXY protocol header
}

// UnixPeers, as one of AddressRules.Proxies, stands for all peers on unix sockets, which have no address.
var UnixPeers netip.Prefix

// trusts says whether an address is a trusted proxy's. The zero Addr is that of a peer on a unix socket.
func (r *AddressRules) trusts(a netip.Addr) bool {
	if !a.IsValid() {
		return slices.Contains(r.Proxies, UnixPeers)
	}
	a = a.Unmap().WithZone("")
	for _, network := range r.Proxies {
		if network.Contains(a) {
			return true
		}
	}
	return false
}

// Source is where a connection comes from, if that is more than its socket's address: it is counted under an address, or its
// peer is a trusted proxy, which names the client. Most connections have none: nil is allowed for its own methods and for
// Forwarded and Leave.
//
// Owner: that of the connection.
type Source struct {
	named   netip.AddrPort // the client that a proxy has named, with port 0 if it named none; zero: it has named no client
	address Address        // the one that the connection is counted under
	seated  bool           // it is counted
	trusted bool           // the peer is a trusted proxy
	awaits  bool           // the proxy has yet to send its PROXY protocol header
	told    bool           // it has sent it
	chained bool           // it has, and has named another trusted proxy
}

// Named is the client's address as a trusted proxy has named it, with port 0 if the proxy named no port. The zero AddrPort: none
// was named.
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

// Arrive counts a new connection under its peer's address; false: that has as many connections as it may. A trusted proxy's
// address is not counted, since it stands for many clients: each is counted when the proxy has named it. A peer on a unix socket has
// no address: the zero Addr, which is not counted either. The caller gives the
// Source to Leave when the connection has gone; after false it need not.
func (t *Addresses) Arrive(peer netip.Addr, r *AddressRules) (*Source, bool) {
	if r.PerAddress == 0 && len(r.Proxies) == 0 {
		return nil, true
	}
	if r.trusts(peer) {
		return &Source{trusted: true, awaits: r.ProxyProtocol}, true
	}
	if r.PerAddress == 0 || !peer.IsValid() {
		return nil, true
	}
	s := &Source{}
	return s, t.seat(s, peer, r)
}

// Proxied counts a connection under the client address of its PROXY protocol header; the zero AddrPort: the header has none.
// False: that address has as many connections as it may. s is one whose AwaitsProxy is true.
func (t *Addresses) Proxied(s *Source, client netip.AddrPort, r *AddressRules) bool {
	s.awaits, s.told = false, true
	return t.name(s, client, r)
}

// Forwarded counts a connection under the client address in list, the value of a request's X-Forwarded-For field. False: that
// address has as many connections as it may. The field is ignored, and the answer true, if the peer is no trusted proxy; also
// if a PROXY protocol header has named a client that is none, as then the client wrote the field.
func (t *Addresses) Forwarded(s *Source, list string, r *AddressRules) bool {
	if !s.Trusted() {
		return true
	}
	s.chained = s.told && s.named.IsValid() && r.trusts(s.named.Addr())
	if s.told && !s.chained {
		return true
	}
	return t.forwarded(s, list, r)
}

// ForwardedAgain is Forwarded for a further request on a connection of a trusted proxy, which sends those of many clients down
// one connection. The seat that the connection has is given back first.
func (t *Addresses) ForwardedAgain(s *Source, list string, r *AddressRules) bool {
	if !s.Trusted() || s.told && !s.chained {
		return true
	}
	t.Leave(s)
	s.named = netip.AddrPort{}
	return t.forwarded(s, list, r)
}

// forwarded names the client that a list has, and counts the connection under its address.
func (t *Addresses) forwarded(s *Source, list string, r *AddressRules) bool {
	if client := r.forwarded(list); client.IsValid() {
		return t.name(s, client, r)
	}
	return true
}

// Leave ends the count of a connection, if it is counted. A second Leave does nothing.
func (t *Addresses) Leave(s *Source) {
	if s != nil && s.seated {
		s.seated = false
		t.giveBack(s.address)
	}
}

// name notes the client that a trusted proxy has named, and counts the connection under its address, unless there is none or
// it is a trusted proxy's.
func (t *Addresses) name(s *Source, client netip.AddrPort, r *AddressRules) bool {
	s.named = client
	if !client.IsValid() || r.trusts(client.Addr()) {
		return true
	}
	return t.seat(s, client.Addr(), r)
}

// seat counts a connection under an address; false: that has as many as it may.
func (t *Addresses) seat(s *Source, a netip.Addr, r *AddressRules) bool {
	if r.PerAddress > 0 && !s.seated {
		s.address = AddressOf(a)
		s.seated = t.take(s.address, r.PerAddress)
		return s.seated
	}
	return true
}

// forwarded is the client in an X-Forwarded-For field that a trusted proxy sent. Each proxy has added its peer's address on the
// right. So, from the right, the first address that is no trusted proxy's is the client, seen by a trusted proxy; whatever is
// left of it the client may have written. If all are trusted it is the leftmost. The zero AddrPort: there is none, or it
// cannot be read.
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

// forwardedAddress reads an element of X-Forwarded-For; some proxies write a port after the address.
func forwardedAddress(text string) (netip.AddrPort, bool) {
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")); err == nil && a.Zone() == "" {
		return netip.AddrPortFrom(a.Unmap(), 0), true
	}
	if a, err := netip.ParseAddrPort(text); err == nil && a.Addr().Zone() == "" {
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), true
	}
	return netip.AddrPort{}, false
}
