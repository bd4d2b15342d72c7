package loop

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"ringcast/loop/order"
)

// listenTo begins a tail on a stage.
func (st *stage) listenTo(t *testing.T, f TailFilter) (tail *Tail) {
	t.Helper()
	st.through(func() (err error) {
		tail, err = st.hub.NewTail(within(t), f)
		return err
	}, t)
	return tail
}

// told is what has come out of a tail.
func (t *Tail) told() (all []string) {
	for {
		select {
		case x := <-t.Next():
			all = append(all, strings.Join(strings.Fields(fmt.Sprintf("%d %v %s %s %s", x.Client, x.Kind, x.Group, x.Code, x.Remote)), " "))
		default:
			return all
		}
	}
}

func TestATailTellsWhatHappensToClients(t *testing.T) {
	st := newStage(2, func(b *bounds) { b.GroupsPerClient = 1 })
	for _, s := range st.hub.shards {
		s.env.names = func(conn) (string, string) { return "here", "there" }
	}
	tail := st.listenTo(t, TailFilter{})
	c := st.enter(1)
	st.ask(c, `{"cmd":"add_group","group_id":"0g","id":1}`)
	st.ask(c, `{"cmd":"send_to_group","group_id":"0g","message":"hi","id":2}`)
	st.ask(c, `{"cmd":"add_group","group_id":"0h","id":3}`)
	st.ask(c, `what?`)
	st.ask(c, `{"cmd":"leave_group","group_id":"0g","id":4}`)
	port, err := st.hub.NewPort()
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	if _, err := port.Offer("0s", Said{Payload: []byte("from a server")}); err != nil {
		t.Fatal(err)
	}
	st.settle()
	st.hub.shards[1].closed(c.client)
	n := c.client.Number()
	want := []string{fmt.Sprint(n, " connect there"), fmt.Sprint(n, " join 0g"), fmt.Sprint(n, " publish 0g"), fmt.Sprint(n, " refuse 0h too_many_groups"),
		fmt.Sprint(n, " refuse bad_json"), fmt.Sprint(n, " leave 0g"), "0 publish 0s", fmt.Sprint(n, " close")}
	if got := tail.told(); !slices.Equal(got, want) || tail.Left() != 0 {
		t.Errorf("got %q and %d left out, want %q", got, tail.Left(), want)
	}
	tail.Close()
	tail.Close()
	st.settle()
	st.enter(1)
	if got := tail.told(); len(got) != 0 || st.hub.shards[1].traces.on || st.hub.tails.list() != nil {
		t.Errorf("after its end: got %q, loops that make traces: %v", got, st.hub.shards[1].traces.on)
	}
}

// What is said when a client's end is the client's doing.
func TestATailTellsWhoHasSaidGoodbye(t *testing.T) {
	st := newStage(1, nil)
	tail := st.listenTo(t, TailFilter{Kinds: []string{"close"}})
	c := st.enter(0)
	c.shard.traffic(c.client, []byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8})
	if got, want := tail.told(), fmt.Sprint(c.client.Number(), " close 1000"); len(got) != 1 || got[0] != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestATailTellsWhatItsFilterTakes(t *testing.T) {
	st := newStage(2, nil)
	one, two := st.enter(0), st.enter(1)
	for _, c := range []struct {
		filter TailFilter
		want   []string
	}{
		{TailFilter{Group: "0a*"}, []string{"one join 0a1", "two join 0a2", "two publish 0a2"}},
		{TailFilter{Group: "0a2"}, []string{"two join 0a2", "two publish 0a2"}},
		{TailFilter{Client: one.client.Number()}, []string{"one join 0a1", "one join 0b"}},
		{TailFilter{Kinds: []string{"publish", "close"}}, []string{"two publish 0a2"}},
		{TailFilter{Group: "0*", Kinds: []string{"join"}, Client: two.client.Number()}, []string{"two join 0a2"}},
	} {
		tail := st.listenTo(t, c.filter)
		st.ask(one, `{"cmd":"add_group","group_id":"0a1"}`)
		st.ask(two, `{"cmd":"add_group","group_id":"0a2"}`)
		st.ask(two, `{"cmd":"send_to_group","group_id":"0a2","message":"x"}`)
		st.ask(one, `{"cmd":"add_group","group_id":"0b"}`)
		tail.Close()
		st.settle()
		for _, leave := range []struct {
			c     *stageConn
			group string
		}{{one, "0a1"}, {two, "0a2"}, {one, "0b"}} {
			st.ask(leave.c, `{"cmd":"leave_group","group_id":%q}`, leave.group)
		}
		names := strings.NewReplacer(fmt.Sprint(one.client.Number(), " "), "one ", fmt.Sprint(two.client.Number(), " "), "two ")
		var got []string
		for _, text := range tail.told() {
			got = append(got, names.Replace(text))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %q, want %q", c.filter, got, c.want)
		}
	}
	if _, err := st.hub.NewTail(within(t), TailFilter{Kinds: []string{"join", "nothing"}}); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("a kind that there is not: got %v, want an error that names it", err)
	}
}

// A busy loop tells some of what happens, the same in each tick, and counts the rest; who says much does not hide who comes.
func TestABusyLoopTellsSomeAndCountsTheRest(t *testing.T) {
	st := newStage(1, nil)
	all, compared := st.listenTo(t, TailFilter{}), st.listenTo(t, TailFilter{Group: "0none*"})
	c := st.enter(0)
	for range 5 * publishPerTick {
		c.say(`{"cmd":"send_to_group","group_id":"0g","message":"x"}`)
	}
	c.say(`{"cmd":"add_group","group_id":"0g"}`)
	got := all.told()
	if want := 1 + publishPerTick + 1; len(got) != want || all.Left() != 4*publishPerTick || !strings.Contains(got[len(got)-1], "join") {
		t.Errorf("got %d told and %d left out, want %d, with who has come, and %d", len(got), all.Left(), want, 4*publishPerTick)
	}
	st.ticks(1)
	c.say(`{"cmd":"send_to_group","group_id":"0g","message":"x"}`)
	if got := all.told(); len(got) != 1 {
		t.Errorf("in the next tick: got %q, want one", got)
	}
	if compared.Left() != 0 {
		t.Errorf("what a pattern does not match: got %d left out", compared.Left())
	}
	for range comparedPerTick + 10 {
		st.hub.shards[0].tell(c.client, Trace{Kind: TraceJoin, Group: "0g"})
	}
	if compared.Left() < 10 || len(compared.told()) > 0 {
		t.Errorf("more than are compared with a pattern: got %d left out, want the rest", compared.Left())
	}
	for range 2 * tailTracesMax {
		all.give(Trace{})
	}
	if n := len(all.told()); n != tailTracesMax {
		t.Errorf("who does not take: got %d that wait, want %d", n, tailTracesMax)
	}
	said, _ := order.NewMessage([]byte("0g"), []byte("x"), nil, false)
	for range 3 * publishPerTick {
		st.hub.tellPort(said)
	}
	if n := len(all.told()); n != publishPerTick {
		t.Errorf("what servers publish: got %d told, want %d", n, publishPerTick)
	}
}

func TestThereAreAsManyTailsAsThereMayBe(t *testing.T) {
	st := newStage(1, nil)
	var tails []*Tail
	for range tailsMax {
		tails = append(tails, st.listenTo(t, TailFilter{}))
	}
	if _, err := st.hub.NewTail(within(t), TailFilter{}); err != ErrTooManyTails {
		t.Errorf("one more: got %v, want %v", err, ErrTooManyTails)
	}
	tails[1].Close()
	st.listenTo(t, TailFilter{})
}
