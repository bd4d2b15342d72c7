package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ringcast/loop"
)

// Hub is what the admin address needs of a loop.Hub.
type Hub interface {
	Snapshot() loop.Snapshot
	Histograms() loop.Histograms
}

// Config is what Serve needs.
type Config struct {
	Hub     Hub
	Version string       // for ringcast_build_info
	Pprof   bool         // profiles also beyond loopback
	Log     *slog.Logger // for errors of the HTTP server

	More []prometheus.Collector // metrics beside the hub's

	Cluster func() *ClusterStatus // nil: the server is a node of none
	Trouble func() string         // why new clients should not be sent here, beside what the hub knows; empty: they should. nil: there is no such reason
	Notes   func() []string       // sentences that /readyz has beside its 200, and the page, such as of a certificate that ends soon; nil: none

	Console Watched         // what the admin page shows; nil: there is no page
	Hosts   func() []string // names beside localhost under which the page may be asked for, in lower case; nil: none
	API     http.Handler    // the server API, for the page and whoever else has a key; nil: it does not exist
	AnyKey  func() bool     // there is a key for it now, so that the page offers to use it; nil: while API is there
	Wait    time.Duration   // the API's
}

// Admin answers on the admin address until Close.
type Admin struct {
	http   *http.Server
	ready  *readiness
	closed chan struct{} // closed when no more connections are accepted
	over   chan struct{} // closed when streams are to end
}

// Bounds of the admin address. Its users are few and trusted, so the bounds are against mistakes more than against attacks.
const (
	connectionsMax      = 16 // the descriptors come from the server's reserve; further connections wait in the kernel's queue
	requestHeadBytesMax = 8 << 10
	headTimeout         = 5 * time.Second
	requestTimeout      = 10 * time.Second // for the whole request; bodies here are short ones of the server API
	responseTimeout     = 30 * time.Second // profiles that run for longer set their own
	idleTimeout         = 90 * time.Second // Prometheus keeps its connection from one scrape to the next, mostly 15 to 60 s later
)

// Serve answers on a listener, which it takes over, and returns at once.
func Serve(listener net.Listener, cfg Config) *Admin {
	a := &Admin{ready: &readiness{hub: cfg.Hub, more: cfg.Trouble, note: cfg.Notes, now: time.Now}, closed: make(chan struct{}), over: make(chan struct{})}
	a.http = &http.Server{
		Handler:           handler(listener.Addr(), a, cfg),
		MaxHeaderBytes:    requestHeadBytesMax,
		ReadHeaderTimeout: headTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      cfg.Wait + responseTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug), // peers can cause these as fast as they like
	}
	a.http.RegisterOnShutdown(sync.OnceFunc(func() { close(a.over) }))
	go func() {
		defer close(a.closed)
		if err := a.http.Serve(limit(listener, connectionsMax)); !errors.Is(err, http.ErrServerClosed) {
			cfg.Log.Error("the admin address has failed; metrics and readiness no longer answer", "err", err)
		}
	}()
	return a
}

// Unready makes /readyz answer 503 with the reason from now on. Call it before a stop begins, so that /readyz never answers
// 200 while the server refuses clients.
func (a *Admin) Unready(why string) { a.ready.off.Store(&why) }

// Withdraw gives up the address, so that another server can have it, and ends connections on which nothing is under way. It
// does not wait for answers that are; call Close for that.
func (a *Admin) Withdraw() {
	go func() { _ = a.http.Shutdown(context.Background()) }() // it ends with the last answer, or with Close
	<-a.closed
}

// Close ends the admin address: answers that are under way are sent until ctx is done, the rest is closed.
func (a *Admin) Close(ctx context.Context) {
	if a.http.Shutdown(ctx) != nil {
		a.http.Close()
	}
	<-a.closed
}

// handler is everything that is served.
func handler(addr net.Addr, a *Admin, cfg Config) http.Handler {
	mux := http.NewServeMux()
	keep := guard{cfg.Hosts}.keep
	if cfg.Console != nil {
		newConsole(cfg, a.over).register(mux, keep)
	}
	if cfg.API != nil {
		mux.Handle("/api", keep(cfg.API))
		mux.Handle("/api/", keep(cfg.API))
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok\n") })
	mux.Handle("GET /readyz", a.ready)
	mux.Handle("GET /metrics", metricsHandler(cfg))
	mux.HandleFunc("GET /dashboard.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(dashboard)
	})
	mux.Handle("/debug/pprof/", profiles(addr, cfg.Pprof))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	})
}

// plain answers with a line of text.
func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text))
}
