package loop

import (
	"fmt"
	"strings"
	"testing"

	"ringcast/loop/assert"
)

// However many groups are loud on a loop that sends nothing on, each of them is refused, and a stranger with the same home or
// another is not. Then all that was accepted arrives.
func TestLoudGroupsAreRefusedAndStrangersBesideThemAreNot(t *testing.T) {
	for _, loud := range []int{1, 4, 16, 60, 100} {
		t.Run(fmt.Sprint(loud), func(t *testing.T) {
			if assert.Race && loud > 16 {
				t.Skip("half a gigabyte takes the race detector minutes, and one goroutine does all of it")
			}
			st := newStage(3, nil)
			sender, member := st.enter(0), st.enter(1)
			for i := range loud {
				member.say(`{"cmd":"add_group","group_id":"2loud%d"}`, i)
			}
			member.say(`{"cmd":"add_group","group_id":"2quiet"}`)
			member.say(`{"cmd":"add_group","group_id":"0quiet"}`)
			st.settle()
			s := st.hub.shards[1]
			s.kicked = true // from now on it gathers, and sends when that kick is over
			publish := func(group, message string) {
				sender.say(`{"cmd":"send_to_group","group_id":"%s","message":"%s","id":1}`, group, message)
				for i, other := range st.hub.shards {
					if st.wakes[i] {
						st.wakes[i] = false
						other.woken()
					}
				}
			}
			answers := func(text string) (n int) {
				n = strings.Count(string(sender.out), text)
				sender.out = sender.out[:0]
				return n
			}
			const rounds = 80
			accepted := 0
			for i := range rounds {
				for g := range loud {
					publish(fmt.Sprint("2loud", g), strings.Repeat("x", 64<<10))
					if n := answers(`"ok":true`); n > 0 {
						accepted++
					} else if i == 0 && loud <= 60 {
						t.Errorf("the first message of loud group %d was refused", g)
					}
				}
			}
			if got, least := s.passes.gathered, 1<<20; got < least || got > s.bounds.flightBytes || accepted == rounds*loud {
				t.Errorf("in flight: got %d bytes of %d messages, want %d to %d and some refused", got, accepted, least, s.bounds.flightBytes)
			}
			const each = 60
			for range each {
				publish("2quiet", "hush")
				publish("0quiet", "hush")
			}
			if got := answers(`"ok":true`); got != 2*each {
				t.Errorf("strangers' publishes: %d of %d were accepted", got, 2*each)
			}
			s.kicked = false
			st.kicks[1] = true
			st.settle()
			if got := strings.Count(string(member.out), "hush"); got != 2*each {
				t.Errorf("strangers' messages: got %d, want %d", got, 2*each)
			}
			total := st.hub.Snapshot().Total()
			if want := uint64(rounds*loud - accepted); total.RefusedBy["group_busy"] != want || total.RefusedPublishes != want || total.Refused != want {
				t.Errorf("refused: got %v and %d publishes, want %d", total.RefusedBy, total.RefusedPublishes, want)
			}
			if got := int(total.Deliveries); got != accepted+2*each || s.passes.gathered != 0 || s.lanes.InFlight() != 0 {
				t.Errorf("deliveries: got %d, want %d; %d bytes are gathered, %d in flight", got, accepted+2*each, s.passes.gathered, s.lanes.InFlight())
			}
		})
	}
}

// A client without ids cannot be told which publish was refused, and is closed.
func TestAPublishOfALoudGroupWithoutIDClosesItsSender(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.flightBytes, b.flightMin = 1000, 100 })
	sender, member := st.enter(0), st.enter(0)
	member.say(`{"cmd":"add_group","group_id":"0"}`)
	st.hub.shards[0].kicked = true
	for range 20 {
		sender.say(`{"cmd":"send_to_group","group_id":"0","message":"%100d"}`, 1)
	}
	sender.heard(t, "\x03\xf5the server is busy, try again") // 1013
	if total := st.hub.Snapshot().Total(); total.RefusedBy["group_busy"] == 0 || total.Closes["1013"] != 1 {
		t.Errorf("got refusals %v and closes %v, want some of group_busy and one 1013", total.RefusedBy, total.Closes)
	}
}

// Small messages at the highest rate fill the slots of a lane to a loop that is away, and then the backlog of their sender's loop,
// which strangers with the same home share with them.
func TestSmallMessagesOfALoudGroupLeaveStrangersOfTheirHomeRoomInTheBacklog(t *testing.T) {
	st := newStage(3, nil)
	sender, stranger, member := st.enter(0), st.enter(0), st.enter(1)
	member.say(`{"cmd":"add_group","group_id":"2loud"}`)
	member.say(`{"cmd":"add_group","group_id":"2quiet"}`)
	st.settle()
	s, sent := st.hub.shards[0], 0
	for ; !strings.Contains(string(sender.out), `"code":"busy"`); sent++ {
		sender.say(`{"cmd":"send_to_group","group_id":"2loud","message":"x","id":1}`)
	}
	// Half of it, or a little more: what is free is asked before the last message is counted.
	if got, most := s.backlog.bytes, s.bounds.backlogBytes/2; got < most-200 || got > most+200 {
		t.Errorf("backlog of the loud group: got %d bytes, want %d, give or take 200", got, most)
	}
	const each = 1000
	for range each {
		stranger.say(`{"cmd":"send_to_group","group_id":"2quiet","message":"hush","id":1}`)
	}
	st.settle()
	if got := strings.Count(string(stranger.out), `"ok":true`); got != each {
		t.Errorf("stranger's publishes: %d of %d were accepted", got, each)
	}
	if got := strings.Count(string(sender.out), `"ok":true`) + strings.Count(string(sender.out), `"code":"busy"`); got != sent {
		t.Errorf("the loud group's: %d of %d were answered", got, sent)
	}
	if s.backlog.bytes != 0 || s.backlog.groups.Len() != 0 {
		t.Errorf("the backlog has %d bytes, of %d groups, at rest", s.backlog.bytes, s.backlog.groups.Len())
	}
}

// What waits for several audiences counts once, until the last of them has been sent it, or has gone.
func TestAMessageForSeveralAudiencesIsInFlightUntilTheLastHasTakenIt(t *testing.T) {
	st := newStage(1, nil, loud)
	a, b, sender := st.enter(0), st.enterAt(0, "/loud"), st.enter(0)
	a.say(`{"cmd":"add_group","group_id":"0"}`)
	b.say(`{"cmd":"add_group","group_id":"0"}`)
	s := st.hub.shards[0]
	g := s.groups.Get("0")
	s.kicked = true
	for range 3 {
		sender.say(`{"cmd":"send_to_group","group_id":"0","message":"1234567"}`)
	}
	m := g.inline.waiting[0]
	inFlight := func(want int) {
		t.Helper()
		st.hub.homes.Home(0).EachFlight(func(_ string, _ int, _ *group, got int) {
			if got != want*m.Bytes() || s.passes.gathered != got {
				t.Errorf("in flight: got %d bytes, gathered %d, want %d", got, s.passes.gathered, want*m.Bytes())
			}
		})
	}
	inFlight(3)
	s.passes.take(g, &g.inline, 2)
	inFlight(3)
	s.passes.take(g, &g.further.audience, 1)
	inFlight(2)
	s.passes.take(g, &g.further.audience, 2)
	inFlight(1)
	s.closed(a.client)
	inFlight(0)
}
