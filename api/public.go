package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Public answers plain HTTP on the port for WebSockets: connections that have left their loops. Whatever a peer does there, no loop
// waits for it.
//
// Owner: any goroutine.
type Public struct {
	cfg    PublicConfig // immutable
	bounds atomic.Pointer[PublicBounds]
	guests *guests
	count  publicCounters

	mu     sync.Mutex
	server *publicServer // with the timeouts in force
	closed bool
}

// PublicConfig is what NewPublic needs.
type PublicConfig struct {
	PublicBounds
	Page         []byte                   // HTML answered to GET /; nil: such a request gets 404
	API          http.Handler             // answers /api and what is below it; nil: these paths do not exist
	Pusher       http.Handler             // answers /up and what is below /apps/; nil: these paths do not exist
	Keyed        func(*http.Request) bool // says whether a request carries a valid key; nil: none does, and no places are kept for those that do
	AnyKey       func() bool              // says whether there are keys now, without which no places are kept either; nil: there are
	AllowsOrigin func(origin string) bool // says whether a page may use this server; nil: all may
	Wait         time.Duration            // the API's: an answer may take so much longer
	Log          *slog.Logger             // for panics of handlers; peers' mistakes are at level debug

	idle time.Duration // tests have a shorter publicIdleTimeout
}

// PublicBounds are the bounds of a Public, which can be changed while it serves. None has a default here.
type PublicBounds struct {
	ConnectionsMax int           // connections, at least 1; over it the longest idle one that has shown no key is closed, or the newcomer is answered 503
	BodyBytesMax   int           // a request's body, bytes; over it: 413
	HeaderTimeout  time.Duration // from a request's first byte to the end of its head
	BodyTimeout    time.Duration // from there to the end of its body; an answer may take as long again
	HSTS           time.Duration // for which browsers are told to come by TLS alone, with answers over TLS (RFC 6797); 0: they are told nothing. It bounds them, and nothing here
}

const healthPath = "/healthz"

// Fixed bounds.
const (
	publicHeadBytesMax = 64 << 10        // a request head; the loop has read the first, which may have as much at most
	publicIdleTimeout  = 2 * time.Minute // for the next request
	ignoredBodyTimeout = time.Second     // for what is left of a body that nobody reads
	keyedPlacesMax     = 64              // places that are kept for connections that have shown a key
)

// NewPublic makes one that serves each connection that is given to Serve. The caller ends it with Drain and Close.
func NewPublic(cfg PublicConfig) *Public {
	p := &Public{cfg: cfg, guests: newGuests(func() bool { return cfg.Keyed != nil && (cfg.AnyKey == nil || cfg.AnyKey()) })}
	p.Apply(cfg.PublicBounds)
	return p
}

// Apply changes the bounds: timeouts for connections that come from now on, the others at once. No connection is closed for it.
func (p *Public) Apply(b PublicBounds) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	was := p.bounds.Swap(&b)
	p.guests.setMost(b.ConnectionsMax)
	if was != nil && was.HeaderTimeout == b.HeaderTimeout && was.BodyTimeout == b.BodyTimeout {
		return
	}
	if p.server != nil {
		p.server.come.Close()
	}
	p.server = p.newServer(&b)
}

// publicServer is one of net/http, whose timeouts cannot be changed while it serves.
type publicServer struct {
	http http.Server
	come *fed
}

func (p *Public) newServer(b *PublicBounds) *publicServer {
	s := &publicServer{come: newFed()}
	s.http = http.Server{
		Handler:           http.HandlerFunc(p.answer),
		MaxHeaderBytes:    publicHeadBytesMax,
		ReadHeaderTimeout: b.HeaderTimeout,
		ReadTimeout:       b.HeaderTimeout + b.BodyTimeout,
		WriteTimeout:      b.HeaderTimeout + 2*b.BodyTimeout + p.cfg.Wait,
		IdleTimeout:       cmp.Or(p.cfg.idle, publicIdleTimeout),
		ErrorLog:          slog.NewLogLogger(p.cfg.Log.Handler(), slog.LevelDebug), // peers can cause these as fast as they like
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, guestKey{}, c) },
		ConnState: func(c net.Conn, state http.ConnState) {
			if g, ok := c.(*guest); ok {
				p.guests.became(g, state)
			}
		},
	}
	s.http.DisableGeneralOptionsHandler = true // OPTIONS * comes to answer too, where connections are counted
	go func() {
		if err := s.http.Serve(s.come); !errors.Is(err, net.ErrClosed) {
			p.cfg.Log.Error("the HTTP server has failed; plain HTTP is answered no more", "err", err)
		}
	}()
	return s
}

// Serve answers a connection's requests until it ends, and takes it over: it is closed then. A whole request head can be read from it
// at once, so the call does not wait for the peer.
func (p *Public) Serve(c net.Conn) {
	defer func() { // a fault in Keyed, as nothing else runs here that could panic
		if what := recover(); what != nil {
			p.count.panics.Add(1)
			p.cfg.Log.Error("taking in a connection panicked; it is closed", "panic", what, "stack", string(debug.Stack()))
			c.Close()
		}
	}()
	g := p.guests.welcome(c, p.cfg.Keyed)
	if g == nil {
		p.count.full.Add(1)
		c.Close()
		return
	}
	for {
		p.mu.Lock()
		come, closed := p.server.come, p.closed
		p.mu.Unlock()
		switch {
		case closed:
			g.Close()
		case !come.give(g):
			continue // the bounds have just been changed
		}
		return
	}
}

// Drain has every connection end: at once where no request is under way, else behind its answer. Newcomers are answered one request.
func (p *Public) Drain() { p.guests.drain() }

// Close ends all connections, and answers nothing any more.
func (p *Public) Close() {
	p.mu.Lock()
	p.closed = true
	p.server.come.Close()
	p.mu.Unlock()
	p.guests.closeAll()
}

type guestKey struct{}

// answer is the handler of all requests.
func (p *Public) answer(w http.ResponseWriter, r *http.Request) {
	defer func() { // net/http would log it at the level of peers' mistakes
		if what := recover(); what != nil {
			if what != http.ErrAbortHandler {
				p.count.panics.Add(1)
				p.cfg.Log.Error("answering a request panicked; its connection is closed", "method", r.Method, "path", r.URL.Path,
					"panic", what, "stack", string(debug.Stack()))
			}
			panic(http.ErrAbortHandler)
		}
	}()
	p.count.requests.Add(1)
	g := r.Context().Value(guestKey{}).(*guest)
	g.requests++
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	if hsts := p.bounds.Load().HSTS; hsts > 0 && g.secure() { // over plain HTTP browsers have to ignore it (§8.1)
		header.Set("Strict-Transport-Security", "max-age="+strconv.FormatInt(int64(hsts/time.Second), 10))
	}
	if g.beyond || p.guests.draining() || g.requests > 1 && len(r.TransferEncoding) > 0 {
		header.Set("Connection", "close") // of chunks net/http does not say whether there was another length beside theirs, by which a proxy may go (RFC 9112 §6.3); the first request was checked by the loop
	}
	most := int64(p.bounds.Load().BodyBytesMax)
	switch origin := r.Header.Get("Origin"); {
	case !g.name(r):
		p.count.address.Add(1)
		header.Set("Connection", "close")
		header.Set("Retry-After", retryAfter())
		refuse(w, r, http.StatusTooManyRequests, "there are as many connections from this address as there may be; close some or try again")
	case p.cfg.AllowsOrigin != nil && !p.cfg.AllowsOrigin(origin):
		p.count.origin.Add(1)
		refuse(w, r, http.StatusForbidden, fmt.Sprintf("pages of the origin %s may not use this server", quote(origin)))
	case r.URL.Path == healthPath && (g.health || !g.beyond):
		p.document(w, r, "text/plain; charset=utf-8", []byte("ok\n"))
	case g.beyond:
		p.count.full.Add(1)
		header.Set("Retry-After", retryAfter())
		refuse(w, r, http.StatusServiceUnavailable, "this server has as many HTTP connections as it may; try again later")
	case r.ContentLength > most:
		p.count.body.Add(1)
		refuse(w, r, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is over %d bytes; send less at a time, or start the server with a larger --http-body-max", most))
	default:
		if p.cfg.Keyed != nil && !g.showed && p.cfg.Keyed(r) {
			g.showed = true
			p.guests.shown(g)
		}
		r.Body = http.MaxBytesReader(w, r.Body, most)
		p.route(w, r)
	}
}

// ignoreBody has a request's body not be waited for: it may never come, and its connection has a place meanwhile. The peer gets the answer
// first, and a moment to take it before its connection is closed.
func ignoreBody(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close")
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(ignoredBodyTimeout))
	}
}

// retryAfter is a number of seconds, another one for each client, or else all come back at once.
func retryAfter() string { return strconv.Itoa(1 + rand.IntN(retrySecondsMax)) }

const retrySecondsMax = 8

// quote makes a peer's text harmless: printable ASCII in quotes, and short.
func quote(text string) string {
	if len(text) > quotedBytesMax {
		text = text[:quotedBytesMax]
	}
	return strconv.QuoteToASCII(text)
}

const quotedBytesMax = 64

// route answers a request that nothing speaks against.
func (p *Public) route(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case path == "/" && p.cfg.Page != nil:
		p.document(w, r, "text/html; charset=utf-8", p.cfg.Page)
	case p.cfg.API != nil && (path == "/api" || strings.HasPrefix(path, "/api/")):
		p.cfg.API.ServeHTTP(w, r)
	case p.cfg.Pusher != nil && (path == pusherUpPath || strings.HasPrefix(path, pusherPath)):
		p.cfg.Pusher.ServeHTTP(w, r)
	default:
		refuse(w, r, http.StatusNotFound, "there is nothing at "+quote(path)+"; WebSockets connect to any path, the demo page is at /, health is at /healthz")
	}
}

// document answers GET and HEAD.
func (p *Public) document(w http.ResponseWriter, r *http.Request, kind string, body []byte) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, r, http.StatusMethodNotAllowed, "the method "+quote(r.Method)+" is not for this path; GET and HEAD are")
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	ignoreBody(w, r)
	_, _ = w.Write(body) // HEAD's is dropped
}

// refuse answers with a sentence, and has no interest in the body.
func refuse(w http.ResponseWriter, r *http.Request, status int, why string) {
	ignoreBody(w, r)
	plain(w, status, why+"\n")
}
