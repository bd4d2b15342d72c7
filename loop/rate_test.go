package loop

import (
	"strings"
	"testing"
	"time"

	"ringcast/wsproto"
)

// rated is a stage with rates, and what happens to a client on it.
func rated(commands, bytes int) *stage {
	return newStage(1, func(b *bounds) { b.CommandsPerSecond, b.BytesPerSecond, b.heartbeatTicks = commands, bytes, 0 })
}

// pass lets time pass, with all its ticks.
func (st *stage) pass(d time.Duration) {
	for ; d > 0; d -= tickPeriod {
		st.nanos += int64(min(d, tickPeriod))
		st.hub.beat()
		st.settle()
	}
}

// open says whether the client was not closed.
func (c *stageConn) open() bool { return c.client.state == stateOpen }

func (c *stageConn) frame(op wsproto.OpCode, payload string) {
	c.shard.traffic(c.client, wsproto.AppendMaskedFrame(nil, op, [4]byte{}, []byte(payload)))
}

func (c *stageConn) told1008(t *testing.T) {
	t.Helper()
	if c.open() {
		t.Error("the client was not closed")
	}
	c.heard(t, "\x03\xf0")
}

const leaveWithID = `{"cmd":"leave_group","group_id":"0","id":1}`

// answers says a command with an id n times and counts what became of it.
func (c *stageConn) answers(n int) (ok, limited int) {
	from := len(c.out)
	for range n {
		c.say(leaveWithID)
	}
	return strings.Count(string(c.out[from:]), `"ok":true`), strings.Count(string(c.out[from:]), `"code":"rate_limited"`)
}

func TestCommandsOverTheRateAreRefusedByTheirIDs(t *testing.T) {
	st := rated(10, 0)
	c := st.enter(0)
	if ok, limited := c.answers(500); ok != 10 || limited != 490 {
		t.Errorf("at once: got %d carried out, %d refused, want one second's worth, 10, and 490", ok, limited)
	}
	if got := st.hub.Snapshot().Total().RefusedBy["rate_limited"]; got != 490 {
		t.Errorf("refused: got %d, want 490", got)
	}
	st.pass(305 * time.Millisecond) // who was refused owes nothing for it
	if ok, _ := c.answers(10); ok != 3 {
		t.Errorf("0.3 s later: got %d carried out, want 3", ok)
	}
	st.pass(time.Hour)
	if ok, _ := c.answers(20); ok != 10 {
		t.Errorf("after an hour of silence: got %d carried out, want no more than a second's worth, 10", ok)
	}
	if !c.open() {
		t.Error("a client whose commands can be refused was closed")
	}
}

func TestCommandsWithoutIDOverTheRateAreCarriedOutThenCloseTheClient(t *testing.T) {
	st := rated(10, 0)
	c := st.enter(0)
	for range 20 {
		c.say(`{"cmd":"send_to_group","group_id":"0","message":"x"}`)
	}
	if !c.open() {
		t.Fatal("closed within the grace")
	}
	c.say(`{"cmd":"send_to_group","group_id":"0","message":"x"}`)
	c.told1008(t)
	c.say(`{"cmd":"send_to_group","group_id":"0","message":"x"}`)
	if got := st.hub.Snapshot().Total(); got.Published != 20 || got.RefusedBy["rate_limited"] != 1 {
		t.Errorf("got %d published, %d refused, want 20 and 1", got.Published, got.RefusedBy["rate_limited"])
	}
}

func TestPingsPongsAndNonsenseCountAsCommands(t *testing.T) {
	for name, say := range map[string]func(c *stageConn){
		"ping":     func(c *stageConn) { c.frame(wsproto.OpPing, "") },
		"pong":     func(c *stageConn) { c.frame(wsproto.OpPong, "") },
		"nonsense": func(c *stageConn) { c.frame(wsproto.OpText, "nonsense") },
	} {
		c := rated(10, 0).enter(0)
		for range 20 {
			say(c)
		}
		if !c.open() {
			t.Errorf("%s: closed within the grace", name)
		}
		say(c)
		c.told1008(t)
	}
}

func TestBytesOverTheRateRefuseThenCloseTheClient(t *testing.T) {
	st := rated(0, 1000)
	c := st.enter(0) // whose request head, with 150 bytes, does not count
	each := len(wsproto.AppendMaskedFrame(nil, wsproto.OpText, [4]byte{}, []byte(leaveWithID)))
	ok, limited := c.answers(2000 / each)
	if ok != 1000/each || ok+limited != 2000/each || !c.open() {
		t.Errorf("got %d carried out, %d refused, open %v, want %d of %d, and open", ok, limited, c.open(), 1000/each, 2000/each)
	}
	c.say(leaveWithID)
	c.told1008(t)
}

func TestBytesThatNeverBecomeMessagesCount(t *testing.T) {
	st := rated(0, 1000)
	c := st.enter(0)
	drip := wsproto.AppendMaskedFrame(nil, wsproto.OpText, [4]byte{}, make([]byte, 3000))
	for _, b := range drip[:2000] {
		c.shard.traffic(c.client, []byte{b})
	}
	if !c.open() {
		t.Fatal("closed within the grace")
	}
	for _, b := range drip[2000:2100] {
		c.shard.traffic(c.client, []byte{b})
	}
	c.told1008(t)
}

func TestWhoKeepsToItsRateIsNeverRefused(t *testing.T) {
	st := rated(100, 100*len(wsproto.AppendMaskedFrame(nil, wsproto.OpText, [4]byte{}, []byte(leaveWithID))))
	c := st.enter(0)
	for range 500 {
		if ok, _ := c.answers(20); ok != 20 {
			t.Fatalf("got %d of 20 carried out", ok)
		}
		st.pass(tickPeriod)
	}
}

// A server that was stopped finds at once what a client sent meanwhile at its rate.
func TestAServerThatStoodStillPunishesNobody(t *testing.T) {
	for _, tickFirst := range []bool{false, true} {
		st := rated(10, 0)
		asking, silent := st.enter(0), st.enter(0)
		st.pass(5 * time.Second)
		st.nanos += int64(time.Minute)
		if tickFirst {
			st.hub.beat()
			st.settle()
		}
		if ok, _ := asking.answers(700); ok != 610 {
			t.Errorf("after a minute of standstill: got %d carried out, want a minute's worth and the burst, 610", ok)
		}
		for range 600 {
			silent.frame(wsproto.OpPing, "")
		}
		if !silent.open() {
			t.Error("a client was closed for a minute's worth in a minute")
		}
		st.pass(time.Minute) // and that was that
		if ok, _ := asking.answers(50); ok != 10 {
			t.Errorf("a minute later: got %d carried out, want 10", ok)
		}
	}
}

func TestALoopThatHadNoClientsHasNotStoodStill(t *testing.T) {
	st := rated(10, 0)
	st.nanos += int64(time.Hour)
	if ok, _ := st.enter(0).answers(100); ok != 10 {
		t.Errorf("got %d carried out, want 10", ok)
	}
}

func TestRatesAreSwitchedOnAndOffUnderWay(t *testing.T) {
	st := rated(0, 0)
	going, c := st.enter(0), st.enter(0)
	if ok, _ := c.answers(100); ok != 100 {
		t.Errorf("without a rate: got %d carried out, want 100", ok)
	}
	st.nanos += int64(time.Hour) // no tick is needed while there is no rate
	st.apply(func(b *bounds) { b.CommandsPerSecond = 10 })
	if ok, _ := c.answers(100); ok != 10 {
		t.Errorf("switched on: got %d carried out, want 10", ok)
	}
	going.shard.closed(going.client) // c moves to its place, and takes along what it owes
	if ok, _ := c.answers(100); ok != 0 {
		t.Errorf("moved: got %d carried out, want 0", ok)
	}
	if ok, _ := st.enter(0).answers(100); ok != 10 {
		t.Errorf("a newcomer: got %d carried out, want 10", ok)
	}
	st.apply(func(b *bounds) { b.CommandsPerSecond = 0 })
	if s := st.hub.shards[0]; s.rates.on || s.rates.commands.due != nil {
		t.Error("switched off: something is still kept")
	}
	if ok, _ := c.answers(100); ok != 100 {
		t.Errorf("switched off: got %d carried out, want 100", ok)
	}
}
