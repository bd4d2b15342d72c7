package order

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"ringcast/dialect"
)

// caching is a table whose groups have their last message kept for so many ticks.
func caching(loops int, ticks uint32) (hs *table, now *uint32) {
	hs, now = remembering(loops, 0, 0)
	hs.config.Tick = time.Second
	hs.env.Kind = func(string) Kind { return Kind{Cache: ticks} }
	return hs, now
}

// lastOf is what who joins a group is told that was said last: its text, "miss" if there is none, "off" if the kind caches nothing.
func lastOf(t *testing.T, hs *table, loop int, group string) string {
	t.Helper()
	past := rejoin(t, hs, loop, group, &Ask{Cached: true})
	mustBeBooked(t, hs)
	switch {
	case past == nil || !past.HasCached:
		return "off"
	case past.Cached == nil:
		return "miss"
	}
	return string(past.Cached.Payload())
}

// Also what was said before anybody was there, and what is not kept; and nobody need be there.
func TestWhoJoinsIsToldWhatWasSaidLast(t *testing.T) {
	hs, now := caching(2, 10)
	p := openPort(t, hs)
	if got := lastOf(t, hs, 1, "0g"); got != "miss" {
		t.Errorf("nothing was said: got %s, want a miss", got)
	}
	leaveBy(hs, 1, "0g")
	for i, one := range []Said{text("first"), {Payload: []byte("unkept"), Unkept: true}, {Payload: []byte(`{"a":1}`), JSON: true, Tags: []byte(`{"event":"e"}`), Except: farName(1, 1)}} {
		said(t, p, "0g", one)
		if got, want := lastOf(t, hs, i%2, "0g"), string(one.Payload); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if i == 0 {
			leaveBy(hs, 0, "0g")
		}
	}
	m := rejoin(t, hs, 0, "0g", &Ask{Cached: true}).Cached
	if !m.JSON || string(m.More.Tags) != `{"event":"e"}` || m.More.ExceptName != farName(1, 1) || m.Offset == 0 || m.Sort != dialect.Said {
		t.Errorf("got %+v of %+v, want all that was said", m.More, m)
	}
	if past := rejoin(t, hs, 0, "0g", nil); past != nil {
		t.Errorf("who does not ask: got %+v, want nothing", past)
	}
	*now = 9
	if got := lastOf(t, hs, 0, "0g"); got != `{"a":1}` {
		t.Errorf("within its time: got %s", got)
	}
	*now = 10
	if got := lastOf(t, hs, 0, "0g"); got != "miss" {
		t.Errorf("beyond its time: got %s, want a miss", got)
	}
	hs.Lanes(0).Expire(10)
	mustBeBooked(t, hs)
	if hs.Cached() != 0 || hs.HistoryBytes() != 0 || hs.Lanes(0).Keeps() {
		t.Errorf("got %d cached of %d bytes, want nothing", hs.Cached(), hs.HistoryBytes())
	}
}

// A group that is cached is no group for that: it is not known, not counted, and nobody can resume in it.
func TestACacheMakesNoGroup(t *testing.T) {
	hs, _ := caching(1, 10)
	say(hs, "0g", 1, 1)
	if hs.homes[0].groups.Len() != 0 || hs.homes[0].Groups() != 0 {
		t.Errorf("got %d groups known, want none", hs.homes[0].groups.Len())
	}
	if past := rejoin(t, hs, 0, "0g", &Ask{Cached: true, Recover: true}); past.Recovered || !past.WasAsked || past.Top.Epoch != 0 || past.Cached == nil {
		t.Errorf("got %+v, want no position", past)
	}
	if groups, messages := hs.Histories(); groups+messages != 0 {
		t.Errorf("got %d histories of %d messages, want none", groups, messages)
	}
}

// What clients say to each other is not what a group said last, nor is what was refused, and what is said again.
func TestWhatIsNotSaidToAllIsNotCached(t *testing.T) {
	hs, _ := caching(1, 10)
	hs.config.KeyTicks, hs.config.KeysBytesMax = 100, 1<<20
	say(hs, "0g", 1, 1)
	r := publishTo("0g", "whisper")
	r.Message.More = &dialect.More{ClientEvent: true, Unkept: true}
	for range 2 {
		hs.Lanes(0).Offer(0, r)
		hs.Lanes(0).Host()
		if got := lastOf(t, hs, 0, "0g"); got != "1" {
			t.Errorf("a client event: got %s, want 1", got)
		}
	}
	p := openPort(t, hs)
	said(t, p, "0g", Said{Payload: []byte("keyed"), Key: "k"})
	say(hs, "0g", 2, 2)
	said(t, p, "0g", Said{Payload: []byte("again"), Key: "k"})
	if got := lastOf(t, hs, 0, "0g"); got != "2" {
		t.Errorf("a repeat: got %s, want 2", got)
	}
	hs.homes[0].groups.Get("0g").heldBack = -9 // another port's
	if _, err := p.Say(t.Context(), "0g", text("refused")); !errors.Is(err, ErrBusy) {
		t.Fatalf("got %v, want busy", err)
	}
	hs.homes[0].groups.Get("0g").heldBack = 0
	if got := lastOf(t, hs, 0, "0g"); got != "2" {
		t.Errorf("what was refused: got %s, want 2", got)
	}
}

func TestACacheFollowsItsKind(t *testing.T) {
	for _, member := range []bool{false, true} {
		hs, now := caching(1, 10)
		kind := func(ticks uint32) {
			hs.env.Kind = func(string) Kind { return Kind{Cache: ticks} }
			hs.KindsChanged()
		}
		check := func(want string) {
			t.Helper()
			if got := lastOf(t, hs, 0, "0g"); got != want {
				t.Errorf("somebody is there %v: got %s, want %s", member, got, want)
			}
			if !member {
				leaveBy(hs, 0, "0g")
			}
		}
		say(hs, "0g", 1, 1)
		check("1")
		kind(3)
		*now = 3
		check("miss")
		kind(5)
		check("1")
		kind(0)
		say(hs, "0g", 2, 2)
		check("off")
		kind(9)
		check("miss") // 1 was not the last
		say(hs, "0g", 3, 3)
		check("3")
	}
}

func TestAPortIsToldWhatWasSaidLastAndForHowLongItIsKept(t *testing.T) {
	hs, now := caching(2, 10)
	hs.env.Kind = func(group string) Kind { return Kind{Cache: 10, Messages: int(group[1] - '0'), TTL: 50} }
	p := openPort(t, hs)
	ask := func(group string) string {
		m, left, err := p.Cached(t.Context(), group)
		if err != nil || m == nil {
			return fmt.Sprint(m, left, err)
		}
		return fmt.Sprint(string(m.Payload()), " ", left)
	}
	for _, group := range []string{"10", "13"} {
		nothing := fmt.Sprint((*Message)(nil), time.Duration(0), nil)
		if got := ask(group); got != nothing {
			t.Errorf("nothing was said: got %s, want %s", got, nothing)
		}
		say(hs, group, 1, 2)
		*now += 4
		if got, want := ask(group), "2 6s"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if err := p.Forget(t.Context(), group); (err == nil) != (group == "13") {
			t.Fatal(err)
		}
		if got := ask(group); (got == nothing) != (group == "13") {
			t.Errorf("kept %c messages, forgotten: got %s", group[1], got)
		}
		mustBeBooked(t, hs)
	}
}

// Last messages may be a part of what all histories may be, oldest first; and they go with the histories, whichever is older.
func TestCachesHaveABoundWithHistories(t *testing.T) {
	hs, now := caching(1, 1000)
	hs.env.Kind = func(group string) Kind {
		if group[1] == 'h' {
			return Kind{Messages: 10, TTL: 1000}
		}
		return Kind{Cache: 1000}
	}
	const most = 100_000
	hs.SetHistoryMax(most)
	for i := range 1000 {
		*now = uint32(i)
		say(hs, fmt.Sprint("0c", i), i, i)
		mustBeBooked(t, hs)
		if got := hs.HistoryBytes(); got > most/cachePart+1000 {
			t.Fatalf("after %d: got %d bytes, want at most a part of %d", i, got, most)
		}
	}
	cached := hs.Cached()
	if got := lastOf(t, hs, 0, "0c999"); got != "999" || cached < 50 || hs.HistoryBytes() < most/cachePart/2 {
		t.Errorf("got %s, and %d cached", got, cached)
	}
	if got := lastOf(t, hs, 0, "0c500"); got != "miss" {
		t.Errorf("an old one: got %s, want a miss", got)
	}
	for i := 0; hs.Cached() == cached && i < 5000; i++ {
		*now = 1000
		say(hs, fmt.Sprint("0h", i), i, i)
	}
	if got := hs.HistoryBytes(); hs.Cached() == cached || got > most {
		t.Errorf("got %d bytes and %d cached, want the oldest to go for histories", got, hs.Cached())
	}
	large := strings.Repeat("x", most)
	hs.Lanes(0).Offer(0, publishTo("0c999", large))
	hs.Lanes(0).Host()
	for hs.Lanes(0).Expire(100) {
	}
	if got := lastOf(t, hs, 0, "0c999"); got != "miss" || hs.HistoryBytes() > most {
		t.Errorf("one that is larger than all may be: got %.9s and %d bytes, want a miss", got, hs.HistoryBytes())
	}
}

// Those of several times expire each at its own.
func TestCachesExpireInSlices(t *testing.T) {
	hs, now := caching(1, 0)
	hs.env.Kind = func(group string) Kind { return Kind{Cache: 10 * uint32(group[1]-'0')} }
	for i := range 300 {
		say(hs, fmt.Sprint("0", 1+i%3, "g", i), 1, 1)
	}
	for i, want := range []int64{300, 200, 100, 0} {
		*now = uint32(10 * i)
		for more := true; more; {
			before := hs.Cached()
			more = hs.Lanes(0).Expire(7)
			if done := before - hs.Cached(); done > 7 {
				t.Fatalf("a slice of 7 steps has dropped %d", done)
			}
		}
		mustBeBooked(t, hs)
		if got := hs.Cached(); got != want {
			t.Errorf("at %d: got %d cached, want %d", *now, got, want)
		}
	}
}

// What an orderer has put in order feeds the cache of every machine, also what is not kept; and what was forgotten is not cached.
func TestWhatIsOrderedIsCached(t *testing.T) {
	for _, messages := range []int{0, 3} {
		c, _ := clustered(t, 1, messages, 10, 0)
		c.hs.env.Kind = func(string) Kind { return Kind{Messages: messages, TTL: 10, Cache: 10} }
		c.say("0g", "far")
		if got := lastOf(t, c.hs, 0, "0g"); got != "far" {
			t.Errorf("got %s, want far", got)
		}
		c.publishes(0, "0g", "mine")
		if got := lastOf(t, c.hs, 0, "0g"); got != "far" {
			t.Errorf("before it is ordered: got %s, want far", got)
		}
		c.next()
		if got := lastOf(t, c.hs, 0, "0g"); got != "mine" {
			t.Errorf("when it is ordered: got %s, want mine", got)
		}
		c.orders(Ordered{Message: NewOrderedMessage([]byte("0g"), []byte("whisper"), false, &dialect.More{Unkept: true, ClientEvent: true})}, "0g")
		c.orders(Ordered{Message: NewOrderedMessage([]byte("0g"), []byte("unkept"), false, &dialect.More{Unkept: true})}, "0g")
		if got := lastOf(t, c.hs, 0, "0g"); got != "unkept" {
			t.Errorf("got %s, want unkept", got)
		}
		c.orders(Ordered{Message: NewOrderedMessage([]byte("0g"), nil, false, nil), Forgets: true}, "0g")
		if got := lastOf(t, c.hs, 0, "0g"); got != "miss" {
			t.Errorf("forgotten: got %s, want a miss", got)
		}
		c.hs.env.Kind = func(string) Kind { return Kind{Fast: true, Cache: 10} }
		c.hs.KindsChanged()
		say(c.hs, "0g", 1, 1)
		if got := lastOf(t, c.hs, 0, "0g"); got != "1" {
			t.Errorf("a fast one: got %s, want 1", got)
		}
	}
}

// The bound on bytes is one on memory, so forms, which are in no books, must not live on with what is cached.
func TestCachesTakeWhatIsBooked(t *testing.T) {
	hs, _ := caching(1, 1000)
	p := openPort(t, hs)
	const groups = 20_000
	before := heapAlive()
	for round := range 2 {
		for i := range groups {
			m := publishTo(fmt.Sprint("0 room ", i), fmt.Sprintf("%d %0200d", round, i))
			hs.Lanes(0).Offer(0, m)
			hs.Lanes(0).Host()
			m.Message.In(1, &dialect.Plain{})
		}
	}
	for i := range groups {
		m, _, err := p.Cached(t.Context(), fmt.Sprint("0 room ", i))
		must(t, err)
		m.In(1, &dialect.Plain{})
	}
	took, booked := heapAlive()-before, hs.HistoryBytes()
	t.Logf("%d groups: %d bytes, booked %.3f of it", groups, took, float64(booked)/float64(took))
	if took > booked*110/100 || took < booked*70/100 {
		t.Errorf("got %d bytes, booked %d", took, booked)
	}
	runtime.KeepAlive(hs)
}

// One client is not sent what a port says for all others: by its number here, by its name elsewhere.
func TestAPortLeavesOneClientOut(t *testing.T) {
	hs := newTable(1, 256)
	hs.env.ClientNumber = func(name string) (uint64, bool) { return 7, name == farName(1, 7) }
	p := openPort(t, hs)
	join(hs, 0, &part{name: "0g"}, numbered(0, 1), false)
	for _, name := range []string{farName(1, 7), farName(1, 8), ""} {
		said(t, p, "0g", Said{Payload: []byte("x"), Except: name})
	}
	if _, err := p.Say(t.Context(), "0g", Said{Except: "somebody"}); !errors.Is(err, ErrBadName) {
		t.Errorf("a name that is none: got %v, want ErrBadName", err)
	}
	var got []string
	hs.Lanes(0).Drain(nil, func(d Delivery[*part, *asker]) bool {
		if m := d.Message; m != nil && m.More != nil {
			got = append(got, fmt.Sprint(m.More.ExceptName, " ", m.More.Except))
			if plain := m.Bytes() - len(m.More.ExceptName); plain != messageBytes+moreBytes+len(m.Wire)+len(m.Group) {
				t.Errorf("got %d bytes beside the name", plain)
			}
		}
		return true
	})
	if want := farName(1, 7) + " 7," + farName(1, 8) + " 0"; strings.Join(got, ",") != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
