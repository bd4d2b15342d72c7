package loop

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// The groups that a connection's token names are in the reply to its connect, which is the first thing that the client hears.

// arrives has a client connect, with more in its connect and behind it; loops run on as far as they can.
func (st *bearerStage) arrives(loop int, claims, more, behind string) *stageConn {
	c := st.enterAt(loop, centrifugePath)
	c.say(`{"id":1,"connect":{"token":%q%s}}%s`, tokenOf(claims), more, behind)
	st.settle()
	return c
}

// noWelcomes fails if a connect still waits, or something of one is left.
func (st *bearerStage) noWelcomes(t *testing.T) {
	t.Helper()
	for i, s := range st.hub.shards {
		if s.bearers.welcomes != (welcomes{}) || len(s.replays.queue) != 0 || s.replays.weight != 0 {
			t.Errorf("loop %d: %+v, and %d replays of weight %d are left", i, s.bearers.welcomes, len(s.replays.queue), s.replays.weight)
		}
		for name, g := range s.groups.All() {
			if g.log != nil || g.asked != 0 {
				t.Errorf("loop %d: of %s %d answers are waited for, and its log is %+v", i, name, g.asked, g.log)
			}
		}
	}
}

func TestTheReplyToAConnectHasTheGroupsOfTheTokenAndIsTheFirstThingHeard(t *testing.T) {
	for name, test := range map[string]struct{ history int }{"with history": {10}, "without": {}} {
		t.Run(name, func(t *testing.T) {
			st := newBearerStage(3, func(b *bounds) { b.History = test.history })
			sender := st.enter(2)
			sender.say(`{"cmd":"add_group","group_id":"0g"}`)
			st.settle()
			letGo := st.hold(1)
			c := st.arrives(2, `{"sub":"ann","channels":["0g","1g"]}`, "", "\n"+`{"id":2,"subscribe":{"channel":"0g"}}`+"\n"+`{"id":3,"publish":{"channel":"0g","data":"own"}}`)
			sender.say(`{"cmd":"send_to_group","group_id":"0g","message":"early"}`)
			st.settle()
			c.say(`{"id":4,"subscribe":{"channel":"0x"}}`)
			st.settle()
			c.heardExactly(t)
			if s := c.shard; s.bearers.welcomes.pending != 1 || s.bearers.welcomes.bytes == 0 {
				t.Fatalf("got %+v, want a connect that waits, with what was said behind it", s.bearers.welcomes)
			}
			letGo()
			st.settle()
			sender.say(`{"cmd":"send_to_group","group_id":"1g","message":"late"}`)
			st.settle()
			got := c.lines(t)
			if len(got) != 7 || !strings.HasPrefix(got[0], `{"id":1,"connect":{`) || !strings.Contains(got[0], `"subs":{"0g":{`) || !strings.Contains(got[0], `"1g":{`) ||
				strings.Contains(got[0], `"recoverable"`) != (test.history > 0) {
				t.Fatalf("got %q, want the reply to the connect first", got)
			}
			for i, want := range []string{"", `"data":"early"`, `{"id":2,"error":{"code":105`, `{"id":3,"publish":{}}`, `{"id":4,"subscribe":{`, `"data":"own"`, `"data":"late"`} {
				if !strings.Contains(strings.Join(got[1:], ""), want) || i == 1 && !strings.Contains(got[1], want) {
					t.Errorf("heard %q, want %q in it", got, want)
				}
			}
			if m := c.client.membership(0); m.recall != recallNone {
				t.Error("it would heal, and be told that it is in a group no more, but no SDK comes back to what it has not asked for")
			}
			if n := st.hub.Snapshot().Total().Members; n != 4 {
				t.Errorf("got %d members, want 4", n)
			}
			st.noWelcomes(t)
			st.noBearers(t)
		})
	}
}

func TestAGroupThatIsNotDecidedInTimeIsLeftOutOfTheReply(t *testing.T) {
	st := newBearerStage(3, func(b *bounds) { b.History = 10 })
	letGo := st.hold(1)
	c := st.arrives(2, `{"channels":["0g","1g"]}`, "", "\n"+`{"id":2,"subscribe":{"channel":"1g"}}`)
	for range replayTicks - 1 {
		st.hub.beat()
		st.settle()
	}
	c.heardExactly(t)
	st.hub.beat()
	st.settle()
	got := c.lines(t)
	if len(got) != 1 || !strings.Contains(got[0], `"subs":{"0g":{"recoverable":true,`) || strings.Contains(got[0], `"1g":`) {
		t.Fatalf("got %q, want a reply without the group", got)
	}
	letGo()
	st.settle()
	c.heard(t, `{"id":2,"subscribe":{"recoverable":true,`) // it has asked by itself, and is a member now
	c.isOpen(t, true)
	if total := st.hub.Snapshot().Total(); total.Members != 2 || total.RefusedBy["busy"] != 1 {
		t.Errorf("got %d members, refused %v, want 2 and 1 as busy", total.Members, total.RefusedBy)
	}
	st.noWelcomes(t)

	// And who does not ask is none.
	st = newBearerStage(3, nil)
	letGo = st.hold(1)
	c = st.arrives(2, `{"channels":["0g","1h"]}`, "", "")
	for range replayTicks {
		st.hub.beat()
		st.settle()
	}
	letGo()
	st.settle()
	if g := c.shard.groups.Get("1h"); st.hub.Snapshot().Total().Members != 1 || g != nil {
		t.Errorf("got the group %+v, want nobody in it", g)
	}
	st.noWelcomes(t)
	st.noBearers(t)
}

func TestGroupsThatRefuseAreLeftOutOfTheReply(t *testing.T) {
	long := strings.Repeat("0", 60)
	for name, test := range map[string]struct {
		claims  string
		want    string
		refused string
		change  func(*bounds)
	}{
		"more groups than a client may be in":   {`{"channels":["0a","0b","0c","0d"]}`, `"subs":{"0a":{},"0b":{}}`, "too_many_groups", func(b *bounds) { b.GroupsPerClient = 2 }},
		"groups that are full":                  {`{"channels":["0a","1full","0b"]}`, `"subs":{"0a":{},"0b":{}}`, "group_full", func(b *bounds) { b.Kinds = []Kind{{Match: "1full", MembersMax: 1}} }},
		"all of them":                           {`{"channels":["1full"]}`, `"pong":true}}`, "group_full", func(b *bounds) { b.Kinds = []Kind{{Match: "1full", MembersMax: 1}} }},
		"names that are too long":               {`{"channels":["0a","` + long + `"]}`, `"subs":{"0a":{}}`, "", func(b *bounds) { b.GroupBytesMax = 50 }},
		"groups of other apps":                  {`{"channels":["0a","four/full"]}`, `"subs":{"0a":{}}`, "forbidden", func(b *bounds) { withApps(b, stageApp, furtherApp) }},
		"that of a user of an app":              {`{"channels":["0a","#server-to-user-full"]}`, `"subs":{"0a":{}}`, "forbidden", func(b *bounds) { withApps(b, stageApp, furtherApp) }},
		"none: what a token names, it may join": {`{"channels":["0a"]}`, `"subs":{"0a":{}}`, "", func(b *bounds) { b.Kinds = []Kind{{Match: "0a", Join: Servers}} }},
	} {
		t.Run(name, func(t *testing.T) {
			st := newBearerStage(2, test.change)
			other := st.enter(1)
			other.say(`{"cmd":"add_group","group_id":"1full"}`)
			st.settle()
			c := st.arrives(0, test.claims, "", "")
			got := c.lines(t)
			if len(got) != 1 || !strings.Contains(got[0], test.want) || strings.Contains(got[0], "full") || strings.Contains(got[0], `"subs"`) != strings.Contains(test.want, `"subs"`) {
				t.Errorf("got %q, want a reply with %s", got, test.want)
			}
			c.isOpen(t, true)
			if by := st.hub.Snapshot().Total().RefusedBy; test.refused != "" && by[test.refused] != 1 {
				t.Errorf("refused: got %v, want one by %s", by, test.refused)
			}
			st.noWelcomes(t)
			st.noBearers(t)
		})
	}
}

func TestAllThatWasMissedInTheGroupsOfATokenTogetherFitsTheReply(t *testing.T) {
	st := newBearerStage(2, func(b *bounds) { b.History, b.OutboxBytesMax = 10, 10_000 })
	sender := st.enter(1)
	const claims = `{"channels":["0a","1b","1c"]}`
	first := st.arrives(0, claims, "", "").lines(t)[0]
	var resume []string
	for _, group := range []string{"0a", "1b", "1c"} {
		_, in, _ := strings.Cut(first, `"`+group+`":`)
		resume = append(resume, fmt.Sprintf(`%q:{"recover":true,"epoch":%q}`, group, field(in, "epoch")))
		sender.say(`{"cmd":"send_to_group","group_id":%q,"message":%q}`, group, strings.Repeat("x", 2000))
		st.settle()
	}
	c := st.arrives(1, claims, `,"subs":{`+strings.Join(resume, ",")+`}`, "")
	got := c.lines(t)
	if len(got) != 1 || strings.Count(got[0], `"recovered":true`) != 2 || strings.Count(got[0], `"was_recovering":true`) != 3 || strings.Count(got[0], "xxx\"") != 2 {
		t.Errorf("got %q, want two groups recovered, and the third not", got)
	}
	st.noWelcomes(t)
}

func TestAGroupInWhichTooMuchIsSaidMeanwhileIsLeftOutOfTheReply(t *testing.T) {
	st := newBearerStage(3, func(b *bounds) { b.OutboxBytesMax = 4000 })
	sender := st.enter(0)
	letGo := st.hold(1)
	c := st.arrives(2, `{"channels":["0a","0b","0loud","0low","1g"]}`, "", "")
	for range 5 { // of two such groups one has room behind the reply
		sender.say(`{"cmd":"send_to_group","group_id":"0a","message":%q}`, strings.Repeat("a", 100))
		sender.say(`{"cmd":"send_to_group","group_id":"0b","message":%q}`, strings.Repeat("b", 100))
	}
	sender.say(`{"cmd":"send_to_group","group_id":"0low","message":"low"}`)
	for range 30 {
		sender.say(`{"cmd":"send_to_group","group_id":"0loud","message":%q}`, strings.Repeat("x", 100))
		st.settle()
	}
	letGo()
	st.settle()
	got := c.lines(t)
	if len(got) != 7 || !strings.Contains(got[0], `"subs":{"0a":{},"0low":{},"1g":{}}`) || !strings.Contains(got[6], `"low"`) || !strings.Contains(got[5], "aaa") {
		t.Errorf("got %q, want the others, and what was said there", got)
	}
	st.noWelcomes(t)
}

func TestWhatAClientSaysBeforeItsConnectIsAnsweredIsBounded(t *testing.T) {
	st := newBearerStage(3, func(b *bounds) { b.MessageBytesMax = 1000 })
	letGo := st.hold(1)
	whole, much, many, full := st.arrives(2, `{"channels":["1g"]}`, "", ""), st.arrives(2, `{"channels":["1g"]}`, "", ""), st.arrives(2, `{"channels":["1g"]}`, "", ""), st.arrives(2, `{"channels":["1g"]}`, "", "")
	ping := `{"id":2,"ping":{}}`
	whole.say(`%s%s`, ping, strings.Repeat(" ", 1000-len(ping)))
	much.say(`%s%s`, ping, strings.Repeat(" ", 1000-len(ping)))
	much.say(`%s`, ping)
	for range 100 {
		many.say(`{}`)
	}
	was := full.shard.bearers.welcomes.bytes
	full.shard.bearers.welcomes.bytes = putOffBytesMax - putOffBytes
	full.say(`{}`)
	full.shard.bearers.welcomes.bytes = was
	whole.isOpen(t, true)
	for _, c := range []*stageConn{much, many, full} {
		c.heard(t, "\x0b\xc5too many requests") // 3013
	}
	letGo()
	st.settle()
	whole.heard(t, `"subs":{"1g":{}}`)
	whole.heard(t, `{"id":2,"ping":{}}`)
	st.noWelcomes(t)
	st.noBearers(t)
}

func TestOfAClientThatGoesBeforeItsConnectIsAnsweredNothingIsLeft(t *testing.T) {
	st := newBearerStage(3, func(b *bounds) { b.History, b.Presence = 10, true })
	for name, ends := range map[string]func(*stageConn, string){
		"it is gone":   func(c *stageConn, _ string) { c.shard.closed(c.client) },
		"it is closed": func(c *stageConn, user string) { c.say(`{"send":{}}`); c.shard.closed(c.client) },
		"its user is disconnected": func(c *stageConn, user string) {
			if n, err := st.send(func(ctx context.Context) (int, error) {
				return st.hub.Disconnect(ctx, Target{User: user}, 0, "")
			}); n != 1 || err != nil {
				t.Errorf("got %d, %v, want 1", n, err)
			}
		},
		"its token is revoked": func(c *stageConn, user string) {
			if n, err := st.send(func(ctx context.Context) (int, error) { return st.hub.Revoke(ctx, user, 5) }); n != 1 || err != nil {
				t.Errorf("got %d, %v, want 1", n, err)
			}
		},
	} {
		letGo := st.hold(1)
		c := st.arrives(2, fmt.Sprintf(`{"sub":%q,"channels":["0g","1g"]}`, name), "", "\n{}") // a user of its own, as what is revoked stays so
		ends(c, name)
		letGo()
		st.settle()
		st.hub.beat()
		st.settle()
		for _, line := range []string{`"connect"`, `"push"`} {
			if strings.Contains(string(c.out), line) {
				t.Errorf("%s: heard %q, want no reply", name, c.out)
			}
		}
		c.shard.closed(c.client)
		st.settle()
		if n := st.hub.Snapshot().Total().Members; n != 0 {
			t.Errorf("%s: got %d members, want none", name, n)
		}
		st.noWelcomes(t)
		st.noBearers(t)
	}
}

func TestWhatABackendDoesWithAClientBeforeItsConnectIsAnsweredIsInTheReply(t *testing.T) {
	st := newBearerStage(3, nil)
	other := st.enter(2)
	other.say(`{"cmd":"add_group","group_id":"0more"}`)
	st.settle()
	letGo := st.hold(1)
	c := st.arrives(2, `{"sub":"ann","exp":1800000100,"channels":["0g","0out","1g","1out"]}`, "", "")
	to := Target{User: "ann"}
	for _, do := range []func(context.Context) (int, error){
		func(ctx context.Context) (int, error) { return st.hub.Unsubscribe(ctx, to, "0out") },
		func(ctx context.Context) (int, error) { return st.hub.Unsubscribe(ctx, to, "1out") },
		func(ctx context.Context) (int, error) { return st.hub.Subscribe(ctx, to, "0more", nil) },
		func(ctx context.Context) (int, error) { return st.hub.Refresh(ctx, to, 1800000500) },
	} {
		if n, err := st.send(do); n != 1 || err != nil {
			t.Errorf("got %d, %v, want it done for one", n, err)
		}
	}
	c.heardExactly(t)
	letGo()
	st.settle()
	got := c.lines(t)
	if len(got) != 1 || !strings.Contains(got[0], `"ttl":500,`) || !strings.Contains(got[0], `"subs":{"0g":{},"0more":{},"1g":{}}`) && !strings.Contains(got[0], `"subs":{"0g":{},"1g":{},"0more":{}}`) {
		t.Errorf("got %q, want all of it in the reply", got)
	}
	if n := st.hub.Snapshot().Total().Members; n != 4 {
		t.Errorf("got %d members, want 4", n)
	}
	st.noWelcomes(t)
	st.noBearers(t)
}
