package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"syscall"
	"time"

	"ringcast/api"
	"ringcast/loop"
)

// admin is the admin address of a server; nil where it is off. It is opened before the loops start, so that a failure
// affects no client, and it answers until every client has been told of a stop.
type admin struct {
	listener net.Listener
	api      *api.Admin // nil until serve
}

// adminCloseTimeout is for answers that are under way when everything else has ended.
const adminCloseTimeout = 2 * time.Second

// openAdmin listens on an address that has been checked, empty for off, or takes a socket that was handed in.
func openAdmin(addr string, socket net.Listener) (*admin, error) {
	switch {
	case addr == "":
		return nil, nil
	case socket != nil:
		return &admin{listener: socket}, nil
	}
	l, err := listenAdmin(addr)
	if err != nil {
		return nil, adminError(addr, err)
	}
	return &admin{listener: l}, nil
}

func listenAdmin(addr string) (net.Listener, error) {
	network := "tcp"
	if host, _, err := net.SplitHostPort(addr); err == nil && net.ParseIP(host).To4() != nil {
		network = "tcp4" // with tcp, 0.0.0.0 would listen on IPv6 too
	}
	return net.Listen(network, addr)
}

// adminError is why the admin address cannot be listened on.
func adminError(addr string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("--admin %q: another program has this port, perhaps another ringcast; name another port, or off", addr)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("--admin %q: no permission for this port; name one from 1024 on", addr)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("--admin %q: this machine does not have that address; name one of its own, or off", addr)
	default:
		return fmt.Errorf("--admin %q: %w", addr, err)
	}
}

func (a *admin) serve(h hub, version string, pprof bool, again *reloader, end *ending, log *slog.Logger) {
	if a != nil {
		cfg := api.Config{Hub: h, Version: version, Pprof: pprof, Log: log, More: slices.Concat(again.metrics(), again.file.metrics(), again.keys.metrics())}
		cfg.More = append(cfg.More, end.public, again.server, again.server.pusher, again.server.hooks, laterChannel{&end.channel})
		cfg.Console, cfg.Hosts = h, func() []string { return again.inForce().AdminHosts }
		cfg.AnyKey = again.server.keys.Any
		cfg.More, cfg.Notes = slices.Concat(cfg.More, end.certificates.metrics(), end.redirect.metrics()), end.certificates.warnings
		if end.node != nil {
			cfg.Cluster, cfg.Trouble, cfg.Wait = end.node.status, end.node.trouble, end.node.settings.Wait
		}
		node := cfg.Trouble
		cfg.Trouble = func() string {
			if node != nil {
				if why := node(); why != "" {
					return why
				}
			}
			return end.certificates.trouble(end.srv.Addrs())
		}
		cfg.API = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !end.node.serves() { // groups have no order yet
				w.Header().Set("Retry-After", "1")
				http.Error(w, end.node.trouble(), http.StatusServiceUnavailable)
				return
			}
			r.Body = http.MaxBytesReader(w, r.Body, int64(again.inForce().HTTP.BodyBytesMax))
			again.server.ServeHTTP(w, r)
		})
		a.api = api.Serve(a.listener, cfg)
	}
}

// addr is where it listens, empty when it is off.
func (a *admin) addr() string {
	if a == nil {
		return ""
	}
	return loop.AddrText(a.listener.Addr())
}

// unready makes /readyz answer that no new clients should be sent here.
func (a *admin) unready(why string) {
	if a != nil {
		a.api.Unready(why)
	}
}

// withdraw gives up the address; answers that are under way are sent all the same.
func (a *admin) withdraw() {
	switch {
	case a == nil:
	case a.api == nil:
		a.listener.Close()
	default:
		a.api.Withdraw()
	}
}

func (a *admin) close() {
	switch {
	case a == nil:
	case a.api == nil:
		a.listener.Close()
	default:
		ctx, cancel := context.WithTimeout(context.Background(), adminCloseTimeout)
		defer cancel()
		a.api.Close(ctx)
	}
}
