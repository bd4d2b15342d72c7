package loop

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"ringcast/dialect"
)

// troubles are the traces of a loop's journal, the oldest first, without times and numbers that depend on how frames are made.
func (s *shard) troubles() (all []string) {
	s.traces.journal.each(func(t *Trace) bool {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%d %v %s %s", t.Client, t.Kind, t.Group, t.Code)))
		return true
	})
	slices.Reverse(all)
	return all
}

func isTrouble(t *testing.T, s *shard, want ...string) {
	t.Helper()
	if got := s.troubles(); !slices.Equal(got, want) {
		t.Errorf("in the journal: got %q, want %q", got, want)
	}
}

// Nobody listens, and each trouble is remembered with the client and the group.
func TestWhatGoesWrongWithAClientIsInTheJournal(t *testing.T) {
	st := newStage(2, func(b *bounds) { b.GroupsPerClient = 1 })
	c := st.enter(1)
	n := c.client.Number()
	st.ask(c, `{"cmd":"add_group","group_id":"0g","id":1}`)
	st.ask(c, `{"cmd":"add_group","group_id":"0h","id":2}`)
	st.ask(c, `{"cmd":"send_to_group","group_id":"0g","id":3}`)
	st.ask(c, `{"cmd":"add_group","group_id":"0h"}`)
	isTrouble(t, st.hub.shards[1], fmt.Sprint(n, " refuse 0h too_many_groups"), fmt.Sprint(n, " refuse  bad_message"),
		fmt.Sprint(n, " refuse 0h too_many_groups"), fmt.Sprint(n, " close  1008"))
	isTrouble(t, st.hub.shards[0])

	other := st.enter(0)
	other.say(`no command`)
	other.say(`{"cmd":"add_group","group_id":"1g"}`)
	st.settle()
	st.hub.shards[0].closed(other.client)
	isTrouble(t, st.hub.shards[0]) // what is ignored is no trouble, nor is who goes by himself
}

func TestWhatAHomeRefusesIsInTheJournal(t *testing.T) {
	st := newStage(2, func(b *bounds) { b.MembersMax, b.flightBytes, b.flightMin = 1, 100, 10 })
	in, out := st.enter(0), st.enter(1) // whose loop has no members and has to ask
	st.ask(in, `{"cmd":"add_group","group_id":"1g","id":1}`)
	st.ask(out, `{"cmd":"add_group","group_id":"1g","id":1}`)
	isTrouble(t, st.hub.shards[1], fmt.Sprint(out.client.Number(), " refuse 1g group_full"))
}

func TestASlowClientsStoryIsInTheJournal(t *testing.T) {
	t.Run("closed", func(t *testing.T) {
		st, member, sender := newHealStage(1, func(b *bounds) { b.SlowClient = SlowClose }, "0g")
		publishTo(sender, "0g", 1, 12)
		n := member.client.Number()
		isTrouble(t, st.hub.shards[0], fmt.Sprint(n, " slow 0g"), fmt.Sprint(n, " close  4100"))
	})
	t.Run("told of a gap", func(t *testing.T) {
		st := newStage(1, func(b *bounds) { b.OutboxBytesMax, b.SlowClient = 1000, SlowDrop })
		member, sender := st.enter(0), st.enter(0)
		st.ask(member, `{"cmd":"add_group","group_id":"0g","id":1}`)
		member.stuck = true
		publishTo(sender, "0g", 1, 20)
		member.take(1 << 20)
		st.ticks(1)
		n := member.client.Number()
		isTrouble(t, st.hub.shards[0], fmt.Sprint(n, " slow 0g"), fmt.Sprint(n, " gap"))
		missed := st.hub.Snapshot().Total().SlowDropped
		if last := st.hub.shards[0].traces.journal.traces[1]; last.Number != missed || missed == 0 {
			t.Errorf("missed: got %d in the journal, counted %d", last.Number, missed)
		}
	})
	t.Run("heals", func(t *testing.T) {
		st, member, sender := newHealStage(1, func(b *bounds) { b.OutboxBytesMax = 2000 }, "0g", "0h")
		publishTo(sender, "0g", 1, 20) // 18 fit
		publishTo(sender, "0h", 1, 1)
		member.take(1 << 20)
		st.ticks(1)
		rejoin(member, "0g", 18)
		st.settle()
		n := member.client.Number()
		isTrouble(t, st.hub.shards[0], fmt.Sprint(n, " slow 0g"), fmt.Sprint(n, " slow 0h"), fmt.Sprint(n, " heal 0h"),
			fmt.Sprint(n, " heal 0g"), fmt.Sprint(n, " back 0g"))
		if back := st.hub.shards[0].traces.journal.traces[4]; back.Number != 2 {
			t.Errorf("it got %d messages when it came back, want 2", back.Number)
		}
	})
	t.Run("cut off for the sum", func(t *testing.T) {
		st := newStage(1, func(b *bounds) { b.OutboxesBytesMax = 100_000 })
		c := st.enter(0)
		fill(c, "0a", 90_000)
		n := c.client.Number()
		fill(st.enter(0), "0b", 20_000)
		isTrouble(t, st.hub.shards[0], fmt.Sprint(n, " slow"), fmt.Sprint(n, " close  4008"))
	})
}

// A stop closes everybody, and that is not what somebody will ask about.
func TestAStopIsNotInTheJournal(t *testing.T) {
	st := newStage(1, nil)
	c := st.enter(0)
	st.hub.stopping.Store(true)
	st.hub.shards[0].close(c.client, dialect.CauseStopping)
	isTrouble(t, st.hub.shards[0])
}

func TestAJournalKeepsTheNewestAndCountsRepeats(t *testing.T) {
	var j journal
	if j.oldest() != 0 {
		t.Error("one that has forgotten nothing forgets")
	}
	for i := range journalMax + 10 {
		for range 3 {
			j.put(Trace{At: int64(i + 1), Client: uint64(i), Kind: TraceGap, Number: 2})
		}
	}
	at := journalMax + 9
	j.each(func(x *Trace) bool {
		if x.Client != uint64(at) || x.Times != 3 || x.Number != 2 {
			t.Fatalf("got %+v, want client %d, three times", x, at)
		}
		at--
		return true
	})
	if at != 9 || j.oldest() != 11 || len(j.traces) != journalMax {
		t.Errorf("got %d traces back to client %d at %d, want %d back to 10 at 11", len(j.traces), at+1, j.oldest(), journalMax)
	}
	j = journal{}
	j.put(Trace{Client: 1, Kind: TraceRefuse, Group: "a"})
	j.put(Trace{Client: 1, Kind: TraceRefuse, Group: "b"})
	j.put(Trace{Client: 2, Kind: TraceRefuse, Group: "b"})
	if len(j.traces) != 3 {
		t.Errorf("of other groups, of other clients: got %d traces, want 3", len(j.traces))
	}
}
