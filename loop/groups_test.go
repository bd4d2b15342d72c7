package loop

import (
	"context"
	"fmt"
	"testing"
)

// groupedHub is a listedHub with groups: so many clients in group i as i says, on all loops in turn.
func groupedHub(t *testing.T, loops int, groups map[string]int) (h *Hub, do func(func())) {
	most := 0
	for _, n := range groups {
		most = max(most, n)
	}
	h, do = listedHub(t, loops, most)
	do(func() {
		for name, n := range groups {
			for i := range n {
				s := h.shards[i%loops]
				say(s, s.clients[i/loops], fmt.Sprintf(`{"cmd":"add_group","group_id":%q}`, name))
			}
		}
		h.settleFake()
	})
	return h, do
}

// However many loops have members of a group, it is listed once, with all of them.
func TestGroupsAreListedByPatternOnceEach(t *testing.T) {
	want := map[string]int{"news": 1, "chat:1": 5, "chat:2": 3, "chat": 2}
	for i := range 2 * groupsPerSlice {
		want[fmt.Sprint("many:", i)] = 1
	}
	h, _ := groupedHub(t, 3, want)
	for pattern, names := range map[string]int{"": len(want), "*": len(want), "chat:*": 2, "chat": 1, "none*": 0, "many:*": 2 * groupsPerSlice} {
		got, more, err := h.Groups(within(t), pattern, len(want))
		if err != nil || more || len(got) != names {
			t.Errorf("%q: got %d groups, more %v (%v), want %d", pattern, len(got), more, err, names)
		}
		seen := map[string]bool{}
		for _, g := range got {
			if g.Members != want[g.Name] || seen[g.Name] || g.Loops != min(3, g.Members) {
				t.Errorf("%q: got %s with %d members on %d loops, want %d, once", pattern, g.Name, g.Members, g.Loops, want[g.Name])
			}
			seen[g.Name] = true
		}
	}
	if got, more, err := h.Groups(within(t), "many:*", 10); len(got) != 10 || !more || err != nil {
		t.Errorf("ten of many: got %d groups, more %v (%v)", len(got), more, err)
	}
	if _, more, _ := h.Groups(within(t), "chat:*", 2); more {
		t.Error("as many as there are: got more")
	}
}

// A group is listed with the number of its messages, and with what its history keeps.
func TestAListOfGroupsSaysWhatTheirHistoriesKeep(t *testing.T) {
	h, do := groupedHub(t, 2, map[string]int{"a": 1, "b": 2})
	do(func() {
		b := h.shards[0].clients[0]
		for range 3 {
			say(h.shards[0], b, `{"cmd":"send_to_group","group_id":"b","message":"x"}`)
		}
		h.settleFake()
	})
	got, _, err := h.Groups(within(t), "b", 10)
	if err != nil || len(got) != 1 || got[0].Offset != 3 || got[0].Epoch != "" || got[0].Kept != 0 {
		t.Errorf("without history: got %+v (%v), want 3 messages and none kept", got, err)
	}
	st := newStage(2, func(b *bounds) { b.History, b.HistoryTTL = 2, testTimeout })
	c := st.enter(0)
	st.ask(c, `{"cmd":"add_group","group_id":"1g"}`)
	for range 3 {
		st.ask(c, `{"cmd":"send_to_group","group_id":"1g","message":"x"}`)
	}
	got = st.groups(t, "")
	if len(got) != 1 || got[0].Offset != 3 || got[0].Epoch == "" || got[0].Kept != 2 || got[0].Bytes == 0 {
		t.Errorf("with history: got %+v, want 3 messages, and 2 of them kept", got)
	}
	st.ask(c, `{"cmd":"leave_group","group_id":"1g"}`)
	if got = st.groups(t, ""); len(got) != 0 {
		t.Errorf("without members: got %+v, want none", got)
	}
}

// groups lists groups while the stage lets its loops through.
func (st *stage) groups(t *testing.T, match string) (groups []GroupInfo) {
	t.Helper()
	st.through(func() error {
		got, _, err := st.hub.Groups(within(t), match, 100)
		groups = got
		return err
	}, t)
	return groups
}

// through calls f, and lets all wake-ups through until it returns.
func (st *stage) through(f func() error, t *testing.T) {
	t.Helper()
	st.settle() // a wake-up that is under way already would come to nobody
	todo := make(chan func(), 1000)
	for _, s := range st.hub.shards {
		was := s.env.wake
		s.env.wake = func() { todo <- s.woken }
		defer func() { s.env.wake = was }()
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for f := range todo {
			f()
		}
	}()
	if err := f(); err != nil {
		t.Error(err)
	}
	close(todo)
	<-ended
}

// A list waits for its turn, and no longer than its caller.
func TestAListOfGroupsThatIsCalledOffEnds(t *testing.T) {
	h, _ := groupedHub(t, 1, map[string]int{"a": 1})
	var nest func([]GroupInfo) bool
	depth := 0
	ctx, cancel := context.WithCancel(context.Background())
	nest = func([]GroupInfo) bool {
		depth++
		last := depth == groupWalksMax
		if last {
			if n := len(h.groupWalks); n != groupWalksMax {
				t.Errorf("got %d walks that count, want %d", n, groupWalksMax)
			}
			cancel()
		}
		err := h.EachGroup(ctx, "", nest)
		if last && err != context.Canceled {
			t.Errorf("one list more than there may be: got %v, want %v", err, context.Canceled)
		}
		return false
	}
	_ = h.EachGroup(ctx, "", nest)
	if depth != groupWalksMax {
		t.Errorf("got %d lists at a time, want %d", depth, groupWalksMax)
	}
	if got, _, err := h.Groups(within(t), "", 10); err != nil || len(got) != 1 {
		t.Errorf("afterwards: got %d groups (%v), want one", len(got), err)
	}
}
