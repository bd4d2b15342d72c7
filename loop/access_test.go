package loop

import (
	"fmt"
	"runtime"
	"testing"

	"ringcast/dialect"
)

// ofKinds has a stage begin with some kinds of groups.
func ofKinds(all ...Kind) func(*bounds) {
	return func(b *bounds) { b.Kinds = all }
}

const forbidden = `{"code":"forbidden"`

// refusedAs is how many commands were refused as forbidden, and how many publishes were refused at all.
func (st *stage) refusedAs() (forbidden, publishes uint64) {
	total := st.hub.Snapshot().Total()
	return total.RefusedBy["forbidden"], total.RefusedPublishes
}

func TestAGroupThatIsForTokensIsJoinedByNobody(t *testing.T) {
	for _, access := range []Access{Users, Tokens} {
		st := newStage(2, func(b *bounds) { b.Kinds, b.Join = []Kind{{Match: "*open"}}, access })
		asking, silent := st.enter(0), st.enter(1)
		for _, c := range []*stageConn{asking, silent} {
			st.ask(c, `{"cmd":"add_group","group_id":"1open","id":1}`)
			c.heard(t, `{"id":1,"ok":true}`)
		}
		st.ask(asking, `{"cmd":"add_group","group_id":"1g","id":2}`)
		asking.heard(t, `{"id":2,"error":`+forbidden)
		st.ask(silent, `{"cmd":"add_group","group_id":"1g"}`)
		silent.heard(t, "\x03\xf0not allowed") // 1008
		st.ask(asking, `{"cmd":"send_to_group","group_id":"1g","message":"x","id":3}`)
		asking.heard(t, `{"id":3,"ok":true,"seq":0}`) // anyone may publish, and nobody is there
		st.ask(asking, `{"cmd":"leave_group","group_id":"1g","id":4}`)
		asking.heard(t, `{"id":4,"ok":true}`)
		if got, publishes := st.refusedAs(); got != 2 || publishes != 0 {
			t.Errorf("refused: got %d, and %d publishes, want 2 and none", got, publishes)
		}
		st.nothingLeft(t)
	}
}

func TestWhoMayPublish(t *testing.T) {
	for access, may := range map[Access]struct{ member, stranger bool }{
		Anyone: {true, true}, Members: {member: true}, Users: {}, Tokens: {}, Servers: {},
	} {
		st := newStage(2, ofKinds(Kind{Match: "1*", Publish: access}))
		member, stranger := st.enter(0), st.enter(1)
		st.ask(member, `{"cmd":"add_group","group_id":"1g"}`)
		var refused uint64
		for c, may := range map[*stageConn]bool{member: may.member, stranger: may.stranger} {
			for _, group := range []string{"1g", "1unknown"} {
				if group == "1unknown" && access == Members {
					may = false
				}
				c.out = nil
				st.ask(c, `{"cmd":"send_to_group","group_id":%q,"message":"x","id":5}`, group)
				if may {
					c.heard(t, `{"id":5,"ok":true`)
				} else {
					c.heard(t, `{"id":5,"error":`+forbidden)
					refused++
				}
				st.ask(c, `{"cmd":"send_to_group","group_id":"0other","message":"x","id":6}`)
				c.heard(t, `{"id":6,"ok":true`)
			}
		}
		silent := st.enter(0)
		st.ask(silent, `{"cmd":"send_to_group","group_id":"1g","message":"x"}`)
		if !may.stranger {
			silent.heard(t, "\x03\xf0not allowed")
			refused++
		}
		if silent.client.state == stateClosing == may.stranger {
			t.Errorf("publish %d: got a stranger without an id in state %d", access, silent.client.state)
		}
		if got, publishes := st.refusedAs(); got != refused || publishes != refused {
			t.Errorf("publish %d: got %d refused, and %d publishes, want %d", access, got, publishes, refused)
		}
		port, err := st.hub.NewPort()
		if err != nil {
			t.Fatal(err)
		}
		if err := offer(port, "1g", []byte("from a server")); err != nil {
			t.Errorf("publish %d: a port: %v", access, err)
		}
		st.settle()
		member.heard(t, "from a server")
		port.Close()
		st.nothingLeft(t)
	}
}

// Who has asked to be a member publishes as one, before the home has answered; who has left since does not.
func TestWhoHasAskedToJoinMayPublishAsAMember(t *testing.T) {
	st := newStage(2, ofKinds(Kind{Match: "*", Publish: Members}))
	c, other := st.enter(0), st.enter(0)
	letGo := st.hold(1)
	c.say(`{"cmd":"add_group","group_id":"1g"}`)
	c.say(`{"cmd":"send_to_group","group_id":"1g","message":"to myself","id":1}`)
	other.say(`{"cmd":"send_to_group","group_id":"1g","message":"from a stranger","id":1}`)
	c.say(`{"cmd":"leave_group","group_id":"1g"}`)
	c.say(`{"cmd":"send_to_group","group_id":"1g","message":"after the leave","id":2}`)
	c.say(`{"cmd":"add_group","group_id":"1g"}`)
	c.say(`{"cmd":"send_to_group","group_id":"1g","message":"to myself again","id":3}`)
	letGo()
	st.settle()
	c.heard(t, `{"id":1,"ok":true`)
	c.heard(t, "to myself again")
	c.heard(t, `{"id":2,"error":`+forbidden)
	c.heard(t, `{"id":3,"ok":true`)
	other.heard(t, `{"id":1,"error":`+forbidden)
	c.heardNot(t, "from a stranger")
	st.ask(c, `{"cmd":"leave_group","group_id":"1g"}`)
	st.ask(c, `{"cmd":"send_to_group","group_id":"1g","message":"x","id":4}`)
	c.heard(t, `{"id":4,"error":`+forbidden)
	st.nothingLeft(t)
}

// A change of kinds holds at once for groups that loops know, in both directions. Members stay, and are not refused when they join
// again; who has left is not let in again.
func TestAChangeOfKindsHoldsForGroupsThatAreThere(t *testing.T) {
	st := newStage(2, nil)
	member, stranger := st.enter(0), st.enter(1)
	st.ask(member, `{"cmd":"add_group","group_id":"1g"}`)
	say := func(c *stageConn, command, want string) {
		t.Helper()
		c.out = nil
		st.ask(c, `{"cmd":%q,"group_id":"1g","message":"x","id":1}`, command)
		c.heard(t, want)
	}
	const ok, refused = `{"id":1,"ok":true`, `{"id":1,"error":` + forbidden
	for round := range 3 {
		say(stranger, "send_to_group", ok)
		st.apply(ofKinds(Kind{Match: "1*", Publish: Members}))
		say(stranger, "send_to_group", refused)
		say(member, "send_to_group", ok)
		st.apply(ofKinds(Kind{Match: "0*"}, Kind{Match: "1*", Join: Tokens, Publish: Servers}))
		say(member, "send_to_group", refused)
		say(member, "add_group", ok)
		say(stranger, "add_group", refused)
		st.apply(func(b *bounds) { b.Kinds, b.Publish = []Kind{{Match: "1*", Publish: Anyone}}, Servers })
		say(member, "send_to_group", ok)
		st.apply(func(b *bounds) { b.Kinds = nil })
		say(member, "send_to_group", refused)
		st.apply(func(b *bounds) { b.Publish = Anyone })
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	letGo := st.hold(0)
	member.out = nil
	member.say(`{"cmd":"add_group","group_id":"0g","id":1}`)
	member.say(`{"cmd":"leave_group","group_id":"0g","id":2}`)
	b := *st.hub.bounds.Load()
	b.Kinds = []Kind{{Match: "*", Join: Tokens}}
	st.hub.complete(&b)
	member.shard.adopt(&b)
	member.say(`{"cmd":"add_group","group_id":"0g","id":3}`)
	letGo()
	st.settle()
	member.heard(t, `{"id":3,"error":`+forbidden)
	if n := member.client.groupCount(); n != 1 {
		t.Errorf("got %d groups, want the first alone", n)
	}
	st.nothingLeft(t)
}

func TestACentrifugeClientIsToldWhatItMayNot(t *testing.T) {
	st := newCentrifugeStage(1, ofKinds(Kind{Match: "0locked", Join: Users}, Kind{Match: "0read", Publish: Servers}))
	c := st.connect(0)
	c.out = nil
	for i, command := range []string{`"subscribe":{"channel":"0locked"}`, `"publish":{"channel":"0read","data":1}`} {
		c.say(`{"id":%d,%s}`, i+2, command)
		st.settle()
		c.heardExactly(t, fmt.Sprintf(`{"id":%d,"error":{"code":103,"message":"permission denied"}}`, i+2))
	}
	c.shard.closeRefused(c.client, dialect.ErrForbidden) // its commands have ids; were there one without
	c.heard(t, "\x0d\xb3permission denied")              // 3507
}

// A name is compared with patterns once for each change of them.
func TestAGroupKeepsItsKindUntilKindsChange(t *testing.T) {
	st := newStage(1, ofKinds(Kind{Match: "0a*"}, Kind{Match: "0b*", Publish: Members}))
	c := st.enter(0)
	for _, group := range []string{"0a", "0b", "0c"} {
		st.ask(c, `{"cmd":"add_group","group_id":%q}`, group)
	}
	s := c.shard
	for index, name := range []string{"0a", "0b", "0c"} {
		g := s.groups.Get(name)
		g.kindsRead = 0 // the add_group has read them
		for again, compared := range []int{min(index+1, 2), 0} {
			if got, n := s.kindOf(g); got != index || n != compared {
				t.Errorf("%s, time %d: got kind %d after %d comparisons, want %d after %d", name, again, got, n, index, compared)
			}
		}
	}
	st.apply(ofKinds(Kind{Match: "0c"}))
	for name, index := range map[string]int{"0a": 1, "0b": 1, "0c": 0} {
		if got, n := s.kindOf(s.groups.Get(name)); got != index || n != 1 {
			t.Errorf("%s after a change: got kind %d after %d comparisons, want %d after 1", name, got, n, index)
		}
	}
}

// A list of connections names few kinds, of few groups, and a row that took long counts as several.
func TestAListNamesAFewOfTheKindsThatGroupsAreOf(t *testing.T) {
	many := []Kind{{Match: "0a*"}}
	for i := range KindsMax - 1 {
		many = append(many, Kind{Match: fmt.Sprintf("0b%d", i)})
	}
	st := newCentrifugeStage(1, ofKinds(many...))
	s := st.hub.shards[0]
	s.env.names = func(conn) (string, string) { return "", "" }
	none, same, few, lots, page := st.enter(0), st.enter(0), st.enter(0), st.enter(0), st.connect(0)
	join := func(c *stageConn, groups ...string) {
		for _, group := range groups {
			st.ask(c, `{"cmd":"add_group","group_id":%q}`, group)
		}
	}
	join(same, "0a1", "0a2", "0a3")
	join(few, "0b7", "0a1", "0c", "0c2")
	for i := range listedGroupsMax {
		join(lots, fmt.Sprintf("0a%d", i))
	}
	join(lots, "0b0", "0b1", "0b2", "0b3", "0b4")
	page.say(`{"id":2,"subscribe":{"channel":"0b5"}}`)
	st.settle()
	waiting := &stageConn{shard: s, fd: 99}
	st.hub.admit()
	waiting.client = s.opened(waiting)

	rows := map[uint64]ClientInfo{}
	slices := 0
	for l, more := (&listing{left: notBegun}), true; more; slices++ {
		more = s.list(l)
		for _, row := range l.rows {
			rows[row.ID] = row
		}
	}
	for c, want := range map[*stageConn]string{
		none: "plain []", same: "plain [0a*]", few: "plain [0b7 0a* *]", lots: "plain [0a*]", page: "centrifuge [0b5]", waiting: " []",
	} {
		row := rows[c.client.Number()]
		if got := fmt.Sprint(row.Dialect, " ", row.Kinds); got != want {
			t.Errorf("client %d with %d groups: got %s, want %s", row.ID, row.Groups, got, want)
		}
	}
	if slices != 1 {
		t.Errorf("got %d slices of groups whose kinds are known, want 1", slices)
	}

	// Kinds have changed, and each group is compared with every pattern.
	st.apply(func(b *bounds) {
		b.Kinds = append([]Kind(nil), many...)
		for i := range b.Kinds {
			b.Kinds[i].Match = fmt.Sprintf("never %d", i)
		}
	})
	l := &listing{left: notBegun}
	if more := s.list(l); !more || len(l.rows) > 3 {
		t.Errorf("got %d rows at once, and more: %v; want a slice to end where it took long", len(l.rows), more)
	}
	for s.list(l) {
	}

	// Clients with a kind for each of some groups.
	st.apply(ofKinds(Kind{Match: "0a0"}, Kind{Match: "0a1"}, Kind{Match: "0a2"}, Kind{Match: "0a3"}, Kind{Match: "0a4"}))
	l = &listing{left: notBegun}
	s.list(l)
	for _, row := range l.rows {
		if row.ID == lots.client.Number() && fmt.Sprint(row.Kinds) != "[0a0 0a1 0a2 0a3]" {
			t.Errorf("got %v, want the first %d kinds", row.Kinds, listedKindsMax)
		}
	}
	st.nothingLeft(t)
}

// What a publish costs where publishing is restricted, for a group that the loop knows beside one that it does not.
func BenchmarkMayPublish(b *testing.B) {
	var all []Kind
	for i := range 10 {
		all = append(all, Kind{Match: fmt.Sprintf("kind-%d:*", i), Publish: Members})
	}
	st := newStage(1, ofKinds(append(all, Kind{Match: "0*", Publish: Members})...))
	c := st.enter(0)
	st.ask(c, `{"cmd":"add_group","group_id":"0g"}`)
	for _, group := range []string{"0g", "0unknown"} {
		b.Run(group, func(b *testing.B) {
			for b.Loop() {
				runtime.KeepAlive(c.shard.mayPublish(c.client, []byte(group)))
			}
		})
	}
}
