package loop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
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
	killed  bool                      // it broke off itself
	said    bool                      // it has sent a Close frame
}

// simHeard is a message that was heard, or a gap if the message is nil.
type simHeard struct{ message *simMessage }

// simMembership is what a peer knows of its own membership.
type simMembership struct {
	sentAt  int  // step of the add_group, 0: none
	ackedAt int  // step of its answer, 0: none yet
	leaving int  // leave_groups under way
	left    bool // a leave was answered, and no add_group was sent since
	unsure  bool // an add_group without an id, or a leave_group that was refused: member or not, nobody says
	silent  bool // an add_group without an id
	asks    int  // add_groups with an id under way
	refused bool // an add_group was refused, so what was sent behind it need not come back
}

// out says that the peer is not a member, as far as it has been told.
func (m *simMembership) out() bool {
	return !m.unsure && m.leaving == 0 && m.asks == 0 && m.ackedAt == 0 && (m.refused || m.left)
}

type simCommand struct {
	verb, group string
	message     *simMessage
	membership  *simMembership
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
	accepted bool // the answer or the port said so
	patient  bool // published by who waits for room
}

func (w *world) newMessage(from *actor, group string) *simMessage {
	m := &simMessage{number: len(w.sent), group: group, from: from, issuedAt: w.step, sender: "port"}
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
	a := &actor{w: w, index: index}
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
	life := a.life + 1
	*a = actor{w: a.w, index: a.index, life: life}
	a.asked, a.joined = map[int]*simCommand{}, map[string]*simMembership{}
	a.got, a.lastOf, a.saw = map[string]map[int]bool{}, map[string]map[string]int{}, map[string][]int{}
	a.sock = a.w.openSocket()
	a.toServer = a.w.request(a.sock.client)
	if a.loud = a.w.loud && a.w.chance(50); a.loud {
		a.toServer = bytes.Replace(a.toServer, []byte("GET / "), []byte("GET /loud "), 1)
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
		a.raw(0x01, `{"cmd":"nothing`)
		a.raw(0x89, "ping")
		a.raw(0x80, `"}`)
	case n < 90:
		a.say(`[1,2,"no command"]`)
	case n < 92 && !a.w.calm && a.w.chance(20):
		a.hangUp()
	case n < 93 && !a.w.calm && a.w.chance(20):
		a.raw(0xC1, "rsv") // a protocol error
		a.said = true
	default:
		a.join(group, true)
		a.publish(group, true)
	}
}

func (a *actor) say(text string) { a.raw(0x81, text) }

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
	m := a.membership(group)
	if m.sentAt == 0 {
		m.sentAt, m.ackedAt = a.w.step, 0
	}
	m.left = false
	m.unsure = m.unsure || !withID
	m.silent = m.silent || !withID
	if withID {
		m.asks++
	}
	a.ask(&simCommand{verb: "add_group", group: group, membership: m}, "", withID)
}

func (a *actor) leave(group string, withID bool) {
	// From now on nothing is owed of this group, until a further add_group; what comes before the answer may come.
	m := a.membership(group)
	next := &simMembership{}
	a.joined[group] = next
	_ = m
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
	a.ask(&simCommand{verb: "send_to_group", group: group, message: m}, fmt.Sprintf(`,"message":%q`, m.text), withID)
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
	a.killed = true
	a.toServer = nil
	a.sock.kernel = nil
	a.sock.broken = true
	if a.w.chance(50) {
		a.sock.close()
	}
}

// deliver brings up to n bytes to the server.
func (a *actor) deliver(n int) {
	n = min(n, len(a.toServer))
	if n == 0 || a.sock.closed {
		return
	}
	chunk := append([]byte(nil), a.toServer[:n]...)
	a.toServer = a.toServer[n:]
	a.sock.shard.traffic(a.sock.client, chunk)
}

// read takes up to n bytes and acts on every whole frame.
func (a *actor) read(n int) {
	if a.killed {
		a.endIfOver()
		return
	}
	n = min(n, len(a.sock.kernel))
	a.readBytes += n
	a.heard = append(a.heard, a.sock.kernel[:n]...)
	a.sock.kernel = a.sock.kernel[n:]
	for a.frame() {
	}
	a.endIfOver()
}

// endIfOver: a peer that has been told goodbye, or that broke off, closes its end.
func (a *actor) endIfOver() {
	if (a.closing || a.killed || a.sock.shut) && !a.sock.closed && len(a.toServer) == 0 && len(a.sock.kernel) == 0 {
		a.sock.close()
	}
}

func (a *actor) frame() bool {
	if !a.upgraded {
		end := strings.Index(string(a.heard), "\r\n\r\n")
		if end < 0 {
			return false
		}
		a.upgraded = strings.HasPrefix(string(a.heard), "HTTP/1.1 101 ")
		a.w.must(a.upgraded || strings.HasPrefix(string(a.heard), "HTTP/1.1 408 ") || strings.HasPrefix(string(a.heard), "HTTP/1.1 429 ") ||
			strings.HasPrefix(string(a.heard), "HTTP/1.1 503 ") && a.w.hub.bounds.Load().FragmentsBytesMax > 0, "handshake: got %q", a.heard)
		a.heard = a.heard[end+4:]
		a.closing = !a.upgraded
		return a.upgraded
	}
	if len(a.heard) < 2 {
		return false
	}
	n, at := int(a.heard[1]), 2
	if n == 126 {
		if len(a.heard) < 4 {
			return false
		}
		n, at = int(a.heard[2])<<8|int(a.heard[3]), 4
	}
	if len(a.heard) < at+n {
		return false
	}
	op, payload := a.heard[0], string(a.heard[at:at+n])
	a.heard = a.heard[at+n:]
	a.w.must(!a.closing, "actor %d: a frame after the Close frame: %q", a.index, payload)
	switch op {
	case 0x81:
		a.hear(payload)
	case 0x89:
		if !a.said {
			a.raw(0x8A, payload)
		}
	case 0x8A:
	case 0x88:
		a.closing = true
		if !a.said {
			a.raw(0x88, payload)
			a.said = true
		}
	default:
		a.w.must(false, "actor %d: frame %#x %q", a.index, op, payload)
	}
	return true
}

// hear takes a text frame: a reply or a message.
func (a *actor) hear(text string) {
	if a.loud && !a.greeted {
		a.w.must(text == "HELLO", "actor %d: greeted with %q", a.index, text)
		a.greeted = true
		return
	}
	if a.loud && strings.HasPrefix(text, "M|") {
		a.message(strings.ToLower(text))
		return
	}
	if !a.loud && strings.HasPrefix(text, "m|") {
		a.message(text)
		return
	}
	if n, isGap := strings.CutPrefix(text, `{"event":"gap","messages":`); isGap {
		messages, err := strconv.Atoi(strings.TrimSuffix(n, "}"))
		a.w.must(err == nil && messages > 0 && a.w.hub.bounds.Load().DropSlow && a.nextID > 0, "actor %d: gap %q", a.index, text)
		a.missed += uint64(messages)
		a.log = append(a.log, simHeard{})
		return
	}
	if a.w.stranger && !strings.HasPrefix(text, `{"id":`) {
		return // a fuzzed client's message
	}
	var r struct {
		ID    int
		OK    bool
		Seq   *uint64
		Error *struct{ Code string }
	}
	a.w.must(json.Unmarshal([]byte(text), &r) == nil, "reply %q", text)
	c := a.asked[r.ID]
	a.w.must(c != nil, "actor %d: reply %q to nothing, or a second time", a.index, text)
	delete(a.asked, r.ID)
	a.w.must(r.OK != (r.Error != nil), "reply %q", text)
	if r.Error != nil {
		a.w.must(a.mayBeRefused(r.Error.Code, c), "actor %d: refused: %q", a.index, text)
	}
	switch c.verb {
	case "add_group":
		c.membership.asks--
		c.membership.refused = c.membership.refused || !r.OK
		if r.OK && c.membership.ackedAt == 0 {
			c.membership.ackedAt = a.w.step
		}
	case "leave_group":
		c.membership.unsure = c.membership.unsure || !r.OK
		if c.membership.leaving--; r.OK && c.membership.leaving == 0 && c.membership.sentAt == 0 {
			c.membership.left, c.membership.unsure = true, false
		}
	case "send_to_group":
		a.w.must(r.OK == (r.Seq != nil), "reply %q", text)
		c.message.accepted = r.OK
	}
}

// mayBeRefused says whether a world's bounds can be the reason of an error.
func (a *actor) mayBeRefused(code string, c *simCommand) bool {
	b := a.w.hub.bounds.Load()
	switch joins := c.verb == "add_group"; code {
	case "busy":
		return a.w.tight && c.verb != "leave_group"
	case "too_many_groups":
		return joins
	case "group_full":
		return joins && (b.kindOf(c.group).MembersMax > 0 || a.w.changing)
	case "groups_full":
		return joins && (b.GroupsMax > 0 || a.w.changing)
	case "rate_limited":
		return b.CommandsPerSecond > 0 || b.BytesPerSecond > 0 || a.w.changing
	}
	return false
}

// message holds a group message against the promises that can be judged at once.
func (a *actor) message(text string) {
	part := strings.SplitN(text, "|", 5)
	number, _ := strconv.Atoi(part[1])
	group, sender := part[2], part[3]
	a.w.must(number < len(a.w.sent) && a.w.sent[number].text == text, "actor %d: garbled %q", a.index, text)
	m := a.joined[group]
	a.w.must(m != nil, "actor %d: a message of %s, which it never joined", a.index, group)
	a.w.must(!m.out(), "actor %d: message %d of %s, of which it was told that it is not a member", a.index, number, group)
	a.w.must(!m.left, "actor %d: message %d of %s after its leave was answered", a.index, number, group)
	if a.got[group] == nil {
		a.got[group], a.lastOf[group] = map[int]bool{}, map[string]int{}
	}
	a.w.must(!a.got[group][number], "actor %d: message %d twice", a.index, number)
	a.got[group][number] = true
	last, any := a.lastOf[group][sender]
	a.w.must(!any || last < number, "actor %d: message %d of %s after %d", a.index, number, sender, last)
	a.lastOf[group][sender] = number
	a.saw[group] = append(a.saw[group], number)
	a.log = append(a.log, simHeard{a.w.sent[number]})
}

// checkEnd judges a world at rest: every question answered, every cut explained, nobody who stayed misses anything.
func (w *world) checkEnd() {
	for _, a := range w.actors {
		open := !a.sock.closed && !a.closing && !a.killed && !a.said
		if a.sock.closed && !a.killed {
			// What waited for a peer that did not read before the deadline is lost with it, the Close frame too.
			w.must(a.closing || a.said || a.sock.lost, "actor %d was cut without a word", a.index)
		}
		if !open {
			continue
		}
		w.must(len(a.asked) == 0, "actor %d: %d commands were never answered: %+v", a.index, len(a.asked), a.asked)
		for _, m := range a.plain {
			m.accepted = true // refused, it would have been closed
		}
	}
	w.countGaps()
	for _, a := range w.actors {
		if a.sock.closed || a.closing || a.killed || a.said || !a.upgraded {
			continue
		}
		missing := uint64(0)
		for group, in := range a.joined {
			if in.sentAt == 0 || in.unsure {
				continue
			}
			for _, m := range w.sent {
				owed := in.ackedAt > 0 && m.issuedAt > in.ackedAt ||
					in.ackedAt > 0 && !in.refused && m.from == a && m.life == a.life && m.issuedAt > in.sentAt
				if m.group == group && m.accepted && owed && !a.got[group][m.number] {
					missing++
					w.must(a.toldOf(m), "actor %d, member of %s since step %d: message %d of step %d is missing",
						a.index, group, in.ackedAt, m.number, m.issuedAt)
				}
			}
		}
		w.must(missing <= a.missed, "actor %d: misses %d messages, was told of %d", a.index, missing, a.missed)
	}
	for _, a := range w.actors {
		a.flushOrder()
		a.saw = map[string][]int{}
	}
	w.feed.checkEnd()
	w.must(w.patient == nil || w.patient.message == nil, "a publish waits for room that there is")
	for group, lists := range w.order {
		w.checkOneOrder(group, lists)
	}
	w.order = map[string][][]int{}
}

// toldOf says whether a gap was heard in the place of a message: behind all that the message's sender had sent to the
// group before it, and before all that came after it.
func (a *actor) toldOf(m *simMessage) (told bool) {
	for _, h := range a.log {
		switch {
		case h.message == nil:
			told = true
		case h.message.group != m.group || h.message.sender != m.sender:
		case h.message.number < m.number:
			told = false
		default:
			return told
		}
	}
	return told
}

// heardAll says whether a client has heard its last word, or is there to hear it.
func (a *actor) heardAll() bool {
	return a.closing && !a.killed && !a.sock.lost || a.live()
}

// countGaps: where everybody has heard everything, clients were told of exactly those messages that were dropped.
func (w *world) countGaps() {
	missed := w.missed
	for _, a := range w.actors {
		if w.uncounted || !a.heardAll() {
			return
		}
		missed += a.missed
	}
	dropped := w.hub.Snapshot().Total().SlowDropped
	w.must(missed == dropped, "clients were told of %d dropped messages, want %d", missed, dropped)
	w.exactGaps = dropped
}

// checkOneOrder: there is one order of a group's messages that all the lists agree with. Each list says "this before
// that"; there is such an order if these sayings have no circle.
func (w *world) checkOneOrder(group string, lists [][]int) {
	next, before := map[int][]int{}, map[int]int{}
	for _, l := range lists {
		for i, n := range l {
			if _, ok := before[n]; !ok {
				before[n] = 0
			}
			if i > 0 {
				next[l[i-1]] = append(next[l[i-1]], n)
				before[n]++
			}
		}
	}
	var free []int
	for n, count := range before {
		if count == 0 {
			free = append(free, n)
		}
	}
	ordered := 0
	for len(free) > 0 {
		n := free[len(free)-1]
		free = free[:len(free)-1]
		ordered++
		for _, m := range next[n] {
			if before[m]--; before[m] == 0 {
				free = append(free, m)
			}
		}
	}
	w.must(ordered == len(before), "members of %s saw different orders", group)
}

// checkEmpty: when all have gone, nothing is left of them.
func (w *world) checkEmpty() {
	for range 60 { // those who never read are cut at the deadline
		w.hub.beat()
		w.round()
	}
	w.settle()
	total := w.hub.Snapshot().Total()
	w.must(total.Clients == 0 && total.Pending == 0 && total.Members == 0 && total.Groups == 0 && total.Homes == 0 &&
		total.LaneDepth == 0 && w.hub.homes.Census.Groups() == 0, "left over: %+v", total)
	w.must(w.hub.connections.Load() == 0, "connections: %d", w.hub.connections.Load())
	taken, addresses := w.hub.seats()
	w.must(taken == 0 && addresses == 0, "seats: %d taken of %d addresses", taken, addresses)
	for i, s := range w.hub.shards {
		w.must(s.groups.Len() == 0 && w.hub.homes.Home(i).Groups() == 0 && len(s.clients) == 0 && len(s.heartbeat.lastSeen) == 0 &&
			len(s.passes.queue) == 0 && s.passes.gathered == 0 && s.backlog.bytes == 0 && len(s.owed.groups) == 0 && len(s.deadlines.list) == 0 &&
			s.unfinished == 0 && len(s.slow.list) == 0 && len(s.partials.list) == 0 && s.relief.outboxes.Load() == 0 && w.hub.partials.bytes.Load() == 0 && w.hub.partials.clients.Load() == 0 &&
			w.hub.homes.Home(i).Idle() && s.lanes.Idle(), "loop %d is not empty: groups %d, homes %d, clients %d, passes %d, gathered %d, backlog %d, idle %d, deadlines %d, home idle %v, lanes idle %v",
			i, s.groups.Len(), w.hub.homes.Home(i).Groups(), len(s.clients), len(s.passes.queue), s.passes.gathered, s.backlog.bytes, len(s.owed.groups),
			len(s.deadlines.list), w.hub.homes.Home(i).Idle(), s.lanes.Idle())
	}
	w.must(len(w.fds) == 0, "descriptors: %d open", len(w.fds))
}
