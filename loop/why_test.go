package loop

import (
	"context"
	"fmt"
	"slices"
	"testing"
)

// asks has f ask a stage's hub.
func asks[T any](t *testing.T, st *stage, f func(context.Context) (T, error)) (answer T) {
	t.Helper()
	for _, s := range st.hub.shards {
		if s.env.names == nil {
			s.env.names = func(conn) (string, string) { return "here", "there" }
		}
	}
	st.through(func() (err error) {
		answer, err = f(within(t))
		return err
	}, t)
	return answer
}

func (st *stage) why(t *testing.T, client uint64, group string) Why {
	t.Helper()
	return asks(t, st, func(ctx context.Context) (Why, error) { return st.hub.Why(ctx, client, group) })
}

// A client is a member, is not, has not been answered, is slow and loses messages; and is gone: what is known of it is said.
func TestWhyAClientHasMissedAMessage(t *testing.T) {
	st, member, sender := newHealStage(2, nil, "0g")
	stranger, n := st.enter(1), member.client.Number()
	if w := st.why(t, n, "0g"); w.Client == nil || w.Client.ID != n || w.Standing != "member" || w.Losing || w.Group.Members != 1 || len(w.Traces) != 0 {
		t.Errorf("a member: got %+v", w)
	}
	if w := st.why(t, stranger.client.Number(), "0g"); w.Client == nil || w.Standing != "" {
		t.Errorf("a stranger: got %+v", w)
	}
	letGo := st.hold(0)
	stranger.say(`{"cmd":"add_group","group_id":"0h"}`)
	s := st.hub.shards[1]
	var w Why
	s.explainTo(&w, stranger.client, "0h")
	if w.Standing != "asked" {
		t.Errorf("one that has asked: got %+v", w)
	}
	letGo()
	st.settle()

	for i := range 12 { // one by one: an empty outbox takes a batch of any size
		publishTo(sender, "0g", i+1, i+1)
		st.settle()
	}
	if w := st.why(t, n, "0g"); !w.Losing || !w.Slow || w.Client.SendQ == 0 || len(w.Traces) != 1 || w.Traces[0].Kind != TraceSlow || w.Traces[0].At <= st.hub.started.UnixMilli()-1 {
		t.Errorf("one that loses messages: got %+v", w)
	}
	member.take(1 << 20)
	st.ticks(1)
	if w := st.why(t, n, "0g"); w.Losing || w.Standing != "" || len(w.Traces) != 2 || w.Traces[1].Kind != TraceHeal {
		t.Errorf("one that was taken out: got %+v", w)
	}
	if w := st.why(t, n, "0other"); len(w.Traces) != 0 || w.Group.Known {
		t.Errorf("of another group: got %+v", w)
	}
	s.closed(member.client)
	if w := st.why(t, n, "0g"); w.Client != nil || len(w.Traces) != 2 || w.Group.Offset != 12 {
		t.Errorf("one that is gone: got %+v", w)
	}
	if w := st.why(t, 63, "0g"); w.Client != nil || len(w.Traces) != 0 {
		t.Errorf("of a loop that there is not: got %+v", w)
	}
}

// Missed messages of which it was not told yet, where clients are told of gaps.
func TestWhyNamesWhatAClientIsYetToBeToldOf(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.OutboxBytesMax, b.SlowClient = 1000, SlowDrop })
	member, sender := st.enter(0), st.enter(0)
	st.ask(member, `{"cmd":"add_group","group_id":"0g","id":1}`)
	member.stuck = true
	publishTo(sender, "0g", 1, 20)
	if w, dropped := st.why(t, member.client.Number(), "0g"), st.hub.Snapshot().Total().SlowDropped; w.Missed != dropped || dropped == 0 {
		t.Errorf("got %d missed, want %d", w.Missed, dropped)
	}
}

// A client is found among many, in slices, while others come and go.
func TestAClientIsSoughtInSlices(t *testing.T) {
	h := fakeHub(1)
	s := h.shards[0]
	s.env.names = func(conn) (string, string) { return "", "" }
	first := h.openFake(0)
	for range 3 * soughtPerSlice {
		h.openFake(0)
	}
	l, slices := &listing{left: notBegun}, 0
	var found *client
	for more := true; more; slices++ {
		found, more = s.lookFor(l, first.Number())
		s.closed(s.clients[len(s.clients)-1])
	}
	if found != first || slices != 4 || len(s.listings) != 0 {
		t.Errorf("got %v in %d slices, %d walks left over, want it in 4", found == first, slices, len(s.listings))
	}
	for more := true; more; {
		_, more = s.lookFor(l, 1)
		if l.left == 0 {
			break
		}
	}
}

func TestTheJournalsOfAllLoopsAreReadTogether(t *testing.T) {
	st := newStage(3, func(b *bounds) { b.GroupsPerClient = 1 })
	var numbers []uint64
	for i := range 3 {
		c := st.enter(i)
		numbers = append(numbers, c.client.Number())
		st.ask(c, `{"cmd":"add_group","group_id":"0g"}`)
		st.ask(c, `{"cmd":"add_group","group_id":"0h%d","id":1}`, i)
	}
	read := func(f TailFilter, most int) (groups []string) {
		for _, x := range asks(t, st, func(ctx context.Context) ([]Trace, error) {
			traces, since, err := st.hub.Journal(ctx, f, most)
			if since != st.hub.started.UnixMilli() {
				t.Errorf("since: got %d, want the start", since)
			}
			return traces, err
		}) {
			groups = append(groups, x.Group)
		}
		return groups
	}
	for want, got := range map[string][]string{
		"[0h0 0h1 0h2]": read(TailFilter{}, 10), "[0h1]": read(TailFilter{Group: "*1"}, 10), "[0h2]": read(TailFilter{Client: numbers[2]}, 10),
		"[]": read(TailFilter{Kinds: []string{"close"}}, 10),
	} {
		if slices.Sort(got); fmt.Sprint(got) != want {
			t.Errorf("got %v, want %s", got, want)
		}
	}
	if got := read(TailFilter{}, 2); len(got) != 2 {
		t.Errorf("two: got %v", got)
	}
}
