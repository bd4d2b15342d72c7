package loop

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"ringcast/dialect"
	"ringcast/loop/order"
)

// Messages that leave one client out. They are put into the lanes as their senders do, who are asked for it by their dialect or by a backend.

// tell has a client publish something to the group "0g", when the stage settles; more goes with it.
func (st *stage) tell(from *stageConn, text string, more dialect.More) {
	st.hub.call(from.shard, func(s *shard) {
		r := request{Op: order.OpPublish}
		r.Message, _ = order.NewMessage([]byte("0g"), []byte(text), nil, false)
		r.Message.More, r.Client = &more, from.client
		if !s.request(s.hub.homes.Of("0g"), r) {
			panic("no room for a message")
		}
	})
}

// but leaves a client out.
func but(c *stageConn) dialect.More { return dialect.More{Except: c.client.Number()} }

// everybody is for all.
var everybody dialect.More

// together has all loops gather what is said meanwhile, and send it in one pass.
func (st *stage) together(said func()) {
	for _, s := range st.hub.shards {
		s.kicked = true
	}
	said()
	st.settle()
	for i, s := range st.hub.shards {
		s.kicked, st.kicks[i] = false, true
	}
	st.settle()
}

func TestAMessageLeavesOneClientOutAndAllOthersHearItInItsPlace(t *testing.T) {
	for loops := 1; loops <= 3; loops++ {
		st := newStage(loops, nil, loud).raw()
		ann, bob := st.enter(0), st.enter(loops-1)
		cat, dan := st.enterAt(loops-1, "/loud"), st.enterAt(0, "/loud")
		members := []*stageConn{ann, bob, cat, dan}
		for _, c := range members {
			c.say(`{"cmd":"add_group","group_id":"0g"}`)
		}
		st.settle()
		for _, c := range members {
			c.out, c.most = nil, 0
		}
		before := st.hub.Snapshot().Total()
		st.together(func() {
			st.tell(bob, "one", but(ann))
			st.tell(bob, "two", everybody)
			st.tell(bob, "three", but(bob))
			st.tell(bob, "four", but(cat))
			st.tell(bob, "five", but(ann))
			st.tell(bob, "six", but(dan))
			st.tell(bob, "seven", dialect.More{Except: dan.client.Number() + LoopsMax}) // who is no member
		})
		ann.heardOnce(t, "two", "three", "four", "six", "seven")
		bob.heardOnce(t, "one", "two", "four", "five", "six", "seven")
		cat.heardOnce(t, "ONE", "TWO", "THREE", "FIVE", "SIX", "SEVEN")
		dan.heardOnce(t, "ONE", "TWO", "THREE", "FOUR", "FIVE", "SEVEN")
		bytes := 0
		for _, c := range members {
			if bytes += len(c.out); c.most != len(c.out) {
				t.Errorf("%d loops: client %d was sent %d bytes at once, of %d", loops, c.fd, c.most, len(c.out))
			}
			c.out = nil
		}
		after := st.hub.Snapshot().Total()
		if got := after.Deliveries - before.Deliveries; got != 4*7-5 || after.BytesOut-before.BytesOut != uint64(bytes) {
			t.Errorf("%d loops: got %d deliveries in %d bytes, want 23 in %d", loops, got, after.BytesOut-before.BytesOut, bytes)
		}
		st.tell(bob, "alone", but(ann)) // a batch of which nothing is left
		st.settle()
		ann.heardOnce(t)
		bob.heardOnce(t, "alone")
		cat.heardOnce(t, "ALONE")
		if got := st.hub.Snapshot().Total().Deliveries - after.Deliveries; got != 3 {
			t.Errorf("%d loops: got %d deliveries, want 3", loops, got)
		}
	}
}

// What of a batch is left for each, whatever of it is not for whom, held against a model.
func TestWhatIsLeftOfABatchIsAllButWhatLeavesOut(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s, g := fakeHub(2).shards[1], &group{}
		var clients []*client
		for _, serial := range []uint32{1, 2, 3, 65, 129, 1 << 31} { // some have the same bit in the filter
			clients = append(clients, &client{shard: s, serial: serial})
			g.add(clients[len(clients)-1], false)
		}
		var all []*message
		for i := range 1 + rng.IntN(12) {
			m := messageOf(fmt.Sprintf("<%d%s>", i, strings.Repeat("x", rng.IntN(5))))
			m.Kept, m.More = rng.IntN(2) == 0, &dialect.More{}
			switch rng.IntN(4) {
			case 0:
				m.More = nil
			case 1:
				m.More.Except = clients[0].Number() - 1 // of the other loop
			default:
				m.More.Except = clients[rng.IntN(len(clients))].Number()
			}
			all = append(all, m)
			s.passes.gather(g, m)
		}
		s.begin(g, &g.inline)
		p := g.inline.pass
		for _, c := range clients {
			want, messages, unkept := "", 0, 0
			for _, m := range all {
				if m.More == nil || m.More.Except != c.Number() {
					want += m.Wire
					if messages++; !m.Kept {
						unkept++
					}
				}
			}
			rest, n, u := p.batch, p.messages, p.unkept
			if x := p.excepted(c); len(x) > 0 {
				rest, n, u = s.passes.without(p, x)
			}
			if string(rest) != want || n != messages || u != unkept {
				t.Fatalf("seed %d, client %d: got %d messages %q, %d not kept; want %d %q, %d", seed, c.serial, n, rest, u, messages, want, unkept)
			}
		}
	}
}

func TestASlowClientIsToldOfAGapOfWhatWasMeantForIt(t *testing.T) {
	st, member, sender := missing(t)
	publish(sender, 1, 8) // 9 fit
	long := func(i int) string { return fmt.Sprintf("%0100d", i) }
	before := st.hub.Snapshot().Total().Deliveries
	st.together(func() {
		for i := 9; i <= 14; i++ {
			more := everybody
			if i%3 == 0 {
				more = but(member)
			}
			st.tell(sender, long(i), more)
		}
	})
	st.tell(sender, long(15), but(member)) // nothing of this is lost
	st.settle()
	member.take(1 << 20)
	st.ticks(1)
	want := []string{"1", "2", "3", "4", "5", "6", "7", "8", `{"event":"gap","messages":4}`}
	if got := member.texts(t); !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
	if total := st.hub.Snapshot().Total(); total.SlowDropped != 4 || total.SlowGaps != 1 || total.SlowClosed != 0 || total.Deliveries != before {
		t.Errorf("got dropped %d, gaps %d, closed %d, deliveries %d; want 4, 1, 0 and %d", total.SlowDropped, total.SlowGaps, total.SlowClosed, total.Deliveries, before)
	}
}

func TestASlowClientThatIsLeftOutHearsAllTheRestInItsOrder(t *testing.T) {
	for _, raw := range []bool{false, true} {
		st := newStage(2, nil)
		if raw {
			st.raw()
		}
		slow, other, sender := st.enter(1), st.enter(1), st.enter(0)
		slow.say(`{"cmd":"add_group","group_id":"0g"}`)
		other.say(`{"cmd":"add_group","group_id":"0g"}`)
		st.settle()
		slow.stuck = true
		var mine, all []string
		for round := range 10 {
			st.together(func() {
				for i := range 4 {
					text := fmt.Sprintf("%d-%d", round, i)
					if all = append(all, text); (round+i)%3 == 0 {
						st.tell(sender, text, but(slow))
						continue
					}
					st.tell(sender, text, everybody)
					mine = append(mine, text)
				}
			})
			if round == 5 {
				slow.take(30)
			}
		}
		slow.take(1 << 20)
		slow.heardOnce(t, mine...)
		other.heardOnce(t, all...)
	}
}

// A client heals though its batch has what is not kept, if that is not for it.
func TestAClientIsNotClosedForWhatIsNotKeptAndNotForIt(t *testing.T) {
	st, member, sender := newHealStage(1, nil, "0g")
	publishTo(sender, "0g", 1, 8) // 9 fit
	st.together(func() {
		st.tell(sender, "not kept", dialect.More{Unkept: true, Except: member.client.Number()})
		for i := 9; i <= 11; i++ {
			st.tell(sender, fmt.Sprintf("%0100d", i), everybody)
		}
	})
	if total := st.hub.Snapshot().Total(); total.SlowClosed != 0 || total.SlowHealed != 1 || total.SlowSkipped != 3 {
		t.Errorf("got %d closed, %d healed, which have lost %d; want 0, 1 and 3", total.SlowClosed, total.SlowHealed, total.SlowSkipped)
	}
}

// Between two turns of a pass the client that is left out may go, and others come and go.
func TestWhoIsLeftOutMayGoWhileThePassIsUnderWay(t *testing.T) {
	for what, does := range map[string]func(c *stageConn){
		"stays":  func(*stageConn) {},
		"leaves": func(c *stageConn) { c.say(`{"cmd":"leave_group","group_id":"0g"}`) },
		"dies":   func(c *stageConn) { c.shard.closed(c.client) },
	} {
		st := newStage(1, func(b *bounds) { b.passNanos = 1 }).raw()
		s := st.hub.shards[0]
		var members []*stageConn
		for range 60 {
			c := st.enter(0)
			c.say(`{"cmd":"add_group","group_id":"0g"}`)
			members = append(members, c)
		}
		left, gone := members[50], members[3]
		st.tell(members[0], "one", but(left))
		st.tell(members[0], "two", everybody)
		s.woken()
		if g := s.groups.Get("0g"); g.inline.pass == nil || g.inline.pass.cur >= 50 {
			t.Fatalf("%s: the pass is over before anything happens", what)
		}
		does(left)
		gone.shard.closed(gone.client)
		late := st.enter(0)
		late.say(`{"cmd":"add_group","group_id":"0g"}`)
		st.settle()
		for _, c := range members {
			switch {
			case c != left:
				c.heardOnce(t, "one", "two")
			case what == "stays":
				c.heardOnce(t, "two")
			default:
				c.heardOnce(t)
			}
		}
		late.heardOnce(t)
	}
}

func TestABorrowerLeavesOneOutToo(t *testing.T) {
	for name, made := range map[string]struct {
		texts []string // of which the first is not for the middle one of three
		part  int      // that its kernel takes of its batch; -1: nothing
		wakes bool
	}{
		"one message":               {texts: []string{"one"}},
		"several":                   {texts: []string{"one", "two", "three"}},
		"a kernel with little room": {texts: []string{"one", "two", "three"}, part: 3, wakes: true},
		"a kernel with none":        {texts: []string{"one", "two", "three"}, part: -1, wakes: true},
	} {
		t.Run(name, func(t *testing.T) {
			st, sender, asleep := newSleeper(t, 3, nil)
			before := st.hub.Snapshot().Loops[1]
			asleep[1].part = made.part
			for i, text := range made.texts {
				more := everybody
				if i == 0 {
					more = but(asleep[1])
				}
				st.tell(sender, text, more)
			}
			st.wakes[0] = false
			st.hub.shards[0].woken()
			if st.wakes[1] != made.wakes {
				t.Errorf("woken: got %v, want %v", st.wakes[1], made.wakes)
			}
			st.settle()
			bytes := 0
			for i, c := range asleep {
				if bytes += len(c.out); i == 1 {
					c.heardOnce(t, made.texts[1:]...)
				} else {
					c.heardOnce(t, made.texts...)
				}
			}
			got := st.hub.Snapshot().Loops[1]
			if n := uint64(3*len(made.texts) - 1); got.Borrows != before.Borrows+1 || got.Deliveries-before.Deliveries != n || got.BytesOut-before.BytesOut != uint64(bytes) {
				t.Errorf("got %d borrows, %d deliveries in %d bytes; want 1, %d in %d", got.Borrows-before.Borrows, got.Deliveries-before.Deliveries, got.BytesOut-before.BytesOut, n, bytes)
			}
		})
	}
}

func TestAPassWithExceptionsAllocatesNothing(t *testing.T) {
	s, g, m := passOver(100)
	var leaving []*message
	for i := range 10 {
		not, _ := order.NewMessage([]byte("g"), []byte("x"), nil, false)
		not.More = &dialect.More{Except: s.clients[i%7*10].Number()}
		leaving = append(leaving, not)
	}
	before := s.count.Deliveries.Load()
	const runs = 20
	allocs := testing.AllocsPerRun(runs, func() {
		for _, not := range leaving {
			s.passes.gather(g, not)
			s.passes.gather(g, m)
		}
		s.runPasses()
	})
	if got := s.count.Deliveries.Load() - before; got != (runs+1)*(20*100-10) || allocs != 0 {
		t.Errorf("got %d deliveries, %v allocations a pass; want %d and none", got, allocs, (runs+1)*(20*100-10))
	}
}

// Who comes back is not told what was said behind its back, but for what left it out; nor is it sent that behind the answer.
func TestWhoComesBackIsNotToldWhatLeavesItOut(t *testing.T) {
	st := newHistoryStage(1, nil)
	c, other, sender := st.connect(0), st.connect(0), st.enter(0)
	first := st.subscribe(t, c, "0g", "")
	st.subscribe(t, other, "0g", "")
	c.say(`{"id":3,"unsubscribe":{"channel":"0g"}}`)
	st.settle()
	st.tell(sender, "not for it", but(c))
	st.tell(sender, "missed", everybody)
	st.settle()
	c.out, other.out = nil, nil
	st.together(func() {
		c.say(`{"id":4,"subscribe":{"channel":"0g"%s}}`, from(first, 0))
		st.tell(sender, "behind, and not for it", but(c))
		st.tell(sender, "behind", everybody)
	})
	c.heardExactly(t, `{"id":4,"subscribe":{…"publications":[{"data":"missed","offset":2}],"recovered":true,"positioned":true,"was_recovering":true}}`,
		`{"push":{"channel":"0g","pub":{"data":"behind","offset":4}}}`)
	other.heardExactly(t, `{"push":{"channel":"0g","pub":{"data":"behind, and not for it","offset":3}}}`,
		`{"push":{"channel":"0g","pub":{"data":"behind","offset":4}}}`)
}
