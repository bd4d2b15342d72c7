package main

import (
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
)

const dialTimeout = 3 * time.Second // one check that a server listens, before thousands of clients are opened

// parseTarget reads a ws:// URL and resolves it once. A target outside loopback needs allowRemote: a load generator
// aimed at the wrong machine by mistake is an attack. Without a path in the URL it is the dialect's.
func parseTarget(raw string, dialect client.Dialect, allowRemote bool) (client.Target, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return client.Target{}, fmt.Errorf("--url: %w", err)
	}
	if u.Scheme != "ws" || u.Hostname() == "" {
		return client.Target{}, fmt.Errorf("--url %q: want ws://host:port/path (TLS is not supported)", raw)
	}
	port := 80
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
	t := client.Target{Addr: netip.AddrPortFrom(ip.Unmap(), uint16(port)), Host: u.Host, Path: u.RequestURI(), Dialect: dialect}
	if u.Path == "" || u.Path == "/" {
		t.Path = dialect.Path() + strings.TrimPrefix(t.Path, "/")
	}
	if !t.Loopback() && !allowRemote {
		return client.Target{}, fmt.Errorf("%s is not on this machine: add --allow-remote if you may load it", t.Addr)
	}
	return t, nil
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
