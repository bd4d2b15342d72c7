package order

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"ringcast/dialect"
)

// cluster is an orderer for tests: it does nothing by itself, and a test says what becomes of what it was offered.
type cluster struct {
	t       *testing.T
	hs      *table
	inlet   *Inlet[*part, *asker]
	offers  []Offer
	recalls []string
	full    bool // it takes nothing
	tip     uint64
	last    map[string]uint64 // offset of each group's last message
}

func (c *cluster) Offer(_ int, o Offer) bool {
	if c.full && !o.Fast {
		return false
	}
	c.offers = append(c.offers, o)
	return true
}

func (c *cluster) Recall(_ int, group string) bool {
	if !c.full {
		c.recalls = append(c.recalls, group)
	}
	return !c.full
}

// clustered is a table with one partition for each loop, of epoch 7, up to offset tip.
func clustered(t *testing.T, loops, messages int, ttl uint32, tip uint64) (c *cluster, now *uint32) {
	t.Helper()
	hs, now := remembering(loops, messages, ttl)
	hs.config.KeyTicks, hs.config.KeysBytesMax, hs.config.Tick = 100, 1<<20, time.Second
	c = &cluster{t: t, hs: hs, tip: tip, last: map[string]uint64{}}
	hs.SetOrderer(c, func(group string) int { return int(group[0] - '0') }, loops)
	var err error
	if c.inlet, err = hs.NewInlet(); err != nil {
		t.Fatal(err)
	}
	for p := range loops {
		c.must(c.inlet.Epoch(context.Background(), p, 7, tip))
	}
	t.Cleanup(func() {
		mustBeBooked(t, hs)
		for _, h := range hs.homes {
			if wrong := h.CheckOrdering(); wrong != "" {
				t.Error(wrong)
			}
		}
	})
	return c, now
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// orders puts what a message or an offer is in order.
func (c *cluster) orders(o Ordered, group string) uint64 {
	c.t.Helper()
	c.tip++
	o.Partition, o.Offset, o.Prev = int(group[0]-'0'), c.tip, c.last[group]
	c.last[group] = c.tip
	c.must(c.inlet.Ordered(context.Background(), o))
	return c.tip
}

// say puts a message of another machine in order.
func (c *cluster) say(group, text string) uint64 {
	c.t.Helper()
	return c.orders(Ordered{Message: NewOrderedMessage([]byte(group), []byte(text), false, nil)}, group)
}

// next puts the oldest offer in order, whose message its home has.
func (c *cluster) next() uint64 {
	c.t.Helper()
	o := c.take()
	return c.orders(Ordered{Token: o.Token, Key: o.Key, Forgets: o.Forgets}, o.Message.Group)
}

func (c *cluster) take() Offer {
	c.t.Helper()
	if len(c.offers) == 0 {
		c.t.Fatal("nothing was offered")
	}
	o := c.offers[0]
	c.offers = c.offers[1:]
	return o
}

// publishes is a client's publish to a group, which it asks for.
func (c *cluster) publishes(loop int, group, text string) *asker {
	client := new(asker)
	r := publishTo(group, text)
	r.Client, r.Asks, r.ID = client, true, "1"
	c.hs.Lanes(loop).Offer(c.hs.Of(group), r)
	c.hs.Lanes(loop).Host()
	return client
}

// down is what comes down to a loop.
func (c *cluster) down(loop int) (all []Delivery[*part, *asker]) {
	c.hs.Lanes(loop).Drain(nil, func(d Delivery[*part, *asker]) bool { all = append(all, d); return true })
	return all
}

func TestWhatIsOfferedIsHeardAndAnsweredWhenItIsOrdered(t *testing.T) {
	c, _ := clustered(t, 2, 0, 10, 40)
	rejoin(t, c.hs, 0, "0g", nil)
	rejoin(t, c.hs, 1, "0g", nil)
	client := c.publishes(1, "0g", "mine")
	if got := c.down(0); len(got) != 0 || c.hs.Home(0).Published() != 0 || c.hs.Unordered().Offered != 1 {
		t.Fatalf("before it is ordered: got %v, %+v", got, c.hs.Unordered())
	}
	c.say("0g", "other")
	c.next()
	for loop := range 2 {
		got := c.down(loop)
		if len(got) != 2 || string(got[0].Message.Payload()) != "other" || string(got[1].Message.Payload()) != "mine" || got[1].Message.Offset != 42 {
			t.Fatalf("loop %d: got %+v, want other and mine", loop, got)
		}
		if d := got[1]; (d.Client == client) != (loop == 1) || loop == 1 && (d.Offset != 42 || d.ID != "1") {
			t.Errorf("loop %d: got the answer %+v", loop, d)
		}
	}
	if c.hs.Unordered().Offered != 0 {
		t.Errorf("got %+v, want nobody who waits", c.hs.Unordered())
	}
	client = c.publishes(1, "0nobody", "mine")
	c.next()
	if got := c.down(1); len(got) != 1 || got[0].Client != client || got[0].Offset != 43 || got[0].Message != nil {
		t.Errorf("to nobody: got %+v, want the number alone", got)
	}
}

func TestWhatIsNotOrderedIsRefusedAndSaysWhy(t *testing.T) {
	c, _ := clustered(t, 1, 3, 10, 0)
	var refused []Refusal
	c.hs.env.Refused = func(_ int, why Refusal) { refused = append(refused, why) }
	rejoin(t, c.hs, 0, "0g", nil)
	p := openPort(t, c.hs)
	for _, why := range []error{ErrBusy, ErrUnavailable, ErrUnconfirmed} {
		client := c.publishes(0, "0g", "x")
		c.must(c.inlet.Refused(context.Background(), 0, c.take().Token, why))
		if got := c.down(0); len(got) != 1 || got[0].Op != OpBusy || got[0].Client != client || !got[0].Asks || got[0].Why.err() != why {
			t.Errorf("got %+v, want %v", got, why)
		}
		w, err := p.Offer("0g", text("x"))
		c.must(err)
		token := c.take().Token
		c.must(c.inlet.Refused(context.Background(), 0, token, why))
		c.must(c.inlet.Refused(context.Background(), 0, token, why)) // a word too many does no harm
		if _, err := w.Wait(context.Background()); err != why {
			t.Errorf("a port: got %v, want %v", err, why)
		}
	}
	c.full = true
	client := c.publishes(0, "0g", "x")
	if got := c.down(0); len(got) != 1 || got[0].Op != OpBusy || got[0].Why != RefusedBusy || got[0].Client != client {
		t.Errorf("no room: got %+v, want busy", got)
	}
	if _, err := p.Say(context.Background(), "0g", text("x")); err != ErrBusy {
		t.Errorf("a port, no room: got %v, want busy", err)
	}
	if err := p.Forget(context.Background(), "0g"); err != ErrBusy {
		t.Errorf("forget, no room: got %v, want busy", err)
	}
	want := []Refusal{RefusedBusy, RefusedBusy, RefusedUnavailable, RefusedUnavailable, RefusedUnconfirmed, RefusedUnconfirmed, RefusedBusy, RefusedBusy, RefusedBusy}
	if !slices.Equal(refused, want) {
		t.Errorf("counted %v, want %v", refused, want)
	}
}

// What a port has been told is accepted is not refused: it waits in its lane, and all behind it.
func TestWhatCannotBeRefusedWaitsForRoomAtTheOrderer(t *testing.T) {
	c, _ := clustered(t, 1, 0, 10, 0)
	p := openPort(t, c.hs)
	c.publishes(0, "0g", "1")
	c.full = true
	for _, text := range []string{"2", "3"} {
		c.must(p.PublishWait(context.Background(), "0g", []byte(text), nil))
	}
	if c.full = false; len(c.offers) != 1 {
		t.Fatalf("got %d offers, want the first", len(c.offers))
	}
	for i, want := range []string{"1", "2", "3"} {
		if got := string(c.offers[0].Message.Payload()); got != want {
			t.Errorf("got offer %s, want %s", got, want)
		}
		if c.next(); i == 0 && len(c.offers) != 2 {
			t.Errorf("with room: got %d offers, want 2", len(c.offers))
		}
	}
	c.full = true
	c.must(p.PublishWait(context.Background(), "0g", []byte("4"), nil))
	if c.full = false; !c.hs.Lanes(0).Keeps() {
		t.Error("nothing would ever look at it again")
	}
	c.hs.Lanes(0).Expire(10)
	c.hs.Lanes(0).Host()
	if len(c.offers) != 1 {
		t.Errorf("a tick later: got %d offers, want 1", len(c.offers))
	}
	c.next()
}

func TestKeysOfAllMachinesAreKnown(t *testing.T) {
	c, _ := clustered(t, 1, 3, 10, 8)
	p := openPort(t, c.hs)
	c.orders(Ordered{Message: NewOrderedMessage([]byte("0g"), []byte("there"), false, nil), Key: "k"}, "0g")
	got := said(t, p, "0g", Said{Payload: []byte("again"), Key: "k"})
	if want := (Receipt{Position: Position{9, 7}, Kept: true, Repeated: true}); got != want || len(c.offers) != 0 {
		t.Errorf("got %+v and %d offers, want %+v and none", got, len(c.offers), want)
	}
	first, err := p.Offer("0g", Said{Payload: []byte("here"), Key: "here"})
	c.must(err)
	second, err := p.Offer("0g", Said{Payload: []byte("here"), Key: "here"})
	c.must(err)
	unknown, err := p.Offer("0g", Said{Payload: []byte("x"), Key: "long ago"})
	c.must(err)
	c.next()
	c.must(c.inlet.Repeated(context.Background(), 0, c.take().Token, 10))
	c.must(c.inlet.Repeated(context.Background(), 0, c.take().Token, 3))
	for _, want := range []struct {
		w        *Pending
		offset   uint64
		repeated bool
	}{{first, 10, false}, {second, 10, true}, {unknown, 3, true}} {
		if r, err := want.w.Wait(context.Background()); err != nil || r.Position != (Position{want.offset, 7}) || r.Repeated != want.repeated || !r.Kept {
			t.Errorf("got %+v, %v, want offset %d, repeated %v", r, err, want.offset, want.repeated)
		}
	}
	r := publishTo("0g", "again")
	r.Keyed("here")
	if d := answer(t, c.hs, 0, r); d.Op != OpRepeated || d.Offset != 10 {
		t.Errorf("a client's repeat: got %+v, want that of the first", d)
	}
}

func TestTheFeedHearsWhatIsOrderedWithTheTokenOfItsSender(t *testing.T) {
	c, _ := clustered(t, 1, 0, 10, 0)
	feed, err := c.hs.NewFeed()
	c.must(err)
	defer feed.Close()
	c.must(feed.PublishWait(context.Background(), "0g", []byte("mine"), "token"))
	c.say("0g", "other")
	if got := feed.Collect(nil, 9); len(got) != 1 || string(got[0].Message) != "other" || got[0].Token != nil || got[0].Seq != 1 {
		t.Errorf("got %+v, want the other", got)
	}
	c.next()
	if got := feed.Collect(nil, 9); len(got) != 1 || string(got[0].Message) != "mine" || got[0].Token != "token" || got[0].Seq != 2 {
		t.Errorf("got %+v, want mine with its token", got)
	}
}

// Of a fast kind nothing is in order but here, and nothing is kept, whatever the kind says.
func TestAFastGroupIsNumberedHereAndSaidToOthers(t *testing.T) {
	c, _ := clustered(t, 1, 3, 10, 40)
	kind := Kind{Messages: 3, TTL: 10, Fast: true}
	c.hs.env.Kind = func(string) Kind { return kind }
	if past := rejoin(t, c.hs, 0, "0g", &Ask{Recover: true}); past.Top.Epoch != 0 {
		t.Errorf("got %+v, want no history", past)
	}
	c.full = true // it does not matter
	c.publishes(0, "0g", "mine")
	if got := c.down(0); len(got) != 1 || got[0].Message.Offset != 1 || got[0].Client == nil || got[0].Message.Kept {
		t.Errorf("got %+v, want it sent and answered", got)
	}
	if o := c.take(); !o.Fast || o.Token != 0 || o.Message.Group != "0g" || len(c.offers) > 0 || c.hs.Unordered().Offered != 0 {
		t.Errorf("got offer %+v", o)
	}
	c.must(c.inlet.Ordered(context.Background(), Ordered{Fast: true, Message: NewOrderedMessage([]byte("0g"), []byte("other"), false, nil)}))
	if got := c.down(0); len(got) != 1 || string(got[0].Message.Payload()) != "other" || got[0].Message.Offset != 2 || len(c.offers) > 0 {
		t.Errorf("got %+v, want the other's, and no offer", got)
	}
	kind.Fast = false
	c.hs.KindsChanged()
	c.full = false
	c.publishes(0, "0g", "slow")
	if got := c.down(0); len(got) != 0 || c.take().Fast {
		t.Errorf("not fast any more: got %+v, want an offer", got)
	}
	c.must(c.inlet.Refused(context.Background(), 0, 1, ErrUnavailable))
}

// What is in order cannot be refused: it waits until less of its group is in flight. What is fast can.
func TestWhatIsOrderedIsHeldBackWhereItsGroupIsLoud(t *testing.T) {
	c, _ := clustered(t, 1, 0, 10, 0)
	c.hs.config.FlightBytes, c.hs.config.FlightMin = 1, 1
	loud := 0
	c.hs.env.TooLoud = func(int, *Message) { loud++ }
	g := &part{name: "0g"}
	l := c.hs.Lanes(0)
	l.Offer(0, Request[*part, *asker]{Op: OpJoin, Local: g})
	l.Host()
	c.down(0)
	l.Through(0)
	c.say("0g", "1")
	c.say("0g", "2")
	c.publishes(0, "0g", "refused")
	got := c.down(0)
	if len(got) != 2 || string(got[0].Message.Payload()) != "1" || got[1].Op != OpBusy || got[1].Why != RefusedBusy || loud != 1 {
		t.Fatalf("got %+v, %d too loud; want the first, and busy", got, loud)
	}
	g.flow.Taken(got[0].Message.Bytes())
	l.Through(0)
	l.Host()
	if got = c.down(0); len(got) != 1 || string(got[0].Message.Payload()) != "2" {
		t.Errorf("got %+v, want the second", got)
	}
	c.must(c.inlet.Ordered(context.Background(), Ordered{Fast: true, Message: NewOrderedMessage([]byte("0g"), []byte("fast"), false, nil)}))
	c.say("0other", "not held up")
	if got = c.down(0); len(got) != 0 || loud != 2 || c.hs.Home(0).Published() != 3 {
		t.Errorf("fast, and too loud: got %+v, %d too loud, %d published", got, loud, c.hs.Home(0).Published())
	}
}

// A panic over what was put in order: who waits is told, and the history does not seem to have what it has not.
func TestAPanicOverWhatIsOrderedLeavesNoGapInTheHistory(t *testing.T) {
	c, _ := clustered(t, 1, 9, 10, 0)
	c.hs.env.Panicked = func(int, any) {}
	p := openPort(t, c.hs)
	c.say("0g", "1")
	w, err := p.Offer("0g", text("lost"))
	c.must(err)
	kind := c.hs.env.Kind
	c.hs.env.Kind = func(string) Kind { panic("a kind") }
	c.hs.KindsChanged()
	c.next()
	c.hs.env.Kind = kind
	if _, err := w.Wait(context.Background()); err != ErrUnknown {
		t.Errorf("got %v, want unknown", err)
	}
	c.say("0g", "3")
	if past := rejoin(t, c.hs, 0, "0g", &Ask{Recover: true, Since: Position{2, 7}, MessagesMax: 9, BytesMax: 1 << 20}); !past.Recovered || texts(past.Messages) != "3" {
		t.Errorf("behind it: got %+v, want 3", past)
	}
	l := c.hs.Lanes(0)
	l.Offer(0, Request[*part, *asker]{Op: OpJoin, Local: &part{name: "0g"}, Client: new(asker), Past: &Ask{Recover: true, Since: Position{1, 7}, MessagesMax: 9, BytesMax: 1 << 20}})
	l.Host()
	if got := c.down(0); len(got) != 0 || !slices.Equal(c.recalls, []string{"0g"}) {
		t.Errorf("before it: got %+v, and %v is recalled; want 0g", got, c.recalls)
	}
}

func TestAPanicOverAnOfferIsToldAndItsMessageIsHeardIfItComesBack(t *testing.T) {
	c, _ := clustered(t, 1, 9, 10, 0)
	c.hs.env.Panicked = func(int, any) {}
	p := openPort(t, c.hs)
	broken := &panicking{cluster: c}
	c.hs.homes[0].ordering.orderer = broken
	w, err := p.Offer("0g", text("x"))
	c.must(err)
	c.hs.homes[0].ordering.orderer = c
	c.next() // though nobody has taken the first word yet
	if _, err := w.Wait(context.Background()); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %v, want unknown", err)
	}
	if past := rejoin(t, c.hs, 0, "0g", &Ask{Recover: true, MessagesMax: 9, BytesMax: 1 << 20}); texts(past.Messages) != "x" {
		t.Errorf("got %q, want it", texts(past.Messages))
	}
}

type panicking struct{ *cluster }

func (p *panicking) Offer(home int, o Offer) bool {
	p.cluster.Offer(home, o)
	panic("an orderer")
}

// What does not enter the history has no number here either, and yet moves the tip.
func TestWhatIsUnkeptIsOrderedAndNotKept(t *testing.T) {
	c, _ := clustered(t, 1, 9, 10, 0)
	rejoin(t, c.hs, 0, "0g", nil)
	c.orders(Ordered{Message: NewOrderedMessage([]byte("0g"), []byte("x"), false, &dialect.More{Unkept: true})}, "0g")
	if got := c.down(0); len(got) != 1 || got[0].Message.Offset != 0 || got[0].Message.Kept {
		t.Errorf("got %+v, want it without a number", got)
	}
	if past := rejoin(t, c.hs, 0, "0g", &Ask{Recover: true, MessagesMax: 9, BytesMax: 1 << 20}); past.Top != (Position{1, 7}) || !past.Recovered || len(past.Messages) > 0 {
		t.Errorf("got %+v, want nothing missed", past)
	}
}
