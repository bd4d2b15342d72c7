package loop

import (
	"testing"
	"time"
)

func TestATokenEndsWhenItSaysUnlessANewerOneHasCome(t *testing.T) {
	st := newBearerStage(1, nil)
	const ends, later = `{"sub":"ann","exp":1800000100}`, `{"sub":"ann","exp":1800000200}`
	plain, page := st.auth(st.enter(0), ends), st.page(0, ends)
	plainRenewed, pageRenewed := st.auth(st.enter(0), ends), st.page(0, ends)
	page.heard(t, `"expires":true,"ttl":100,`)
	st.wall = st.wall.Add(time.Hour) // moved by hand: nobody minds
	st.hub.beat()
	st.settle()
	st.wall = st.wall.Add(-time.Hour)
	st.pass(99 * time.Second)
	plain.isOpen(t, true)
	page.isOpen(t, true)
	st.auth(plainRenewed, later)
	st.pass(2 * time.Second)
	plain.isOpen(t, false)
	plain.heard(t, closed4401+"the token has ended")
	page.isOpen(t, true)
	pageRenewed.say(`{"id":2,"refresh":{"token":%q}}`, tokenOf(later))
	pageRenewed.heard(t, `"ttl":99}}`)
	st.pass(25 * time.Second)
	page.isOpen(t, false)
	page.heard(t, closed3005+"connection expired")
	plainRenewed.isOpen(t, true)
	pageRenewed.isOpen(t, true)
	st.auth(plainRenewed, `{"sub":"ann"}`)
	st.pass(time.Hour)
	plainRenewed.isOpen(t, true)
	pageRenewed.isOpen(t, false)
	st.noBearers(t)
}

func TestATokenForAGroupEndsTheMembership(t *testing.T) {
	st := newBearerStage(2, ofKinds(Kind{Match: "1*", Join: Tokens, Publish: Tokens}))
	const claims = `{"sub":"ann","channel":"1g","exp":1800000100}`
	plain, page := st.auth(st.enter(0), `{"sub":"ann"}`), st.page(0, `{"sub":"ann"}`)
	st.ask(plain, `{"cmd":"add_group","group_id":"1g","token":%q,"id":1}`, tokenOf(claims))
	plain.heard(t, `{"id":1,"ok":true}`)
	st.ask(page, `{"id":2,"subscribe":{"channel":"1g","token":%q}}`, tokenOf(claims))
	page.heard(t, `{"id":2,"subscribe":{"expires":true,"ttl":100}}`)
	st.ask(plain, `{"cmd":"send_to_group","group_id":"1g","message":"x","id":2}`)
	plain.heard(t, `{"id":2,"ok":true`)
	st.pass(101 * time.Second)
	plain.heard(t, `{"event":"removed","group_id":"1g","reason":"token_expired"}`)
	st.ask(plain, `{"cmd":"send_to_group","group_id":"1g","message":"x","id":3}`)
	plain.heard(t, `{"id":3,"error":`+forbidden)
	page.heardNot(t, "unsubscribe")
	st.pass(25 * time.Second)
	page.heard(t, `{"push":{"channel":"1g","unsubscribe":{"code":2501,"reason":"subscription expired"}}}`)
	for _, c := range []*stageConn{plain, page} {
		c.isOpen(t, true)
		if n := c.client.groupCount(); n != 0 {
			t.Errorf("got %d groups, want none", n)
		}
	}
	st.nothingOf(t, "1g")
	st.noBearers(t)
}

// nothingOf fails if a loop knows a group.
func (st *bearerStage) nothingOf(t *testing.T, group string) {
	t.Helper()
	for i, s := range st.hub.shards {
		if s.groups.Get(group) != nil {
			t.Errorf("loop %d knows %s", i, group)
		}
	}
}

// A newer token, by sub_refresh or by a second add_group, or a leave and a join without a token, keep the membership.
func TestAMembershipGoesOnWithANewerToken(t *testing.T) {
	st := newBearerStage(1, nil)
	const claims, later = `{"channel":"0g","exp":1800000100}`, `{"channel":"0g","exp":1800000500}`
	plain, left, page := st.enter(0), st.enter(0), st.page(0, "")
	for _, c := range []*stageConn{plain, left} {
		st.ask(c, `{"cmd":"add_group","group_id":"0g","token":%q,"id":1}`, tokenOf(claims))
		c.heard(t, `{"id":1,"ok":true}`)
	}
	st.ask(page, `{"id":2,"subscribe":{"channel":"0g","token":%q}}`, tokenOf(claims))
	st.ask(plain, `{"cmd":"add_group","group_id":"0g","token":%q,"id":2}`, tokenOf(later))
	plain.heard(t, `{"id":2,"ok":true}`)
	st.ask(left, `{"cmd":"leave_group","group_id":"0g","id":2}`)
	st.ask(left, `{"cmd":"add_group","group_id":"0g","id":3}`)
	st.ask(page, `{"id":3,"sub_refresh":{"channel":"0g","token":%q}}`, tokenOf(later))
	page.heard(t, `{"id":3,"sub_refresh":{"expires":true,"ttl":500}}`)
	st.pass(200 * time.Second)
	for _, c := range []*stageConn{plain, left, page} {
		if n := c.client.groupCount(); n != 1 {
			t.Errorf("got %d groups, want 1; heard %q", n, c.out)
		}
	}
	st.pass(400 * time.Second)
	if left.client.groupCount() != 1 || plain.client.groupCount() != 0 || page.client.groupCount() != 0 {
		t.Errorf("got %d, %d and %d groups, want only that without a token", left.client.groupCount(), plain.client.groupCount(), page.client.groupCount())
	}
	st.noBearers(t)
}

func TestManyTokensThatEndTogetherEndInSeveralTurns(t *testing.T) {
	st := newBearerStage(1, nil)
	st.hub.clientsMax.Store(10_000)
	var all []*stageConn
	for range 2*closesPerTurn + 10 {
		all = append(all, st.auth(st.enter(0), `{"sub":"ann","exp":1800000100}`))
	}
	open := func() (n int) {
		for _, c := range all {
			if c.client.state == stateOpen {
				n++
			}
		}
		return n
	}
	st.nanos += int64(101 * time.Second)
	st.hub.beat()
	for turn, want := range []int{closesPerTurn + 10, 10, 0} {
		s := st.hub.shards[0]
		st.wakes[0], st.kicks[0] = false, false
		if turn == 0 {
			s.woken()
		} else {
			s.kickedAwake()
		}
		if got := open(); got != want {
			t.Errorf("turn %d: got %d open, want %d", turn, got, want)
		}
	}
	st.settle()
	st.noBearers(t)
}
