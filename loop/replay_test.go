package loop

import (
	"fmt"
	"strings"
	"testing"
)

// What a client of the Centrifuge protocol hears of a group's past. The groups' kind keeps messages.

func newHistoryStage(loops int, change func(*bounds)) *stage {
	return newCentrifugeStage(loops, func(b *bounds) {
		b.History, b.HistoryTTL = 10, 60*tickPeriod
		if change != nil {
			change(b)
		}
	})
}

// subscribe has a client join, with more of its command, and returns the answer.
func (st *stage) subscribe(t *testing.T, c *stageConn, group, more string) string {
	t.Helper()
	c.out = nil
	c.say(`{"id":2,"subscribe":{"channel":%q%s}}`, group, more)
	st.settle()
	for _, line := range c.lines(t) {
		if strings.HasPrefix(line, `{"id":2,`) {
			return line
		}
	}
	t.Fatal("the subscribe was not answered")
	return ""
}

func field(line, name string) string {
	_, after, _ := strings.Cut(line, `"`+name+`":`)
	end := strings.IndexAny(after, ",}")
	return strings.Trim(after[:max(end, 0)], `"`)
}

// from is what a client says that comes back with the position of an earlier answer, moved on by so many messages.
func from(line string, offset int) string {
	return fmt.Sprintf(`,"recover":true,"epoch":%q,"offset":%d`, field(line, "epoch"), offset)
}

func TestAClientThatComesBackHearsWhatItMissedOnceThenWhatFollows(t *testing.T) {
	for loops := 1; loops <= 3; loops++ {
		st := newHistoryStage(loops, nil)
		away, stays := st.connect(0), st.enter(loops-1)
		stays.say(`{"cmd":"add_group","group_id":"0g"}`)
		first := st.subscribe(t, away, "0g", "")
		if !strings.Contains(first, `"recoverable":true`) || field(first, "epoch") == "" || strings.Contains(first, "offset") {
			t.Fatalf("%d loops: got %s, want a position", loops, first)
		}
		stays.say(`{"cmd":"send_to_group","group_id":"0g","message":"heard"}`)
		st.settle()
		away.heard(t, `{"data":"heard","offset":1}`)
		away.shard.closed(away.client)
		for i := range 3 {
			stays.say(`{"cmd":"send_to_group","group_id":"0g","message":"missed %d"}`, i)
		}
		st.settle()
		back := st.connect(loops - 1)
		got := st.subscribe(t, back, "0g", from(first, 1))
		for _, want := range []string{`"recovered":true`, `"was_recovering":true`, `"offset":1,`,
			`"publications":[{"data":"missed 0","offset":2},{"data":"missed 1","offset":3},{"data":"missed 2","offset":4}]`} {
			if !strings.Contains(got, want) {
				t.Errorf("%d loops: got %s, want %s in it", loops, got, want)
			}
		}
		stays.say(`{"cmd":"send_to_group","group_id":"0g","message":"live"}`)
		st.settle()
		back.heardExactly(t, `{"push":{"channel":"0g","pub":{"data":"live","offset":5}}}`)
	}
}

func TestAResumeThatHistoryCannotServeSaysSoAndReplaysNothing(t *testing.T) {
	for name, made := range map[string]struct {
		change  func(*bounds)
		publish int
		more    func(first string) string
	}{
		"away for too long":    {publish: 12, more: func(first string) string { return from(first, 1) }},
		"another epoch":        {publish: 3, more: func(string) string { return `,"recover":true,"epoch":"nonsense","offset":1` }},
		"from the future":      {publish: 3, more: func(first string) string { return from(first, 4) }},
		"more than a resume":   {change: func(b *bounds) { b.RecoveryMax = 2 }, publish: 4, more: func(first string) string { return from(first, 1) }},
		"more than the outbox": {change: func(b *bounds) { b.OutboxBytesMax = 400 }, publish: 4, more: func(first string) string { return from(first, 1) }},
	} {
		t.Run(name, func(t *testing.T) {
			st := newHistoryStage(2, made.change)
			sender, stays := st.enter(1), st.connect(0)
			first := st.subscribe(t, stays, "0g", "")
			for i := range made.publish {
				sender.say(`{"cmd":"send_to_group","group_id":"0g","message":"%d"}`, i)
				st.settle()
			}
			got := st.subscribe(t, st.connect(1), "0g", made.more(first))
			if strings.Contains(got, `"recovered"`) || strings.Contains(got, "publications") || !strings.Contains(got, `"was_recovering":true`) ||
				field(got, "offset") != fmt.Sprint(made.publish) || field(got, "epoch") != field(first, "epoch") {
				t.Errorf("got %s, want the new position %d and nothing recovered", got, made.publish)
			}
		})
	}
}

// Messages wait for passes, and a newcomer hears what waits. One that comes back from another loop may have heard that already.
func TestWhatWaitsForAPassIsNotHeardASecondTime(t *testing.T) {
	st := newHistoryStage(2, nil)
	sender, slowLoop := st.enter(0), st.enter(1)
	slowLoop.say(`{"cmd":"add_group","group_id":"0g"}`)
	other := st.connect(1)
	st.subscribe(t, other, "0g", "")
	away := st.connect(0)
	first := st.subscribe(t, away, "0g", "")
	sender.say(`{"cmd":"send_to_group","group_id":"0g","message":"one"}`)
	away.heard(t, `"one"`)
	away.shard.closed(away.client) // with position 1, which the members on loop 1 have not reached
	s := st.hub.shards[1]
	s.kicked = true // a kick for passes is under way: what comes down waits
	s.woken()
	back := st.connect(1)
	back.out = nil
	back.say(`{"id":2,"subscribe":{"channel":"0g"%s}}`, from(first, 1))
	s.woken()
	s.kicked = false
	st.settle()
	s.woken()
	st.settle()
	got := strings.Join(back.lines(t), "\n")
	if strings.Contains(got, `"one"`) || strings.Count(got, `"recovered":true`) != 1 {
		t.Errorf("heard %s, want to be recovered, and no message a second time", got)
	}
	other.heard(t, `"one"`)
}

func TestHistoryIsReadByMembers(t *testing.T) {
	st := newHistoryStage(2, nil)
	c := st.connect(1)
	first := st.subscribe(t, c, "0g", "")
	for i := range 4 {
		c.say(`{"id":3,"publish":{"channel":"0g","data":%d}}`, i)
	}
	st.settle()
	c.out = nil
	ask := func(more, want string) {
		t.Helper()
		c.say(`{"id":4,"history":{"channel":"0g"%s}}`, more)
		st.settle()
		got := strings.Join(c.lines(t), "\n")
		if !strings.Contains(got, want) {
			t.Errorf("history %s: got %s, want %s in it", more, got, want)
		}
	}
	ask(``, `"offset":4`)
	ask(`,"limit":2`, `"publications":[{"data":0,"info":{`)
	ask(`,"limit":1,"reverse":true`, `"publications":[{"data":3,`)
	ask(`,"limit":-1,"since":{"offset":3,"epoch":"`+field(first, "epoch")+`"}`, `"publications":[{"data":3,`)
	ask(`,"limit":-1,"since":{"offset":3,"epoch":"other"}`, `"error":{"code":112,"message":"unrecoverable position"}`)
	c.say(`{"id":5,"history":{"channel":"0other"}}`)
	c.heardExactly(t, `{"id":5,"error":{"code":103,"message":"permission denied"}}`)
}

func TestAGroupWithoutHistoryHasNoPosition(t *testing.T) {
	st := newCentrifugeStage(2, nil)
	c := st.connect(0)
	if got := st.subscribe(t, c, "1g", ""); got != `{"id":2,"subscribe":{}}` {
		t.Errorf("got %s, want nothing of a position", got)
	}
	if got := st.subscribe(t, st.connect(1), "1g", `,"recover":true,"epoch":"x","offset":3`); got != `{"id":2,"subscribe":{"was_recovering":true}}` {
		t.Errorf("got %s, want to be told that nothing was recovered", got)
	}
	c.say(`{"id":3,"history":{"channel":"1g","limit":1}}`)
	st.settle()
	c.heard(t, `{"id":3,"error":{"code":108,"message":"not available"}}`)
	if got := st.hub.shards[0].groups.Get("1g").asked; got != 0 {
		t.Errorf("%d questions are under way at rest", got)
	}
}

// Who leaves or goes before it is answered has no place any more.
func TestWhoGoesBeforeItsReplayHasNoPlace(t *testing.T) {
	for name, go_ := range map[string]func(c *stageConn){
		"leaves": func(c *stageConn) { c.say(`{"id":9,"unsubscribe":{"channel":"0g"}}`) },
		"dies":   func(c *stageConn) { c.shard.closed(c.client) },
	} {
		t.Run(name, func(t *testing.T) {
			st := newHistoryStage(1, nil)
			member := st.enter(0)
			member.say(`{"cmd":"add_group","group_id":"0g"}`)
			c := st.connect(0)
			s := st.hub.shards[0]
			s.kicked = true
			c.say(`{"id":2,"subscribe":{"channel":"0g","recover":true}}`)
			if len(s.replays.queue) != 1 {
				t.Fatalf("%d replays wait, want one", len(s.replays.queue))
			}
			go_(c)
			s.kicked = false
			s.woken()
			st.settle()
			total := st.hub.Snapshot().Total()
			if total.Members != 1 || st.hub.homes.Home(0).Groups() != 1 || s.groups.Get("0g").headcount.Members() != 1 || len(s.replays.queue) != 0 || s.groups.Get("0g").log != nil {
				t.Errorf("got %d members, headcount %d, %d replays; want the plain one alone", total.Members, s.groups.Get("0g").headcount.Members(), len(s.replays.queue))
			}
			member.say(`{"cmd":"leave_group","group_id":"0g"}`)
			st.settle()
			if s.groups.Len() != 0 {
				t.Error("the loop keeps the group when all have gone")
			}
		})
	}
}

// One that does not take what waits for it is told to come again, before it gives up by itself.
func TestAReplayThatTakesTooLongIsRefused(t *testing.T) {
	st := newHistoryStage(1, nil)
	sender, c := st.enter(0), st.connect(0)
	sender.say(`{"cmd":"send_to_group","group_id":"0g","message":"kept"}`)
	st.clog(c)
	c.say(`{"id":2,"subscribe":{"channel":"0g","recover":true}}`)
	for range replayTicks + 1 {
		st.hub.beat()
		st.settle()
	}
	c.take(1 << 20)
	st.settle()
	c.heard(t, `{"id":2,"error":{"code":111,"message":"too many requests","temporary":true}}`)
	if got := st.subscribe(t, c, "0g", `,"recover":true`); !strings.Contains(got, `"recovered":true`) {
		t.Errorf("later: got %s, want it recovered", got)
	}
}

// Answers to many that come back together are made within the budget of turns, and others go on meanwhile.
func TestManyReplaysShareTurnsWithEverythingElse(t *testing.T) {
	st := newHistoryStage(1, func(b *bounds) { b.History, b.passNanos = 100, 50_000 })
	sender := st.enter(0)
	for i := range 100 {
		sender.say(`{"cmd":"send_to_group","group_id":"0g","message":"%d"}`, i)
	}
	var all []*stageConn
	for range 90 {
		all = append(all, st.connect(0))
	}
	st.settle()
	s := st.hub.shards[0]
	s.kicked = true // so that they gather
	for _, c := range all {
		c.out = nil
		c.say(`{"id":2,"subscribe":{"channel":"0g","recover":true}}`)
	}
	s.kicked = false
	turns := 0
	for s.woken(); len(s.replays.queue) > 0 && turns < 1000; turns++ {
		st.kicks[0] = false
		s.kickedAwake()
	}
	st.settle()
	for _, c := range all {
		if got := strings.Join(c.lines(t), "\n"); strings.Count(got, `"recovered":true`) != 1 || strings.Count(got, `"data":`) != 100 {
			t.Fatalf("client %d heard %d publications, want 100 in one answer", c.fd, strings.Count(got, `"data":`))
		}
	}
	if turns < 2 {
		t.Errorf("all were answered in %d turns", turns)
	}
}

// Who leaves and comes back before it was answered is answered both times, and hears what was missed once.
func TestAJoinThatIsSaidAgainWhileItsReplayWaitsIsAnswered(t *testing.T) {
	st := newHistoryStage(1, nil)
	sender, c := st.enter(0), st.connect(0)
	sender.say(`{"cmd":"send_to_group","group_id":"0g","message":"missed"}`)
	s := st.hub.shards[0]
	s.kicked = true
	c.out = nil
	c.say(`{"id":2,"subscribe":{"channel":"0g","recover":true}}`)
	c.say(`{"id":3,"unsubscribe":{"channel":"0g"}}`)
	c.say(`{"id":4,"subscribe":{"channel":"0g","recover":true}}`)
	s.kicked = false
	s.woken()
	st.settle()
	c.heardExactly(t, `{"id":3,"unsubscribe":{}}`, `{"id":2,"subscribe":{"recoverable":true,"epoch":"…"missed","offset":1}],"recovered":true,"positioned":true,"was_recovering":true}}`,
		`{"id":4,"subscribe":{"recoverable":true,"epoch":"…","offset":1,"positioned":true,"was_recovering":true}}`)
	if s.backlog.bytes != 0 {
		t.Errorf("%d bytes are left in the backlog", s.backlog.bytes)
	}
}

// What one says behind its join it hears, also where nothing was to be recovered and the answer waits.
func TestWhatIsSaidBehindAJoinIsHeardBehindItsAnswer(t *testing.T) {
	st := newHistoryStage(1, nil)
	c, s := st.connect(0), st.hub.shards[0]
	s.kicked = true
	c.out = nil
	c.say(`{"id":2,"subscribe":{"channel":"0g"}}`)
	c.say(`{"id":3,"publish":{"channel":"0g","data":"own"}}`)
	s.kicked = false
	s.woken()
	st.settle()
	got := strings.Join(c.lines(t), "\n")
	if answer, own := strings.Index(got, `{"id":2,"subscribe"`), strings.Index(got, `"data":"own"`); answer < 0 || own < answer || strings.Count(got, `"own"`) != 1 {
		t.Errorf("got %s, want the answer and then its own message, once", got)
	}
}

// On a loop whose passes are always cut, replays are answered all the same, those for the busy group too.
func TestPassesThatNeverEndDoNotHoldReplaysBack(t *testing.T) {
	st := newHistoryStage(1, func(b *bounds) { b.passNanos = 1 })
	sender := st.enter(0)
	for range 40 {
		st.enter(0).say(`{"cmd":"add_group","group_id":"0busy"}`)
	}
	shouting := st.connect(0)
	st.subscribe(t, shouting, "0busy", "")
	away, busy := st.connect(0), st.connect(0)
	st.settle()
	s := st.hub.shards[0]
	busy.out, away.out = nil, nil
	turns := 0
	for ; turns < 40 && (len(busy.out) == 0 || len(away.out) == 0); turns++ {
		sender.say(`{"cmd":"send_to_group","group_id":"0busy","message":"%d"}`, turns)
		if turns == 5 {
			away.say(`{"id":2,"subscribe":{"channel":"0g","recover":true}}`)
			busy.say(`{"id":2,"subscribe":{"channel":"0busy","recover":true}}`)
		}
		if len(s.passes.queue) == 0 {
			t.Fatal("the passes came to an end")
		}
		st.kicks[0] = false
		s.kickedAwake()
	}
	if turns == 40 {
		t.Fatal("the replays are not answered while passes are cut")
	}
	st.settle()
	got := strings.Join(busy.lines(t), "\n")
	for i := range turns {
		if n := strings.Count(got, fmt.Sprintf(`"data":"%d"`, i)); n != 1 {
			t.Errorf("message %d was heard %d times, want once, in %s", i, n, got)
		}
	}
}

// Clients that do not take what waits for them are looked at once a tick, however many wait for their replays.
func TestReplaysOfSlowClientsDoNotKeepTheirLoopAwake(t *testing.T) {
	st := newHistoryStage(1, nil)
	st.hub.clientsMax.Store(1000)
	for range replaysPerTurn + 50 {
		c := st.connect(0)
		st.clog(c)
		c.say(`{"id":2,"subscribe":{"channel":"0g"}}`)
	}
	s := st.hub.shards[0]
	turns := 0
	for s.woken(); st.kicks[0] && turns < 100; turns++ {
		st.kicks[0] = false
		s.kickedAwake()
	}
	if len(s.replays.queue) != replaysPerTurn+50 || turns == 100 {
		t.Errorf("%d replays wait, and the loop takes turn after turn (%d)", len(s.replays.queue), turns)
	}
}

// What is said while a replay waits is kept up to the bytes that may wait for a client.
func TestAReplayBehindWhichTooMuchIsSaidIsRefused(t *testing.T) {
	st := newHistoryStage(1, func(b *bounds) { b.OutboxBytesMax = 4000 })
	sender, c := st.enter(0), st.connect(0)
	st.clog(c)
	c.say(`{"id":2,"subscribe":{"channel":"0g","recover":true}}`)
	for range 100 {
		sender.say(`{"cmd":"send_to_group","group_id":"0g","message":%q}`, strings.Repeat("x", 100))
	}
	if l := c.shard.groups.Get("0g").log; l.bytes > 1000 || len(l.messages) < 3 {
		t.Errorf("%d messages in %d bytes are kept, want as many as fit", len(l.messages), l.bytes)
	}
	c.take(1 << 20)
	st.hub.beat()
	st.settle()
	c.heard(t, `{"id":2,"error":{"code":111,`)
}
