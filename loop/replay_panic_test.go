package loop

import (
	"testing"

	"ringcast/dialect"
)

// neverAnswers panics when it is to tell a client of the past.
type neverAnswers struct{ loudly }

func (d *neverAnswers) Answer(dst []byte, o dialect.Outcome) []byte {
	if o.Past != nil {
		panic("an answer that panics")
	}
	return d.loudly.Answer(dst, o)
}

func TestAPanicOverAReplayClosesItsClientAlone(t *testing.T) {
	broken := loud
	broken.New = func() dialect.Dialect { return &neverAnswers{} }
	st := newStage(1, func(b *bounds) { b.History = 10 }, broken)
	bad, good, s := st.enterAt(0, "/loud"), st.enter(0), st.hub.shards[0]
	good.say(`{"cmd":"add_group","group_id":"0g"}`)
	s.kicked = true
	bad.say(`{"cmd":"add_group","group_id":"0g","id":1}`)
	good.say(`{"cmd":"send_to_group","group_id":"0g","message":"on it goes"}`) // good is served when bad's answer is due
	s.kicked = false
	good.shard.traffic(good.client, []byte("\x8a\x80\x00\x00\x00\x00"))
	st.settle()
	good.heard(t, "on it goes")
	if g := s.groups.Get("0g"); good.client.state != stateOpen || bad.client.state == stateOpen || len(s.replays.queue) != 0 || g.log != nil || g.asked != 0 {
		t.Errorf("states %d and %d, %d replays wait, %d are asked; want the one that panicked closed", good.client.state, bad.client.state, len(s.replays.queue), g.asked)
	}
}
