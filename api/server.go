package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"ringcast/dialect"
)

// Server is the server API, by which backends publish, ask and act: Centrifugo's, so that the libraries for that can be used. It answers
// /api/METHOD, with one command in the request's body, and /api, the older form, with a command a line (oldform.go). /api/batch has many
// commands too (batch.go).
//
// What a backend publishes goes through a port, as what everybody else says. So it has the same order, and an answer with a result
// says that it is in that order; before it comes, nothing is promised.
//
//	POST /api/publish ──► exchange ──► call (params) ──► Offer ──► the group's home
//	POST /api/batch   ──► stream ───► call, call, …  ──► Offer, Offer, …  ┘   │
//	answers, in the order of the commands  ◄──  window  ◄── Wait, Wait, …  ◄──┘
//
// Owner: any goroutine.
type Server struct {
	cfg       ServerConfig // immutable
	exchanges sync.Pool    // of *exchange
	waiting   waiting
	count     serverCounters
}

// ServerConfig is what NewServer needs.
type ServerConfig struct {
	Backend Backend
	Keys    *Keys  // while it has none, every path is answered 404
	Name    string // of this server, in info
	UID     string // of this process, in info
	Version string // in info

	RecoveryMax func() int // messages in the answer to one history, as --recovery-max says now

	Wait time.Duration // for which a publish may wait for its place in the order of a cluster; 0: there is none
}

// Bounds of the API beside those of the port that it is reached by, which bounds bodies, connections and their times.
const (
	callTimeout     = 10 * time.Second // for the loops' answer to a command, beside a cluster's Wait; it takes microseconds where nothing is wrong
	scratchBytesMax = 64 << 10         // of an exchange's memory that the next one uses again
	retrySeconds    = 1                // after which a command that was refused for a while may be accepted
)

// NewServer makes the handler of /api and of what is below it.
func NewServer(cfg ServerConfig) *Server {
	s := &Server{cfg: cfg}
	s.exchanges.New = func() any { return &exchange{server: s, in: make([]byte, 0, 4<<10), out: make([]byte, 0, 1<<10)} }
	return s
}

// ServeHTTP is part of http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case !s.cfg.Keys.Any():
		refuse(w, r, http.StatusNotFound, "there is nothing at "+quote(r.URL.Path))
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, r, http.StatusMethodNotAllowed, "the server API is asked by POST")
		return
	case !s.cfg.Keys.Has(r):
		s.count.unauthorized.Add(1)
		refuse(w, r, http.StatusUnauthorized, "a key is needed: X-API-Key: KEY")
		return
	}
	x := s.exchanges.Get().(*exchange)
	defer x.release()
	switch name := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/api"), "/"); name {
	case "":
		x.oldForm(w, r)
	case "batch":
		x.batch(w, r)
	default:
		m := methods[name]
		if m == nil {
			s.count.fault(faultMethod)
			refuse(w, r, http.StatusNotFound, "there is no such method")
			return
		}
		x.single(w, r, m)
	}
}

// exchange is a request that is being answered, and memory for it.
//
// Owner: the goroutine that serves the request.
type exchange struct {
	server *Server
	reader dialect.JSONReader
	call   call   // of the command that is being carried out
	in     []byte // the body, or a part of it
	out    []byte // the answer, or what is to be sent of it next
	window window
}

// release lets another request use the memory.
func (x *exchange) release() {
	if cap(x.in) > scratchBytesMax {
		x.in = nil
	}
	if cap(x.out) > scratchBytesMax {
		x.out = nil
	}
	x.in, x.out, x.call = x.in[:0], x.out[:0], call{}
	if x.window.many > 0 { // a panic has left them
		x.window = window{}
	}
	x.reader.Reset()
	x.server.exchanges.Put(x)
}

// single answers a request with one command, whose parameters are the body.
func (x *exchange) single(w http.ResponseWriter, r *http.Request, m *method) {
	if status, why := x.readBody(r); status != 0 {
		plain(w, status, why+"\n")
		return
	}
	if f := x.call.read(&x.reader, x.in); f != nil || x.in[firstByte(x.in)] != '{' {
		plain(w, http.StatusBadRequest, "the body must be one JSON object\n")
		return
	}
	x.out = append(x.out, `{"result":`...)
	status := http.StatusOK
	if f := x.do(x.server.patience(), m); f != nil {
		x.out = x.out[:0]
		if transportErrors(r) {
			if status = f.status; f.temporary {
				w.Header().Set("Retry-After", strconv.Itoa(retrySeconds))
			}
			x.out = f.append(x.out)
		} else {
			x.out = append(x.out, `{"error":`...)
			x.out = append(f.append(x.out), '}')
		}
	} else {
		x.out = append(x.out, '}')
	}
	x.send(w, status)
}

// send sends the answer, all of it.
func (x *exchange) send(w http.ResponseWriter, status int) {
	header := w.Header()
	header["Content-Type"] = contentJSON
	header["Content-Length"] = []string{strconv.Itoa(len(x.out))}
	w.WriteHeader(status)
	_, _ = w.Write(x.out) // whoever does not take it has gone
}

var contentJSON = []string{"application/json"} // read only

// do carries out the command whose parameters were read, and appends its result.
func (x *exchange) do(ctx context.Context, m *method) *fault {
	x.server.count.commands[m.index].Add(1)
	before := len(x.out)
	f := m.run(ctx, x)
	if f != nil {
		x.out = x.out[:before]
		x.server.count.fault(f)
	}
	return f
}

// readBody reads the body into x.in. If it cannot be taken, status says so, and why.
func (x *exchange) readBody(r *http.Request) (status int, why string) {
	if x.in, status, why = readAll(x.in, r); status != 0 {
		return status, why
	}
	if firstByte(x.in) == len(x.in) || !utf8.Valid(x.in) {
		return http.StatusBadRequest, "the body must be JSON in UTF-8"
	}
	return 0, ""
}

// readAll appends a request's body to in. If it cannot be taken, status says so, and why.
func readAll(in []byte, r *http.Request) (body []byte, status int, why string) {
	for {
		if len(in) == cap(in) {
			grown := make([]byte, len(in), max(2*cap(in), 4<<10))
			copy(grown, in)
			in = grown
		}
		n, err := r.Body.Read(in[len(in):cap(in)])
		in = in[:len(in)+n]
		if err == io.EOF {
			return in, 0, ""
		}
		if err != nil {
			status, why = bodyStatus(err)
			return in, status, why
		}
	}
}

// bodyStatus is what is answered to a body that cannot be read.
func bodyStatus(err error) (status int, why string) {
	var tooLong *http.MaxBytesError
	if errors.As(err, &tooLong) {
		return http.StatusRequestEntityTooLarge, "the body is too long"
	}
	return http.StatusBadRequest, "the body has not come"
}

// firstByte is the place of the first byte that is no space.
func firstByte(b []byte) int {
	for i, c := range b {
		if !isSpace(c) {
			return i
		}
	}
	return len(b)
}

// transportErrors says whether faults are to be HTTP errors.
func transportErrors(r *http.Request) bool {
	return r.Header.Get("X-Centrifugo-Error-Mode") == "transport"
}

// patience is how long commands are waited for that begin within a second: one context for all of them, as one for each costs more than
// the rest of a publish. That the peer has gone ends no wait: what it has asked for is under way.
type patience struct {
	context.Context
	cancel context.CancelFunc // never called: the context ends by itself
	until  time.Time          // for commands that begin before then
}

// patience is that of a command that begins now.
func (s *Server) patience() context.Context { return s.waiting.patience(s.cfg.Wait) }

// waiting is the patience of the commands that begin now.
type waiting struct{ now atomic.Pointer[patience] }

// patience is that of one, which may wait so much longer than callTimeout.
func (w *waiting) patience(wait time.Duration) context.Context {
	now := time.Now()
	p := w.now.Load()
	if p == nil || now.After(p.until) {
		p = &patience{until: now.Add(time.Second)}
		p.Context, p.cancel = context.WithDeadline(context.Background(), p.until.Add(wait+callTimeout))
		w.now.Store(p)
	}
	return p
}
