package loop

import (
	"context"
	"errors"
	"strings"
	"testing"

	"ringcast/dialect"
)

// slowly has a loop be woken by another goroutine: woken lets it run when that has happened.
func (st *stage) slowly(loop int) (woken func()) {
	s, signal := st.hub.shards[loop], make(chan struct{}, 100)
	s.env.wake = func() { signal <- struct{}{} }
	return func() {
		<-signal
		s.woken()
	}
}

// Where there is no presence, the other nodes are asked how many members they have.
func TestStatsCountMembersOnOtherNodes(t *testing.T) {
	st := newCentrifugeStage(1, nil)
	c, gone := st.connect(0), st.connect(0)
	st.subscribe(t, c, "0g", "")
	st.subscribe(t, gone, "0g", "")
	woken, asked := st.slowly(0), make(chan string)
	st.hub.SetElsewhere(func(_ context.Context, group string) (int, error) {
		asked <- group
		return 5, errors.New("one has not answered")
	})
	for _, c := range []*stageConn{c, gone} {
		c.out = nil
		c.say(`{"id":8,"presence_stats":{"channel":"0g"}}`)
	}
	gone.shard.closed(gone.client)
	st.settle()
	c.heardExactly(t)
	for range 2 {
		if group := <-asked; group != "0g" {
			t.Errorf("asked for %q, want 0g", group)
		}
	}
	for st.hub.countings.Load() > 0 {
		woken()
	}
	c.heardExactly(t, `{"id":8,"presence_stats":{"num_clients":7}}`)
	gone.heardExactly(t)
	st.hub.countings.Store(countingsMax)
	c.out = nil
	c.say(`{"id":9,"presence_stats":{"channel":"0g"}}`)
	c.heardExactly(t, `{"id":9,"error":{"code":111,"message":"too many requests","temporary":true}}`)
}

func TestClientsHearOfMembersOnOtherNodes(t *testing.T) {
	st := newPresenceStage(2, nil)
	c, quiet := st.connect(0), st.connect(1)
	st.subscribe(t, c, "0g", `,"join_leave":true`)
	st.subscribe(t, quiet, "0g", "")
	in, err := st.hub.NewInlet()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	c.out, quiet.out = nil, nil
	const name = "00000001-0000-4000-8000-000000000041"
	who := dialect.WhoIs{User: "ann", Info: []byte(`{"n":1}`)}.Who()
	if err := in.There(t.Context(), "0g", 1, 1, Present{Client: 65, Name: name, Who: who}, true); err != nil {
		t.Fatal(err)
	}
	st.settle()
	const told = `{"user":"ann","client":"` + name + `","conn_info":{"n":1}}`
	c.heardExactly(t, `{"push":{"channel":"0g","join":{"info":`+told+`}}}`)
	c.out = nil
	c.say(`{"id":8,"presence":{"channel":"0g"}}` + "\n" + `{"id":9,"presence_stats":{"channel":"0g"}}`)
	if got := string(c.out); !strings.Contains(got, `"`+name+`":`+told) || !strings.Contains(got, `{"num_clients":3,"num_users":2}`) {
		t.Errorf("who asks: got %s, want %s among three", got, told)
	}
	c.out = nil
	if err := in.Sweep(t.Context(), 1, 0, true); err != nil {
		t.Fatal(err)
	}
	st.settle()
	c.heardExactly(t, `{"push":{"channel":"0g","leave":{"info":`+told+`}}}`)
	quiet.heardExactly(t)
}
