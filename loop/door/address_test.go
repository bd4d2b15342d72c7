package door

import (
	"net/netip"
	"testing"
)

func TestAddressesAreCountedAsOneByIPv4AndBy64(t *testing.T) {
	for _, test := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"2001:db8:0:1::5", "2001:db8:0:1:ffff::6", true},
		{"2001:db8:0:1::5", "2001:db8:0:2::5", false},
		{"0.0.0.0", "::", false},
		{"0.0.0.1", "::1", false},
	} {
		if got := AddressOf(netip.MustParseAddr(test.a)) == AddressOf(netip.MustParseAddr(test.b)); got != test.same {
			t.Errorf("%s and %s: counted as one: got %v, want %v", test.a, test.b, got, test.same)
		}
	}
}
