package loop

import (
	"context"
	"fmt"
	"slices"
	"testing"
)

// Members are on several loops and speak several dialects; pages of any size name each once.
func TestAGroupsMembersAreShownInPages(t *testing.T) {
	st := newStage(3, func(b *bounds) { b.History, b.HistoryTTL = 10, testTimeout }, loud)
	want := map[uint64]bool{}
	for i := range 25 {
		path := "/"
		if i%2 == 0 {
			path = "/loud"
		}
		c := st.enterAt(i%3, path)
		st.ask(c, `{"cmd":"add_group","group_id":"1g","id":1}`)
		want[c.client.Number()] = true
	}
	d := asks(t, st, func(ctx context.Context) (GroupDetail, error) { return st.hub.Group(ctx, "1g") })
	if !d.Known || d.Members != 25 || !slices.Equal(d.On, []int{9, 8, 8}) || d.Kind != "*" || d.History != 10 || d.Epoch == "" {
		t.Errorf("got %+v, want 25 members on 3 loops, and a history", d)
	}
	for _, page := range []int{1, 4, 100} {
		seen := map[uint64]bool{}
		for from := 0; ; from += page {
			rows := asks(t, st, func(ctx context.Context) ([]ClientInfo, error) { return st.hub.Members(ctx, "1g", from, page) })
			if len(rows) == 0 {
				break
			}
			if len(rows) > page {
				t.Fatalf("got a page of %d, want at most %d", len(rows), page)
			}
			for _, row := range rows {
				if seen[row.ID] || !want[row.ID] {
					t.Errorf("pages of %d: client %d is no member, or is shown twice", page, row.ID)
				}
				seen[row.ID] = true
			}
		}
		if len(seen) != len(want) {
			t.Errorf("pages of %d: got %d members, want %d", page, len(seen), len(want))
		}
	}
	if d := asks(t, st, func(ctx context.Context) (GroupDetail, error) { return st.hub.Group(ctx, "1none") }); d.Known || d.Members != 0 {
		t.Errorf("one that there is not: got %+v", d)
	}
}

func TestAPageOfMembersHasABound(t *testing.T) {
	h, _ := groupedHub(t, 1, map[string]int{"a": MembersMost + 20})
	rows, err := h.Members(within(t), "a", 0, 1<<30)
	if err != nil || len(rows) != MembersMost {
		t.Errorf("got %d rows (%v), want %d", len(rows), err, MembersMost)
	}
}

func TestTheLargestOutboxesAreShownFirst(t *testing.T) {
	st := newStage(2, nil)
	sizes := map[uint64]int{}
	var stuck []*stageConn
	for i := range 12 {
		c := st.enter(i % 2)
		if i%3 < 2 {
			fill(c, fmt.Sprint(i%2, "g", i), 1000*(1+(7*i)%12))
			st.settle()
			sizes[c.client.Number()] = len(c.queued)
			stuck = append(stuck, c)
		}
	}
	slow := func(most int) []ClientInfo {
		return asks(t, st, func(ctx context.Context) ([]ClientInfo, error) { return st.hub.SlowClients(ctx, most) })
	}
	rows := slow(100)
	if len(rows) != len(sizes) || !slices.IsSortedFunc(rows, func(a, b ClientInfo) int { return b.SendQ - a.SendQ }) {
		t.Errorf("got %d slow clients, in the wrong order perhaps, want %d: %v", len(rows), len(sizes), rows)
	}
	for _, row := range rows {
		if row.SendQ != sizes[row.ID] || row.SendQ == 0 {
			t.Errorf("client %d: got %d bytes, want %d", row.ID, row.SendQ, sizes[row.ID])
		}
	}
	if three := slow(3); !slices.EqualFunc(three, rows[:3], func(a, b ClientInfo) bool { return a.ID == b.ID }) {
		t.Errorf("three: got %v, want %v", three, rows[:3])
	}
	for _, c := range stuck {
		c.take(1 << 20)
	}
	st.ticks(1)
	if rows := slow(100); len(rows) != 0 {
		t.Errorf("nothing waits: got %v", rows)
	}
}
