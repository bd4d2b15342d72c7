package client

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// opening is a generator's state of the phase in which its connections connect, upgrade and join.
type opening struct {
	begun   int // conns[:begun] have been started
	oldest  int // conns[:oldest] are done, ready or failed
	pending int // between connect and the handshake's answer, or waiting for a join's reply
	probing int // joined without a reply, waiting for a probe

	firstAt, lastAt int64 // when the first was started and the last became ready
	deadline        int64 // for the whole phase
	any             bool  // one was ready once, in whatever phase
	nextExpiry      int64
	nextProbe       int64
	probeUntil      int64
}

const (
	// pendingMax keeps a server's accept queue (as short as 128) from overflowing: a dropped SYN is sent again after a
	// second, and that would measure the kernel's timer.
	pendingMax = 128
	// BeginMax is how many clients are begun in a turn, so that answers are read in between.
	BeginMax = 32

	// Timeout is from connect to the proof of the join, unless the roster's patience is longer.
	Timeout     = 10 * time.Second
	expiryEvery = 100 * time.Millisecond
	probeEvery  = 200 * time.Millisecond

	// The whole phase is bounded too: 5 ms per client, enough for a slow machine.
	openingBase      = 30 * time.Second
	openingPerClient = 5 * time.Millisecond
)

// Open returns the step that makes all connections that have not begun yet ready, or dead with a counted cause.
func (g *Generator) Open() Step {
	o := &g.opening
	*o = opening{firstAt: Clock(), begun: o.begun, oldest: o.begun, any: o.any}
	o.deadline = g.roster.until(o.firstAt) + int64(openingBase) + int64(len(g.conns))*int64(openingPerClient)
	return func(now int64) (int64, bool) {
		for i := 0; i < BeginMax && o.begun < len(g.conns) && g.CanBegin(); i++ {
			g.begin(&g.conns[o.begun], now)
		}
		if now >= o.nextExpiry {
			o.nextExpiry = now + int64(expiryEvery)
			g.expire(now)
		}
		if o.begun < len(g.conns) && g.CanBegin() {
			return now, false
		}
		if o.pending == 0 && o.begun == len(g.conns) {
			if o.probing == 0 {
				return now, true
			}
			g.probe(now)
		}
		return now + int64(expiryEvery), false
	}
}

// CanBegin says whether another client may be begun, or has to wait because too many are pending.
func (g *Generator) CanBegin() bool {
	o := &g.opening
	if g.target.TLS.Resume && g.sessions.last == nil && !o.any {
		return o.pending == 0 // the first one gets a session for all others
	}
	return o.pending < g.pendings
}

// Reserve makes so many places for clients that are begun one by one, by Begin. The generator has no other clients.
func (g *Generator) Reserve(places int) { g.conns = make([]Conn, places) }

// Begin puts a new client at a place whose last one is dead, and starts to connect it. It joins nothing by itself: it is
// ready when the handshake is through. With half it sends half a request, and never the rest; with TLS every second of those sends
// half a hello.
func (g *Generator) Begin(place, number, group int, half bool, now int64) {
	c := &g.conns[place]
	*c = Conn{fd: -1, Number: int32(number), At: int32(place), Group: int32(group), Member: NotMember}
	switch {
	case half && g.target.TLS.On && number%2 == 0:
		c.half = halfHello
	case half:
		c.half = halfRequest
	}
	g.begin(c, now)
}

// BeginAt is Begin for a client of one of several servers, see Serve.
func (g *Generator) BeginAt(place, number, server int, now int64) {
	c := &g.conns[place]
	*c = Conn{fd: -1, Number: int32(number), At: int32(place), Member: NotMember, Server: int32(server)}
	g.begin(c, now)
}

func (g *Generator) begin(c *Conn, now int64) {
	g.opening.begun++
	c.born, c.state = now, stateConnecting
	g.opening.pending++
	fd, err := g.servers[c.Server].target.dial(int(c.Number), g.receive)
	if err != nil {
		c.fd = -1
		g.Cut(c, err.Error())
		return
	}
	c.fd, c.asked = int32(fd), true
	g.watch(c, unix.EPOLL_CTL_ADD)
}

// connected is called when connect() has succeeded or failed.
func (g *Generator) connected(c *Conn) {
	code, err := unix.GetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	if err != nil {
		g.Cut(c, fmt.Sprintf("connect: %v", err))
		return
	}
	g.ask(c, false)
	if g.servers[c.Server].config != nil {
		g.secure(c)
		return
	}
	g.request(c)
}

// request sends the request of the handshake.
func (g *Generator) request(c *Conn) {
	c.state = stateUpgrading
	request := g.servers[c.Server].upgrade.request
	if c.half == halfRequest {
		request = request[:len(request)/2]
	}
	g.Push(c, request)
}

// upgraded is called when the handshake's answer was right.
func (g *Generator) upgraded(c *Conn) {
	switch g.target.Dialect {
	case Centrifuge:
		c.state = stateGreeting
		g.SendText(c, centrifugeConnect(c.NextID()))
	case Pusher:
		c.state = stateGreeting // the server speaks first
	default:
		g.admitted(c)
	}
}

// admitted is called when c may join groups. A client that joins nothing is ready with that.
func (g *Generator) admitted(c *Conn) {
	if g.joinsOf(c) == 0 {
		g.opening.pending--
		g.ready(c)
		return
	}
	c.state = stateJoining
	if g.roster.Probe != nil {
		g.opening.pending--
		g.opening.probing++
	}
	g.join(c)
}

// join asks for the next group of c. One join is asked for at a time, so that each proof is of a known one.
func (g *Generator) join(c *Conn) {
	g.AskJoin(c, g.roster.Name(g.joining(c)), c.NextID(), g.roster.Probe == nil)
}

// AskJoin sends the command by which c joins a group; withID asks for the reply that proves it.
func (g *Generator) AskJoin(c *Conn, group string, id int, withID bool) {
	if g.target.Dialect == Pusher {
		g.SendText(c, g.target.App.subscribe(group, c.socketID, c.Number))
		return
	}
	g.SendText(c, g.target.Dialect.Join(group, id, withID))
}

// joinsOf is how many groups c joins in the opening.
func (g *Generator) joinsOf(c *Conn) int {
	switch {
	case c.Member != NotMember:
		return g.roster.Joins
	case g.sendsAsMember(c):
		return len(g.roster.Sends(int(c.Number)))
	}
	return 0
}

// sendsAsMember says that c joins groups only because it publishes to them.
func (g *Generator) sendsAsMember(c *Conn) bool { return c.sends && g.target.Dialect.SendersJoin() }

// joining is the group that c is about to join.
func (g *Generator) joining(c *Conn) int {
	if g.sendsAsMember(c) {
		return g.roster.Sends(int(c.Number))[c.joins]
	}
	return g.roster.Group(int(c.Group), int(c.joins))
}

// proved is called with the first message that a joining client receives, which has to prove the join.
func (g *Generator) proved(c *Conn, text []byte) {
	if g.roster.Probe == nil {
		if err := g.target.Dialect.CheckReply(OfJoin, g.roster.Name(g.joining(c)), text, c.lastID()); err != nil {
			g.Cut(c, err.Error())
			return
		}
		g.play.Replied(c, text, Clock())
	} else {
		group, ok := g.roster.Probe.Read(text)
		if !ok {
			g.Cut(c, "join: a message before the probe")
			return
		}
		if group != g.joining(c) {
			return // a late probe of a group that it has joined before
		}
	}
	if c.joins++; int(c.joins) < g.joinsOf(c) {
		g.join(c)
		return
	}
	if g.roster.Probe == nil {
		g.opening.pending--
	} else {
		g.opening.probing--
	}
	g.ready(c)
}

func (g *Generator) ready(c *Conn) {
	c.state = stateReady
	g.opening.lastAt, g.opening.any = Clock(), true
	g.joined.Add(1)
	g.play.Opened(c, g.opening.lastAt)
}

// left removes a connection that failed during the opening from the counts.
func (g *Generator) left(was connState) {
	if was == stateJoining && g.roster.Probe != nil {
		g.opening.probing--
		return
	}
	g.opening.pending--
}

// expire ends clients that are over their time. Connections are begun in order, so the search starts at the oldest.
func (g *Generator) expire(now int64) {
	o := &g.opening
	for o.oldest < o.begun && g.conns[o.oldest].state >= stateReady {
		o.oldest++
	}
	for i := o.oldest; i < o.begun; i++ {
		c := &g.conns[i]
		until := g.roster.until(c.born)
		cause := "connect: no answer in time"
		switch c.state {
		case stateReady, stateDead:
			continue
		case stateSecuring:
			cause = "TLS handshake: no answer in time"
		case stateUpgrading:
			cause = "handshake: no answer in time"
		case stateGreeting:
			cause = "connect: no reply to the command in time"
			if g.target.Dialect == Pusher {
				cause = "connect: the server has not said that the connection stands, in time"
			}
		case stateJoining:
			cause = g.target.Dialect.NoReply()
			if g.roster.Probe != nil {
				cause = "join: no probe came back in time"
				if until = o.probeUntil; until == 0 { // its time starts with the first probe
					until = o.deadline
				}
			}
		}
		if now >= min(until, o.deadline) {
			g.Cut(c, cause)
		}
	}
	for now >= o.deadline && o.begun < len(g.conns) {
		c := &g.conns[o.begun]
		c.state = stateConnecting
		o.begun++
		o.pending++
		g.Cut(c, "not begun: the time for all clients was over")
	}
}

// probe publishes to every group that has unproved members, by one of them: receiving it proves that the join was done, on
// any server, at the cost of one message to all. So it waits until no client is in the handshake.
func (g *Generator) probe(now int64) {
	o := &g.opening
	if now < o.nextProbe {
		return
	}
	o.nextProbe = now + int64(probeEvery)
	if o.probeUntil == 0 {
		o.probeUntil = g.roster.until(now)
	}
	asked := map[int]bool{}
	for i := range g.conns {
		c := &g.conns[i]
		if c.state != stateJoining || asked[g.joining(c)] {
			continue
		}
		group := g.joining(c)
		asked[group] = true
		send := g.target.Dialect.Send(g.roster.Name(group)) // without an id, as servers are that need probes
		text := append(send.AppendStart(nil, 0), g.roster.Probe.Text(group, now)...)
		g.SendText(c, send.AppendEnd(text))
	}
}
