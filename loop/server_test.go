package loop

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"ringcast/loop/assert"
	"ringcast/loop/order"
	"ringcast/wsproto"
)

// testTimeout is generous: a test waits for a condition, the deadline only ends a hang.
const testTimeout = 60 * time.Second

// startServer runs a server for the length of a test.
func startServer(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := Start(cfg)
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		if err := s.Stop(ctx, nil); err != nil {
			t.Errorf("Stop: %v", err)
		}
		if n := s.Hub().Snapshot().Total().Panics; n != 0 {
			t.Errorf("panics: got %d, want 0", n)
		}
	})
	return s
}

// peer is a WebSocket client of a test, on a blocking socket.
type peer struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

func dial(t testing.TB, s *Server) *peer { return dialPath(t, s, "/") }

func dialPath(t testing.TB, s *Server, path string) *peer {
	t.Helper()
	return dialAt(t, "tcp", s.Addr().String(), path)
}

func dialAt(t testing.TB, network, address, path string) *peer {
	t.Helper()
	conn, err := net.Dial(network, address)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(testTimeout))
	p := &peer{t: t, conn: conn, in: bufio.NewReader(conn)}
	p.upgrade(path)
	return p
}

func (p *peer) say(format string, args ...any) {
	frame := wsproto.AppendMaskedFrame(nil, wsproto.OpText, [4]byte{1, 2, 3, 4}, fmt.Appendf(nil, format, args...))
	if _, err := p.conn.Write(frame); err != nil {
		p.t.Errorf("write: %v", err)
	}
}

// next is the next frame's payload; the error is the socket's.
func (p *peer) next() (op byte, payload string, err error) {
	var head [2]byte
	if _, err := io.ReadFull(p.in, head[:]); err != nil {
		return 0, "", err
	}
	n := int(head[1])
	switch n {
	case 126:
		var ext [2]byte
		_, err = io.ReadFull(p.in, ext[:])
		n = int(ext[0])<<8 | int(ext[1])
	case 127:
		var ext [8]byte
		_, err = io.ReadFull(p.in, ext[:])
		n = 0
		for _, b := range ext {
			n = n<<8 | int(b)
		}
	}
	if err != nil {
		return 0, "", err
	}
	buf := make([]byte, n)
	_, err = io.ReadFull(p.in, buf)
	return head[0] & 15, string(buf), err
}

func (p *peer) want(want string) {
	p.t.Helper()
	if _, got, err := p.next(); err != nil || got != want {
		p.t.Fatalf("got %q (%v), want %q", got, err, want)
	}
}

func (p *peer) join(group string) {
	p.t.Helper()
	p.say(`{"cmd":"add_group","group_id":%q,"id":1}`, group)
	p.want(`{"id":1,"ok":true}`)
}

// joinAll makes n members of group g.
func joinAll(t testing.TB, s *Server, n int) []*peer {
	t.Helper()
	peers := make([]*peer, n)
	for i := range peers {
		peers[i] = dial(t, s)
		peers[i].join("g")
	}
	return peers
}

// sendNumbered publishes "sender 0", "sender 1", … to group g.
func (p *peer) sendNumbered(sender, messages int) {
	for n := range messages {
		p.say(`{"cmd":"send_to_group","group_id":"g","message":"%d %d"}`, sender, n)
	}
}

// hear reads the same number of messages at every peer, all at once.
func hear(t testing.TB, peers []*peer, messages int) [][]string {
	got := make([][]string, len(peers))
	var wg sync.WaitGroup
	for i, p := range peers {
		wg.Go(func() {
			for range messages {
				_, m, err := p.next()
				if err != nil {
					t.Errorf("member %d after %d messages: %v", i, len(got[i]), err)
					return
				}
				got[i] = append(got[i], m)
			}
		})
	}
	wg.Wait()
	return got
}

func TestAllMembersOnAllLoopsHoldOneSequence(t *testing.T) {
	const members, senders, each = 64, 6, 1000
	s := startServer(t, Config{Loops: 8})
	peers := joinAll(t, s, members)
	for i, row := range s.Hub().Snapshot().Loops {
		if row.Clients == 0 {
			t.Errorf("loop %d: got no clients, want some", i)
		}
	}
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			p := dial(t, s)
			p.sendNumbered(i, each)
		})
	}
	got := hear(t, peers, senders*each)
	wg.Wait()
	checkOneSequence(t, got, senders, each)
}

// checkOneSequence: all lists are equal, and hold each sender's messages once, in its order.
func checkOneSequence(t *testing.T, got [][]string, senders, each int) {
	t.Helper()
	next := make([]int, senders)
	for _, m := range got[0] {
		var sender, n int
		fmt.Sscanf(m, "%d %d", &sender, &n)
		if n != next[sender] {
			t.Fatalf("sender %d: got message %d, want %d", sender, n, next[sender])
		}
		next[sender]++
	}
	for sender, n := range next {
		if n != each {
			t.Errorf("sender %d: got %d messages, want %d", sender, n, each)
		}
	}
	for i := range got {
		for n := range got[0] {
			if n >= len(got[i]) || got[i][n] != got[0][n] {
				t.Fatalf("member %d differs from member 0 at message %d", i, n)
			}
		}
	}
}

func exampleContext() context.Context { return context.Background() }

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

func TestPortsPublishInTheOrderOfClients(t *testing.T) {
	const members, senders, each = 64, 6, 1000
	s := startServer(t, Config{Loops: 8})
	peers := joinAll(t, s, members)
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			if i%2 == 0 { // half of the senders are clients, half ports
				p := dial(t, s)
				p.sendNumbered(i, each)
				return
			}
			port, err := s.Hub().NewPort()
			if err != nil {
				t.Error(err)
				return
			}
			for n := range each {
				for err = ErrBusy; errors.Is(err, ErrBusy); {
					if err = insist(port, "g", fmt.Appendf(nil, "%d %d", i, n)); errors.Is(err, ErrBusy) {
						runtime.Gosched()
					}
				}
				if err != nil {
					t.Errorf("port %d: %v", i, err)
				}
			}
		})
	}
	got := hear(t, peers, senders*each)
	wg.Wait()
	checkOneSequence(t, got, senders, each)
}

func TestAPortSaysNumbersAndRefusesWhatIsWrong(t *testing.T) {
	s := startServer(t, Config{Loops: 3, Limits: Limits{MessageBytesMax: 100}})
	port, err := s.Hub().NewPort()
	if err != nil {
		t.Fatal(err)
	}
	if r, err := port.Say(within(t), "g", Said{Payload: []byte("nobody hears")}); r != (Receipt{}) || err != nil {
		t.Errorf("group without members: got %+v (%v), want nothing", r, err)
	}
	p := dial(t, s)
	p.join("g")
	for want := uint64(1); want <= 3; want++ {
		if r, err := port.Say(within(t), "g", Said{Payload: fmt.Append(nil, want)}); r != (Receipt{Position: Position{Offset: want}, Members: 1}) || err != nil {
			t.Errorf("number: got %+v (%v), want %d", r, err, want)
		}
		p.want(fmt.Sprint(want))
	}
	for _, bad := range []struct {
		group, message string
		want           error
	}{
		{"", "x", ErrBadGroup}, {strings.Repeat("g", 256), "x", ErrBadGroup}, {"\xff", "x", ErrBadGroup},
		{"g", "\xff", ErrBadMessage}, {"g", strings.Repeat("x", 101), ErrBadMessage},
	} {
		if err := insist(port, bad.group, []byte(bad.message)); err != bad.want {
			t.Errorf("Offer(%.10q, %.10q): got %v, want %v", bad.group, bad.message, err, bad.want)
		}
	}
	for range order.PortsMax - 1 {
		if _, err := s.Hub().NewPort(); err != nil {
			t.Fatalf("port within the bound: %v", err)
		}
	}
	if _, err := s.Hub().NewPort(); err != ErrTooManyPorts {
		t.Errorf("port beyond the bound: got %v, want %v", err, ErrTooManyPorts)
	}
}

// Members, senders, joiners, leavers and clients that break off, at once, on every loop; the members that stay hold one
// sequence.
func TestOneSequenceWhileOthersComeAndGo(t *testing.T) {
	const members, senders, each = 16, 4, 500
	for _, portable := range []bool{false, true} {
		s := startServer(t, Config{Loops: 8, PortableSend: portable})
		peers := joinAll(t, s, members)
		stop := make(chan struct{})
		var others, wg sync.WaitGroup
		for i := range 8 {
			others.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					p := dial(t, s)
					p.say(`{"cmd":"add_group","group_id":"g"}`)
					p.say(`{"cmd":"add_group","group_id":"other-%d"}`, i)
					switch n % 3 {
					case 0:
						p.say(`{"cmd":"leave_group","group_id":"g"}`)
					case 1:
						_ = p.conn.(*net.TCPConn).SetLinger(0) // ends with a reset
					}
					p.conn.Close()
				}
			})
		}
		for i := range senders {
			wg.Go(func() {
				p := dial(t, s)
				p.sendNumbered(i, each)
			})
		}
		got := hear(t, peers, senders*each)
		wg.Wait()
		close(stop)
		others.Wait()
		checkOneSequence(t, got, senders, each)
	}
}

func TestClientsAreListed(t *testing.T) {
	s := startServer(t, Config{Loops: 3})
	p := dial(t, s)
	p.join("a")
	p.join("b")
	list, err := allClients(within(t), s.Hub())
	if err != nil || len(list) != 1 {
		t.Fatalf("list: got %v (%v), want one client", list, err)
	}
	c := list[0]
	if c.State != "open" || c.Groups != 2 || c.Remote != p.conn.LocalAddr().String() || c.Local != s.Addr().String() ||
		c.BytesIn == 0 || c.BytesOut == 0 {
		t.Errorf("got %+v", c)
	}
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	taken := startServer(t, Config{Loops: 1})
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{Listen: []string{taken.Addr().String()}, Loops: 1}, "address already in use"},
		{Config{Listen: []string{"nonsense"}}, "nonsense"},
		{Config{Loops: LoopsMax + 1}, "not within 1 to 64"},
		{Config{Loops: -1}, "not within 1 to 64"},
	} {
		s, err := Start(c.cfg)
		if err == nil {
			s.Stop(within(t), nil)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Start(%+v): got %v, want an error with %q", c.cfg, err, c.want)
		}
	}
}

// A panic in a callback costs the client that was being served, nobody else.
func TestAPanicClosesOneClient(t *testing.T) {
	if assert.On {
		t.Skip("with assertions on a panic ends the process, so that every test sees it; the run without them has this one")
	}
	s, err := Start(Config{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(within(t), nil) })
	healthy, victim := dial(t, s), dial(t, s)
	healthy.join("g")
	victim.join("g")
	err = s.Hub().each(within(t), func(s *shard) { s.readers.shared = nil }) // the next bytes meet it
	if err != nil {
		t.Fatal(err)
	}
	victim.say(`{"cmd":"leave_group","group_id":"g"}`)
	if op, m, err := victim.next(); op != 8 || !strings.HasPrefix(m, "\x03\xf3") {
		t.Errorf("victim: got frame %d %q (%v), want close 1011", op, m, err)
	}
	healthy.say(`{"cmd":"send_to_group","group_id":"g","message":"still here"}`)
	healthy.want("still here")
	if _, _, err := victim.next(); err != io.EOF {
		t.Errorf("victim: got %v, want the end of the stream", err)
	}
	if got := s.Hub().Snapshot().Total().Panics; got != 1 {
		t.Errorf("panics: got %d, want 1", got)
	}
}
