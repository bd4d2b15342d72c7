package test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A restart under load: members of groups that come back when they are told to go, senders that wait for every answer, a
// newcomer who connects all the time, members who never answer a Close frame, and one who does not read.

// restarted is the play of a restart.
type restarted struct {
	t       *testing.T
	addr    string
	wss     string      // where TLS is spoken: half of the clients come there, with compression; empty: nowhere
	trust   *tls.Config // by which they know the server
	groups  []*restartedGroup
	begin   chan struct{} // closed when all members are there and senders may begin
	over    chan struct{} // closed when senders are to end
	running sync.WaitGroup
	failure atomic.Pointer[error] // the first
	heard   []int64               // by member, in its first life

	joined [2]atomic.Int64 // members who have joined in each life
	told   moments         // when members were told to go
	back   moments         // when they had joined again
	slowly atomic.Int64    // the longest from the one to the other for one member, nanoseconds
}

// restartedGroup has one sender.
type restartedGroup struct {
	name     string
	accepted [2]atomic.Int64 // messages that were answered ok in each life
}

// moments is when something has happened for the first time and for the last.
type moments struct {
	mu          sync.Mutex
	first, last time.Time
}

func (s *moments) note(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first.IsZero() || at.Before(s.first) {
		s.first = at
	}
	if at.After(s.last) {
		s.last = at
	}
}

func (s *moments) read() (first, last time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first, s.last
}

func (p *restarted) fail(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	p.failure.CompareAndSwap(nil, &err)
}

// pauseMax is the longest pause before a client tries again, which is random, as docs/operating.md asks for.
const pauseMax = 400 * time.Millisecond

// arrive connects, tries again until it is let in, and joins.
func (p *restarted) arrive(i int, group string) (*client, error) {
	for deadline := time.Now().Add(2 * patience); ; {
		<-time.After(rand.N(pauseMax))
		d, to := dialing{small: true, from: elsewhere(i)}, p.addr
		if p.wss != "" && i%2 == 1 {
			to, d.secure, d.offer = p.wss, p.trust, deflate
		}
		c, err := open(to, d)
		if err == nil {
			if err = c.join(group); err == nil {
				return c, nil
			}
			c.hangUp()
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("does not get in: %w", err)
		}
	}
}

// member hears everything that its group's sender was told is accepted, up to the end of each life.
func (p *restarted) member(i int, g *restartedGroup, silent bool) error {
	goodbye := time.Time{}
	for life := range p.joined {
		c, err := p.arrive(i, g.name)
		if err != nil {
			return err
		}
		p.t.Cleanup(c.hangUp)
		now := time.Now()
		if life == 1 {
			p.back.note(now)
			longest(&p.slowly, int64(now.Sub(goodbye)))
		}
		p.joined[life].Add(1)
		heard, err := hear(c, life)
		var closed closedError
		switch {
		case errors.As(err, &closed) && closed.code == 1001 && life == 0:
			goodbye = time.Now()
			p.told.note(goodbye)
			p.heard[i] = heard // the sender may have its last answer yet to read
			if silent {
				return nil // and leaves the connection open
			}
			if err := c.leaveToo(closed.code); err != nil {
				return err
			}
		case life == 1 && err == nil:
			return nil
		default:
			return fmt.Errorf("in life %d, after %d messages: got %v, want 1001 in the first, and all messages in the second", life, heard, err)
		}
	}
	return nil
}

// leaveToo answers a Close frame and waits for the end of the connection.
func (c *client) leaveToo(code int) error {
	defer c.hangUp()
	_ = c.closeWith(code, "") // the server may have ended already
	if err := c.end(); err != nil {
		return fmt.Errorf("after %d: %w", code, err)
	}
	return nil
}

func longest(most *atomic.Int64, n int64) {
	for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
	}
}

// hear reads the numbers of a life, which must have no gap, up to the last text or a Close frame. In the first life they begin
// with 0.
func hear(c *client, life int) (next int64, err error) {
	for first := life == 1; ; first = false {
		text, err := c.next()
		if err != nil || text == lastText {
			return next, err
		}
		of, number, _ := strings.Cut(text, "/")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || of != strconv.Itoa(life) {
			return next, fmt.Errorf("got %q, want a message of life %d", text, life)
		}
		if first {
			next = n
		}
		if n != next {
			return next, fmt.Errorf("got message %d, want %d", n, next)
		}
		next++
	}
}

// sender publishes in both lives, and waits for each answer.
func (p *restarted) sender(i int, g *restartedGroup, pace time.Duration) error {
	for life := range g.accepted {
		c, err := p.arrive(i, g.name+" sender")
		if err != nil {
			return err
		}
		p.t.Cleanup(c.hangUp)
		<-p.begin
		var closed closedError
		if err = p.publish(c, g, life, pace); err == nil {
			return nil // over
		}
		if !errors.As(err, &closed) || closed.code != 1001 || life == 1 {
			return fmt.Errorf("sender of %s in life %d: %w", g.name, life, err)
		}
		if err := c.leaveToo(closed.code); err != nil {
			return fmt.Errorf("sender of %s: %w", g.name, err)
		}
	}
	return nil
}

func (p *restarted) publish(c *client, g *restartedGroup, life int, pace time.Duration) error {
	again := time.NewTicker(pace)
	defer again.Stop()
	for over := false; ; {
		select {
		case <-p.over:
			over = true
		case <-again.C:
		}
		text := fmt.Sprintf("%d/%d", life, g.accepted[life].Load())
		if over {
			text = lastText
		}
		answer, err := c.ask(sendCommand(g.name, text))
		switch {
		case err != nil:
			return err
		case answer.code() == "stopping":
			_, err := c.nextFresh() // nothing but the Close frame can come
			return err
		case answer.Error != nil:
			<-again.C
		default:
			g.accepted[life].Add(1)
			if over {
				return nil
			}
		}
	}
}

// newcomer connects all the time, and notes what it meets.
type newcomer struct {
	addr    string
	over    chan struct{}
	done    chan struct{}
	refused moments // nobody listens, or who did has gone
	turned  int     // answers 503
	served  int
	first   atomic.Pointer[time.Time] // the first time that it was let in by the successor
	failed  []error
}

func newNewcomer(addr string) *newcomer {
	return &newcomer{addr: addr, over: make(chan struct{}), done: make(chan struct{})}
}

// run connects until it is over. after says since when only the successor lets anybody in; zero: not yet.
func (n *newcomer) run(after func() time.Time) {
	defer close(n.done)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		begun := time.Now()
		c, err := open(n.addr, dialing{from: "127.0.2.1"})
		var away *refusedError
		switch {
		case err == nil:
			c.die() // its ports are free at once
			n.served++
			if since, now := after(), time.Now(); n.first.Load() == nil && !since.IsZero() && begun.After(since) {
				n.first.Store(&now)
			}
		case errors.As(err, &away) && away.status == 503:
			n.turned++
		default:
			n.refused.note(time.Now())
			n.failed = append(n.failed, err)
		}
		select {
		case <-again.C:
		case <-n.over:
			return
		}
	}
}

// crowded is how many play.
type crowded struct{ members, silent, groups int }

// wholeCrowd is what a restart is promised for.
func wholeCrowd() crowded {
	members := size(300, 5_000)
	if raceDetector {
		members = size(100, 1_000)
	}
	return crowded{members, size(3, 50), size(10, 50)}
}

// playRestart lets everybody play while restart is carried out, and returns the newcomer.
func playRestart(t *testing.T, s *server, all crowded, restart func()) (*restarted, *newcomer) {
	t.Helper()
	members, silent, groups := all.members, all.silent, all.groups
	var files syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
	if files.Cur < uint64(2*members+spareFiles) {
		t.Skipf("%d connections, of two lives, take more than the %d files that may be open here (ulimit -n)", 2*members, files.Cur)
	}
	p := &restarted{t: t, addr: s.addr, wss: s.wss, trust: trusted(t), begin: make(chan struct{}), over: make(chan struct{}), heard: make([]int64, members)}
	for i := range groups {
		p.groups = append(p.groups, &restartedGroup{name: fmt.Sprintf("%s/%d", t.Name(), i)})
	}
	stuck(t, s) // who does not read; its outbox holds bytes
	play := func(what string, f func() error) {
		p.running.Go(func() {
			if err := f(); err != nil {
				p.fail("%s: %w", what, err)
			}
		})
	}
	for i := range members {
		play(fmt.Sprintf("member %d", i), func() error { return p.member(i, p.groups[i%groups], i < silent) })
	}
	pace := size(20*time.Millisecond, 400*time.Millisecond) // at full size 12,500 deliveries a second, which are read here too
	for i, g := range p.groups {
		play("sender", func() error { return p.sender(members+i, g, pace) })
	}
	until := func(what string, so func() bool) {
		t.Helper()
		eventually(t, what, func() error {
			if err := p.failure.Load(); err != nil {
				t.Fatal(*err)
			}
			if !so() {
				return fmt.Errorf("joined: %d and again %d", p.joined[0].Load(), p.joined[1].Load())
			}
			return nil
		})
	}
	until("all members have joined", func() bool { return p.joined[0].Load() == int64(members) })
	close(p.begin)
	accepted := func(life int, n int64) func() bool {
		return func() bool {
			for _, g := range p.groups {
				if g.accepted[life].Load() < n {
					return false
				}
			}
			return true
		}
	}
	until("every group hears", accepted(0, 5))
	n := newNewcomer(s.addr)
	go n.run(func() time.Time { first, _ := p.told.read(); return first })

	restart()
	until("all but the silent are back and have joined", func() bool { return p.joined[1].Load() == int64(members-silent) })
	until("every group hears again", accepted(1, 5))
	until("the newcomer is let in", func() bool { return n.first.Load() != nil })
	close(n.over)
	<-n.done
	close(p.over)
	p.running.Wait()
	if err := p.failure.Load(); err != nil {
		t.Fatal(*err)
	}
	for i, heard := range p.heard {
		if g := p.groups[i%groups]; heard < g.accepted[0].Load() {
			t.Errorf("member %d: got %d messages before its 1001, want the %d that were answered ok", i, heard, g.accepted[0].Load())
		}
	}
	firstWord, lastWord := p.told.read()
	first, last := p.back.read()
	gap, away := n.first.Load().Sub(lastWord), last.Sub(firstWord)
	if from, to := n.refused.read(); !from.IsZero() {
		t.Logf("a newcomer was refused for %v", to.Sub(from).Round(time.Millisecond))
	}
	t.Logf("%d members: told within %v; the first was back %v after the last word, a newcomer %v after it; all were back and had joined %v "+
		"after the first word, the slowest %v after its own; newcomers: %d let in, %d answered 503, %d not answered",
		members, lastWord.Sub(firstWord).Round(time.Millisecond), first.Sub(lastWord).Round(time.Millisecond), gap.Round(time.Millisecond), away.Round(time.Millisecond),
		time.Duration(p.slowly.Load()).Round(time.Millisecond), n.served, n.turned, len(n.failed))
	return p, n
}

// Times are judged at full size only, where they are what was promised; elsewhere a busy machine would be judged.
const (
	unansweredAtMost = 300 * time.Millisecond
	backWithin       = 2 * time.Second
)

// judge compares times with what was promised. A single newcomer of thousands who all come back at once waits its turn in the
// kernel's queue, so what is judged there is when the first of them was served.
func (p *restarted) judge() {
	p.t.Helper()
	firstWord, lastWord := p.told.read()
	first, last := p.back.read()
	if gap := first.Sub(lastWord); size(false, true) && gap > unansweredAtMost {
		p.t.Errorf("nobody was served for %v after the old server's last word, want at most %v", gap, unansweredAtMost)
	}
	if away := last.Sub(firstWord); size(false, true) && away > backWithin {
		p.t.Errorf("all were back and had joined after %v, want at most %v", away, backWithin)
	}
}

// Three of 500 never answer the Close frame, and one does not read: nobody else waits for them.
func TestFaultRestartWaitsForNoSilentClient(t *testing.T) {
	fault(t)
	dir := runDir(t)
	args := []string{"--stop-timeout", "10s", "--outbox-max", "8MiB"}
	first := daemon(t, dir, args...)
	s := &server{t: t, dir: dir, addr: first.Listen, over: make(chan struct{})}
	p, n := playRestart(t, s, crowded{size(100, 500), 3, 5}, func() {
		r := run(append([]string{"restart", "-d", "--listen", first.Listen, "--run-dir", dir}, args...)...)
		if r.exit != 0 || !runs(first.PID) {
			t.Fatalf("restart: got exit %d with %s and the old process running %v, want 0 and that it drains", r.exit, r.all(), runs(first.PID))
		}
	})
	_, lastWord := p.told.read()
	if gap := n.first.Load().Sub(lastWord); size(false, true) && gap > unansweredAtMost {
		t.Errorf("a newcomer was let in %v after the old server's last word, want at most %v", gap, unansweredAtMost)
	}
	gone(t, first.PID)
}

func TestFaultRestartUnderLoadLosesNothingThatWasAccepted(t *testing.T) {
	fault(t)
	dir := runDir(t)
	args := []string{"--stop-timeout", "10s", "--outbox-max", "8MiB"}
	first := daemon(t, dir, args...)
	s := &server{t: t, dir: dir, addr: first.Listen, over: make(chan struct{})}
	t.Cleanup(func() { gone(t, first.PID) })
	p, n := playRestart(t, s, wholeCrowd(), func() {
		r := run(append([]string{"restart", "-d", "--listen", first.Listen, "--run-dir", dir}, args...)...)
		if r.exit != 0 || !strings.Contains(r.stdout, "Stopped.") {
			t.Fatalf("restart: got exit %d with %s, want 0", r.exit, r.all())
		}
		st, err := readStatus(dir)
		must(t, err)
		if st.PID == first.PID || st.Listen != first.Listen {
			t.Errorf("after the restart: got pid %d on %s, want another than %d on %s", st.PID, st.Listen, first.PID, first.Listen)
		}
		// Who is silent and who does not read keep the old process, and nobody else.
		if !runs(first.PID) {
			t.Error("the old process when the new one serves: got it ended, want it to drain")
		}
	})
	p.judge()
	for _, err := range n.failed {
		if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("a newcomer during a restart: got %v, want at most that nobody listens for a moment", err)
		}
	}
}

// A successor takes the addresses for TLS as well. A session that began with the old server is not resumed with it: its keys were that
// one's own.
func TestFaultRestartUnderLoadTakesTheAddressesForTLS(t *testing.T) {
	fault(t)
	dir := runDir(t)
	args := append(tlsArgs(t), "--stop-timeout", size("2s", "10s"), "--outbox-max", "8MiB", "--compression", "on")
	args[1] = freeAddr(t)
	first := daemon(t, dir, args...)
	s := &server{t: t, dir: dir, addr: first.Listen, wss: first.TLSListen, over: make(chan struct{})}
	t.Cleanup(func() { gone(t, first.PID) })
	before := s.wire().Handshakes["ok"]
	playRestart(t, s, crowded{size(60, 2_000), 3, 5}, func() { // times are not judged: a core does a thousand handshakes in a second

		if got := s.wire(); got.TLSClients < int64(size(30, 1_000)) || got.Handshakes["ok"] == before {
			t.Errorf("before the restart: got %+v, want half of the clients by TLS", got)
		}
		r := run(append([]string{"restart", "-d", "--listen", first.Listen, "--run-dir", dir}, args...)...)
		if r.exit != 0 || !strings.Contains(r.stdout, "wss://"+first.TLSListen) {
			t.Fatalf("restart: got exit %d with %s, want 0 and the address for TLS", r.exit, r.all())
		}
	})
}

// A manager keeps the socket and has the successor replace the server.
func TestFaultRestartWithAHandedInSocketRefusesNobody(t *testing.T) {
	fault(t)
	socket := handedIn(t, "tcp", "127.0.0.1:0")
	o := starting{dir: runDir(t), sockets: socket.files(), args: []string{"--stop-timeout", size("2s", "10s"), "--outbox-max", "8MiB"}}
	s := startWith(t, o)
	s.addr = socket.addr
	p, n := playRestart(t, s, wholeCrowd(), func() {
		o.verb = "restart"
		next := launch(t, o)
		eventually(t, "the successor answers", func() error {
			st, err := readStatus(o.dir)
			if err == nil && st.PID != next.pid {
				err = fmt.Errorf("got pid %d, want %d", st.PID, next.pid)
			}
			return err
		})
	})
	p.judge()
	n.refusedNever(t)
	equal(t, "exit status of the old server", s.exit(), 0) // when its time for the slow is over
}

// systemd has the old server end before it starts the next one; whoever connects meanwhile waits.
func TestFaultRestartInSystemdsOrderRefusesNobody(t *testing.T) {
	fault(t)
	socket := handedIn(t, "tcp", "127.0.0.1:0")
	o := starting{dir: runDir(t), sockets: socket.files(), args: []string{"--stop-timeout", "2s", "--outbox-max", "8MiB"}}
	s := startWith(t, o)
	s.addr = socket.addr
	_, n := playRestart(t, s, wholeCrowd(), func() {
		spare(t, s)
		s.signal(syscall.SIGTERM)
		equal(t, "exit status of the old server", s.exit(), 0)
		launch(t, o).waitUp()
	})
	n.refusedNever(t)
}

// Where systemd keeps the port everybody waits for the end of the old server, which therefore waits for nobody who is silent.
func TestFaultRestartInSystemdsOrderWaitsForNoSilentConnection(t *testing.T) {
	fault(t)
	socket := handedIn(t, "tcp", "127.0.0.1:0")
	o := starting{dir: runDir(t), sockets: socket.files(), args: []string{"--stop-timeout", "10m"}} // longer than exit waits
	s := startWith(t, o)
	s.addr = socket.addr
	silent := member(t, s, "g")
	idle, half := spare(t, s), spare(t, s)
	must(t, half.raw([]byte("GET / HTTP/1.1\r\nHost: ")))
	s.signal(syscall.SIGTERM)
	equal(t, "exit status of the old server", s.exit(), 0)
	for what, c := range map[string]*client{"sent nothing": idle, "sent half of a request": half} {
		var away *refusedError
		if err := c.upgraded(""); !errors.As(err, &away) || away.status != 503 || away.header.Get("Retry-After") == "" {
			t.Errorf("who has %s: got %v, want 503 with Retry-After", what, err)
		}
	}
	silent.expectClose(t, 1001)
	waiting, err := connect(s.addr, dialing{})
	must(t, err)
	t.Cleanup(waiting.hangUp)
	launch(t, o).waitUp()
	must(t, waiting.handshake(s.addr, dialing{}))
}

// spare is a connection that sends nothing, as browsers open them in advance, and that the server has accepted.
func spare(t *testing.T, s *server) *client {
	t.Helper()
	c, err := connect(s.addr, dialing{})
	must(t, err)
	t.Cleanup(c.hangUp)
	dial(t, s).hangUp() // came later, and is accepted
	return c
}

func (n *newcomer) refusedNever(t *testing.T) {
	t.Helper()
	for i, err := range n.failed {
		if i == failuresShown {
			t.Errorf("and %d more", len(n.failed)-i)
			break
		}
		t.Errorf("a newcomer during the restart: got %v, want every one accepted and answered", err)
	}
}

// handedSocket is a listening socket that a test keeps, as a service manager does.
type handedSocket struct {
	t    *testing.T
	addr string
	net  net.Listener
}

func handedIn(t *testing.T, network, address string) handedSocket {
	t.Helper()
	config := net.ListenConfig{}
	config.SetMultipathTCP(false) // as systemd's are
	l, err := config.Listen(t.Context(), network, address)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return handedSocket{t, l.Addr().String(), l}
}
