package loop

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"ringcast/loop/assert"
	"ringcast/wsproto"
)

// What the simulation cannot show, because there a callback is never interrupted: loops that really run at the same
// time, with lanes so small that everything waits for room all the time. Each round is a burst that has to be answered in
// full before the next begins, so that nothing that is lost is mended by later traffic.
func TestNothingStaysBehindWhenLoopsMeetInFullLanes(t *testing.T) {
	const loops, clients = 3, 40
	rounds := 4000
	if assert.On {
		rounds = 200
	}
	b := defaultBounds()
	b.laneSlots = 2
	st := newStress(t, loops, clients, b)
	for round := range rounds + 1 {
		st.answered(round)
		if round == rounds {
			return
		}
		st.unanswered.Add(loops * clients)
		for _, l := range st.loops {
			l.jobs <- func() {
				for _, c := range l.clients {
					l.say(c, fmt.Sprintf(`{"cmd":"send_to_group","group_id":"0g","message":"%d","id":%d}`, round, round))
					l.listen()
				}
			}
		}
	}
}

// Each of a port's messages is held back until all loops have taken the one before.
func TestWhatIsHeldBackGoesOnWhenLoopsHaveTakenWhatIsInFlight(t *testing.T) {
	const loops, each = 3, 3
	rounds := 20_000
	if assert.On {
		rounds = 500
	}
	b := defaultBounds()
	b.flightBytes, b.flightMin = 1, 1
	st := newStress(t, loops, 1, b)
	port, err := st.hub.NewPort()
	if err != nil {
		t.Fatal(err)
	}
	for round := range rounds + 1 {
		st.answered(round)
		if round == rounds {
			return
		}
		st.unanswered.Add(loops * each)
		for range each {
			if err := insist(port, "0g", []byte(`counts as an answer: "ok":true`)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// stress is a hub whose loops run at the same time, with clients that are all members of the group "0g", and its first home only.
type stress struct {
	t          *testing.T
	hub        *Hub
	loops      []*stressLoop
	unanswered sync.WaitGroup
}

func newStress(t *testing.T, loops, clients int, b bounds) *stress {
	h := newHub(loops, b)
	st := &stress{t: t, hub: h}
	h.clientsMax.Store(int64(loops * clients))
	h.homes.Hash = func(string) uint64 { return 0 }
	started := time.Now()
	for _, s := range h.shards {
		l := &stressLoop{shard: s, woken: make(chan struct{}, 1), jobs: make(chan func()), over: make(chan struct{})}
		s.env = env{
			now:   func() int64 { return int64(time.Since(started)) },
			wake:  func() { l.woken <- struct{}{} },
			kick:  func() { l.kicked = true },
			yield: func() {}, shut: func(int) {}, cut: func(conn) {},
			panic: func(p any) { t.Errorf("panic: %v", p) },
		}
		st.loops = append(st.loops, l)
		go l.run()
	}
	t.Cleanup(func() {
		for _, l := range st.loops {
			close(l.over)
		}
	})
	st.unanswered.Add(loops * clients)
	for _, l := range st.loops {
		l.jobs <- func() {
			for range clients {
				c := &stressConn{answered: st.unanswered.Done}
				h.admit()
				c.client = l.shard.opened(c)
				l.shard.traffic(c.client, []byte(simRequest))
				l.say(c, `{"cmd":"add_group","group_id":"0g","id":0}`)
				l.clients = append(l.clients, c)
			}
		}
	}
	return st
}

// answered returns when nothing is unanswered.
func (st *stress) answered(round int) {
	st.t.Helper()
	done := make(chan struct{})
	go func() {
		st.unanswered.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		homes := st.hub.homes
		state := homes.Home(0)
		st.t.Fatalf("round %d: something was never answered; home 0: idle %v, %d items on the way to it, to the loops %d %d %d", round,
			state.Idle(), state.Waiting(), homes.Depth(0), homes.Depth(1), homes.Depth(2))
	}
}

// stressLoop is a goroutine that does what an event loop does.
type stressLoop struct {
	shard   *shard
	clients []*stressConn
	woken   chan struct{}
	kicked  bool
	jobs    chan func()
	over    chan struct{}
}

func (l *stressLoop) run() {
	for {
		l.listen()
		select {
		case <-l.woken:
			l.shard.woken()
		case f := <-l.jobs:
			f()
		case <-l.over:
			return
		}
	}
}

// listen takes what has come meanwhile, without waiting.
func (l *stressLoop) listen() {
	for {
		select {
		case <-l.woken:
			l.shard.woken()
			continue
		default:
		}
		if !l.kicked {
			return
		}
		l.kicked = false
		l.shard.kickedAwake()
	}
}

func (l *stressLoop) say(c *stressConn, text string) {
	l.shard.traffic(c.client, wsproto.AppendMaskedFrame(nil, wsproto.OpText, [4]byte{}, []byte(text)))
}

// stressConn takes everything and counts the answers.
type stressConn struct {
	fd       int
	client   *client
	answered func()
}

func (c *stressConn) Write(p []byte) (int, error) {
	for range bytes.Count(p, []byte(`"ok":true`)) {
		c.answered()
	}
	return len(p), nil
}
func (c *stressConn) OutboundBuffered() int { return 0 }
func (c *stressConn) Fd() int               { return c.fd }
