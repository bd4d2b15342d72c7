package order

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// remembering is a table of one kind, whose clock stands until a test moves it.
func remembering(loops, messages int, ttl uint32) (hs *table, now *uint32) {
	hs, now = newTable(loops, 256), new(uint32)
	hs.config.EpochBase = 1 << 40
	hs.env.Kind = func(string) Kind { return Kind{Messages: messages, TTL: ttl} }
	hs.env.Now = func() uint32 { return *now }
	return hs, now
}

// say has messages 1, 2 … published to a group; a loop that is its home.
func say(hs *table, group string, from, to int) {
	l := hs.Lanes(hs.Of(group))
	for i := from; i <= to; i++ {
		l.Offer(hs.Of(group), publishTo(group, fmt.Sprint(i)))
		l.Host()
	}
}

// answer is what a request of a loop is answered; what else comes down is passed over.
func answer(t *testing.T, hs *table, loop int, r Request[*part, *asker]) (got Delivery[*part, *asker]) {
	t.Helper()
	l, client := hs.Lanes(loop), new(asker)
	r.Client, r.Asks = client, true
	l.Offer(hs.Of(r.Group()), r)
	l.Host()
	l.Drain(nil, func(d Delivery[*part, *asker]) bool {
		if d.Client == client {
			got = d
		}
		return true
	})
	if got.Client == nil {
		t.Fatal("there is no answer")
	}
	return got
}

// rejoin joins a group with a loop's new part of it.
func rejoin(t *testing.T, hs *table, loop int, group string, a *Ask) *Past {
	t.Helper()
	return answer(t, hs, loop, Request[*part, *asker]{Op: OpJoin, Local: &part{name: group}, Past: a}).Past
}

// leaveBy has the loop leave that rejoin has joined, however often; others are not there.
func leaveBy(hs *table, loop int, group string) {
	hg := hs.homes[hs.Of(group)].groups.Get(group)
	for _, l := range slices.Clone(hg.locals) {
		if l.loop == loop {
			for hg.headcount.Members() > 0 {
				hs.Census.GiveBack(&hg.headcount)
			}
			hs.Lanes(loop).Offer(hs.Of(group), Request[*part, *asker]{Op: OpLeave, Local: l.part})
			hs.Lanes(loop).Host()
		}
	}
}

func texts(list []*Message) string {
	var all []string
	for _, m := range list {
		all = append(all, string(m.Payload()))
	}
	return strings.Join(all, " ")
}

// Of eight messages five are kept, and the oldest of these is over.
func TestAResumeIsAllOrNothingAndSaysWhich(t *testing.T) {
	hs, now := remembering(1, 5, 10)
	say(hs, "0g", 1, 4)
	*now = 5
	say(hs, "0g", 5, 8)
	*now = 12
	top := rejoin(t, hs, 0, "0g", nil)
	if top == nil || top.Top.Offset != 8 || top.Top.Epoch == 0 || top.WasAsked || top.Recovered {
		t.Fatalf("who joins without a position: got %+v, want the top alone, 8", top)
	}
	this, size := top.Top.Epoch, publishTo("0g", "5").Message.Bytes()
	for _, c := range []struct {
		name      string
		since     Position
		messages  int
		bytes     int
		recovered bool
		want      string
	}{
		{"nothing missed", Position{8, this}, 0, 0, true, ""},
		{"one missed", Position{7, this}, 1, size, true, "8"},
		{"all that is kept", Position{4, this}, 4, 4 * size, true, "5 6 7 8"},
		{"any epoch", Position{6, 0}, 9, 9 * size, true, "7 8"},
		{"one is over", Position{3, this}, 9, 9 * size, false, ""},
		{"more are gone", Position{2, this}, 9, 9 * size, false, ""},
		{"from the beginning, of which some is gone", Position{0, this}, 9, 9 * size, false, ""},
		{"a position that nobody has had yet", Position{9, this}, 9, 9 * size, false, ""},
		{"far in the future", Position{1<<64 - 1, 0}, 9, 9 * size, false, ""},
		{"another epoch", Position{7, this + 1}, 9, 9 * size, false, ""},
		{"another epoch, nothing missed", Position{8, this - 1}, 9, 9 * size, false, ""},
		{"more messages than may be", Position{4, this}, 3, 9 * size, false, ""},
		{"more bytes than may be", Position{4, this}, 9, 4*size - 1, false, ""},
		{"a bound below zero", Position{7, this}, -1, -1, false, ""},
	} {
		got := rejoin(t, hs, 0, "0g", &Ask{Recover: true, Since: c.since, MessagesMax: c.messages, BytesMax: c.bytes})
		if got.Recovered != c.recovered || texts(got.Messages) != c.want || got.Top != top.Top || !got.WasAsked {
			t.Errorf("%s: got recovered %v, %q, %+v, want %v, %q", c.name, got.Recovered, texts(got.Messages), got, c.recovered, c.want)
		}
	}
	if got := rejoin(t, hs, 0, "0other", &Ask{Recover: true}); !got.Recovered || got.Top.Offset != 0 || got.Top.Epoch == 0 || got.Top.Epoch == this {
		t.Errorf("a group that begins: got %+v, want nothing missed, and an epoch of its own", got)
	}
}

func TestAReadingOfAGroupsPast(t *testing.T) {
	hs, _ := remembering(1, 5, 10)
	say(hs, "0g", 1, 8)
	member := &part{name: "0g"}
	this := answer(t, hs, 0, Request[*part, *asker]{Op: OpJoin, Local: member}).Past.Top.Epoch
	size := publishTo("0g", "5").Message.Bytes()
	for _, c := range []struct {
		name string
		ask  Ask
		lost bool
		want string
	}{
		{"the position alone", Ask{}, false, ""},
		{"all", Ask{Limit: -1}, false, "4 5 6 7 8"},
		{"the oldest", Ask{Limit: 2}, false, "4 5"},
		{"the newest first", Ask{Limit: 2, Reverse: true}, false, "8 7"},
		{"all, the newest first", Ask{Limit: -1, Reverse: true}, false, "8 7 6 5 4"},
		{"behind a position", Ask{Limit: -1, Since: Position{6, this}}, false, "7 8"},
		{"behind a position of any epoch", Ask{Limit: 1, Since: Position{6, 0}}, false, "7"},
		{"behind the last that is gone", Ask{Limit: -1, Since: Position{3, this}}, false, "4 5 6 7 8"},
		{"behind the top", Ask{Limit: -1, Since: Position{8, this}}, false, ""},
		{"behind what nobody has said yet", Ask{Limit: -1, Since: Position{99, this}}, false, ""},
		{"behind the beginning, which is gone", Ask{Limit: -1, HasSince: true}, true, ""},
		{"behind what is gone", Ask{Limit: 1, Since: Position{2, this}}, true, ""},
		{"behind a position of another epoch", Ask{Since: Position{7, this + 1}}, true, ""},
		{"before a position", Ask{Limit: 2, Reverse: true, Since: Position{7, this}}, false, "6 5"},
		{"before what nobody has said yet", Ask{Limit: 2, Reverse: true, Since: Position{99, this}}, false, "8 7"},
		{"before what is gone", Ask{Limit: 2, Reverse: true, Since: Position{3, this}}, false, ""},
		{"before the beginning", Ask{Limit: 2, Reverse: true, HasSince: true}, false, ""},
		{"before a position of another epoch", Ask{Limit: 2, Reverse: true, Since: Position{7, 1}}, true, ""},
		{"as many messages as may be", Ask{Limit: -1, MessagesMax: 3}, false, "4 5 6"},
		{"as many bytes as may be", Ask{Limit: -1, BytesMax: 3*size - 1}, false, "4 5"},
		{"as many as may be, the newest first", Ask{Limit: -1, Reverse: true, MessagesMax: 1}, false, "8"},
	} {
		if c.ask.MessagesMax == 0 {
			c.ask.MessagesMax = 100
		}
		if c.ask.BytesMax == 0 {
			c.ask.BytesMax = 1 << 20
		}
		d := answer(t, hs, 0, Request[*part, *asker]{Op: OpHistory, Local: member, Past: &c.ask})
		if got := d.Past; d.Op != OpHistoryRead || got.Lost != c.lost || texts(got.Messages) != c.want || got.Top != (Position{8, this}) || got.None {
			t.Errorf("%s: got %q, %+v, want %q, lost %v", c.name, texts(got.Messages), got, c.want, c.lost)
		}
	}
}

func TestAGroupWithoutHistoryHasNoPast(t *testing.T) {
	hs := newTable(1, 256)
	if got := rejoin(t, hs, 0, "0g", nil); got != nil {
		t.Errorf("a join: got %+v, want nothing said of the past", got)
	}
	if got := rejoin(t, hs, 0, "0g", &Ask{Recover: true}); got == nil || got.Recovered || !got.WasAsked || got.Top != (Position{}) {
		t.Errorf("a resume: got %+v, want that it was asked for and not possible", got)
	}
	d := answer(t, hs, 0, Request[*part, *asker]{Op: OpHistory, Local: &part{name: "0g"}, Past: &Ask{Limit: -1}})
	if d.Past == nil || !d.Past.None {
		t.Errorf("a reading: got %+v, want that there is no history", d.Past)
	}
	say(hs, "0nobody", 1, 1)
	if n := hs.homes[0].groups.Len(); n != 1 {
		t.Errorf("got %d groups known, want the one with members", n)
	}
	if got, want := unsafe.Sizeof(homeGroup[*part]{}), uintptr(48); got != want && unsafe.Sizeof(want) == 8 { // on 64 bits
		t.Errorf("a group takes %d bytes, want %d, a size of the allocator's", got, want)
	}
}
