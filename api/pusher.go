package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"ringcast/dialect"
	"ringcast/loop/door"
)

// Pusher is the HTTP API of the Pusher protocol, by which backends of apps publish and ask: what the libraries for Pusher, Laravel Reverb
// and Soketi call. It answers /apps/ID/…, and /up.
//
// Each request is signed with the secret of its app. The signature is over the head of the request, in which the body stands by its MD5:
// so it is checked first, and nobody without the secret has a body be read. What is published goes through a port, as by the server API.
//
//	POST /apps/3/events ──► signed? ──► body is what was signed? ──► Offer, Offer, … one for each channel ──► their homes
//	                                                     {} or why not  ◄──  Wait, Wait, …  ◄──┘
//
// An answer of 200 is a JSON object, for the libraries read nothing else; any other says why in {"error":"…"}.
//
// Owner: any goroutine.
type Pusher struct {
	cfg       PusherConfig // immutable
	exchanges sync.Pool    // of *pusherExchange
	waiting   waiting
	count     pusherCounters

	now func() time.Time // tests have another clock
}

// PusherConfig is what NewPusher needs.
type PusherConfig struct {
	Backend Backend
	Apps    func() *door.Apps // that there are now; while there are none, every path is answered 404

	Wait time.Duration // for which an event may wait for its place in the order of a cluster; 0: there is none
}

// The paths of it.
const (
	pusherPath   = "/apps/"
	pusherUpPath = "/up" // where Laravel Reverb says that it is there
)

// NewPusher makes the handler of /apps/ and what is below it, and of /up.
func NewPusher(cfg PusherConfig) *Pusher {
	p := &Pusher{cfg: cfg, now: time.Now}
	p.exchanges.New = func() any { return &pusherExchange{pusher: p} }
	return p
}

// Any says whether there are apps: without, there is no such API.
func (p *Pusher) Any() bool { return p.cfg.Apps().Len() > 0 }

// Keyed says whether a request is signed by an app, as far as its head tells: it may still have another body.
func (p *Pusher) Keyed(r *http.Request) bool {
	app, _ := p.find(r)
	if app == nil {
		return false
	}
	_, err := p.signed(app, r)
	return err == nil
}

// find is the app that a request is for, nil if there is none, and what is asked of it: the path behind /apps/ID/, as it came on the wire.
func (p *Pusher) find(r *http.Request) (app *door.App, what string) {
	rest, isOne := strings.CutPrefix(r.URL.EscapedPath(), pusherPath)
	id, what, _ := strings.Cut(rest, "/")
	if id, err := url.PathUnescape(id); isOne && err == nil {
		app = p.cfg.Apps().ByID(id)
	}
	return app, what
}

// signed says why an app has not signed a request; nil: it has, and a body with this MD5. What has to be escaped in a path is signed by
// libraries as it was before, or as what they use for HTTP has made of it.
func (p *Pusher) signed(app *door.App, r *http.Request) (bodyMD5 string, err error) {
	now, wire := p.now(), r.URL.EscapedPath()
	bodyMD5, err = app.SignsRequest(r.Method, wire, r.URL.RawQuery, now)
	if err != nil && wire != r.URL.Path {
		if before, wrong := app.SignsRequest(r.Method, r.URL.Path, r.URL.RawQuery, now); wrong == nil {
			return before, nil
		}
	}
	return bodyMD5, err
}

// ServeHTTP is part of http.Handler.
func (p *Pusher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !p.Any() {
		refuse(w, r, http.StatusNotFound, "there is nothing at "+quote(r.URL.Path))
		return
	}
	x := p.exchanges.Get().(*pusherExchange)
	defer x.release()
	x.w, x.r = w, r
	if r.URL.Path == pusherUpPath {
		if r.Method == http.MethodHead || x.allows(http.MethodGet) { // as monitors ask
			x.out = append(x.out, `{"health":"OK"}`...)
			x.send(http.StatusOK)
		}
		return
	}
	var what string
	if x.app, what = p.find(r); x.app == nil {
		x.refuse(pusherBad(http.StatusNotFound, "there is no such app; the id of one stands behind /apps/"))
		return
	}
	call, argument := pusherCallOf(what)
	if call == nil {
		x.refuse(pusherBad(http.StatusNotFound, "an app has no "+quote(what)))
		return
	}
	if !x.allows(call.method) {
		return
	}
	bodyMD5, err := p.signed(x.app, r)
	if err != nil {
		x.refuse(pusherBad(http.StatusUnauthorized, err.Error()))
		return
	}
	if f := x.readSigned(bodyMD5); f != nil {
		x.refuse(f)
		return
	}
	p.count.calls[call.index].Add(1)
	if f := call.run(p.waiting.patience(p.cfg.Wait), x, argument); f != nil {
		x.refuse(f)
		return
	}
	x.send(http.StatusOK)
}

// pusherCall is one of the things that a backend can ask for.
type pusherCall struct {
	index  int // in pusherCallNames
	method string
	// run does it, and appends the answer, an object, to x.out. of is the channel or the user that the path names, if any.
	run func(ctx context.Context, x *pusherExchange, of string) *pusherFault
}

// pusherCallNames are the calls as they are counted; most are named by their path.
var pusherCallNames = [...]string{"events", "batch_events", "channels", "channel", "users", "terminate_connections", "connections"}

var (
	callEvents      = &pusherCall{0, http.MethodPost, runEvents}
	callBatch       = &pusherCall{1, http.MethodPost, runBatchEvents}
	callChannels    = &pusherCall{2, http.MethodGet, runPusherChannels}
	callChannel     = &pusherCall{3, http.MethodGet, runPusherChannel}
	callUsers       = &pusherCall{4, http.MethodGet, runPusherUsers}
	callTerminate   = &pusherCall{5, http.MethodPost, runTerminate}
	callConnections = &pusherCall{6, http.MethodGet, runConnections}
)

// pusherCallOf is what a path behind /apps/ID/ asks for, and of which channel or user. A user's id may have a slash, which not every
// library escapes; a channel's name has none.
func pusherCallOf(what string) (call *pusherCall, of string) {
	first, rest, more := strings.Cut(what, "/")
	if !more {
		switch first {
		case "events":
			return callEvents, ""
		case "batch_events":
			return callBatch, ""
		case "channels":
			return callChannels, ""
		case "connections":
			return callConnections, ""
		}
	}
	switch first {
	case "channels":
		name, behind, is := strings.Cut(rest, "/")
		switch {
		case !is:
			call = callChannel
		case behind == "users":
			call = callUsers
		}
		of = name
	case "users":
		var is bool
		if of, is = strings.CutSuffix(rest, "/terminate_connections"); is {
			call = callTerminate
		}
	}
	of, err := url.PathUnescape(of)
	if err != nil || of == "" {
		return nil, ""
	}
	return call, of
}

// pusherExchange is a request that is being answered, and memory for it.
//
// Owner: the goroutine that serves the request.
type pusherExchange struct {
	pusher *Pusher
	app    *door.App
	w      http.ResponseWriter
	r      *http.Request
	reader dialect.JSONReader
	in     []byte // the body
	read   bool   // it has been, or cannot be
	out    []byte // the answer
}

// release lets another request use the memory.
func (x *pusherExchange) release() {
	if cap(x.in) > scratchBytesMax {
		x.in = nil
	}
	if cap(x.out) > scratchBytesMax {
		x.out = nil
	}
	x.in, x.out, x.app, x.w, x.r, x.read = x.in[:0], x.out[:0], nil, nil, nil, false
	x.reader.Reset()
	x.pusher.exchanges.Put(x)
}

// allows answers a request of another method.
func (x *pusherExchange) allows(method string) bool {
	if x.r.Method == method {
		return true
	}
	x.w.Header().Set("Allow", method)
	x.refuse(pusherBad(http.StatusMethodNotAllowed, "the method "+quote(x.r.Method)+" is not for this path; "+method+" is"))
	return false
}

// readSigned reads the body, which must be the one that was signed. A GET has none: one that comes with it is not looked at.
func (x *pusherExchange) readSigned(bodyMD5 string) *pusherFault {
	if x.r.Method == http.MethodGet {
		return nil
	}
	var status int
	var why string
	x.read = true
	if x.in, status, why = readAll(x.in, x.r); status != 0 {
		return pusherBad(status, why)
	}
	if err := door.SignsBody(bodyMD5, x.in); err != nil {
		return pusherBad(http.StatusUnauthorized, err.Error())
	}
	if !utf8.Valid(x.in) {
		return pusherBad(http.StatusBadRequest, "the body must be JSON in UTF-8")
	}
	return nil
}

// send sends the answer, all of it.
func (x *pusherExchange) send(status int) {
	header := x.w.Header()
	header["Content-Type"] = contentJSON
	header["Content-Length"] = []string{strconv.Itoa(len(x.out))}
	if !x.read {
		ignoreBody(x.w, x.r)
	}
	x.w.WriteHeader(status)
	_, _ = x.w.Write(x.out) // whoever does not take it has gone
}

// refuse answers with what is wrong.
func (x *pusherExchange) refuse(f *pusherFault) {
	x.pusher.count.refused(f.status)
	if f.temporary {
		x.w.Header().Set("Retry-After", strconv.Itoa(retrySeconds))
	}
	x.out = f.append(x.out[:0])
	x.send(f.status)
}
