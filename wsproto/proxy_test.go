package wsproto

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// showProxy is the result of ReadProxy as text.
func showProxy(client netip.AddrPort, n int, err error) string {
	var rejection *Rejection
	switch {
	case errors.As(err, &rejection):
		return rejection.Reason
	case err != nil:
		return "an error that is no *Rejection"
	case n == 0:
		return "incomplete"
	case client == netip.AddrPort{}:
		return fmt.Sprintf("%d bytes, nobody", n)
	}
	return fmt.Sprintf("%d bytes, %s", n, client)
}

// proxyV2 is a header of version 2 with a correct length.
func proxyV2(command, family byte, rest string) string {
	return proxySignature + string([]byte{command, family, byte(len(rest) >> 8), byte(len(rest))}) + rest
}

const (
	v4Addresses = "\xc0\x00\x02\x01\x0a\x00\x00\x01\xdc\x04\x01\xbb" // 192.0.2.1:56324 → 10.0.0.1:443
	v6Addresses = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\xdc\x04\x01\xbb" // [2001:db8::5]:56324
	mappedAddresses = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x01" +
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x0a\x00\x00\x01\xdc\x04\x01\xbb"
)

func TestProxyHeadersOfEveryFamily(t *testing.T) {
	var (
		noProxy, line = rejectNoProxy.Reason, rejectProxyLine.Reason
		version       = rejectProxyVersion.Reason
		family, size  = rejectProxyFamily.Reason, rejectProxySize.Reason
		unixAddresses = strings.Repeat("\x2f", 216)
	)
	for _, test := range []struct{ name, p, want string }{
		{"IPv4", "PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\nGET /", "41 bytes, 192.0.2.1:56324"},
		{"the longest IPv4", "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "56 bytes, 255.255.255.255:65535"},
		{"IPv6", "PROXY TCP6 2001:db8::5 2001:db8::1 56324 443\r\n", "46 bytes, [2001:db8::5]:56324"},
		{"IPv4 written as IPv6", "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:10.0.0.1 1 2\r\n", "49 bytes, 192.0.2.1:1"},
		{"port 0", "PROXY TCP4 192.0.2.1 10.0.0.1 0 0\r\n", "35 bytes, 192.0.2.1:0"},
		{"UNKNOWN", "PROXY UNKNOWN\r\n", "15 bytes, nobody"},
		{"UNKNOWN and more", "PROXY UNKNOWN ffff:f...f:ffff x y 65535\r\nGET", "41 bytes, nobody"},
		{"the longest UNKNOWN", "PROXY UNKNOWN " + strings.Repeat("x", 91) + "\r\n", "107 bytes, nobody"},
		{"v2 IPv4", proxyV2(0x21, 0x11, v4Addresses) + "GET /", "28 bytes, 192.0.2.1:56324"},
		{"v2 IPv4, datagrams", proxyV2(0x21, 0x12, v4Addresses), "28 bytes, 192.0.2.1:56324"},
		{"v2 IPv4 with things behind", proxyV2(0x21, 0x11, v4Addresses+"\x04\x00\x01x"), "32 bytes, 192.0.2.1:56324"},
		{"v2 IPv6", proxyV2(0x21, 0x21, v6Addresses), "52 bytes, [2001:db8::5]:56324"},
		{"v2 IPv4 written as IPv6", proxyV2(0x21, 0x21, mappedAddresses), "52 bytes, 192.0.2.1:56324"},
		{"v2 unix", proxyV2(0x21, 0x31, unixAddresses), "232 bytes, nobody"},
		{"v2 unspecified", proxyV2(0x21, 0x00, ""), "16 bytes, nobody"},
		{"v2 unspecified with things behind", proxyV2(0x21, 0x00, "abc"), "19 bytes, nobody"},
		{"v2 LOCAL", proxyV2(0x20, 0x00, "") + "HEAD", "16 bytes, nobody"},
		{"v2 LOCAL with addresses", proxyV2(0x20, 0x11, v4Addresses), "28 bytes, nobody"},
		{"v2 LOCAL of a strange family", proxyV2(0x20, 0xff, "x"), "17 bytes, nobody"},
		{"v2 of the largest size", proxyV2(0x21, 0x11, v4Addresses+strings.Repeat("x", proxyBytesMax-28)), "4096 bytes, 192.0.2.1:56324"},

		{"nothing", "", "incomplete"},
		{"a first letter", "P", "incomplete"},
		{"without its end", "PROXY TCP4 192.0.2.1 10.0.0.1 56324 443", "incomplete"},
		{"without its last byte", "PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r", "incomplete"},
		{"v2 without its last byte", proxyV2(0x21, 0x11, v4Addresses)[:27], "incomplete"},
		{"v2, signature alone", proxySignature, "incomplete"},

		{"a request", "GET / HTTP/1.1\r\n", noProxy},
		{"a request with the same letter", "POST / HTTP/1.1\r\n", noProxy},
		{"another case", "proxy TCP4", noProxy},
		{"TLS", "\x16\x03\x01", noProxy},
		{"empty lines", "\r\n\r\nGET", noProxy},
		{"an unknown protocol", "PROXY UDP4 192.0.2.1 10.0.0.1 1 2\r\n", line},
		{"UNKNOWN that runs on", "PROXY UNKNOWNS\r\n", line},
		{"a field too few", "PROXY TCP4 192.0.2.1 10.0.0.1 1\r\n", line},
		{"a field too many", "PROXY TCP4 192.0.2.1 10.0.0.1 1 2 3\r\n", line},
		{"two spaces", "PROXY TCP4  192.0.2.1 10.0.0.1 1 2\r\n", line},
		{"an address of the other family", "PROXY TCP4 2001:db8::5 2001:db8::1 1 2\r\n", line},
		{"a destination of the other family", "PROXY TCP6 2001:db8::5 10.0.0.1 1 2\r\n", line},
		{"an address with a zone", "PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n", line},
		{"a name", "PROXY TCP4 localhost 10.0.0.1 1 2\r\n", line},
		{"a port too high", "PROXY TCP4 192.0.2.1 10.0.0.1 65536 2\r\n", line},
		{"a port with a sign", "PROXY TCP4 192.0.2.1 10.0.0.1 +1 2\r\n", line},
		{"a port with a zero", "PROXY TCP4 192.0.2.1 10.0.0.1 01 2\r\n", line},
		{"no port", "PROXY TCP4 192.0.2.1 10.0.0.1 1 \r\n", line},
		{"LF alone", "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\nGET", line},
		{"CR alone", "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\rGET", line},
		{"a line without end", "PROXY UNKNOWN " + strings.Repeat("x", 93), size},
		{"a line one byte too long", "PROXY UNKNOWN " + strings.Repeat("x", 92) + "\r\n", size},
		{"v2, version 1", proxyV2(0x11, 0x11, v4Addresses), version},
		{"v2, version 3", proxyV2(0x31, 0x11, v4Addresses), version},
		{"v2, an unknown command", proxyV2(0x22, 0x11, v4Addresses), version},
		{"v2, an unknown family", proxyV2(0x21, 0x41, v4Addresses), family},
		{"v2, an unknown protocol", proxyV2(0x21, 0x13, v4Addresses), family},
		{"v2, a family without protocol", proxyV2(0x21, 0x10, v4Addresses), family},
		{"v2, a protocol without family", proxyV2(0x21, 0x01, v4Addresses), family},
		{"v2, addresses cut short", proxyV2(0x21, 0x11, v4Addresses[:11]), size},
		{"v2, IPv6 with addresses of IPv4", proxyV2(0x21, 0x21, v4Addresses), size},
		{"v2, unix cut short", proxyV2(0x21, 0x31, unixAddresses[:215]), size},
		{"v2, too long", proxyV2(0x21, 0x11, v4Addresses+strings.Repeat("x", proxyBytesMax-27)), size},
	} {
		if got := showProxy(ReadProxy([]byte(test.p))); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
		checkProxyPrefixes(t, []byte(test.p))
	}
}

// checkProxyPrefixes reads p as it would arrive: the first result of a prefix must be that
// of the whole.
func checkProxyPrefixes(t testing.TB, p []byte) {
	t.Helper()
	whole := showProxy(ReadProxy(p))
	for size := range p {
		if got := showProxy(ReadProxy(p[:size])); got != "incomplete" && got != whole {
			t.Fatalf("%q: got %q after %d of %d bytes, want %q", p, got, size, len(p), whole)
		}
		if size == 512 {
			return
		}
	}
}

// An invalid header is refused at the first byte that shows it: a peer without PROXY may
// never send more.
func TestWhatIsNoProxyHeaderIsRefusedAtItsFirstWrongByte(t *testing.T) {
	for _, p := range []string{"G", "PO", "PROXY\t", "\r\n\r\nG", "\x16"} {
		if got := showProxy(ReadProxy([]byte(p))); got != rejectNoProxy.Reason {
			t.Errorf("%q: got %q, want %q", p, got, rejectNoProxy.Reason)
		}
		if got := showProxy(ReadProxy([]byte(p[:len(p)-1]))); got != "incomplete" {
			t.Errorf("%q: got %q, want incomplete", p[:len(p)-1], got)
		}
	}
}

func FuzzProxy(f *testing.F) {
	for _, seed := range []string{
		"PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\nGET / HTTP/1.1\r\n", "PROXY TCP6 2001:db8::5 ::1 56324 443\r\n",
		"PROXY UNKNOWN\r\n", "PROXY UNKNOWN x\r\n", "PROXY TCP4 1 2 3 4\n", "GET / HTTP/1.1\r\n",
		proxyV2(0x21, 0x11, v4Addresses), proxyV2(0x21, 0x21, v6Addresses), proxyV2(0x21, 0x22, mappedAddresses+"\x04\x00\x01x"),
		proxyV2(0x20, 0, ""), proxyV2(0x21, 0x31, strings.Repeat("/", 216)), proxyV2(0x21, 0x11, "short"),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		before := string(p)
		client, n, err := ReadProxy(p)
		if string(p) != before {
			t.Fatalf("got the buffer changed to %q, want %q", p, before)
		}
		if n < 0 || n > min(len(p), proxyBytesMax) || err != nil && n != 0 {
			t.Fatalf("got n %d of %d bytes, %v", n, len(p), err)
		}
		if client != (netip.AddrPort{}) && (n == 0 || !client.IsValid() || client.Addr().Is4In6() || client.Addr().Zone() != "") {
			t.Fatalf("%q: got client %v, n %d", p, client, n)
		}
		checkProxyPrefixes(t, p)
		if n == 0 {
			return
		}
		// Nothing after the header matters, and a header written from what was read means
		// the same.
		if got, want := showProxy(ReadProxy(p[:n])), showProxy(client, n, nil); got != want {
			t.Fatalf("%q: got %q without what follows, want %q", p[:n], got, want)
		}
		if !client.IsValid() {
			return
		}
		protocol := "TCP4"
		if client.Addr().Is6() {
			protocol = "TCP6"
		}
		again := fmt.Sprintf("PROXY %s %s %s %d 1\r\n", protocol, client.Addr(), client.Addr(), client.Port())
		if got, _, err := ReadProxy([]byte(again)); got != client {
			t.Fatalf("%q: got %v (%v), want %v", again, got, err, client)
		}
	})
}
