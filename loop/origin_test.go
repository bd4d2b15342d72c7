package loop

import (
	"strings"
	"testing"
)

func TestOriginsAreMatchedWhole(t *testing.T) {
	origins, err := readOrigins([]string{"https://Example.org", "https://*.example.net", "http://*.dev.example:8080", "http://localhost:80", "http://[::1]:3000", "chrome-extension://abc"})
	if err != nil {
		t.Fatal(err)
	}
	b := bounds{origins: origins}
	for text, want := range map[string]bool{
		"":                             true, // no browser
		"https://example.org":          true,
		"HTTPS://EXAMPLE.org":          true,
		"https://example.org:443":      true,
		"https://example.org:444":      false,
		"http://example.org":           false,
		"https://www.example.org":      false,
		"https://example.org.evil.com": false,
		"https://evilexample.org":      false,
		"https://example.org/":         false,
		"https://example.org@evil.com": false,
		"example.org":                  false,

		"https://a.example.net":            true,
		"https://a.b.example.net":          true,
		"https://a.example.net:443":        true,
		"https://a.example.net:8443":       false,
		"https://example.net":              false,
		"https://.example.net":             false,
		"https://evilexample.net":          false,
		"https://evil.com/.example.net":    false,
		"https://evil.com:1.example.net":   false,
		"https://evil.com#.example.net":    false,
		"https://evil.com\x00.example.net": false,
		"https://*.example.net":            false,

		"http://a.dev.example:8080": true,
		"http://a.dev.example":      false,
		"http://localhost":          true,
		"http://[::1]:3000":         true,
		"http://[::1]":              false,
		"http://::1:3000":           false,
		"chrome-extension://abc":    true,
		"null":                      false,
		"*":                         false,
	} {
		if got := b.allows(text); got != want {
			t.Errorf("%q: allowed: got %v, want %v", text, got, want)
		}
	}
	b.origins, _ = readOrigins([]string{"null"})
	if !b.allows("null") || b.allows("null://") || b.allows("https://example.org") {
		t.Error("null: want it allowed, and nothing else")
	}
	if b.origins = nil; !b.allows("https://anybody.example") || !b.allows("\xff") {
		t.Error("no origins named: want all allowed")
	}
	for _, bad := range []string{"*", "example.org", "https://", "https://*", "https://a.*.org", "https://example.org/path", "https://example.org:port", "https://example.org:123456"} {
		if _, err := readOrigins([]string{bad}); err == nil {
			t.Errorf("%q: got nil, want an error", bad)
		}
	}
}

func TestAPageOfAnotherOriginIsToldSoAndCounted(t *testing.T) {
	origins, _ := readOrigins([]string{"https://example.org"})
	st := newStage(1, func(b *bounds) { b.origins = origins })
	for lines, want := range map[string]string{
		"Origin: https://example.org\r\n":  " 101 ",
		"":                                 " 101 ",
		"Origin: https://evil.example\r\n": " 403 ",
		"Origin: <script>\"\x80\r\n":       `"<script>\"\x80"`,
	} {
		c := st.come(0, "192.0.2.1")
		c.send(requestWith(lines))
		c.heard(t, want)
	}
	page := st.come(0, "192.0.2.1")
	page.send("GET /healthz HTTP/1.1\r\nHost: a\r\nOrigin: https://evil.example\r\n\r\n")
	page.heard(t, " 200 ")
	total := st.hub.Snapshot().Total()
	if total.Handshakes["origin"] != 2 || total.BadHandshakes != 2 || total.Clients != 2 {
		t.Errorf("got %v, bad %d, clients %d, want 2 of wrong origin and 2 clients", total.Handshakes, total.BadHandshakes, total.Clients)
	}
	long := st.come(0, "192.0.2.1")
	long.send(requestWith("Origin: " + strings.Repeat("x", 1000) + "\r\n"))
	if len(long.out) == 0 || len(long.out) > 600 {
		t.Errorf("the answer to an origin of 1,000 bytes: got %d bytes", len(long.out))
	}
}
