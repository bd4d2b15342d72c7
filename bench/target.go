package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ringcast/bench/client"
	"ringcast/bench/report"
)

const dialTimeout = 3 * time.Second // one check that a server listens, before thousands of clients are opened

// parseTarget reads a ws:// or wss:// URL and resolves it once. A target outside loopback needs allowRemote: a load generator
// aimed at the wrong machine by mistake is an attack. Without a path in the URL it is the dialect's.
func parseTarget(raw string, dialect client.Dialect, app client.App, allowRemote bool) (client.Target, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return client.Target{}, fmt.Errorf("--url: %w", err)
	}
	if u.Scheme != "ws" && u.Scheme != "wss" || u.Hostname() == "" {
		return client.Target{}, fmt.Errorf("--url %q: want ws://host:port/path or wss://host:port/path", raw)
	}
	port := 80
	if u.Scheme == "wss" {
		port = 443
	}
	if text := u.Port(); text != "" {
		if port, err = strconv.Atoi(text); err != nil || port < 1 || port > 65535 {
			return client.Target{}, fmt.Errorf("--url %q: port must be 1 to 65535", raw)
		}
	}
	addrs, err := net.LookupIP(u.Hostname())
	if err != nil {
		return client.Target{}, fmt.Errorf("--url %q: %w", raw, err)
	}
	chosen := addrs[0]        // LookupIP returns an error rather than nothing
	for _, a := range addrs { // v4 first: only 127/8 offers many source addresses
		if a.To4() != nil {
			chosen = a
			break
		}
	}
	ip, _ := netip.AddrFromSlice(chosen)
	t := client.Target{Addr: netip.AddrPortFrom(ip.Unmap(), uint16(port)), Host: u.Host, Path: u.RequestURI(), Dialect: dialect, App: app,
		TLS: client.TLS{On: u.Scheme == "wss", Name: u.Hostname()}}
	if u.Path == "" || u.Path == "/" {
		t.Path = dialect.Path(app) + strings.TrimPrefix(t.Path, "/")
	}
	if dialect == client.Pusher && u.RawQuery == "" {
		t.Path += "?" + client.PusherQuery
	}
	if !t.Loopback() && !allowRemote {
		return client.Target{}, fmt.Errorf("%s is not on this machine: add --allow-remote if you may load it", t.Addr)
	}
	return t, nil
}

// wireFlags are what lies between TCP and messages.
type wireFlags struct {
	TLS         bool   `name:"tls" help:"Speak TLS to the address of --url, as with wss://."`
	TLSResume   bool   `name:"tls-resume" help:"With TLS: clients resume a session, as browsers that come back do. The first one gets it for all. connect measures both, one after the other, without this flag."`
	TLSVersion  string `name:"tls-version" enum:"auto,1.2,1.3" default:"auto" help:"With TLS: the only version that clients offer."`
	TLSInsecure bool   `name:"tls-insecure" help:"With TLS: do not verify the certificate. On a loopback address it is never verified."`
	Compression bool   `help:"Clients offer permessage-deflate without context takeover, compress what they send of 256 bytes and more, and end a connection on which it is not accepted."`
}

var tlsVersions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// target is parseTarget with all flags that say how to speak to the server.
func (c *common) target(dialect client.Dialect, app client.App) (client.Target, error) {
	t, err := parseTarget(c.URL, dialect, app, c.AllowRemote)
	if err != nil {
		return t, err
	}
	t.TLS.On = c.secure()
	t.TLS.Verify = t.TLS.On && !c.TLSInsecure && !t.Loopback()
	t.TLS.Resume, t.TLS.Version, t.Compression = c.TLSResume, tlsVersions[c.TLSVersion], c.Compression
	if !t.TLS.On && (c.TLSResume || c.TLSInsecure || t.TLS.Version != 0) {
		return t, errors.New("--tls-resume, --tls-version and --tls-insecure need --tls, or a URL with wss://")
	}
	return t, nil
}

// secure says whether clients speak TLS.
func (c *common) secure() bool { return c.TLS || strings.HasPrefix(c.URL, "wss:") }

// noteWire puts among the flags of a run what is not as all runs had it once.
func noteWire(r *report.Run, t client.Target) {
	if t.TLS.On {
		r.Flags["tls"] = true
	}
	if t.TLS.Resume {
		r.Flags["tls-resume"] = true
	}
	if t.TLS.Version != 0 {
		r.Flags["tls-version"] = tls.VersionName(t.TLS.Version)
	}
	if t.Compression {
		r.Flags["compression"] = true
	}
}

// noteHandshakes says what became of TLS.
func noteHandshakes(r *report.Run, f *fleet, t client.Target) {
	if !t.TLS.On {
		return
	}
	done, resumed, version := f.here.Handshakes()
	for _, h := range f.team.list() {
		done, resumed = done+h.opening.Secured, resumed+h.opening.Resumed
	}
	r.TLS = &report.TLS{Version: version, Handshakes: done, Resumed: resumed, Verified: t.TLS.Verify}
}

// reach dials once, so that a missing server is reported once and not as ten thousand failures.
func reach(t client.Target) error {
	c, err := net.DialTimeout("tcp", t.Addr.String(), dialTimeout)
	if errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("nobody listens on %s: start a server first, for example with `go run . start`", t.Addr)
	}
	if err != nil {
		return fmt.Errorf("cannot reach the server: %w", err)
	}
	return c.Close()
}
