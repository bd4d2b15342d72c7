package loop

import (
	"bytes"
	"fmt"
	"strings"

	"ringcast/wsproto"
)

// actor is a peer of the simulation: it says random things and holds what it hears against the promises.
type actor struct {
	w       *world
	index   int
	sock    *socket
	stalled bool // does not read
	life    int  // counts connections

	toServer  []byte
	heard     []byte // read, not parsed yet
	loud      bool   // speaks the dialect of that name
	greeted   bool
	upgraded  bool
	offers    bool // it has offered compression
	deflates  bool // which was accepted
	readBytes int

	nextID  int
	asked   map[int]*simCommand // commands with an id that await their answer
	joined  map[string]*simMembership
	got     map[string]map[int]bool   // per group: message numbers heard
	lastOf  map[string]map[string]int // per group and sender: the last heard, for FIFO
	saw     map[string][]int          // per group: message numbers in the order heard
	plain   []*simMessage             // sent without an id in this life
	log     []simHeard                // messages and gaps in the order heard
	missed  uint64                    // messages, by the gaps heard
	closing bool                      // a Close frame was heard
	tracks  map[string]*simTrack      // loud: per group, what it knows of numbers
	unheard map[string]bool           // loud: groups that it has joined without an id, so nobody says when that was decided
	places  map[string]simPlace       // loud: per group, up to where it has heard it, in all lives
	killed  bool                      // it broke off itself
	said    bool                      // it has sent a Close frame

	plainText []byte // it speaks plain HTTP: all that it sends, from its request on

	removedFrom map[string]bool // groups out of which a backend has taken it
	leftOut     map[string]int  // messages of each group that leave it out in this life

	tokenEnds int64 // the latest end of the tokens that were accepted, in Unix seconds; 0: none was
	shows     int64 // the earliest of those that it has sent, likewise
}

// simHeard is a message that was heard, or a gap if the message is nil.
type simHeard struct{ message *simMessage }

// simMembership is what a peer knows of its own membership.
type simMembership struct {
	sentAt   int  // step of the add_group, 0: none
	ackedAt  int  // step of its answer, 0: none yet
	healedAt int  // step at which it was last answered that it has missed nothing, though it was out of the group
	leaving  int  // leave_groups under way
	left     bool // a leave was answered, and no add_group was sent since
	unsure   bool // an add_group without an id, or a leave_group that was refused: member or not, nobody says
	silent   bool // an add_group without an id
	asks     int  // add_groups with an id under way
	refused  bool // an add_group was refused, so what was sent behind it need not come back
	company  simCompany
	removed  bool           // it was taken out of the group by a backend
	before   *simMembership // the one that it has said to leave; nil: this is the first
	begins   uint64         // loud: it was told this position as it joined, where resumes; 0: it was told none
	resumes  bool           // loud: it has joined with a position, or one that it has said to leave has: that may be what is answered
	parted   int            // step of the answer to an add_group behind which it was taken out of the group, 0: it was not, or has joined again
}

// out says that the peer is not a member, as far as it has been told.
func (m *simMembership) out() bool {
	return !m.unsure && m.leaving == 0 && m.asks == 0 && m.ackedAt == 0 && (m.refused || m.left || m.parted > 0)
}

// asked says that the peer has asked to be a member, or may still be one.
func (m *simMembership) asked() bool { return m.unsure || m.asks > 0 || m.ackedAt > 0 || m.refused }

type simCommand struct {
	verb, group string
	message     *simMessage
	membership  *simMembership // send_to_group: nil if it has never asked for one
	past        *simAsk        // what it asked of the past; nil: nothing
	hears       bool           // add_group: it asks who comes and goes
	acked       int            // presence: step of the answer by which it was a member
	told        int            // presence: how much its membership had heard of that
	clean       bool           // add_group: there is no other that may be the reason of the answer
	tick        uint32         // when it was said
	ends        int64          // auth: when its token ends, in Unix seconds
}

// simMessage is a message that somebody published.
type simMessage struct {
	number   int
	text     string
	group    string
	sender   string
	from     *actor
	life     int
	issuedAt int
	accepted bool     // the answer or the port said so
	patient  bool     // published by who waits for room
	refused  error    // by the orderer: ErrUnavailable, or ErrUnconfirmed
	said     *simSaid // published by who is told what became of it; nil: by others
	tick     uint32   // when it was said
	seq      uint64   // its number, by the answer; 0: not known

	except     *actor // who does not hear it, in that life of his; nil: all hear it
	exceptLife int
}

func (w *world) newMessage(from *actor, group string) *simMessage {
	m := &simMessage{number: len(w.sent), group: group, from: from, issuedAt: w.step, sender: "port", tick: w.hub.clock.Load()}
	if from != nil {
		m.sender, m.life = fmt.Sprintf("actor-%d-%d", from.index, from.life), from.life
	}
	m.text = fmt.Sprintf("m|%d|%s|%s|%s", m.number, group, m.sender, strings.Repeat("x", w.rng.IntN(60)))
	if w.chance(2) {
		m.text += strings.Repeat("y", 900)
	}
	w.sent = append(w.sent, m)
	return m
}

func (w *world) newActor(index int) *actor {
	a := &actor{w: w, index: index, places: map[string]simPlace{}}
	a.connect()
	return a
}

const simRequest = "GET / HTTP/1.1\r\nHost: sim\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

func (a *actor) connect() {
	a.flushOrder()
	if a.life > 0 {
		a.w.missed += a.missed
		a.w.uncounted = a.w.uncounted || !a.heardAll()
	}
	life, wasLoud := a.life+1, a.loud
	*a = actor{w: a.w, index: a.index, life: life, tracks: map[string]*simTrack{}, unheard: map[string]bool{}, places: a.places, leftOut: map[string]int{}}
	a.asked, a.joined = map[int]*simCommand{}, map[string]*simMembership{}
	a.got, a.lastOf, a.saw = map[string]map[int]bool{}, map[string]map[string]int{}, map[string][]int{}
	a.sock = a.w.openSocket()
	a.toServer = a.w.request(a.sock.client)
	if a.w.secured && a.w.chance(50) {
		a.overTLS()
	} else if !a.w.calm && a.w.chance(2) {
		a.plainHTTP()
		return
	}
	a.toServer, a.offers = a.w.offers(a.toServer)
	if a.loud = a.w.loud && a.w.chance(50) || wasLoud && a.w.chance(80); a.loud {
		a.toServer = bytes.Replace(a.toServer, []byte("GET / "), []byte("GET /loud "), 1)
		for _, group := range a.w.groups {
			if _, was := a.places[group]; was && a.w.chance(80) {
				a.join(group, true)
			}
		}
	}
}

// request is what a peer begins with. Behind a proxy that is trusted, the proxy says whom it speaks for.
func (w *world) request(c *client) []byte {
	from := c.source()
	if !from.Trusted() {
		return []byte(simRequest)
	}
	name := fmt.Sprintf("192.0.2.%d", w.rng.IntN(8))
	forwarded := fmt.Appendf(nil, "%sX-Forwarded-For: %s\r\n\r\n", strings.TrimSuffix(simRequest, "\r\n"), name)
	switch {
	case !from.AwaitsProxy():
		return forwarded
	case w.chance(20):
		return append([]byte("PROXY UNKNOWN\r\n"), forwarded...)
	default:
		return fmt.Appendf(nil, "PROXY TCP4 %s 10.0.0.1 1 2\r\n%s", name, simRequest)
	}
}

// flushOrder hands over what this life saw, for the check of the total order.
func (a *actor) flushOrder() {
	for g, saw := range a.saw {
		a.w.order[g] = append(a.w.order[g], saw)
	}
	a.saw = nil
}

func (a *actor) live() bool { return a.sock != nil && !a.sock.closed && !a.killed && !a.said }

// act says something random.
func (a *actor) act() {
	if !a.live() || len(a.toServer) > 5000 {
		return
	}
	group := a.w.groups[a.w.rng.IntN(len(a.w.groups))]
	switch n := a.w.rng.IntN(100); {
	case n < 25:
		a.join(group, a.w.chance(80))
	case a.w.bearing && a.w.chance(8):
		a.auth()
	case n < 28 && a.loud:
		a.readHistory(group)
	case n < 30 && a.loud:
		a.askWho(group)
	case n < 35:
		a.leave(group, a.w.chance(80))
	case n < 75:
		for range 1 + a.w.rng.IntN(3) {
			a.publish(group, a.w.chance(80))
		}
	case n < 80: // a burst
		for range 40 {
			a.publish(group, true)
		}
	case n < 85: // a message of two fragments with a ping between
		a.fragmented(`{"cmd":"nothing"}`)
	case n < 90:
		a.say(`[1,2,"no command"]`)
	case n < 92 && !a.w.calm && a.w.chance(a.w.restless):
		a.hangUp()
	case n < 93 && !a.w.calm && a.w.chance(20):
		a.raw(map[bool]byte{false: 0xC1, true: 0xB1}[a.offers], "rsv") // a protocol error
		a.said = true
	default:
		a.join(group, true)
		a.publish(group, true)
	}
}

func (a *actor) say(text string) {
	if a.deflates && a.w.deflating.chance(50) {
		a.w.deflating.said++
		a.raw(0xC1, deflated(text))
		return
	}
	a.raw(0x81, text)
}

// fragmented is a message of two fragments.
func (a *actor) fragmented(text string) {
	first := byte(0x01)
	if a.deflates && a.w.deflating.chance(50) {
		first, text = 0x41, deflated(text)
	}
	border := len(text) - 2
	a.raw(first, text[:border])
	a.raw(0x89, "ping")
	a.raw(0x80, text[border:])
}

func (a *actor) raw(first byte, payload string) {
	from := len(a.toServer)
	a.toServer = wsproto.AppendMaskedFrame(a.toServer, wsproto.OpText, [4]byte{9, 8, 7, byte(a.nextID)}, []byte(payload))
	a.toServer[from] = first
}

func (a *actor) ask(c *simCommand, extra string, withID bool) {
	id := ""
	if withID {
		a.nextID++
		a.asked[a.nextID] = c
		id = fmt.Sprintf(`,"id":%d`, a.nextID)
	}
	a.say(fmt.Sprintf(`{"cmd":%q,"group_id":%q%s%s}`, c.verb, c.group, extra, id))
}

func (a *actor) membership(group string) *simMembership {
	m := a.joined[group]
	if m == nil {
		m = &simMembership{}
		a.joined[group] = m
	}
	return m
}

func (a *actor) join(group string, withID bool) {
	c := &simCommand{verb: "add_group", group: group, clean: a.mayJoinCleanly(group), tick: a.w.hub.clock.Load()}
	m := a.membership(group)
	if m.sentAt == 0 {
		m.sentAt, m.ackedAt = a.w.step, 0
	}
	if c.clean {
		m.company = simCompany{first: true} // what came until the last leave was answered does not count
	}
	m.left = false
	m.unsure = m.unsure || !withID
	m.silent = m.silent || !withID
	if withID {
		m.asks++
	}
	c.membership = m
	if !withID {
		*a.track(group), a.unheard[group] = simTrack{}, true // what comes next is not told
	}
	more := ""
	if _, was := a.places[group]; a.loud && (was && a.w.chance(90) || a.w.chance(10)) {
		c.past, more = a.comeBack(group)
	}
	m.resumes = m.resumes || c.past != nil || m.before != nil && m.before.resumes
	if c.hears = a.loud && a.w.chance(60); c.hears {
		more += `,"hears":true`
	}
	a.ask(c, more, withID)
}

func (a *actor) leave(group string, withID bool) {
	// From now on nothing is owed of this group, until a further add_group; what comes before the answer may come.
	next := &simMembership{before: a.membership(group)}
	a.joined[group] = next
	*a.track(group) = simTrack{} // what comes next is not told
	if withID {
		next.leaving++
	}
	a.ask(&simCommand{verb: "leave_group", group: group, membership: next}, "", withID)
}

func (a *actor) leaveAll() {
	for _, g := range a.w.groups {
		if a.live() {
			a.leave(g, true)
		}
	}
}

func (a *actor) publish(group string, withID bool) {
	m := a.w.newMessage(a, group)
	if !withID {
		a.plain = append(a.plain, m)
	}
	a.ask(&simCommand{verb: "send_to_group", group: group, message: m, membership: a.joined[group]}, fmt.Sprintf(`,"message":%q`, m.text), withID)
}

// hangUp says goodbye as a browser does.
func (a *actor) hangUp() {
	if a.live() {
		a.raw(0x88, "\x03\xe8")
		a.said = true
	}
}

// die breaks off: the server hears of it now, or when it writes.
func (a *actor) die() {
	if a.sock.closed {
		return
	}
	a.breakOff()
	if a.w.chance(50) {
		a.sock.close()
	}
}

func (a *actor) breakOff() {
	a.killed = true
	a.toServer = nil
	a.sock.kernel = nil
	a.sock.broken = true
}

// deliver brings up to n bytes to the server.
func (a *actor) deliver(n int) {
	n = min(n, len(a.toServer))
	if n == 0 || a.sock.closed {
		return
	}
	chunk := append([]byte(nil), a.toServer[:n]...)
	a.toServer = a.toServer[n:]
	for _, p := range a.wrap(chunk) {
		if !a.sock.closed {
			a.w.enter(a.sock.shard).traffic(a.sock.client, p)
		}
	}
}
