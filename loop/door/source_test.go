package door

import (
	"net/netip"
	"strings"
	"testing"
)

func TestForwardedForIsReadFromTheRightAsFarAsItIsTrusted(t *testing.T) {
	r := AddressRules{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:f::/48")}}
	for list, want := range map[string]string{
		"":                                      "invalid AddrPort",
		"192.0.2.1":                             "192.0.2.1:0",
		"198.51.100.7, 192.0.2.1":               "192.0.2.1:0",
		"192.0.2.1, 10.1.2.3,10.0.0.9":          "192.0.2.1:0",
		"192.0.2.1,\t2001:db8:f::1 ,":           "192.0.2.1:0",
		"10.0.0.3, 10.0.0.2":                    "10.0.0.3:0",
		"nonsense, 192.0.2.1":                   "192.0.2.1:0",
		"192.0.2.1, nonsense":                   "invalid AddrPort",
		"192.0.2.1, nonsense, 10.0.0.1":         "invalid AddrPort",
		"unknown":                               "invalid AddrPort",
		"fe80::1%eth0":                          "invalid AddrPort",
		"192.0.2.1:1234":                        "192.0.2.1:1234",
		"[2001:db8::5]:1234":                    "[2001:db8::5]:1234",
		"[2001:db8::5]":                         "[2001:db8::5]:0",
		"2001:db8::5":                           "[2001:db8::5]:0",
		"::ffff:192.0.2.1":                      "192.0.2.1:0",
		"192.0.2.1, ::ffff:10.0.0.1":            "192.0.2.1:0",
		strings.Repeat("10.0.0.1,", 4000) + ",": "10.0.0.1:0",
	} {
		if got := r.forwarded(list).String(); got != want {
			t.Errorf("%.60q: got %s, want %s", list, got, want)
		}
	}
}

func TestAPeerOnAUnixSocketIsTrustedOnlyByItsOwnWord(t *testing.T) {
	addresses := NewAddresses()
	networks := AddressRules{PerAddress: 1, Proxies: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}}
	for range 2 { // it has no address to be counted under
		if s, ok := addresses.Arrive(netip.Addr{}, &networks); !ok || s.Trusted() {
			t.Errorf("networks alone: let in %v, trusted %v, want true and false", ok, s.Trusted())
		}
	}
	word := AddressRules{PerAddress: 1, Proxies: []netip.Prefix{UnixPeers}}
	s, ok := addresses.Arrive(netip.Addr{}, &word)
	if !ok || !s.Trusted() || !addresses.Forwarded(s, "192.0.2.1", &word) || s.Named().Addr() != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("by its word: let in %v, trusted %v, named %v, want 192.0.2.1", ok, s.Trusted(), s.Named())
	}
	if other, _ := addresses.Arrive(netip.Addr{}, &word); addresses.Forwarded(other, "192.0.2.1", &word) {
		t.Error("a second connection of an address that may have one was let in")
	}
	if s, _ := addresses.Arrive(netip.MustParseAddr("192.0.2.9"), &word); s.Trusted() {
		t.Error("an address is trusted for the word unix")
	}
}

func TestASeatIsTakenOnceAndGivenBackOnce(t *testing.T) {
	table := NewAddresses()
	rules := &AddressRules{PerAddress: 2, Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, ProxyProtocol: true}
	peer, proxy := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("10.0.0.1")
	seats := func(when string, want int) {
		t.Helper()
		if got := table.Seats()[AddressOf(peer)]; got != want {
			t.Errorf("%s: got %d seats, want %d", when, got, want)
		}
	}
	direct, ok := table.Arrive(peer, rules)
	if !ok {
		t.Fatal("the first connection from an address was refused")
	}
	behind, ok := table.Arrive(proxy, rules)
	if !ok || !behind.Trusted() || !behind.AwaitsProxy() {
		t.Fatalf("a trusted proxy: let in %v, trusted %v, awaits %v, want all three", ok, behind.Trusted(), behind.AwaitsProxy())
	}
	seats("the proxy has named nobody", 1)
	if !table.Proxied(behind, netip.AddrPortFrom(peer, 1000), rules) || behind.AwaitsProxy() {
		t.Error("named by the proxy: want it let in, and no further header awaited")
	}
	if !table.Forwarded(behind, "192.0.2.7", rules) || behind.Named() != netip.AddrPortFrom(peer, 1000) {
		t.Errorf("X-Forwarded-For that the client wrote: named %v, want it not heard", behind.Named())
	}
	seats("one more behind the proxy", 2)
	refused, ok := table.Arrive(peer, rules)
	if ok {
		t.Error("a third connection was let in")
	}
	table.Leave(refused)
	table.Leave(nil)
	seats("nothing was given back", 2)
	table.Leave(direct)
	table.Leave(direct)
	seats("one has gone, and was given back twice", 1)
	table.Leave(behind)
	if got := len(table.Seats()); got != 0 {
		t.Errorf("at the end: got %d addresses, want none", got)
	}
}
