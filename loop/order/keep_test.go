package order

import (
	"fmt"
	"testing"

	"ringcast/dialect"
)

func mustBeBooked(t *testing.T, hs *table) {
	t.Helper()
	var sum int64
	for _, h := range hs.homes {
		if wrong := h.CheckHistories(); wrong != "" {
			t.Error(wrong)
		}
		sum += h.keptBytes.Load()
	}
	if got := hs.HistoryBytes(); got != sum {
		t.Errorf("got %d bytes in all histories, want %d", got, sum)
	}
}

// A group counts while nobody is there, for as long as messages are kept; then it is forgotten, whether a slice of Expire has come
// to it or not, and its next life is another.
func TestAGroupWithHistoryOutlivesItsMembersForAWhile(t *testing.T) {
	for _, slices := range []bool{false, true} {
		hs, now := remembering(1, 5, 10)
		first := rejoin(t, hs, 0, "0g", nil).Top
		say(hs, "0g", 1, 1)
		*now = 8
		leaveBy(hs, 0, "0g")
		if got := hs.homes[0].Groups(); got != 0 {
			t.Errorf("got %d groups with members, want none", got)
		}
		*now = 9
		say(hs, "0g", 2, 3)
		*now = 18
		if hs.Lanes(0).Expire(100); hs.homes[0].groups.Len() != 1 {
			t.Fatal("the group is forgotten too soon")
		}
		got := rejoin(t, hs, 0, "0g", &Ask{Recover: true, Since: Position{1, first.Epoch}, MessagesMax: 9, BytesMax: 1 << 20})
		if !got.Recovered || texts(got.Messages) != "2 3" || got.Top.Offset != 3 {
			t.Errorf("within its time: got %q, %+v, want 2 and 3", texts(got.Messages), got)
		}
		leaveBy(hs, 0, "0g")
		*now = 28
		if slices {
			for hs.Lanes(0).Expire(1) {
			}
			if n := hs.homes[0].groups.Len(); n != 0 || hs.HistoryBytes() != 0 || hs.Lanes(0).Keeps() {
				t.Errorf("beyond its time: got %d groups known and %d bytes, want nothing", n, hs.HistoryBytes())
			}
		}
		got = rejoin(t, hs, 0, "0g", &Ask{Recover: true, Since: Position{3, first.Epoch}, MessagesMax: 9, BytesMax: 1 << 20})
		if got.Recovered || got.Top.Offset != 0 || got.Top.Epoch == first.Epoch {
			t.Errorf("beyond its time: got %+v, want another life", got)
		}
		mustBeBooked(t, hs)
	}
}

func TestAGroupFollowsItsKind(t *testing.T) {
	hs, _ := remembering(1, 5, 10)
	kind := func(messages int, ttl uint32) {
		hs.env.Kind = func(string) Kind { return Kind{Messages: messages, TTL: ttl} }
		hs.KindsChanged()
	}
	all := func() string {
		d := answer(t, hs, 0, Request[*part, *asker]{Op: OpHistory, Local: &part{name: "0g"}, Past: &Ask{Limit: -1, MessagesMax: 99, BytesMax: 1 << 20}})
		mustBeBooked(t, hs)
		return fmt.Sprint(texts(d.Past.Messages), " of ", d.Past.Top.Offset)
	}
	first := rejoin(t, hs, 0, "0g", nil).Top.Epoch
	say(hs, "0g", 1, 5)
	kind(2, 10)
	if got := all(); got != "4 5 of 5" {
		t.Errorf("fewer: got %s, want 4 and 5", got)
	}
	kind(3, 99)
	say(hs, "0g", 6, 8)
	if got := all(); got != "6 7 8 of 8" {
		t.Errorf("more: got %s, want the last three", got)
	}
	kind(0, 99)
	if got := all(); got != " of 0" {
		t.Errorf("none: got %s, want none", got)
	}
	kind(3, 99)
	got := rejoin(t, hs, 0, "0g", &Ask{Recover: true, Since: Position{8, first}})
	if got.Recovered || got.Top.Epoch == first || got.Top.Offset != 8 {
		t.Errorf("again: got %+v, want another epoch that goes on counting, as members are there", got)
	}
	say(hs, "0g", 9, 9)
	if got := all(); got != "9 of 9" {
		t.Errorf("again: got %s, want 9", got)
	}
	leaveBy(hs, 0, "0g")
	kind(0, 99)
	if say(hs, "0g", 10, 10); hs.homes[0].groups.Len() != 0 || hs.HistoryBytes() != 0 {
		t.Errorf("none, and nobody is there: got %d groups known, %d bytes", hs.homes[0].groups.Len(), hs.HistoryBytes())
	}
}

// However many are over at once: each slice has its bound, and all of them together no more than twice the steps that there are
// messages and groups.
func TestHistoriesExpireInSlices(t *testing.T) {
	const groups, most = 3000, 70
	hs, now := remembering(1, 2, 10)
	for i := range groups {
		say(hs, fmt.Sprint("0", i), 1, 1+i%3)
	}
	*now = 10
	l, slices := hs.Lanes(0), 0
	for more := true; more; slices++ {
		g, m := hs.Histories()
		more = l.Expire(most)
		left, kept := hs.Histories()
		if done := g - left + m - kept; done > most {
			t.Fatalf("slice %d: got %d dropped, want at most %d", slices, done, most)
		}
		if slices%20 == 0 {
			mustBeBooked(t, hs)
		}
	}
	if got, want := slices, 1+4*groups/most; got > want || hs.HistoryBytes() != 0 || hs.homes[0].groups.Len() != 0 {
		t.Errorf("got %d slices, want at most %d; %d bytes are left", got, want, hs.HistoryBytes())
	}
	if letGo, ok := hs.Home(0).Hold(); ok {
		if l.Expire(most) {
			t.Error("there is nothing to expire, and Expire wants to be called again")
		}
		letGo()
		say(hs, "0g", 1, 1)
		if letGo, _ = hs.Home(0).Hold(); !l.Expire(most) {
			t.Error("another loop holds the home: got no more, want to be called again")
		}
		letGo()
	}
}

// What comes to a home while Expire holds it is left to this loop.
func TestWhatComesWhileALoopExpiresIsServedBehindIt(t *testing.T) {
	hs, now := remembering(2, 2, 10)
	say(hs, "0g", 1, 1)
	*now = 10
	hs.env.Now = func() uint32 { // read while the home is held
		if hs.homes[0].held.Load() && hs.homes[0].serving == nil {
			hs.env.Now = func() uint32 { return *now }
			hs.Lanes(1).Offer(0, publishTo("0g", "late"))
			if moved, busy := hs.Lanes(1).Host(); moved || busy {
				t.Errorf("another loop: got moved %v, busy %v, want it to pass over the home", moved, busy)
			}
		}
		return *now
	}
	hs.Lanes(0).Expire(100)
	hs.Lanes(0).Host()
	if _, messages := hs.Histories(); messages != 1 {
		t.Errorf("got %d messages, want the one that came meanwhile", messages)
	}
}

// Two homes share the bound. One that has more than its share drops the oldest, until both together are within the bound; a
// small one beside it loses nothing.
func TestHistoriesTogetherHaveABound(t *testing.T) {
	hs, now := remembering(2, 100, 1000)
	say(hs, "1small", 1, 3)
	small := hs.HistoryBytes()
	const most = 20_000
	hs.SetHistoryMax(most)
	for i := range 500 {
		*now++
		say(hs, fmt.Sprint("0", i%37), i, i)
		if got := hs.HistoryBytes(); got > most {
			t.Fatalf("after %d messages: got %d bytes, bound %d", i, got, most)
		}
	}
	mustBeBooked(t, hs)
	if got := hs.HistoryBytes(); got < most*9/10 || got > historyMark(most) {
		t.Errorf("got %d bytes, want nearly the mark, %d", got, historyMark(most))
	}
	if got := hs.homes[1].keptBytes.Load(); got != small {
		t.Errorf("the small home: got %d bytes, want all that it had, %d", got, small)
	}
	oldest := *now
	hs.homes[0].EachHistory(func(group string, top Position, from uint64, alone bool) {
		if y := hs.homes[0].groups.Get(group).history; y.count > 0 {
			tick, _ := y.age()
			oldest = min(oldest, tick)
		}
	})
	_, messages := hs.Histories()
	if kept := uint32(messages) - 3; oldest != *now-kept+1 {
		t.Errorf("got %d messages, the oldest of tick %d, want the newest of all, to tick %d", kept, oldest, *now)
	}

	// Beside others that are within the bound one that comes later is given its share, by the others' slices.
	hs.SetHistoryMax(most / 2)
	for hs.Lanes(0).Expire(10) {
	}
	if got := hs.HistoryBytes(); got > most/2 {
		t.Errorf("a smaller bound: got %d bytes, want at most %d", got, most/2)
	}
	hs.SetHistoryMax(1)
	for hs.Lanes(0).Expire(10) || hs.Lanes(1).Expire(10) {
	}
	if got := hs.HistoryBytes(); got != 0 {
		t.Errorf("no room: got %d bytes, want none", got)
	}
	say(hs, "1small", 4, 4)
	if got := hs.HistoryBytes(); got != 0 {
		t.Errorf("no room, and a publish: got %d bytes, want none", got)
	}
	mustBeBooked(t, hs)
}

// A message that is larger than all that it pushes out, and much that is small: the sum is within its bound behind each publish.
func TestALargeMessageMakesItsRoomOutOfManySmallOnes(t *testing.T) {
	hs, _ := remembering(1, 100, 1000)
	const most = 1 << 20
	hs.SetHistoryMax(most)
	for i := range 8000 {
		say(hs, fmt.Sprint("0", i), i, i)
	}
	for i := range 4 {
		hs.Lanes(0).Offer(0, publishTo("0large", string(make([]byte, most/3))))
		hs.Lanes(0).Host()
		if got := hs.HistoryBytes(); got > most {
			t.Errorf("after %d large messages: got %d bytes, bound %d", i+1, got, most)
		}
	}
	if y := hs.homes[0].groups.Get("0large").history; y.count != 2 {
		t.Errorf("got %d large messages, want the two that there is room for", y.count)
	}
	mustBeBooked(t, hs)
}

// A large message that finds room below the bound has few others dropped at once; the rest goes in slices, down to the mark. Not so
// the messages behind it that find none: then the bound comes first.
func TestALargeMessageDropsFewAtOnceWhileThereIsRoom(t *testing.T) {
	hs, _ := remembering(1, 100, 1000)
	const most = 4 << 20
	hs.SetHistoryMax(most)
	for i := range 16_000 {
		say(hs, fmt.Sprint("0", i), 1, 1)
	}
	if got := hs.HistoryBytes(); got > historyMark(most) || got < historyMark(most)-1000 {
		t.Fatalf("many small ones: got %d bytes, want just below the mark, %d", got, historyMark(most))
	}
	dropped := func() int64 {
		_, before := hs.Histories()
		hs.Lanes(0).Offer(0, publishTo("0large", string(make([]byte, most/20))))
		hs.Lanes(0).Host()
		_, after := hs.Histories()
		if got := hs.HistoryBytes(); got > most {
			t.Errorf("got %d bytes, bound %d", got, most)
		}
		return before + 1 - after
	}
	for range 2 {
		if n := dropped(); n > trimMost || hs.HistoryBytes() <= historyMark(most) {
			t.Errorf("a large message: dropped %d others, want at most %d; %d bytes kept, want more than the mark", n, trimMost, hs.HistoryBytes())
		}
		for hs.Lanes(0).Expire(64) {
		}
		if got := hs.HistoryBytes(); got > historyMark(most) {
			t.Errorf("after slices: got %d bytes, want no more than the mark, %d", got, historyMark(most))
		}
	}
	if dropped(); dropped() <= trimMost {
		t.Error("the second of two beyond the room: few were dropped, want as many as the bound asks for")
	}
	mustBeBooked(t, hs)
}

// What a home calls of the program around it may panic. Nothing has changed then: no place is taken, nothing is booked wrongly.
func TestAPanicOfAKindOrAClockLeavesHistoriesRight(t *testing.T) {
	hs, now := remembering(1, 5, 10)
	rejoin(t, hs, 0, "0member", nil)
	say(hs, "0member", 1, 3)
	say(hs, "0alone", 1, 3)
	kind, clock := hs.env.Kind, hs.env.Now
	l, at := hs.Lanes(0), 0
	requests := []func() Request[*part, *asker]{
		func() Request[*part, *asker] { return publishTo("0member", "x") },
		func() Request[*part, *asker] { return publishTo("0alone", "x") },
		func() Request[*part, *asker] { return publishTo(fmt.Sprint("0new", at), "x") },
		func() Request[*part, *asker] {
			return Request[*part, *asker]{Op: OpJoin, Local: &part{name: fmt.Sprint("0new", at)}, Past: &Ask{Recover: true}}
		},
		func() Request[*part, *asker] { return Request[*part, *asker]{Op: OpJoin, Local: &part{name: "0alone"}} },
		func() Request[*part, *asker] {
			return Request[*part, *asker]{Op: OpHistory, Local: &part{name: "0member"}, Past: &Ask{Limit: -1}}
		},
	}
	for panics := range 3 { // the call of Env over which it panics
		for _, request := range requests {
			for _, changed := range []bool{false, true} {
				at++
				if changed {
					hs.KindsChanged()
				}
				groups, members, before := hs.homes[0].groups.Len(), hs.Census.Groups(), hs.HistoryBytes()
				calls := 0
				call := func() {
					if calls++; calls > panics {
						panic("at the world's end")
					}
				}
				hs.env.Kind = func(group string) Kind { call(); return kind(group) }
				hs.env.Now = func() uint32 { call(); return clock() }
				l.Offer(0, request())
				panicked := func() (panicked bool) {
					defer func() { panicked = recover() != nil }()
					l.Host()
					return
				}()
				hs.env.Kind, hs.env.Now = kind, clock
				if panicked {
					l.Survive()
					if g, m := hs.homes[0].groups.Len(), hs.Census.Groups(); g != groups || m != members || hs.HistoryBytes() != before {
						t.Errorf("request %d: got %d groups known, %d with members, %d bytes, want as before", at, g, m, hs.HistoryBytes())
					}
				}
				l.Host()
				heardBy(l)
				mustBeBooked(t, hs)
			}
		}
	}
	kind = func(string) Kind { return Kind{Messages: 1, TTL: 10} }
	hs.env.Kind = func(string) Kind { hs.env.Kind = kind; panic("over a kind that has changed") }
	hs.KindsChanged()
	func() {
		defer func() { recover() }()
		say(hs, "0member", 4, 4)
	}()
	l.Survive()
	*now = 2
	say(hs, "0member", 5, 6)
	if y := hs.homes[0].groups.Get("0member").history; y.count != 1 {
		t.Errorf("a kind changes, and who asks for it panics: got %d messages kept, want one, as the kind says", y.count)
	}
	hs.env.Now = func() uint32 { panic("while a slice expires") }
	func() {
		defer func() { recover() }()
		l.Expire(3)
	}()
	l.Survive()
	for hs.env.Now = clock; l.Expire(3); {
	}
	l.Host()
	mustBeBooked(t, hs)
	if hs.homes[0].held.Load() || !hs.homes[0].Idle() {
		t.Error("the home is held, or not idle")
	}
}

// Other forms than the plain one are in no books, so a history does not keep them, and none that is made later either.
func TestAHistoryKeepsNoFormsButThePlainOne(t *testing.T) {
	hs, now := remembering(1, 5, 1000)
	rejoin(t, hs, 0, "0g", nil)
	var sent []*Message
	for tick := range uint32(4) {
		*now = tick
		for i := range 2 {
			r := publishTo("0g", fmt.Sprint(tick, i))
			sent = append(sent, r.Message)
			hs.Lanes(0).Offer(0, r)
			hs.Lanes(0).Host()
			r.Message.In(1, &dialect.Plain{})
		}
	}
	for more := true; more; {
		more = hs.Lanes(0).Expire(1)
	}
	for i, m := range sent {
		cold := i/2 <= 1 // of the ticks 0 and 1
		if i < len(sent)-5 {
			continue // kept no more
		}
		if got := m.forms.Load() == &unkept; got != cold {
			t.Errorf("message %d: got forms cleared %v, want %v", i, got, cold)
		}
	}
	*now = 9
	for hs.Lanes(0).Expire(1) {
	}
	for _, m := range sent[len(sent)-2:] {
		if p, ready := m.In(1, &dialect.Plain{}); !ready || string(p) != m.Wire || m.forms.Load() != &unkept {
			t.Errorf("a form of an old message: got %q, ready %v, kept %v, want it made and not kept", p, ready, m.forms.Load() != &unkept)
		}
	}
	mustBeBooked(t, hs)
}
