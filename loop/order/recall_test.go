package order

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// resume is a join by a client of a loop that asks from an offset of epoch 7.
func (c *cluster) resume(loop int, group string, since uint64) *asker {
	return c.asks(loop, Request[*part, *asker]{Op: OpJoin, Local: &part{name: group}, Past: &Ask{Recover: true, Since: Position{since, 7}, MessagesMax: 99, BytesMax: 1 << 20}})
}

// reads is a question for all of a group's history.
func (c *cluster) reads(loop int, group string) *asker {
	return c.asks(loop, Request[*part, *asker]{Op: OpHistory, Local: &part{name: group}, Past: &Ask{Limit: -1, MessagesMax: 99, BytesMax: 1 << 20}})
}

func (c *cluster) asks(loop int, r Request[*part, *asker]) *asker {
	client := new(asker)
	r.Client, r.Asks = client, true
	c.hs.Lanes(loop).Offer(c.hs.Of(r.Group()), r)
	c.hs.Lanes(loop).Host()
	return client
}

// inLog is a message in the log.
func inLog(group string, offset uint64) *Message {
	m := NewOrderedMessage([]byte(group), fmt.Append(nil, offset), false, nil)
	m.Offset = offset
	return m
}

// recalls has the log answer with messages of these offsets.
func (c *cluster) recalled(group string, r Recalled, offsets ...uint64) {
	c.t.Helper()
	r.Group = group
	for _, offset := range offsets {
		r.Messages = append(r.Messages, inLog(group, offset))
	}
	c.must(c.inlet.Recalled(context.Background(), int(group[0]-'0'), r))
}

// told is what the clients of a loop were answered, in order, with the messages.
func (c *cluster) told(loop int) string {
	var all []string
	for _, d := range c.down(loop) {
		switch {
		case d.Op == OpMessage && d.Local != nil:
			all = append(all, fmt.Sprint("hears ", string(d.Message.Payload())))
		case d.Op == OpJoined && d.Past == nil, d.Op == OpJoined && !d.Past.WasAsked:
			all = append(all, "joins")
		case d.Op == OpJoined && d.Past.Recovered:
			all = append(all, fmt.Sprintf("has missed [%s] up to %d", texts(d.Past.Messages), d.Past.Top.Offset))
		case d.Op == OpJoined:
			all = append(all, fmt.Sprint("has lost, at ", d.Past.Top.Offset))
		case d.Op == OpHistoryRead && d.Past.Busy, d.Op == OpRefused && d.Why == RefusedBusy, d.Op == OpBusy:
			all = append(all, "busy")
		case d.Op == OpHistoryRead && d.Past.None:
			all = append(all, "none")
		case d.Op == OpHistoryRead && d.Past.Lost:
			all = append(all, "lost")
		case d.Op == OpHistoryRead:
			all = append(all, fmt.Sprintf("reads [%s]", texts(d.Past.Messages)))
		default:
			all = append(all, fmt.Sprintf("%+v", d))
		}
	}
	return strings.Join(all, ", ")
}

func (c *cluster) mustTell(when, want string) {
	c.t.Helper()
	if got := c.told(0); got != want {
		c.t.Errorf("%s: got %q, want %q", when, got, want)
	}
}

func TestAResumeIsAnsweredFromTheRingAsFarAsThatGoesBack(t *testing.T) {
	c, _ := clustered(t, 1, 3, 10, 0)
	c.say("0g", "1")
	c.resume(0, "0g", 0)
	c.mustTell("all that there ever was", "has missed [1] up to 1")
	c.say("0other", "2")
	c.say("0g", "3")
	c.say("0g", "4")
	c.say("0g", "5")
	c.say("0other", "6")
	c.mustTell("live", "hears 3, hears 4, hears 5")
	for since, want := range []string{"has lost, at 6", "has missed [3 4 5] up to 6", "has missed [3 4 5] up to 6", "has missed [4 5] up to 6", "has missed [5] up to 6",
		"has missed [] up to 6", "has missed [] up to 6", "busy"} {
		c.resume(0, "0g", uint64(since))
		c.mustTell(fmt.Sprint("since ", since), want)
	}
	c.asks(0, Request[*part, *asker]{Op: OpJoin, Local: &part{name: "0g"}, Past: &Ask{Recover: true, Since: Position{5, 8}, MessagesMax: 9, BytesMax: 1 << 20}})
	c.mustTell("of another epoch", "has lost, at 6")
	if len(c.recalls) > 0 {
		t.Errorf("the log was asked for %v; the ring has as many as are kept", c.recalls)
	}
}

// What goes back farther than the ring waits for the log, which is asked once; what does not is answered meanwhile, and the messages that
// come before the log's answer are in it, the joiner's own too.
func TestARequestIsSetAsideUntilTheLogHasAnswered(t *testing.T) {
	c, _ := clustered(t, 1, 9, 10, 50)
	c.last["0g"] = 48
	c.resume(0, "0g", 30)
	c.publishes(0, "0g", "own")
	c.reads(0, "0g")
	c.resume(0, "0g", 50)
	c.mustTell("the ring has that", "has missed [] up to 50")
	c.next()
	c.mustTell("the other is a member", "hears own")
	c.resume(0, "0g", 46)
	if got := fmt.Sprint(c.recalls, c.hs.Unordered().SetAside); got != "[0g] 3" {
		t.Errorf("got %s, want one recall for three", got)
	}
	c.recalled("0g", Recalled{Upto: 51, Floor: 29}, 31, 46, 48, 51)
	c.mustTell("recalled", "has missed [31 46 48 own] up to 51, reads [31 46 48 own], has missed [48 own] up to 51")
	c.resume(0, "0g", 29)
	c.resume(0, "0g", 28)
	c.reads(0, "0g")
	c.mustTell("behind it", "has missed [31 46 48 own] up to 51, has lost, at 51, reads [31 46 48 own]")
	if got := fmt.Sprint(c.recalls, c.hs.Unordered()); got != "[0g] {0 0 0}" {
		t.Errorf("got %s, want nothing more asked", got)
	}
}

// A position that another node has told, and this one has not reached, is neither lost nor recovered: this node is behind.
func TestWhoIsAheadOfThisNodeIsToldToComeAgain(t *testing.T) {
	c, _ := clustered(t, 1, 9, 10, 50)
	read := func(a Ask) {
		a.Limit, a.MessagesMax, a.BytesMax = -1, 99, 1<<20
		c.asks(0, Request[*part, *asker]{Op: OpHistory, Local: &part{name: "0g"}, Past: &a})
	}
	ahead := func(when string) {
		t.Helper()
		c.resume(0, "0g", 52)
		read(Ask{Since: Position{52, 7}})
		read(Ask{Since: Position{52, 7}, Reverse: true})
		c.mustTell(when, "busy, busy, busy")
	}
	ahead("unknown here")
	c.say("0g", "51")
	ahead("known")
	c.resume(0, "0g", 51)
	c.asks(0, Request[*part, *asker]{Op: OpJoin, Local: &part{name: "0g"}, Past: &Ask{Recover: true, Since: Position{52, 8}}})
	c.asks(0, Request[*part, *asker]{Op: OpJoin, Local: &part{name: "0g"}, Past: &Ask{Recover: true, Since: Position{52, 0}}})
	c.asks(0, Request[*part, *asker]{Op: OpJoin, Local: &part{name: "0g"}, Past: &Ask{Since: Position{52, 7}}})
	c.mustTell("not ahead, of another epoch, of any, not asked for", "has missed [] up to 51, has lost, at 51, has lost, at 51, joins")
	c.say("0other", "52")
	c.resume(0, "0g", 52)
	c.mustTell("reached", "has missed [] up to 52")
	if got := fmt.Sprint(c.recalls, c.hs.Unordered().Refused); got != "[] 6" {
		t.Errorf("got %s, want six refusals, and nothing asked", got)
	}
	c.hs.env.Kind = func(string) Kind { return Kind{} }
	c.hs.KindsChanged()
	c.resume(0, "0g", 99)
	c.mustTell("without a history", "has lost, at 0")
}

func TestAGroupThatIsKnownByAMessageGoesBackToTheOneBefore(t *testing.T) {
	c, _ := clustered(t, 1, 9, 10, 50)
	c.last["0g"] = 40
	c.say("0g", "51")
	c.say("0new", "52")
	c.resume(0, "0g", 40)
	c.resume(0, "0new", 0)
	c.resume(0, "0g", 39)
	c.mustTell("not whole", "has missed [51] up to 52, has missed [52] up to 52")
	c.recalled("0g", Recalled{Failed: true})
	c.mustTell("failed", "busy")
	if c.hs.Unordered().Refused != 1 {
		t.Errorf("got %+v, want it counted", c.hs.Unordered())
	}
	c.resume(0, "0g", 39)
	c.recalled("0g", Recalled{Upto: 51, Floor: 39}, 40, 51)
	c.mustTell("again", "has missed [40 51] up to 52")
}

func TestWhatTheLogHasIsCutToWhatTheKindKeeps(t *testing.T) {
	c, now := clustered(t, 1, 5, 10, 50)
	*now = 100
	c.reads(0, "0g")
	c.say("0g", "51")
	ages := []time.Duration{11 * time.Second, 9 * time.Second, 5 * time.Second, 0}
	c.recalled("0g", Recalled{Upto: 50, Floor: 5, Ages: ages}, 20, 30, 40, 50)
	c.mustTell("by age", "reads [30 40 50 51]")
	mustBeBooked(t, c.hs) // as what goes next is older than it was
	c.resume(0, "0g", 20)
	c.resume(0, "0g", 19)
	c.mustTell("by age", "has missed [30 40 50 51] up to 51, has lost, at 51")
	*now = 101
	c.reads(0, "0g")
	c.resume(0, "0g", 30)
	c.resume(0, "0g", 29)
	c.mustTell("a second later", "reads [40 50 51], has missed [40 50 51] up to 51, has lost, at 51")
	for c.hs.Lanes(0).Expire(1) {
	}
	c.resume(0, "0g", 30)
	c.resume(0, "0g", 29)
	c.mustTell("expired", "has missed [40 50 51] up to 51, has lost, at 51")
	c.say("0g", "52")
	c.say("0g", "53")
	c.told(0)
	c.resume(0, "0g", 40)
	c.resume(0, "0g", 39)
	c.mustTell("expired", "has missed [50 51 52 53] up to 53, has missed [40 50 51 52 53] up to 53")
	c.reads(0, "0many")
	c.recalled("0many", Recalled{Upto: 18}, 11, 12, 13, 14, 15, 16, 17, 18)
	c.resume(0, "0many", 13)
	c.resume(0, "0many", 12)
	c.mustTell("by count", "reads [14 15 16 17 18], has missed [14 15 16 17 18] up to 53, has lost, at 53")
}

// Between the question and the answer the ring has lost what it had: the answer does not reach to it.
func TestWhatComesAndGoesBeforeTheLogAnswersLeavesNoGap(t *testing.T) {
	c, now := clustered(t, 1, 3, 10, 50)
	c.resume(0, "0g", 20)
	c.say("0g", "51")
	*now = 10
	for c.hs.Lanes(0).Expire(9) {
	}
	c.say("0g", "52")
	c.recalled("0g", Recalled{Upto: 40}, 30, 40)
	c.mustTell("51 is over", "busy")
	c.resume(0, "0g", 51)
	c.mustTell("from the ring", "has missed [52] up to 52")
	c.resume(0, "0g", 20)
	c.recalled("0g", Recalled{Upto: 51}, 40, 51)
	c.mustTell("again", "has missed [40 51 52] up to 52")
	c.resume(0, "0loud", 20)
	for range 4 {
		c.say("0loud", "x")
	}
	c.recalled("0loud", Recalled{Upto: 40}, 30, 40)
	c.mustTell("as many as are kept have come", "has lost, at 56")
}

func TestAnEpochThatEndsTakesHistoriesAndPositionsWithIt(t *testing.T) {
	c, _ := clustered(t, 1, 9, 10, 0)
	c.say("0g", "1")
	c.say("0alone", "2")
	c.resume(0, "0g", 0)
	c.mustTell("before", "has missed [1] up to 2")
	for _, epoch := range []Epoch{8, 7} { // the old one again is a new life too
		c.must(c.inlet.Epoch(context.Background(), 0, epoch, 30))
		c.must(c.inlet.Epoch(context.Background(), 0, epoch, 12)) // again the same: nothing new
	}
	c.tip, c.last = 30, map[string]uint64{"0g": 25, "0alone": 26}
	c.say("0g", "31")
	c.resume(0, "0g", 30)
	c.mustTell("behind it", "hears 31, has missed [31] up to 31")
	c.resume(0, "0g", 0)
	c.resume(0, "0alone", 1)
	c.mustTell("before it", "")
	c.recalled("0g", Recalled{Upto: 25, Floor: 20, Epoch: 8}, 25)
	c.recalled("0alone", Recalled{Upto: 26, Floor: 20, Epoch: 7}, 26)
	c.mustTell("the log is of another epoch; it has less", "busy, has lost, at 31")
	c.reads(0, "0other")
	c.must(c.inlet.Epoch(context.Background(), 0, 9, 10))
	c.recalled("0other", Recalled{Upto: 3}, 3)
	c.mustTell("it has ended since the log was asked", "busy")
}

func TestForgettingHasItsPlaceInTheOrder(t *testing.T) {
	c, _ := clustered(t, 1, 9, 10, 0)
	p := openPort(t, c.hs)
	c.say("0g", "1")
	forgotten, err := p.ask(Request[*part, *asker]{Op: OpForget}, via{group: "0g"})
	c.must(err)
	c.say("0g", "2")
	c.resume(0, "0g", 0)
	c.mustTell("not yet", "has missed [1 2] up to 2")
	if o := c.offers[0]; !o.Forgets || o.Message.Group != "0g" || o.Token == 0 {
		t.Errorf("got offer %+v", o)
	}
	c.next()
	if word := forgotten.wait(context.Background()); word.err != nil || word.past == nil || word.past.None {
		t.Errorf("got %+v, want that it is done", word)
	}
	c.say("0g", "4")
	c.resume(0, "0g", 2)
	c.resume(0, "0g", 3)
	c.reads(0, "0g")
	c.mustTell("forgotten", "hears 4, has lost, at 4, has missed [4] up to 4, reads [4]")
	c.orders(Ordered{Forgets: true, Message: NewOrderedMessage([]byte("0unknown"), nil, false, nil)}, "0unknown") // by another machine
	c.resume(0, "0old", 1)
	c.orders(Ordered{Forgets: true, Message: NewOrderedMessage([]byte("0old"), nil, false, nil)}, "0old")
	c.recalled("0old", Recalled{Upto: 9}, 2, 3) // it was asked sooner, and says more than it was
	c.mustTell("while the log is asked", "has lost, at 6")
	none, _ := clustered(t, 1, 0, 10, 0)
	if err := openPort(t, none.hs).Forget(context.Background(), "0g"); !errors.Is(err, ErrNoHistory) {
		t.Errorf("without a history: got %v", err)
	}
}
