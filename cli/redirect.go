package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"ringcast/api"
	"ringcast/loop"
)

// redirect is the address where plain HTTP is sent to https; nil where it is off. It is opened before the loops start, as the admin
// address is, and given up when every client has been told of a stop.
type redirect struct {
	listener net.Listener
	api      *api.Redirect // nil until serve
}

// openRedirect listens on an address that has been checked, empty for off, or takes a socket that was handed in.
func openRedirect(addr string, socket net.Listener) (*redirect, error) {
	switch {
	case addr == "":
		return nil, nil
	case socket != nil:
		return &redirect{listener: socket}, nil
	}
	l, err := listenAdmin(addr)
	if err != nil {
		return nil, redirectError(addr, err)
	}
	return &redirect{listener: l}, nil
}

// redirectError is why the address cannot be listened on.
func redirectError(addr string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("--http-redirect %q: another program has this port; stop it, name another port, or off", addr)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("--http-redirect %q: no permission for this port; name one from 1024 on, or give the program the capability CAP_NET_BIND_SERVICE", addr)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("--http-redirect %q: this machine does not have that address; name one of its own, or off", addr)
	default:
		return fmt.Errorf("--http-redirect %q: %w", addr, err)
	}
}

// serve begins to answer. Browsers are sent to the first of the TLS addresses that has a port.
func (d *redirect) serve(tls []net.Addr, c *certificates, log *slog.Logger) {
	if d == nil {
		return
	}
	d.api = api.ServeRedirect(d.listener, api.RedirectConfig{Port: portOf(tls), Challenges: c.challenges(), Log: log})
}

// portOf is the port of the first address that has one; empty: none has.
func portOf(addrs []net.Addr) string {
	for _, a := range addrs {
		if tcp, is := a.(*net.TCPAddr); is {
			return strconv.Itoa(tcp.Port)
		}
	}
	return ""
}

// addr is where it listens, empty when it is off.
func (d *redirect) addr() string {
	if d == nil {
		return ""
	}
	return loop.AddrText(d.listener.Addr())
}

// reserve is how many descriptors its connections may take.
func (d *redirect) reserve() int {
	if d == nil {
		return 0
	}
	return api.RedirectConnectionsMax
}

func (d *redirect) metrics() []prometheus.Collector {
	if d == nil || d.api == nil {
		return nil
	}
	return []prometheus.Collector{d.api}
}

// withdraw gives up the address; answers that are under way are sent all the same.
func (d *redirect) withdraw() {
	switch {
	case d == nil:
	case d.api == nil:
		d.listener.Close()
	default:
		d.api.Withdraw()
	}
}

func (d *redirect) close() {
	switch {
	case d == nil:
	case d.api == nil:
		d.listener.Close()
	default:
		ctx, cancel := context.WithTimeout(context.Background(), adminCloseTimeout)
		defer cancel()
		d.api.Close(ctx)
	}
}
