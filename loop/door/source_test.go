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
