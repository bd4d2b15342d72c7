package loop

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"ringcast/loop/assert"
)

// Loops that run at the same time and serve each other's shards. What a client is sent is kept without a lock, and so is the note that
// its descriptor is closed: under the race detector a second holder of a shard is a race. The kernel of these clients takes a part
// now and then, or nothing.
func TestLoopsThatServeEachOthersShardsAtTheSameTime(t *testing.T) {
	for _, slots := range []int{2, 256} {
		t.Run(fmt.Sprintf("lanes of %d", slots), func(t *testing.T) { serveEachOther(t, slots) })
	}
}

func serveEachOther(t *testing.T, slots int) {
	const loops, each, groups = 3, 12, 17 // groups and loops have no common divisor: the members of a group are on several loops
	rounds := 10_000
	if assert.On {
		rounds = 1000
	}
	b := defaultBounds()
	b.laneSlots = slots
	st := newStress(t, loops, 0, b)
	st.hub.homes.Hash = func(group string) uint64 { return uint64(len(group)) }
	var all, visitors []*borrowedConn
	for n := range loops * each {
		all = append(all, newBorrowedConn(st, len(all), n%groups))
	}
	for range loops {
		visitors = append(visitors, nil) // of the moment; by loop
	}
	conns := make([]*borrowedConn, len(all)+loops) // by descriptor; a visitor's is used again and again
	copy(conns, all)
	st.hub.clientsMax.Store(int64(len(conns)))
	joined := make(chan struct{})
	for i, l := range st.loops {
		l.shard.env.send = func(fd int, p []byte) sent { return conns[fd].send(p) }
		l.jobs <- func() {
			for n := i; n < len(all); n += loops {
				all[n].enter(l)
			}
			joined <- struct{}{}
		}
	}
	for range st.loops {
		<-joined
	}
	for round := range rounds + 1 {
		st.answered(round)
		if round == rounds {
			break
		}
		quiet := rand.New(rand.NewPCG(uint64(round), uint64(slots))).IntN(loops + 1) // a loop that says nothing, and sleeps
		for n, c := range all {
			if n%loops != quiet {
				st.unanswered.Add(c.audience(len(all), groups))
			}
		}
		for i, l := range st.loops {
			l.jobs <- func() {
				if v := visitors[i]; v != nil && round%3 == 0 {
					l.shard.closed(v.client)
					v.closed, visitors[i] = true, nil
				} else if v == nil && round%3 == 1 {
					fd := len(all) + i
					conns[fd] = newBorrowedConn(st, fd, round%groups)
					conns[fd].visits, visitors[i] = true, conns[fd]
					conns[fd].enter(l)
				}
				for n := i; n < len(all) && i != quiet; n += loops {
					l.say(&all[n].stressConn, fmt.Sprintf(`{"cmd":"send_to_group","group_id":%q,"message":"%d.%d;"}`, all[n].group, n, round))
					l.listen()
				}
			}
		}
	}
	for _, l := range st.loops {
		done := make(chan struct{})
		l.jobs <- func() { close(done) }
		<-done
	}
	checkStreams(t, all)
	total := st.hub.Snapshot().Total()
	if t.Logf("%d deliveries, %d borrows, %d passes", total.Deliveries, total.Borrows, total.Passes); total.Borrows == 0 || total.Panics != 0 {
		t.Errorf("got %d borrows, %d panics, want some and none", total.Borrows, total.Panics)
	}
}

// borrowedConn is a client that loops other than its own send to.
type borrowedConn struct {
	stressConn
	t      testing.TB
	group  string
	rng    *rand.Rand
	heard  []byte
	closed bool
	loop   *stressLoop
	queued []byte // gnet's outbound buffer, while the peer takes nothing
	stuck  bool
	visits bool // comes and goes; what it hears is not counted
}

func newBorrowedConn(st *stress, fd, group int) *borrowedConn {
	c := &borrowedConn{t: st.t, group: strings.Repeat("g", 1+group), rng: rand.New(rand.NewPCG(uint64(fd), 1))}
	c.fd, c.answered = fd, st.unanswered.Done
	return c
}

// audience is how many clients hear what this one says.
func (c *borrowedConn) audience(clients, groups int) int {
	return (clients - (len(c.group) - 1) + groups - 1) / groups
}

func (c *borrowedConn) enter(l *stressLoop) {
	c.loop = l
	l.shard.hub.admit()
	c.client = l.shard.opened(c)
	l.shard.traffic(c.client, []byte(simRequest))
	l.say(&c.stressConn, fmt.Sprintf(`{"cmd":"add_group","group_id":%q}`, c.group))
	for c.client.inline.standing != standingMember {
		l.listen()
	}
}

func (c *borrowedConn) send(p []byte) sent {
	if c.closed {
		c.t.Error("a send to a descriptor that is closed")
	}
	switch n := c.rng.IntN(20); {
	case c.stuck || n == 0:
		return sent{errno: syscall.EAGAIN}
	case n == 1:
		p = p[:1+c.rng.IntN(len(p))]
	}
	c.take(p)
	return sent{n: len(p)}
}

// Write is gnet's, and begins to queue now and then; the loop flushes the queue when it has nothing else to do.
func (c *borrowedConn) Write(p []byte) (int, error) {
	if !c.stuck && c.rng.IntN(4) == 0 {
		c.stuck = true
		go func() {
			select {
			case c.loop.jobs <- c.flush:
			case <-c.loop.over:
			}
		}()
	}
	if c.stuck {
		c.queued = append(c.queued, p...)
	} else {
		c.take(p)
	}
	return len(p), nil
}

func (c *borrowedConn) OutboundBuffered() int { return len(c.queued) }

func (c *borrowedConn) flush() {
	c.take(c.queued)
	c.queued, c.stuck = nil, false
}

func (c *borrowedConn) take(p []byte) {
	c.heard = append(c.heard, p...)
	if !c.visits {
		for range bytes.Count(p, []byte(";")) {
			c.answered()
		}
	}
}

// texts are the messages that a client has heard.
func (c *borrowedConn) texts(t *testing.T) (texts []string) {
	_, in, _ := bytes.Cut(c.heard, []byte("\r\n\r\n"))
	for len(in) > 0 {
		if in[0] != 0x81 || len(in) < 2+int(in[1]) {
			t.Fatalf("client %d heard %q, which is no frame", c.fd, in[:min(len(in), 40)])
		}
		texts = append(texts, string(in[2:2+int(in[1])]))
		in = in[2+int(in[1]):]
	}
	return texts
}

// checkStreams: all members of a group have heard the same, and each sender's messages in its order.
func checkStreams(t *testing.T, all []*borrowedConn) {
	t.Helper()
	first := map[string][]string{}
	for _, c := range all {
		texts := c.texts(t)
		if first[c.group] == nil {
			first[c.group] = texts
		}
		if !slices.Equal(texts, first[c.group]) {
			t.Errorf("client %d heard %d messages in another order, or other ones, than the first of its group, which heard %d", c.fd, len(texts), len(first[c.group]))
		}
		last := map[int]int{}
		for _, text := range texts {
			var sender, round int
			if _, err := fmt.Sscanf(text, "%d.%d;", &sender, &round); err != nil {
				t.Fatalf("client %d heard %q", c.fd, text)
			}
			if before, any := last[sender]; any && round <= before {
				t.Errorf("client %d heard round %d of %d after %d", c.fd, round, sender, before)
			}
			last[sender] = round
		}
	}
}
