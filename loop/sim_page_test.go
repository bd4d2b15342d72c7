package loop

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"ringcast/wsproto"
)

// This file is pages of the Pusher protocol in a simulated world: some users with a few pages each, that subscribe to presence channels and to
// a private one, leave them, and say client events. Each holds what it hears against what it was told before: a user comes whom it did not
// know, and goes whom it did, so in the end it knows who is there; an event is heard by all who were members when it was said, once, in one
// order, and not by who has said it. What a backend says in a cache channel is heard from the last that was said before it joined on, without
// a gap.

// simPage is one of them.
type simPage struct {
	w        *world
	index    int
	life     int
	user     string
	sock     *socket
	socketID string // empty: it has not been greeted
	upgraded bool
	offers   bool // it has offered compression
	deflates bool // which was accepted
	closing  bool // a Close frame was heard
	said     bool // it has sent one
	killed   bool // it broke off

	toServer, heard []byte
	readBytes       int
	refused         int // events, as far as it was told
	channels        map[string]*simChannel
}

// simChannel is what a page knows of a channel.
type simChannel struct {
	asked  bool            // it has subscribed, and waits
	strays int             // subscribes that it has taken back before they were answered, whose answers may come
	users  map[string]bool // it is a member, and these are there; nil: it is none
	begins int             // step of the answer since which it is one; 0: it cannot say
	saw    []int           // numbers of events, in the order heard
	lastOf map[[2]int]int  // the last of each life of a page
	count  int             // members, as it was told; 0: it was not
	asksAt int             // step of its subscribe; 0: it is not known which one is answered
	last   int             // simCached: number of the last that was heard since it is a member; -1: none
	mixed  bool            // it cannot say which of its subscribes was refused, so it may be a member and not know
	left   bool            // since then it has left, and nothing else was under way: the next answer is to its next subscribe
	owed   bool            // simCached: what was said last, or that nothing was, is to come next
}

// simEvent is a client event.
type simEvent struct {
	channel  string
	from     *simPage
	life, at int
}

// simPages is what pages have heard in a world.
type simPages struct {
	all                             []*simPage
	events                          []simEvent
	said                            []simLast
	heard, added, removed, lists    uint64
	counts                          uint64 // numbers of members
	owed, takenBack, limits, closes uint64 // events that had to be heard; subscribes taken back; refused; pages closed
	last, misses                    uint64 // joins of the cache channel that were told what was said last, and that there is none
}

var simChannels = []string{"presence-a", "presence-b", "private-c", simCached}

func (s *simPages) add(of *simPages) {
	s.heard, s.added, s.removed, s.lists = s.heard+of.heard, s.added+of.added, s.removed+of.removed, s.lists+of.lists
	s.counts += of.counts
	s.last, s.misses = s.last+of.last, s.misses+of.misses
	s.owed, s.takenBack, s.limits, s.closes = s.owed+of.owed, s.takenBack+of.takenBack, s.limits+of.limits, s.closes+of.closes
}

func (w *world) newPage(index int) *simPage {
	p := &simPage{w: w, index: index, user: fmt.Sprint("user-", index%3)}
	p.connect()
	return p
}

func (p *simPage) connect() {
	p.flushOrder()
	*p = simPage{w: p.w, index: p.index, life: p.life + 1, user: p.user, channels: map[string]*simChannel{}}
	for _, name := range simChannels {
		p.channels[name] = &simChannel{lastOf: map[[2]int]int{}}
	}
	p.sock = p.w.openSocket()
	p.toServer, p.offers = p.w.offers([]byte(strings.Replace(string(p.w.request(p.sock.client)), "GET / ", "GET /app/key?protocol=7 ", 1)))
}

// flushOrder hands over what this life saw, for the check of the total order.
func (p *simPage) flushOrder() {
	for name, in := range p.channels {
		p.w.order["events of "+name] = append(p.w.order["events of "+name], in.saw)
		in.saw = nil
	}
}

func (p *simPage) live() bool {
	return p.upgraded && !p.sock.closed && !p.killed && !p.said && !p.closing
}

// pageEvent is one thing that happens to some page.
func (w *world) pageEvent() {
	if len(w.pages.all) == 0 || w.chance(40) {
		return
	}
	p := w.pages.all[w.rng.IntN(len(w.pages.all))]
	switch n := w.rng.IntN(104); {
	case n > 99:
		w.sayLast()
	case p.sock.gone():
		p.connect()
	case n < 30:
		p.act()
	case n < 60:
		p.deliver(1 + w.rng.IntN(400))
	case n < 90:
		p.read(1 + w.rng.IntN(600))
	case n < 98:
		p.sock.writable()
	case n < 99:
		p.hangUp()
	case w.chance(w.restless):
		p.killed, p.toServer, p.sock.kernel, p.sock.broken = true, nil, nil, true
		if w.chance(50) {
			p.sock.close()
		}
	}
}

func (p *simPage) act() {
	if !p.live() || p.socketID == "" || len(p.toServer) > 5000 {
		return
	}
	name := simChannels[p.w.rng.IntN(len(simChannels))]
	switch in := p.channels[name]; {
	case !in.asked && in.users == nil:
		p.subscribe(name)
	case in.asked && p.w.chance(15):
		p.w.pages.takenBack++
		in.asked, in.strays = false, in.strays+1
		p.unsubscribe(name)
	case in.users != nil && p.w.chance(25):
		in.users, in.begins, in.left = nil, 0, in.strays == 0
		p.unsubscribe(name)
	case in.users != nil:
		for range 1 + p.w.rng.IntN(3) {
			p.say(fmt.Sprintf(`{"event":"client-e","channel":%q,"data":{"n":%d}}`, name, len(p.w.pages.events)))
			p.w.pages.events = append(p.w.pages.events, simEvent{name, p, p.life, p.w.step})
		}
	}
}

func (p *simPage) subscribe(name string) {
	in := p.channels[name]
	if in.asked, in.asksAt = true, p.w.step; in.strays > 0 {
		in.asksAt = 0
	}
	text, more := p.socketID+":"+name, ""
	if strings.HasPrefix(name, "presence-") {
		data := fmt.Sprintf(`{"user_id":%q}`, p.user)
		text, more = text+":"+data, fmt.Sprintf(`,"channel_data":%q`, data)
	}
	p.say(fmt.Sprintf(`{"event":"pusher:subscribe","data":{"channel":%q,"auth":%q%s}}`, name, signatureOf(&stageApp, text), more))
}

func (p *simPage) unsubscribe(name string) {
	p.say(fmt.Sprintf(`{"event":"pusher:unsubscribe","data":{"channel":%q}}`, name))
}

func (p *simPage) say(text string) { p.send(wsproto.OpText, text) }

func (p *simPage) send(op wsproto.OpCode, payload string) {
	p.toServer = wsproto.AppendMaskedFrame(p.toServer, op, [4]byte{1, 2, 3, byte(p.index)}, []byte(payload))
}

func (p *simPage) hangUp() {
	if p.live() {
		p.send(wsproto.OpClose, "\x03\xe8")
		p.said = true
	}
}

// deliver brings up to n bytes to the server.
func (p *simPage) deliver(n int) {
	if n = min(n, len(p.toServer)); n > 0 && !p.sock.closed {
		chunk := slices.Clone(p.toServer[:n])
		p.toServer = p.toServer[n:]
		p.w.enter(p.sock.shard).traffic(p.sock.client, chunk)
	}
}

// read takes up to n bytes and acts on every whole frame.
func (p *simPage) read(n int) {
	n = min(n, len(p.sock.kernel))
	p.readBytes += n
	p.heard = append(p.heard, p.sock.kernel[:n]...)
	p.sock.kernel = p.sock.kernel[n:]
	for !p.killed && p.frame() {
	}
	if (p.closing || p.killed || p.sock.shut) && !p.sock.closed && len(p.toServer) == 0 && len(p.sock.kernel) == 0 {
		p.sock.close()
	}
}

func (p *simPage) frame() bool {
	if !p.upgraded {
		head, rest, whole := strings.Cut(string(p.heard), "\r\n\r\n")
		if whole {
			p.upgraded = strings.HasPrefix(head, "HTTP/1.1 101 ")
			p.deflates = p.upgraded && p.w.accepted(head, p.offers)
			p.closing, p.heard = !p.upgraded, []byte(rest)
		}
		return whole && p.upgraded
	}
	if len(p.heard) < 4 { // no frame of the server is shorter
		return false
	}
	n, at := int(p.heard[1]), 2
	p.w.must(n < 127, "page %d: a frame of more than 64 KiB", p.index)
	if n == 126 {
		n, at = int(binary.BigEndian.Uint16(p.heard[2:])), 4
	}
	if len(p.heard) < at+n {
		return false
	}
	first, payload := p.heard[0], string(p.heard[at:at+n])
	payload = p.w.inflate(&first, payload, p.deflates)
	op := wsproto.OpCode(first & 0x0f)
	p.heard = p.heard[at+n:]
	p.w.must(!p.closing, "page %d: a frame after the Close frame: %q", p.index, payload)
	switch op {
	case wsproto.OpText:
		p.hear(payload)
	case wsproto.OpClose:
		p.closing = true
		if p.w.pages.closes++; !p.said {
			code := binary.BigEndian.Uint16([]byte(payload))
			p.w.must(code == 4100 || code == 4201, "page %d: closed with %d", p.index, code)
			p.send(wsproto.OpClose, payload)
			p.said = true
		}
	}
	return true
}

func (p *simPage) hear(text string) {
	var e struct {
		Event, Channel string
		Data           json.RawMessage
		User           string `json:"user_id"`
	}
	w := p.w
	w.must(json.Unmarshal([]byte(text), &e) == nil, "page %d: garbled %q", p.index, text)
	if quoted := ""; json.Unmarshal(e.Data, &quoted) == nil {
		e.Data = json.RawMessage(quoted)
	}
	var data struct {
		SocketID string `json:"socket_id"`
		User     string `json:"user_id"`
		N        int
		Members  int `json:"subscription_count"`
		Type     string
		Code     int
		Presence struct {
			IDs   []string
			Hash  map[string]any
			Count int
		}
	}
	w.must(e.Data == nil || json.Unmarshal(e.Data, &data) == nil, "page %d: garbled data in %q", p.index, text)
	if p.socketID == "" {
		w.must(e.Event == "pusher:connection_established" && data.SocketID == w.hub.names.SocketID(p.sock.client.Number()), "page %d: greeted with %q", p.index, text)
		p.socketID = data.SocketID
		return
	}
	in := p.channels[e.Channel]
	switch e.Event {
	case "pusher:error":
		w.must(data.Code == 4301, "page %d: heard %q", p.index, text)
		p.refused++
		return
	case "pusher:ping":
		if p.live() {
			p.say(`{"event":"pusher:pong","data":{}}`)
		}
		return
	}
	w.must(in != nil, "page %d: heard %q", p.index, text)
	switch e.Event {
	case "pusher_internal:subscription_succeeded":
		users := map[string]bool{}
		for _, id := range data.Presence.IDs {
			_, told := data.Presence.Hash[id]
			w.must(told && !users[id], "page %d: a list of %q", p.index, text)
			users[id] = true
		}
		w.must(data.Presence.Count == len(users) && users[p.user] == strings.HasPrefix(e.Channel, "presence-"), "page %d: a list of %q", p.index, text)
		if p.joined(in, users); e.Channel == simCached {
			in.owed = !in.mixed
		}
	case "pusher:subscription_error":
		w.must(data.Type == "LimitReached" && (in.asked || in.strays > 0), "page %d: heard %q", p.index, text)
		if w.pages.limits++; in.strays > 0 && !in.asked {
			in.strays--
		}
		if in.asked && in.strays > 0 {
			in.mixed, in.left = true, false
		}
		in.asked, in.users, in.begins = false, nil, 0
	case "pusher_internal:member_added":
		w.must(in.users == nil || !in.users[data.User], "page %d: %q, who was there", p.index, text)
		if w.pages.added++; in.users != nil {
			in.users[data.User] = true
		}
	case "pusher_internal:member_removed":
		w.must(in.users == nil || in.users[data.User] && data.User != p.user, "page %d: %q, who was not there, or is", p.index, text)
		w.pages.removed++
		delete(in.users, data.User)
	case "pusher_internal:subscription_count":
		p.hearCount(in, e.Channel, data.Members)
	case "pusher:cache_miss":
		p.missLast(in)
	case "message":
		p.hearLast(in, data.N)
	case "client-e":
		w.must(!in.owed, "page %d: %q before the last event", p.index, text)
		p.event(in, data.N, text, e.User)
	default:
		w.must(false, "page %d: heard %q", p.index, text)
	}
}

// joined is the answer to a subscribe, or to one that was taken back.
func (p *simPage) joined(in *simChannel, users map[string]bool) {
	p.w.must(in.asked || in.strays > 0, "page %d: is subscribed, and has not asked for it", p.index)
	p.w.pages.lists++
	sure := in.strays == 0
	in.mixed = in.mixed && !(sure && in.left)
	if !in.asked {
		if in.strays--; in.users == nil {
			return // it has left since
		}
	}
	in.asked, in.users, in.begins, in.last = false, users, 0, -1
	if sure {
		in.begins = p.w.step
	}
}

// event is a client event that was heard.
func (p *simPage) event(in *simChannel, number int, text, user string) {
	w := p.w
	w.must(number < len(w.pages.events), "page %d: %q was never said", p.index, text)
	e := w.pages.events[number]
	w.must(e.from != p || e.life != p.life, "page %d: hears %q, which it has said", p.index, text)
	w.must(user == "" || user == e.from.user, "page %d: %q is of %s", p.index, text, e.from.user)
	w.must((user != "") == strings.HasPrefix(e.channel, "presence-"), "page %d: hears %q", p.index, text)
	sender := [2]int{e.from.index, e.life}
	last, any := in.lastOf[sender]
	w.must(!any || last < number, "page %d: hears event %d behind %d", p.index, number, last)
	in.lastOf[sender] = number
	in.saw = append(in.saw, number)
	w.pages.heard++
}
