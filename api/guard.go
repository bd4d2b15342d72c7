package api

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// guard keeps web pages of others away from the admin page and what it asks: a page that the operator has open elsewhere can make the
// browser send a request here, and, with a name of its own that resolves to this machine (DNS rebinding), would read the answer.
// Programs send no Origin, and name the server as they were told to.
type guard struct {
	hosts func() []string // names beside localhost under which the operator reaches the address, in lower case
}

// keep is a handler behind the guard.
func (g guard) keep(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !g.knows(r.Host):
			plain(w, http.StatusForbidden, "the admin page is served under an IP address or localhost; name other names with --admin-hosts\n")
		case !sameSite(r):
			plain(w, http.StatusForbidden, "the admin page is not for pages of other sites\n")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// knows says whether a Host header is an address, localhost, or one of the names. An address cannot be made to resolve to another
// machine, so it is the one that the browser has connected to; which of this machine's it is, or of a gateway's before it, does not
// matter.
func (g guard) knows(hostport string) bool {
	return isAddress(hostport) || g.hosts != nil && slices.Contains(g.hosts(), hostName(hostport))
}

// hostName is a host without its port, in lower case, and without the dot of a name that is whole.
func hostName(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

// sameSite says whether a request comes from a page of this address, or from none. A link to the page may be followed from anywhere.
func sameSite(r *http.Request) bool {
	origins := r.Header["Origin"]
	for _, origin := range origins {
		if u, err := url.Parse(origin); err != nil || !strings.EqualFold(u.Host, r.Host) || u.Scheme != "http" && u.Scheme != "https" {
			return false
		}
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return true
	default:
		return len(origins) == 0 && r.URL.Path == "/" && r.Method == http.MethodGet &&
			r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	}
}

// isAddress says whether a Host header has an IP address or localhost, and not a name that somebody else's DNS resolves.
func isAddress(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	_, err = netip.ParseAddr(host)
	return err == nil || strings.EqualFold(host, "localhost")
}
