package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"ringcast/dialect"
	"ringcast/loop/order"
	"ringcast/loop/shrink"
)

// This file is presence over nodes. Each node tells all others who of its clients comes and goes in groups with presence. That is one stream
// of numbered news a node, over core NATS, and nobody waits for it: what is lost shows as a hole in the numbers, or when the next news come,
// which is each second. Then, as when a node arrives, it is asked for a list of all: the news that make it up go to all nodes, among those
// of who comes and goes meanwhile, between a beginning and an end. Who was not said to be there since the beginning is away.
//
//	home ─Came, Went─► ward ─► announcer ──rcq.news──► hearer ─There, Away, Sweep─► homes of the other node
//
// Bounds: what waits in a ward is so much, and beyond it a list takes its place; lists go out one a second at most, and so fast as the others
// can take them; what waits for the hearer is so many messages, and those beyond are a hole.

const (
	newsSubject = "rcq.news"
	listSubject = "rcq.list" // with the boot of who is asked for it

	wardsMax     = 64                   // homes that there may be
	pendingMax   = 8192                 // news that wait in a ward
	newsBytes    = 32 << 10             // after so many a message of news is sent
	listSlice    = 256                  // members that are listed at a time, while their home may wait: some 20 µs
	listPause    = 2 * time.Millisecond // behind each message of a list, as servers hold only so much for who is slower
	newsWaiting  = 1024                 // messages that wait for the hearer: some 32 MB
	askedTicks   = 2 * beatTicks        // for which a list is waited for, before it is asked for again
	newsVersion  = 2                    // of the format of news, which is no other's that nodes speak
	farWordBytes = 64 << 10             // of a name, or of what is told of a user: more is none of ours
)

// What news say.
const (
	newsCame = iota
	newsWent
	newsBegin // of a list
	newsEnd
	newsQuiet = 8 // a bit: nobody is to be told
)

// presentMember is a client in a group.
type presentMember struct {
	group  string
	client uint64
}

// news is that a member comes or goes.
type news struct {
	what   byte
	member presentMember
	who    *dialect.Who
}

// ward is what a home has told of who is there.
//
// Owner: who holds the lock: the home's holder and the announcer, each for some microseconds.
type ward struct {
	mu      sync.Mutex
	here    shrink.Map[presentMember, *dialect.Who]
	pending []news
	lost    bool // there were too many: only a list says what has become of them
}

// announcer tells other nodes who is there. It is the order.Company of this node's homes.
//
// Owner: homes call Came and Went; one goroutine runs run.
type announcer struct {
	// Immutable.
	conn *nats.Conn
	name func(client uint64) string
	boot string
	wake chan struct{} // capacity 1

	// Any goroutine (atomic).
	wanted   atomic.Bool // a list
	alone    atomic.Bool // nobody has ever asked for a list, so there is nobody to tell
	lists    atomic.Uint64
	overflow atomic.Uint64 // times that too many waited in a ward

	wards [wardsMax]ward

	// The goroutine's own.
	seq     uint64
	roll    uint32 // of the newest list; from 1
	out     []byte // news that were not sent yet
	resting int    // ticks until the next list may begin
	batch   []news
}

func newAnnouncer(conn *nats.Conn, boot string, name func(client uint64) string) *announcer {
	a := &announcer{conn: conn, name: name, boot: boot, wake: make(chan struct{}, 1), roll: 1}
	a.alone.Store(true)
	return a
}

// Came is part of order.Company.
func (a *announcer) Came(home int, group string, p dialect.Present, told bool) {
	w, m := &a.wards[home], presentMember{group, p.Client}
	w.mu.Lock()
	w.here.Put(m, p.Who)
	a.add(w, news{newsCame | quietIf(!told), m, p.Who})
	w.mu.Unlock()
	a.call()
}

// Went is part of order.Company.
func (a *announcer) Went(home int, group string, client uint64, told bool) {
	w, m := &a.wards[home], presentMember{group, client}
	w.mu.Lock()
	w.here.Delete(m)
	a.add(w, news{newsWent | quietIf(!told), m, nil})
	w.mu.Unlock()
	a.call()
}

func quietIf(is bool) byte {
	if is {
		return newsQuiet
	}
	return 0
}

// add adds news to those that wait. The lock is held.
func (a *announcer) add(w *ward, n news) {
	switch {
	case a.alone.Load() || w.lost:
	case len(w.pending) >= pendingMax:
		w.pending, w.lost = nil, true
		a.wanted.Store(true)
		a.overflow.Add(1)
	default:
		w.pending = append(w.pending, n)
	}
}

// call has the announcer look.
func (a *announcer) call() {
	if a.alone.Load() {
		return
	}
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// list has a list go out.
func (a *announcer) list() {
	a.alone.Store(false)
	a.wanted.Store(true)
	a.call()
}

// run announces until ctx ends. ticks is the clock.
func (a *announcer) run(ctx context.Context, ticks <-chan struct{}) {
	since := 0 // ticks without news
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		case <-ticks:
			since++
			a.resting = max(a.resting-1, 0)
		}
		sent := a.seq
		for i := range a.wards {
			a.takeFrom(&a.wards[i])
		}
		if a.wanted.Load() && a.resting == 0 {
			a.wanted.Store(false)
			a.listAll(ctx)
			a.resting = beatTicks
		}
		if a.flush(since >= beatTicks && !a.alone.Load()); a.seq != sent {
			since = 0
		}
	}
}

// takeFrom says what waits in a ward.
func (a *announcer) takeFrom(w *ward) {
	w.mu.Lock()
	a.batch, w.pending = w.pending, a.batch[:0]
	w.mu.Unlock()
	a.sayAll()
}

// sayAll says the batch, and leaves it empty.
func (a *announcer) sayAll() {
	for i := range a.batch {
		a.say(&a.batch[i])
	}
	if cap(a.batch) > 1024 {
		a.batch = nil
	}
	clear(a.batch)
	a.batch = a.batch[:0]
}

// listAll says who is there.
func (a *announcer) listAll(ctx context.Context) {
	a.lists.Add(1)
	a.flush(false)
	a.roll = max(a.roll+1, 2)
	a.say(&news{what: newsBegin})
	for i := range a.wards {
		w := &a.wards[i]
		w.mu.Lock()
		w.lost = false
		w.mu.Unlock()
		walk := &shrink.Walk[presentMember, *dialect.Who]{}
		for more := true; more; {
			w.mu.Lock()
			a.batch, w.pending = w.pending, a.batch[:0] // they come before what is listed now, which is from behind them
			for n := 0; more && n < listSlice; n++ {
				var m presentMember
				var who *dialect.Who
				var there bool
				if m, who, there, more = walk.Next(&w.here); there {
					a.batch = append(a.batch, news{newsCame, m, who})
				}
			}
			w.mu.Unlock()
			sent := a.seq
			if a.sayAll(); a.seq != sent {
				_ = pause(ctx, listPause)
			}
			if ctx.Err() != nil {
				return
			}
		}
	}
	for i := range a.wards {
		w := &a.wards[i]
		w.mu.Lock()
		lost := w.lost
		w.mu.Unlock()
		if lost {
			return // the next list says it
		}
	}
	a.say(&news{what: newsEnd})
	a.flush(false)
}

// say adds news to those that are sent next.
func (a *announcer) say(n *news) {
	if len(a.out) == 0 {
		a.begin()
	}
	a.out = append(a.out, n.what)
	if what := n.what &^ newsQuiet; what == newsCame || what == newsWent {
		a.out = appendText(a.out, n.member.group)
		a.out = binary.AppendUvarint(a.out, n.member.client)
		if what == newsCame {
			a.out = appendText(a.out, a.name(n.member.client))
			a.out = appendWho(a.out, n.who)
		}
	}
	if len(a.out) >= newsBytes {
		a.flush(false)
	}
}

// begin begins a message of news.
func (a *announcer) begin() {
	a.seq++
	a.out = append(a.out, newsVersion)
	a.out = appendText(a.out, a.boot)
	a.out = binary.AppendUvarint(a.out, a.seq)
	a.out = binary.AppendUvarint(a.out, uint64(a.roll))
}

// flush sends what was said; even: also if that is nothing, so that others see whether they miss something.
func (a *announcer) flush(even bool) {
	if len(a.out) == 0 {
		if !even {
			return
		}
		a.begin()
	}
	_ = a.conn.Publish(newsSubject, a.out) // what is not sent is a hole
	a.out = a.out[:0]
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// What is said of a user begins with these bits; 0: there is none. Of bits that a node does not know it takes no notice.
const (
	whoIs       = 1
	whoNumberID = 2 // dialect.WhoIs.NumberID
)

func appendWho(b []byte, who *dialect.Who) []byte {
	if who == nil {
		return append(b, 0)
	}
	bits := byte(whoIs)
	if who.NumberID() {
		bits |= whoNumberID
	}
	b = append(b, bits)
	b = appendText(b, who.User())
	b = appendBytes(b, who.Info())
	return appendBytes(b, who.GroupInfo())
}

// appendBytes appends bytes; nil is told from none.
func appendBytes(b, p []byte) []byte {
	if p == nil {
		return append(b, 0)
	}
	return append(binary.AppendUvarint(b, uint64(len(p))+1), p...)
}

// farInlet is the way to the homes of this node.
type farInlet interface {
	There(ctx context.Context, group string, node uint16, roll uint32, p dialect.Present, told bool) error
	Away(ctx context.Context, group string, node uint16, client uint64, told bool) error
	Sweep(ctx context.Context, node uint16, roll uint32, told bool) error
}

// hearer hears the news of other nodes, and tells the homes of this one.
//
// Owner: one goroutine runs run; any may call change.
type hearer struct {
	// Immutable.
	conn    *nats.Conn
	in      farInlet
	log     *slog.Logger
	release func(number uint16)
	news    chan *nats.Msg
	lose    func() bool // in tests: a message that does not arrive

	// Any goroutine.
	mu      sync.Mutex
	changes []change
	changed chan struct{} // capacity 1
	holes   atomic.Uint64
	strange atomic.Uint64 // messages that are no news

	// The goroutine's own.
	sources map[string]*source // by boot
	quiet   int                // ticks until the next warning
}

// change is that a node has arrived, or is gone.
type change struct {
	boot    string
	number  uint16
	arrived bool
}

// source is a node whose news are heard.
type source struct {
	number uint16
	begun  bool   // news of it were heard
	seq    uint64 // of the newest
	roll   uint32 // of the list that is being heard from its beginning; 0: none
	whole  bool   // all news were heard since the end of a list
	asked  int    // ticks since a list was asked for
}

// rollGone is that of no list.
const rollGone = 0

func newHearer(conn *nats.Conn, in farInlet, log *slog.Logger, release func(uint16)) *hearer {
	return &hearer{conn: conn, in: in, log: log, release: release, news: make(chan *nats.Msg, newsWaiting), changed: make(chan struct{}, 1), sources: map[string]*source{}}
}

// change says that a node has arrived, or is gone.
func (h *hearer) change(boot string, number uint16, arrived bool) {
	h.mu.Lock()
	h.changes = append(h.changes, change{boot, number, arrived})
	h.mu.Unlock()
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// run hears until ctx ends. ticks is the clock.
func (h *hearer) run(ctx context.Context, ticks <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.changed:
			h.takeChanges(ctx)
		case m := <-h.news:
			h.hear(ctx, m.Data)
		case <-ticks:
			for boot, s := range h.sources {
				if s.asked++; !s.whole && s.roll == rollGone && s.asked >= askedTicks {
					h.ask(boot, s)
				}
			}
			h.quiet = max(h.quiet-1, 0)
		}
	}
}

// ask asks a node for a list.
func (h *hearer) ask(boot string, s *source) {
	s.asked = 0
	_ = h.conn.Publish(listSubject+"."+boot, nil) // else it is asked again
}

func (h *hearer) takeChanges(ctx context.Context) {
	h.mu.Lock()
	changes := h.changes
	h.changes = nil
	h.mu.Unlock()
	for _, c := range changes {
		if c.arrived {
			s := &source{number: c.number}
			h.sources[c.boot] = s
			h.ask(c.boot, s)
			continue
		}
		if s := h.sources[c.boot]; s != nil {
			delete(h.sources, c.boot)
			h.failed(h.in.Sweep(ctx, s.number, rollGone, true))
			h.release(s.number) // whatever is said of the next that has it comes behind
		}
	}
}

// failed counts what should not fail, and logs it now and then: nodes have other bounds on names. That this node stops is no news.
func (h *hearer) failed(err error) {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, order.ErrStopping) || errors.Is(err, order.ErrClosed) {
		return
	}
	h.strange.Add(1)
	if h.quiet == 0 {
		h.quiet = doubleLogged
		h.log.Warn("what another node says of who is there could not be taken", "error", err)
	}
}

// hear takes a message of news.
func (h *hearer) hear(ctx context.Context, text []byte) {
	if h.lose != nil && h.lose() {
		return
	}
	r := newsReader{left: text}
	if r.byte() != newsVersion {
		h.strange.Add(1)
		return
	}
	boot, seq, roll := r.text(), r.number(), uint32(r.number())
	s := h.sources[boot]
	if r.bad || s == nil || s.begun && seq <= s.seq {
		return // its own, or one of a node that is not there
	}
	if s.begun && seq != s.seq+1 {
		h.holes.Add(1)
		if s.roll = rollGone; s.whole || s.asked >= askedTicks {
			s.whole = false
			h.ask(boot, s)
		}
	}
	s.begun, s.seq = true, seq
	for len(r.left) > 0 && !r.bad {
		h.hearOne(ctx, &r, boot, s, roll)
	}
	if r.bad {
		h.strange.Add(1)
	}
}

func (h *hearer) hearOne(ctx context.Context, r *newsReader, boot string, s *source, roll uint32) {
	what := r.byte()
	told := what&newsQuiet == 0
	switch what &^ newsQuiet {
	case newsCame:
		group := r.text()
		p := dialect.Present{Client: r.number(), Name: r.text(), Who: r.who()}
		if !r.bad {
			h.failed(h.in.There(ctx, group, s.number, roll, p, told))
		}
	case newsWent:
		group := r.text()
		if client := r.number(); !r.bad {
			h.failed(h.in.Away(ctx, group, s.number, client, told))
		}
	case newsBegin:
		s.roll = roll
	case newsEnd:
		if s.roll == roll {
			h.failed(h.in.Sweep(ctx, s.number, roll, true))
			s.whole = true
		}
		s.roll = rollGone
	default:
		r.bad = true
	}
}

// newsReader reads news. What it gives is a copy.
type newsReader struct {
	left []byte
	bad  bool // it has met something that is none; the rest is zero
}

func (r *newsReader) byte() byte {
	if len(r.left) == 0 {
		r.bad = true
		return 0
	}
	b := r.left[0]
	r.left = r.left[1:]
	return b
}

func (r *newsReader) number() uint64 {
	n, size := binary.Uvarint(r.left)
	if size <= 0 {
		r.bad, r.left = true, nil
		return 0
	}
	r.left = r.left[size:]
	return n
}

func (r *newsReader) take(n uint64) []byte {
	if n > uint64(len(r.left)) || n > farWordBytes {
		r.bad, r.left = true, nil
		return nil
	}
	p := r.left[:n]
	r.left = r.left[n:]
	return p
}

func (r *newsReader) text() string { return string(r.take(r.number())) }

func (r *newsReader) bytes() []byte {
	n := r.number()
	if n == 0 {
		return nil
	}
	return append([]byte{}, r.take(n-1)...)
}

func (r *newsReader) who() *dialect.Who {
	bits := r.byte()
	if bits == 0 {
		return nil
	}
	return dialect.WhoIs{NumberID: bits&whoNumberID != 0, User: r.text(), Info: r.bytes(), GroupInfo: r.bytes()}.Who()
}
