package loop

import (
	"strings"
	"testing"
)

// clog has so much wait for a client that an answer has no room.
func (st *stage) clog(c *stageConn) {
	c.stuck = true
	c.shard.beginCallback(nil)
	c.shard.push(c.client, []byte(strings.Repeat("\x81\x00", c.shard.bounds.OutboxBytesMax/8+1)), cargo{})
	c.shard.endCallback()
}

// Whoever does not read is told to come again; nobody waits for it, and nothing is kept for it.
func TestWhoReadsNothingHoldsUpNobodyByAskingForHistory(t *testing.T) {
	st := newHistoryStage(2, func(b *bounds) { b.History = 1000 })
	member, other := st.connect(0), st.enter(1)
	st.subscribe(t, member, "0g", "")
	for range 1000 {
		other.say(`{"cmd":"send_to_group","group_id":"0g","message":"m"}`)
		st.settle()
	}
	st.clog(member)
	s := st.hub.shards[0]
	for id := range 2000 {
		member.say(`{"id":%d,"history":{"channel":"0g","limit":-1}}`, 10+id)
	}
	if len(s.replays.queue) != 0 || s.replays.weight != 0 || !s.mayGather() {
		t.Errorf("%d replays of weight %d wait for one that does not read", len(s.replays.queue), s.replays.weight)
	}
	bystander := st.enter(0)
	bystander.say(`{"cmd":"add_group","group_id":"1x"}`)
	bystander.say(`{"cmd":"send_to_group","group_id":"1x","message":"echo"}`)
	st.settle()
	bystander.heard(t, "echo")
}

func TestThereAreSoManyReplaysAndTheNextIsRefused(t *testing.T) {
	st := newHistoryStage(1, nil)
	st.hub.clientsMax.Store(1000)
	s := st.hub.shards[0]
	first, next := st.connect(0), st.connect(0)
	st.clog(first)
	first.say(`{"id":2,"subscribe":{"channel":"0g","recover":true}}`)
	s.replays.weight += replaysWeightMax
	next.out = nil
	next.say(`{"id":2,"subscribe":{"channel":"0g","recover":true}}`)
	next.heardExactly(t, `{"id":2,"error":{"code":111,"message":"too many requests","temporary":true}}`)
	s.replays.weight -= replaysWeightMax
	if g := s.groups.Get("0g"); g.asked != 1 || g.log.waiting != 1 || g.headcount.Members() != 1 {
		t.Errorf("got %d asked, %d replays, headcount %d, want one of each", g.asked, g.log.waiting, g.headcount.Members())
	}
}

// Text may be longer in an answer than it was said: then the client hears its position alone, and is not closed for what it cannot take.
func TestAnAnswerThatWouldBeTooLargeIsAPositionAlone(t *testing.T) {
	st := newHistoryStage(1, func(b *bounds) { b.OutboxBytesMax = 10_000 })
	sender := st.enter(0)
	for range 3 {
		sender.say(`{"cmd":"send_to_group","group_id":"0g","message":"%s"}`, strings.Repeat(`\u0001`, 500))
	}
	c := st.connect(0)
	got := st.subscribe(t, c, "0g", `,"recover":true`)
	if strings.Contains(got, `"recovered"`) || strings.Contains(got, "publications") || field(got, "offset") != "3" {
		t.Errorf("got %.200s, want the position alone", got)
	}
	c.say(`{"id":3,"history":{"channel":"0g","limit":-1}}`)
	st.settle()
	got = strings.Join(c.lines(t), "\n")
	if strings.Count(got, `"data":`) != 1 || len(got) > 5000 {
		t.Errorf("a reading: got %d messages in %d bytes, want as many as fit", strings.Count(got, `"data":`), len(got))
	}
}

// A page that has another way to its state wants all that it has missed, or not to join: flag 2.
func TestAResumeMayBeRefusedWhereItCannotBeServed(t *testing.T) {
	st := newHistoryStage(2, func(b *bounds) { b.Kinds = []Kind{{Match: "0plain"}}; b.MembersMax = 1 })
	sender, c := st.enter(1), st.connect(0)
	first := st.subscribe(t, c, "0g", "")
	c.shard.closed(c.client)
	for i := range 12 {
		sender.say(`{"cmd":"send_to_group","group_id":"0g","message":"%d"}`, i)
	}
	back := st.connect(1)
	if got, want := st.subscribe(t, back, "0g", from(first, 1)+`,"flag":2`), `{"id":2,"error":{"code":112,"message":"unrecoverable position"}}`; got != want {
		t.Errorf("too far back: got %s, want %s", got, want)
	}
	if got := st.subscribe(t, st.connect(0), "0g", from(first, 5)+`,"flag":3`); !strings.Contains(got, `"recovered":true`) {
		t.Errorf("the one place that there is, after the refusal: got %s, want it recovered", got)
	}
	if got, want := st.subscribe(t, back, "0plain", from(first, 1)+`,"flag":2`), `{"id":2,"subscribe":{"was_recovering":true}}`; got != want {
		t.Errorf("without history: got %s, want %s", got, want)
	}
}
