package loop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"ringcast/dialect"
	"ringcast/wsproto"
)

// What was accepted before a stop goes out before the Close frame.
func TestStopSendsWhatWasAcceptedAndThenSaysGoodbye(t *testing.T) {
	s, err := Start(Config{Loops: 4})
	if err != nil {
		t.Fatal(err)
	}
	const members, messages = 20, 200
	peers := joinAll(t, s, members)
	port, _ := s.Hub().NewPort()
	for n := range messages {
		if err := insist(port, "g", fmt.Append(nil, n)); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for i, p := range peers {
		wg.Go(func() {
			for n := range messages {
				if _, m, err := p.next(); m != fmt.Sprint(n) {
					t.Errorf("member %d: got %q (%v), want %d", i, m, err, n)
					return
				}
			}
			if op, m, err := p.next(); op != 8 || !strings.HasPrefix(m, "\x03\xe9") {
				t.Errorf("member %d: got frame %d %q (%v), want close 1001", i, op, m, err)
			}
			p.conn.Write(wsproto.AppendMaskedFrame(nil, wsproto.OpClose, [4]byte{}, []byte("\x03\xe9")))
			if _, _, err := p.next(); err != io.EOF {
				t.Errorf("member %d: got %v, want the end of the stream", i, err)
			}
		})
	}
	if err := s.Stop(within(t), nil); err != nil {
		t.Errorf("Stop: %v", err)
	}
	wg.Wait()
	if err := insist(port, "g", []byte("late")); err != ErrStopping {
		t.Errorf("publish after a stop: got %v, want %v", err, ErrStopping)
	}
	if err := s.Err(); err != nil {
		t.Errorf("Err after Stop: got %v, want nil", err)
	}
}

func TestAPublishWithoutIDIsNotLostSilentlyWhileStopping(t *testing.T) {
	st := newStage(1, nil)
	asking, silent := st.enter(0), st.enter(0)
	st.hub.stopping.Store(true)
	asking.say(`{"cmd":"send_to_group","group_id":"0","message":"x","id":1}`)
	asking.heard(t, `"code":"stopping"`)
	silent.say(`{"cmd":"send_to_group","group_id":"0","message":"x"}`)
	silent.heard(t, "\x03\xe9")
	if got := st.hub.Snapshot().Total(); got.Refused != 2 || got.RefusedPublishes != 2 {
		t.Errorf("refused: got %d, of them publishes %d, want 2 and 2", got.Refused, got.RefusedPublishes)
	}
}

// Clients that go on joining and leaving keep the lanes busy; a stop that waited for them would take half of its time.
func TestJoinsDoNotHoldUpAStop(t *testing.T) {
	st := newStage(1, nil)
	member, asking, silent := st.enter(0), st.enter(0), st.enter(0)
	member.say(`{"cmd":"add_group","group_id":"0"}`)
	st.settle()
	st.hub.stopping.Store(true)
	member.say(`{"cmd":"add_group","group_id":"0","id":1}`)
	member.heard(t, `{"id":1,"ok":true}`)
	asking.say(`{"cmd":"add_group","group_id":"0","id":1}`)
	asking.heard(t, `"code":"stopping"`)
	silent.say(`{"cmd":"add_group","group_id":"1"}`)
	silent.heard(t, "\x03\xe9")
	if depth := st.hub.Snapshot().Total().LaneDepth; depth != 0 {
		t.Errorf("in the lanes: got %d, want nothing", depth)
	}
}

func TestAServerWhoseEngineHasEndedStopsAtOnce(t *testing.T) {
	s, err := Start(Config{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	port, _ := s.Hub().NewPort()
	s.handler.engineStop()
	<-s.Done()
	if s.Err() == nil {
		t.Error("Err: got nil, want why the engine ended")
	}
	_ = s.Stop(context.Background(), nil) // must not wait for a context that never ends
	if _, err := allClients(context.Background(), s.Hub()); err == nil {
		t.Error("Clients: got nil, want an error")
	}
	if _, err := port.Say(context.Background(), "g", Said{}); err == nil {
		t.Error("Say: got nil, want an error")
	}
}

func TestAStoppingServerClosesItsClientsInSlices(t *testing.T) {
	st := newStage(1, nil)
	st.hub.clientsMax.Store(1 << 20)
	const clients = 3*closesPerTurn + 1
	for range clients {
		st.enter(0)
	}
	s := st.hub.shards[0]
	s.beginStop()
	turns := 0
	for still := clients; still > 0; turns++ {
		before := still
		s.kicked = false
		s.woken()
		still = 0
		for _, c := range s.clients {
			if c.state == stateOpen {
				still++
			}
		}
		if before-still > closesPerTurn {
			t.Fatalf("one turn closed %d clients, want at most %d", before-still, closesPerTurn)
		}
	}
	if turns != 4 {
		t.Errorf("turns: got %d, want 4", turns)
	}
}

// laggard takes everything into a queue that empties when the test says so.
type laggard struct {
	stageConn
	queued int
}

func (c *laggard) OutboundBuffered() int { return c.queued }

func TestAStopWaitsForWhoStillTakesItsLastBytes(t *testing.T) {
	st := newStage(1, nil)
	s := st.hub.shards[0]
	cuts := 0
	s.env.cut = func(c conn) {
		cuts++
		s.closed(c.(*laggard).client)
	}
	c := &laggard{}
	c.shard = s
	st.hub.admit()
	c.client = s.opened(c)
	s.traffic(c.client, []byte(simRequest))
	c.queued = 1 << 20
	s.beginStop()
	wait := func(ticks uint32) {
		for range ticks {
			st.hub.beat()
			st.settle()
		}
	}
	s.woken()
	wait(10 * s.bounds.closeTicks)
	if cuts != 0 {
		t.Errorf("while bytes wait for it and the stop's time is not over: got %d cuts, want none", cuts)
	}
	c.queued = 0
	wait(1)
	if cuts != 0 || c.client.end != endOurs {
		t.Errorf("as soon as it has taken all: got %d cuts, our direction shut: %v, want none and true", cuts, c.client.end == endOurs)
	}
	wait(stopCloseTicks)
	if cuts != 1 {
		t.Errorf("once it has taken all and does not end the connection: got %d cuts, want 1", cuts)
	}
}

// A sleeping phone takes the Close frame and never answers: an operator does not wait for it as long as a server that runs does.
func TestAStopCutsWhoDoesNotAnswerItsCloseFrameSooner(t *testing.T) {
	st := newStage(1, nil)
	s := st.hub.shards[0]
	early, late := st.enter(0), st.enter(0)
	s.close(early.client, dialect.CauseStopping) // before the stop, with all the time that an end has
	s.woken()
	s.beginStop()
	s.woken()
	for range stopCloseTicks - 1 {
		st.hub.beat()
		st.settle()
	}
	if early.closed || late.closed {
		t.Errorf("before a second has passed: cut: %v and %v, want neither", early.closed, late.closed)
	}
	st.hub.beat()
	st.settle()
	if !early.closed || !late.closed {
		t.Errorf("a second after the Close frame: cut: %v and %v, want both", early.closed, late.closed)
	}
	if got := st.hub.Snapshot().Total().EndsCut; got != 2 {
		t.Errorf("ends_cut: got %d, want 2", got)
	}
}

// Behind a socket that was handed in nobody is refused: whoever was accepted before the stop gets its answer and its Close frame.
func TestAStopOnASocketThatWasHandedInAnswersWhoIsInTheHandshake(t *testing.T) {
	for _, handedIn := range []bool{true, false} {
		st := newStage(1, nil)
		st.hub.handedIn = handedIn
		s := st.hub.shards[0]
		half, after := &stageConn{shard: s}, &stageConn{shard: s}
		st.hub.admit()
		half.client = s.opened(half)
		s.traffic(half.client, []byte(simRequest[:20]))
		st.hub.untold.Store(1)
		st.hub.refuseAll()
		s.beginStop()
		s.woken()
		st.settle()
		select {
		case <-st.hub.told:
		default:
			t.Errorf("handed in: %v: a client that has sent no request holds up those that wait for the addresses", handedIn)
		}
		_, why, admitted := s.judge(netip.Addr{})
		if admitted != handedIn {
			t.Errorf("handed in: %v: a connection that was accepted before: admitted: %v (%s), want %v", handedIn, admitted, turnedAwayNames[why], handedIn)
		}
		if !handedIn {
			half.heard(t, "HTTP/1.1 503")
			continue
		}
		after.client = s.opened(after)
		s.traffic(half.client, []byte(simRequest[20:]))
		s.traffic(after.client, []byte(simRequest))
		st.settle()
		for _, c := range []*stageConn{half, after} {
			if out := string(c.out); !strings.HasPrefix(out, "HTTP/1.1 101") || !strings.Contains(out, "\x88") || !strings.Contains(out, "\x03\xe9") {
				t.Errorf("got %q, want 101 and then a Close frame with 1001", out)
			}
		}
	}
}

// systemd starts the next server when this one has ended, so a browser's spare connection, which sends nothing, may not hold it up.
func TestAStopOnASocketThatWasHandedInWaitsASecondForWhoSendsNoRequest(t *testing.T) {
	st := newStage(1, nil)
	st.hub.handedIn = true
	s := st.hub.shards[0]
	connect := func() *stageConn {
		c := &stageConn{shard: s}
		st.hub.admit()
		c.client = s.opened(c)
		return c
	}
	idle, half, justInTime := connect(), connect(), connect()
	s.traffic(half.client, []byte(simRequest[:20]))
	st.hub.refuseAll()
	st.hub.untold.Store(1)
	s.beginStop()
	st.settle()
	behind := connect() // was accepted before, and is opened only now
	pass := func(ticks int) {
		for range ticks {
			st.hub.beat()
			s.woken()
			st.settle()
		}
	}
	pass(stopCloseTicks - 1)
	s.traffic(justInTime.client, []byte(simRequest))
	for _, c := range []*stageConn{idle, half, behind} {
		if len(c.out) > 0 || c.closed {
			t.Errorf("before a second has passed: got %q, closed: %v, want that its request is waited for", c.out, c.closed)
		}
	}
	pass(1)
	for _, c := range []*stageConn{idle, half, behind} {
		if out := string(c.out); !strings.HasPrefix(out, "HTTP/1.1 503") || !strings.Contains(out, "Retry-After: ") || !c.closed {
			t.Errorf("after a second without a request: got %q, closed: %v, want 503 with Retry-After and the end", out, c.closed)
		}
	}
	if out := string(justInTime.out); !strings.HasPrefix(out, "HTTP/1.1 101") || !strings.Contains(out, "\x03\xe9") {
		t.Errorf("a request within the second: got %q, want 101 and then a Close frame with 1001", out)
	}
	if got := st.hub.Snapshot().Total(); got.RefusedClientsBy["stopping"] != 3 || got.Handshakes["refused"] != 3 {
		t.Errorf("turned away: got %d because of the stop, %d handshakes, want 3 and 3", got.RefusedClientsBy["stopping"], got.Handshakes["refused"])
	}
	pass(stopCloseTicks)
	if n := st.hub.connections.Load(); n != 0 {
		t.Errorf("connections: got %d, want none: the stop has nobody to wait for", n)
	}
}

func TestWhoWaitsForTheAddressesIsToldAlsoWhenTheTimeIsOver(t *testing.T) {
	s, err := Start(Config{Loops: 2})
	if err != nil {
		t.Fatal(err)
	}
	joinAll(t, s, 3)
	over, cancel := context.WithCancel(context.Background())
	cancel()
	told := 0
	tell := func() {
		told++
		l, err := net.Listen("tcp", s.Addr().String())
		if err != nil {
			t.Errorf("the address when Stop has told: %v, want it free", err)
			return
		}
		l.Close()
	}
	if err := s.Stop(over, tell); !errors.Is(err, context.Canceled) || told != 1 {
		t.Errorf("Stop: got %v and told %d times, want %v and once", err, told, context.Canceled)
	}
	if err := s.Stop(within(t), tell); err != nil || told != 2 {
		t.Errorf("a second Stop: got %v and told %d times, want nil and once more", err, told)
	}
}
