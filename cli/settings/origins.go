package settings

import (
	"strings"

	"golang.org/x/net/idna"

	"ringcast/loop"
)

// origins is a list of web origins as browsers send them (RFC 6454 §6.2), or with a wildcard for subdomains; nil for *. What is
// one the server says, since it compares them.
func (c *checker) origins(flag, value string) (origins []string) {
	for _, o := range strings.Split(value, ",") {
		switch o = strings.ToLower(strings.TrimSpace(o)); {
		case o == "":
		case o == "*":
			return nil
		case loop.IsOrigin(o):
			origins = append(origins, o)
		default:
			if sent := punycode(o); sent != "" {
				c.wrong(flag, value, "contains %q, which is not in ASCII; write it as %s, which is what browsers send", o, sent)
			} else {
				c.wrong(flag, value, "contains %q, which is not an origin; use for example https://example.org, http://localhost:8000, "+
					"https://*.example.org for all subdomains, or * for every page", o)
			}
			return nil
		}
	}
	if len(origins) == 0 {
		c.wrong(flag, value, "names no origin; use for example https://example.org, or * for every page")
	}
	return origins
}

// punycode is an origin whose host has letters beyond ASCII, as browsers send it (UTS 46, without its transitional part); empty
// if it still is none.
func punycode(origin string) string {
	const subdomains = "*."
	scheme, rest, _ := strings.Cut(origin, "://")
	host, port, hasPort := strings.Cut(strings.TrimPrefix(rest, subdomains), ":")
	ascii, err := idna.New(idna.MapForLookup(), idna.Transitional(false)).ToASCII(host)
	if err != nil || ascii == host {
		return ""
	}
	origin = scheme + "://"
	if strings.HasPrefix(rest, subdomains) {
		origin += subdomains
	}
	origin += ascii
	if hasPort {
		origin += ":" + port
	}
	if !loop.IsOrigin(origin) {
		return ""
	}
	return origin
}
