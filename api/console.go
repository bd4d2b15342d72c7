package api

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"ringcast/loop"
	"ringcast/web"
)

// This file is the admin page and what it asks: JSON under /console, read only. It costs the loops nothing while nobody asks.

// Watched is what the admin page needs of a loop.Hub.
type Watched interface {
	Hub
	EachGroup(ctx context.Context, match string, take func([]loop.GroupInfo) (goOn bool)) error
	Group(ctx context.Context, name string) (loop.GroupDetail, error)
	Members(ctx context.Context, group string, from, most int) ([]loop.ClientInfo, error)
	SlowClients(ctx context.Context, most int) ([]loop.ClientInfo, error)
	Journal(ctx context.Context, f loop.TailFilter, most int) (traces []loop.Trace, since int64, err error)
	NewTail(ctx context.Context, f loop.TailFilter) (*loop.Tail, error)
	Why(ctx context.Context, client uint64, group string) (loop.Why, error)
}

// console serves the admin page.
//
// Owner: any goroutine.
type console struct {
	hub     Watched
	version string
	api     func() bool   // the server API is served beside it, and has a key
	room    chan struct{} // a token for each question under way
	rates   *rates
	cluster func() *ClusterStatus // nil: the server is in none
	notes   func() []string       // as Config.Notes
	over    <-chan struct{}       // closed when the address is given up: streams end
}

// Bounds of the console.
const (
	questionsMax    = 6                // under way at once; further ones get 503
	questionTimeout = 10 * time.Second // for an answer to begin
	rowsMost        = 100              // of one answer
	namesMost       = 255              // bytes of a group's name, or of a pattern
)

func newConsole(cfg Config, over <-chan struct{}) *console {
	any := func() bool { return cfg.API != nil && (cfg.AnyKey == nil || cfg.AnyKey()) }
	return &console{hub: cfg.Console, version: cfg.Version, api: any, room: make(chan struct{}, questionsMax),
		rates: newRates(cfg.Console), cluster: cfg.Cluster, notes: cfg.Notes, over: over}
}

// register adds the page and its questions to a mux. The guard is before all of them.
func (c *console) register(mux *http.ServeMux, guard func(http.Handler) http.Handler) {
	file := func(path, kind string, body []byte) {
		mux.Handle("GET "+path, guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Content-Security-Policy", pagePolicy)
			w.Header().Set("Referrer-Policy", "no-referrer")
			_, _ = w.Write(body)
		})))
	}
	file("/{$}", "text/html; charset=utf-8", web.AdminPage)
	file("/admin.css", "text/css; charset=utf-8", web.AdminStyle)
	file("/admin.js", "text/javascript; charset=utf-8", web.AdminScript)
	ask := func(path string, answer func(context.Context, *http.Request) (any, error)) {
		mux.Handle("GET /console/"+path, guard(c.question(answer)))
	}
	ask("now", c.now)
	ask("groups", c.groups)
	ask("group", c.group)
	ask("clients", c.clients)
	ask("journal", c.journal)
	ask("why", c.why)
	ask("cluster", c.clusterStatus)
	mux.Handle("GET /console/tail", guard(http.HandlerFunc(c.tail)))
}

// pagePolicy lets the page load what is beside it, and nothing else. Nobody may put it into a frame, and it sends no form.
const pagePolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// question answers with JSON, for so many at a time.
func (c *console) question(answer func(context.Context, *http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case c.room <- struct{}{}:
			defer func() { <-c.room }()
		default:
			busy(w, "too many questions at a time; ask again")
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), questionTimeout)
		defer cancel()
		body, err := answer(ctx, r)
		if err != nil {
			c.fail(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(body)
	})
}

func busy(w http.ResponseWriter, why string) {
	w.Header().Set("Retry-After", "1")
	plain(w, http.StatusServiceUnavailable, why+"\n")
}

// badQuestion is a mistake of who asks.
type badQuestion struct{ text string }

// Error is part of error.
func (e badQuestion) Error() string { return e.text }

func (c *console) fail(w http.ResponseWriter, err error) {
	var bad badQuestion
	if errors.As(err, &bad) {
		plain(w, http.StatusBadRequest, bad.text+"\n")
		return
	}
	busy(w, err.Error())
}

// number is a whole number in the query, or what stands for none.
func number(r *http.Request, name string, none uint64) (uint64, error) {
	text := r.FormValue(name)
	if text == "" {
		return none, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, badQuestion{name + " must be a whole number"}
	}
	return n, nil
}

// rows is how many rows are asked for.
func rows(r *http.Request) (int, error) {
	n, err := number(r, "most", 50)
	return int(min(n, rowsMost)), err
}

// name is a group's name, or a pattern, in the query.
func name(r *http.Request, of string) (string, error) {
	text := r.FormValue(of)
	if len(text) > namesMost {
		return "", badQuestion{of + " is longer than a group's name can be"}
	}
	return text, nil
}

// filter is what traces are asked for.
func filter(r *http.Request) (f loop.TailFilter, err error) {
	if f.Group, err = name(r, "group"); err != nil {
		return f, err
	}
	if f.Client, err = number(r, "client", 0); err != nil {
		return f, err
	}
	known := loop.TraceKinds()
	for _, kind := range r.Form["kind"] {
		if !slices.Contains(known, kind) {
			return f, badQuestion{"kind is none that there is"}
		}
		f.Kinds = append(f.Kinds, kind)
	}
	return f, nil
}

// nowAnswer is the state of the server at about one moment.
type nowAnswer struct {
	At      int64          `json:"at"` // Unix milliseconds
	Version string         `json:"version"`
	API     bool           `json:"api"`             // the server API is here
	Cluster bool           `json:"cluster"`         // the server is a node of one
	Notes   []string       `json:"notes,omitempty"` // what an operator should see soon
	Server  loop.Snapshot  `json:"server"`
	Total   loop.LoopStats `json:"total"`
	Waits   [][2]float64   `json:"lane_waits"` // upper bounds in seconds, and how many waited for no longer, since the start
	Waited  uint64         `json:"lane_waited"`
	Kinds   []string       `json:"kinds"` // of traces
}

func (c *console) now(context.Context, *http.Request) (any, error) {
	snap := c.hub.Snapshot()
	a := nowAnswer{At: time.Now().UnixMilli(), Version: c.version, API: c.api(), Cluster: c.cluster != nil, Server: snap, Total: snap.Total(), Kinds: loop.TraceKinds()}
	if c.notes != nil {
		a.Notes = c.notes()
	}
	waits := c.hub.Histograms().LaneWaits
	a.Waited = waits.Count
	for bound, n := range waits.Buckets {
		if !math.IsInf(bound, 1) {
			a.Waits = append(a.Waits, [2]float64{bound, float64(n)})
		}
	}
	slices.SortFunc(a.Waits, func(x, y [2]float64) int { return int(math.Copysign(1, x[0]-y[0])) })
	return a, nil
}

func (c *console) groups(ctx context.Context, r *http.Request) (any, error) {
	match, err := name(r, "match")
	if err != nil {
		return nil, err
	}
	most, err := rows(r)
	if err != nil {
		return nil, err
	}
	return c.rates.top(ctx, match, r.FormValue("by") == "rate", most)
}

// groupAnswer is a group and a page of its members.
type groupAnswer struct {
	loop.GroupDetail
	Rows []loop.ClientInfo `json:"rows"`
	From int               `json:"from"` // of all members, as they lie at this moment
}

func (c *console) group(ctx context.Context, r *http.Request) (any, error) {
	group, err := name(r, "name")
	if err != nil {
		return nil, err
	}
	from, err := number(r, "from", 0)
	if err != nil {
		return nil, err
	}
	most, err := rows(r)
	if err != nil {
		return nil, err
	}
	a := groupAnswer{From: int(min(from, math.MaxInt32))}
	if a.GroupDetail, err = c.hub.Group(ctx, group); err != nil {
		return nil, err
	}
	a.Rows, err = c.hub.Members(ctx, group, a.From, most)
	return a, err
}

// clientsAnswer is the clients with the largest outboxes.
type clientsAnswer struct {
	Rows []loop.ClientInfo `json:"rows"`
}

func (c *console) clients(ctx context.Context, r *http.Request) (any, error) {
	most, err := rows(r)
	if err != nil {
		return nil, err
	}
	slow, err := c.hub.SlowClients(ctx, most)
	return clientsAnswer{slow}, err
}

// journalAnswer is the newest trouble.
type journalAnswer struct {
	Traces []loop.Trace `json:"traces"` // the newest first
	Since  int64        `json:"since"`  // Unix milliseconds, from when on it is complete
}

func (c *console) journal(ctx context.Context, r *http.Request) (any, error) {
	f, err := filter(r)
	if err != nil {
		return nil, err
	}
	most, err := rows(r)
	if err != nil {
		return nil, err
	}
	traces, since, err := c.hub.Journal(ctx, f, most)
	return journalAnswer{traces, since}, err
}
