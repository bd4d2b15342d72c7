package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"ringcast/bench/client"
	"ringcast/bench/report"
)

// postVerb publishes over HTTP, as a backend does, each connection one message after the other.
type postVerb struct {
	URL         string        `default:"http://127.0.0.1:1234/" help:"Where to publish (http:// only). Without a path it is the API's, /api/publish or /apps/ID/events."`
	API         string        `name:"api" enum:"server,pusher" default:"server" help:"What to publish by: server = the server API; pusher = signed events of the Pusher protocol's HTTP API."`
	App         string        `default:"${app}" placeholder:"ID:KEY:SECRET" help:"With --api pusher: the app that publishes. Default: ${app}."`
	AllowRemote bool          `help:"Allow a target outside loopback. Only load machines that you may load."`
	PID         []int         `name:"pid" help:"Processes of the server, for CPU. Default: those that hold the listening socket."`
	Key         string        `env:"RINGCAST_API_KEY" help:"The server's API key."`
	Connections int           `short:"n" default:"1" help:"Connections, which are kept; each publishes when the last answer has come."`
	Groups      int           `default:"1" help:"Groups to which they publish in turn. Who is in them is up to you: join them with other clients."`
	Size        int           `default:"64" help:"Bytes of a message text."`
	Time        time.Duration `default:"2s" help:"How long each round lasts."`
	Rounds      int           `default:"6" help:"Rounds. In each the server is measured, and then the ceiling."`
	JSON        string        `name:"json" placeholder:"FILE" help:"Write the result with machine and flags to FILE."`
	NoCeiling   bool          `help:"Do not measure the ceiling beside it: Go's HTTP server with a handler that reads the request and answers {}."`
}

const (
	apiPusher  = "pusher"
	signedMax  = 9 * time.Minute // servers take a signature for ten
	postersMax = 10_000
	postSize   = 1 << 20
)

func (v *postVerb) check() error {
	switch {
	case v.Connections < 1 || v.Connections > postersMax:
		return fmt.Errorf("-n must be 1 to %d", postersMax)
	case v.Groups < 1 || v.Groups > postersMax:
		return fmt.Errorf("--groups must be 1 to %d", postersMax)
	case v.Size < 0 || v.Size > postSize:
		return fmt.Errorf("--size must be 0 to %d", postSize)
	case v.Time <= 0 || v.Time > timeMax:
		return fmt.Errorf("--time must be over 0 and up to %v", timeMax)
	case v.API == apiPusher && v.Time > signedMax:
		return fmt.Errorf("--time must be up to %v with --api pusher, as each round's requests are signed when it begins", signedMax)
	case v.Rounds < 1 || v.Rounds > 1000:
		return errors.New("--rounds must be 1 to 1000")
	}
	return nil
}

// Run is called by kong.
func (v *postVerb) Run(e *env) error {
	if err := v.check(); err != nil {
		return err
	}
	address, found := strings.CutPrefix(v.URL, "http://")
	if !found {
		return fmt.Errorf("--url %q: want http://host:port/path (TLS is not supported)", v.URL)
	}
	app, err := (&appFlags{App: v.App, Channels: "public"}).app(client.Pusher)
	if err != nil {
		return err
	}
	if host, path, _ := strings.Cut(address, "/"); path == "" {
		if address = host + "/api/publish"; v.API == apiPusher {
			address = host + "/apps/" + app.ID + "/events"
		}
	}
	c := &common{URL: "ws://" + address, AllowRemote: v.AllowRemote, PID: v.PID, name: "http://" + address}
	s, err := c.start(v.Connections)
	if err != nil {
		return err
	}
	defer s.end()
	var beside *session
	if !v.NoCeiling && s.target.Loopback() {
		server, under, err := e.bareHTTP(s.target.Path)
		if err != nil {
			return err
		}
		defer server.stop()
		if beside, err = under.start(v.Connections); err != nil {
			return err
		}
		defer beside.end()
	}
	var runs []*report.Run
	for round := 1; round <= v.Rounds; round++ {
		for turn := range 2 {
			of := s
			if (round+turn)%2 == 0 { // each round begins with the other
				of = beside
			}
			if of == nil {
				continue
			}
			r, err := e.post(v, of, app)
			if err != nil {
				return err
			}
			r.Round = round
			runs = append(runs, r)
		}
	}
	if v.Rounds == 1 {
		return e.end(v.JSON, runs...)
	}
	return e.endRounds(v.JSON, runs)
}

// endRounds is end for a server that was measured in several rounds, with the ceiling beside it.
func (e *env) endRounds(file string, runs []*report.Run) error {
	f := e.newFile(runs...)
	fmt.Fprint(e.stdout, report.Table(f))
	if file != "" {
		if err := f.Write(file); err != nil {
			return fmt.Errorf("--json: %w", err)
		}
	}
	for _, r := range runs {
		if !r.Fine && !r.IsCeiling() {
			for cause, n := range r.Causes {
				fmt.Fprintf(e.stdout, "round %d: %d × %s\n", r.Round, n, cause)
			}
			return errFaulty
		}
	}
	return nil
}

// bareHTTP starts the ceiling of this verb, which answers at a path.
func (e *env) bareHTTP(path string) (*child, *common, error) {
	addr, _, err := freeAddr()
	if err != nil {
		return nil, nil, err
	}
	program, err := self()
	if err != nil {
		return nil, nil, err
	}
	server, err := startChild(e.ctx, addr, "", program, "ceiling", "--serve", "http", "--listen", addr)
	if err != nil {
		return nil, nil, err
	}
	return server, &common{name: report.CeilingPrefix + " http", URL: "ws://" + addr + path, child: server}, nil
}

// serveBare answers every request with {} when it has been read: the least that a backend's door can do on Go's HTTP server.
func serveBare(addr string, ready func()) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	ready()
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("{}"))
	}))
}

// post publishes for one round.
func (e *env) post(v *postVerb, s *session, app client.App) (*report.Run, error) {
	r := e.newRun("post", s, map[string]any{"connections": v.Connections, "groups": v.Groups, "size": v.Size, "time": v.Time.String()})
	if v.API == apiPusher {
		r.Flags["dialect"] = v.API
	}
	all := make([]*poster, v.Connections)
	for i := range all {
		c, err := net.DialTimeout("tcp", s.target.Addr.String(), dialTimeout)
		if err != nil {
			return nil, fmt.Errorf("connection %d of %d: %w", i+1, len(all), err)
		}
		defer c.Close()
		all[i] = &poster{conn: c, in: bufio.NewReader(c), took: newHistogram()}
		for group := range v.Groups {
			all[i].requests = append(all[i].requests, v.request(s, app, (i+group)%v.Groups))
		}
	}
	var over atomic.Bool
	var done sync.WaitGroup
	cpu, machine, begun := s.cpu(), readMachine(), time.Now()
	alarm := time.AfterFunc(v.Time, func() { over.Store(true) })
	defer alarm.Stop()
	for _, p := range all {
		done.Go(func() { p.publish(&over, begun.Add(v.Time+postPatience)) })
	}
	done.Wait()
	took, used, busy := time.Since(begun), s.cpu().since(cpu), readMachine().since(machine)
	if e.ctx.Err() != nil {
		return nil, errInterrupted
	}
	return r, v.report(r, s, all, took, used, busy)
}

// postPatience is how long the last answers of a round may take.
const postPatience = 10 * time.Second

// report fills in what posters have found.
func (v *postVerb) report(r *report.Run, s *session, all []*poster, took time.Duration, used cpuTime, busy float64) error {
	sum, latency := &report.Post{Seconds: took.Seconds()}, newHistogram()
	r.Causes = map[string]int{}
	for _, p := range all {
		sum.Accepted += p.accepted
		sum.Refused += p.refused
		latency.Merge(p.took)
		if p.err != nil {
			r.Causes[p.err.Error()]++
		}
	}
	sum.PerSecond = float64(sum.Accepted) / took.Seconds()
	sum.Answer = readPercentiles(latency)
	if sum.Accepted > 0 && used.total() >= cpuCoarse {
		sum.ServerMicros = float64(used.total().Nanoseconds()) / 1e3 / float64(sum.Accepted)
	}
	r.Post, r.Busy = sum, busy
	server := -1.0
	if s.victim != nil {
		r.ServerCore = report.Share(used.total(), took)
		server = r.ServerCore
	} else {
		r.Notes = append(r.Notes, fmt.Sprintf("the server's processes were not seen: %v", s.blindness))
	}
	r.Limit, r.RateVoid = limit(nil, server, busy)
	failed := 0
	for _, n := range r.Causes {
		failed += n
	}
	switch {
	case failed > 0:
		r.Verdict = fmt.Sprintf("FAULTY: %d of %d connections failed", failed, len(all))
	case sum.Accepted == 0:
		r.Verdict = "FAULTY: nothing was accepted"
	default:
		r.Fine, r.Verdict = true, "fine: each request was answered"
	}
	return nil
}

// request is a whole request that publishes to a group.
func (v *postVerb) request(s *session, app client.App, group int) []byte {
	if v.API == apiPusher {
		body := fmt.Appendf(nil, `{"name":"bench","channels":[%q],"data":%q}`, s.groupName(group), strings.Repeat("x", v.Size))
		signed := s.target.Path[max(0, strings.Index(s.target.Path, "/apps/")):] // what is before that is for proxies
		return fmt.Appendf(nil, "POST %s?%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			s.target.Path, app.SignPost(signed, body, time.Now()), s.target.Host, len(body), body)
	}
	body := fmt.Sprintf(`{"channel":%q,"data":{"text":%q}}`, s.groupName(group), strings.Repeat("x", v.Size))
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nX-API-Key: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		s.target.Path, s.target.Host, v.Key, len(body), body)
}

// poster is one connection. It reads answers by hand: Go's client would cost more than the server that is measured.
//
// Owner: its goroutine, then the verb's.
type poster struct {
	conn     net.Conn
	in       *bufio.Reader
	requests [][]byte // one for each group
	took     *hdrhistogram.Histogram
	accepted uint64
	refused  uint64
	err      error
}

// publish publishes until over is set; who is not answered until the deadline has failed.
func (p *poster) publish(over *atomic.Bool, deadline time.Time) {
	if p.err = p.conn.SetDeadline(deadline); p.err != nil {
		return
	}
	for n := 0; !over.Load(); n++ {
		at := client.Clock()
		if _, p.err = p.conn.Write(p.requests[n%len(p.requests)]); p.err != nil {
			return
		}
		var fine bool
		if fine, p.err = p.answer(); p.err != nil {
			return
		}
		_ = p.took.RecordValue(client.Clock() - at) // an answer of over an hour is none
		if fine {
			p.accepted++
		} else {
			p.refused++
		}
	}
}

// errNoLength: what cannot be told from the next answer.
var errNoLength = errors.New("an answer without Content-Length")

// answer reads one answer. fine: it is 200, and its body says nothing of an error. What is refused as busy is no error; other
// answers are.
func (p *poster) answer() (fine bool, err error) {
	line, err := p.in.ReadSlice('\n')
	if err != nil {
		return false, fmt.Errorf("no answer: %w", err)
	}
	status := 0
	if fields := bytes.Fields(line); len(fields) > 1 {
		status, _ = strconv.Atoi(string(fields[1]))
	}
	length := -1
	for {
		line, err := p.in.ReadSlice('\n')
		if err != nil {
			return false, fmt.Errorf("half an answer: %w", err)
		}
		if len(bytes.TrimSpace(line)) == 0 {
			break
		}
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return false, errNoLength
			}
		}
	}
	if length < 0 || length > postSize {
		return false, errNoLength
	}
	body, err := p.in.Peek(min(length, p.in.Size()))
	if err != nil {
		return false, fmt.Errorf("half an answer: %w", err)
	}
	fine = !bytes.Contains(body, []byte(`"error"`))
	busy := status == http.StatusServiceUnavailable || bytes.Contains(body, []byte(`"code":111`))
	if (status != http.StatusOK || !fine) && !busy {
		return false, fmt.Errorf("answer %d: %.200s", status, body)
	}
	_, err = p.in.Discard(length)
	return fine && status == http.StatusOK, err
}
