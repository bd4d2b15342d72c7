package door

import (
	"fmt"
	"strings"
)

// Origins is the list of origins whose pages may connect; an empty one allows all. Immutable.
type Origins []origin

// ReadOrigins reads the origins that an operator allows: such as https://example.org (RFC 6454), or https://*.example.org for all
// its subdomains, or null for pages without an origin. The error names the first text that is none of these.
func ReadOrigins(texts []string) (origins Origins, err error) {
	for _, text := range texts {
		plain := strings.Replace(text, "://*.", "://", 1)
		o, ok := readOrigin(plain)
		if !ok {
			return nil, fmt.Errorf("allowed origin %q: not an origin such as https://example.org or https://*.example.org", text)
		}
		o.subdomains = plain != text
		origins = append(origins, o)
	}
	return origins, nil
}

// Allow says whether a page may connect, by the value of its request's Origin field (RFC 6455 §10.2). A request without one is
// allowed: it is not from a browser, and its client could send any origin.
func (all Origins) Allow(text string) bool {
	if len(all) == 0 || text == "" {
		return true
	}
	o, ok := readOrigin(text)
	if !ok {
		return false
	}
	for _, allowed := range all {
		if allowed == o {
			return true
		}
		sub, below := strings.CutSuffix(o.host, "."+allowed.host)
		if allowed.subdomains && below && sub != "" && allowed.scheme == o.scheme && allowed.port == o.port {
			return true
		}
	}
	return false
}

// origin is a web origin (RFC 6454 §4), or all subdomains of one.
type origin struct {
	scheme, host, port string // in lower case; port "" is the scheme's own
	subdomains         bool   // host stands for everything that ends with it and a dot before
}

// originNull is what browsers send for pages without an origin: from a file, or in a sandbox.
var originNull = origin{scheme: "null"}

// readOrigin reads an origin in the form that browsers send (RFC 6454 §6.2), and refuses anything else, such as a path.
func readOrigin(text string) (o origin, ok bool) {
	if text == "null" {
		return originNull, true
	}
	var rest string
	if o.scheme, rest, ok = strings.Cut(strings.ToLower(text), "://"); !ok || !madeOf(o.scheme, "+-.") {
		return o, false
	}
	o.host = rest
	if at := strings.LastIndexByte(rest, ':'); at > strings.LastIndexByte(rest, ']') { // else the colon is an IPv6 address's
		if o.host, o.port = rest[:at], rest[at+1:]; !madeOf(o.port, "") || len(o.port) > 5 || strings.Trim(o.port, "0123456789") != "" {
			return o, false
		}
	}
	switch o.scheme + ":" + o.port {
	case "http:80", "https:443", "ws:80", "wss:443":
		o.port = ""
	}
	if inner, isIPv6 := strings.CutPrefix(o.host, "["); isIPv6 {
		inner, isIPv6 = strings.CutSuffix(inner, "]")
		return o, isIPv6 && madeOf(inner, ":.")
	}
	return o, madeOf(o.host, "-._")
}

// madeOf says whether text is not empty and has only lower-case letters, digits and the characters of others.
func madeOf(text, others string) bool {
	for _, c := range []byte(text) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte(others, c) >= 0) {
			return false
		}
	}
	return text != ""
}
