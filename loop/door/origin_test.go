package door

import "testing"

func TestOriginsAreMatchedWhole(t *testing.T) {
	origins, err := ReadOrigins([]string{"https://Example.org", "https://*.example.net", "http://*.dev.example:8080", "http://localhost:80", "http://[::1]:3000", "chrome-extension://abc"})
	if err != nil {
		t.Fatal(err)
	}
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
		if got := origins.Allow(text); got != want {
			t.Errorf("%q: allowed: got %v, want %v", text, got, want)
		}
	}
	origins, _ = ReadOrigins([]string{"null"})
	if !origins.Allow("null") || origins.Allow("null://") || origins.Allow("https://example.org") {
		t.Error("null: want it allowed, and nothing else")
	}
	if origins = nil; !origins.Allow("https://anybody.example") || !origins.Allow("\xff") {
		t.Error("no origins named: want all allowed")
	}
	for _, bad := range []string{"*", "example.org", "https://", "https://*", "https://a.*.org", "https://example.org/path", "https://example.org:port", "https://example.org:123456"} {
		if _, err := ReadOrigins([]string{bad}); err == nil {
			t.Errorf("%q: got nil, want an error", bad)
		}
	}
}
