package order

import (
	"context"
	"fmt"
	"testing"
)

func TestSetAsideRequestsAreBounded(t *testing.T) {
	c, _ := clustered(t, 1, 9, 10, 50)
	for range asideMax {
		c.resume(0, "0g", 1)
	}
	c.mustTell("within the bound", "")
	c.resume(0, "0g", 1)
	c.reads(0, "0other")
	c.resume(0, "0g", 50)
	c.mustTell("beyond it", "busy, busy, has missed [] up to 50")
	if got := fmt.Sprint(c.hs.Unordered(), c.recalls); got != "{0 1024 2} [0g]" {
		t.Errorf("got %s", got)
	}
	c.recalled("0g", Recalled{Upto: 9}, 9) // more answers than the lane has room for
	n := 0
	for range 10 {
		n += len(c.down(0))
		c.hs.Lanes(0).Host()
	}
	if n != asideMax || c.hs.Unordered().SetAside != 0 {
		t.Errorf("got %d answers, want %d; %+v", n, asideMax, c.hs.Unordered())
	}
	c.full = true
	c.reads(0, "0other")
	c.mustTell("the log cannot be asked", "busy")
}

func TestWhatIsSetAsideFollowsItsKind(t *testing.T) {
	c, _ := clustered(t, 1, 9, 10, 50)
	kind := Kind{Messages: 9, TTL: 10}
	c.hs.env.Kind = func(string) Kind { return kind }
	c.resume(0, "0g", 1)
	c.reads(0, "0g")
	kind.Messages = 0
	c.hs.KindsChanged()
	c.recalled("0g", Recalled{Upto: 9}, 9)
	c.mustTell("no history any more", "has lost, at 0, none")
	kind.Messages = 2
	c.hs.KindsChanged()
	c.resume(0, "0g", 1)
	kind.Messages = 1
	c.hs.KindsChanged()
	c.say("0g", "51")
	c.recalled("0g", Recalled{Upto: 9}, 9)
	c.mustTell("fewer", "hears 51, has lost, at 51")
	kind.Messages = 5
	c.hs.KindsChanged()
	for range 4 {
		c.say("0many", "x")
	}
	kind.Messages = 2
	c.hs.KindsChanged()
	c.resume(0, "0many", 53)
	c.resume(0, "0many", 52)
	kind.Messages = 5
	c.hs.KindsChanged()
	c.resume(0, "0many", 53)
	c.resume(0, "0many", 52)
	c.mustTell("fewer than there are", "has missed [x x] up to 55, has lost, at 55, has missed [x x] up to 55, has lost, at 55")
}

// A panic over one of those that were set aside is its own affair.
func TestAPanicOverWhatWasSetAsideDropsThatAlone(t *testing.T) {
	for _, early := range []bool{false, true} {
		c, _ := clustered(t, 1, 9, 10, 50)
		c.hs.env.Panicked = func(int, any) {}
		p := openPort(t, c.hs)
		c.reads(0, "0g")
		read, err := p.ask(Request[*part, *asker]{Op: OpHistory, Past: &Ask{Limit: -1, MessagesMax: 9, BytesMax: 1 << 20}}, via{group: "0g"})
		c.must(err)
		c.reads(0, "0g")
		now, calls := c.hs.env.Now, 0
		panics := 4 // in find of the second that was set aside: find, merge, and find of the first come before
		if early {
			panics = 1
		}
		c.hs.env.Now = func() uint32 {
			if calls++; calls == panics {
				panic("a clock")
			}
			return now()
		}
		c.recalled("0g", Recalled{Upto: 9}, 9)
		c.hs.Lanes(0).Host()
		c.hs.Lanes(0).Host()
		if early {
			c.mustTell("before any", "busy, busy")
			if err := read.wait(context.Background()).err; err != ErrBusy {
				t.Errorf("got %v, want busy", err)
			}
			continue
		}
		c.mustTell("over the second", "reads [9], reads [9]")
		if err := read.wait(context.Background()).err; err != ErrUnknown {
			t.Errorf("got %v, want unknown", err)
		}
	}
}

func TestAPartitionThatComesFurtherWithoutAMessageKeepsItsHistories(t *testing.T) {
	c, _ := clustered(t, 1, 10, 100, 0)
	c.say("0", "a")
	c.must(c.inlet.Epoch(context.Background(), 0, 7, 3)) // what a node that starts now begins with
	c.resume(0, "0", 3)
	c.mustTell("a resume from there", "has missed [] up to 3")
	c.resume(0, "0", 0)
	c.mustTell("a resume from the beginning", "has missed [a] up to 3")
	c.must(c.inlet.Epoch(context.Background(), 0, 7, 2))
	c.resume(0, "0", 3)
	c.mustTell("a resume after an older word", "has missed [] up to 3")
}

func TestWhatIsFastElsewhereAndNotHereHasNoPlaceInAHistory(t *testing.T) {
	c, _ := clustered(t, 1, 2, 10, 0)
	c.say("0g", "a")
	c.say("0g", "b")
	c.resume(0, "0g", 0)
	for _, group := range []string{"0g", "0g", "0new"} {
		c.must(c.inlet.Ordered(context.Background(), Ordered{Fast: true, Message: NewOrderedMessage([]byte(group), []byte("fast"), false, nil)}))
	}
	c.mustTell("who is there", "has missed [a b] up to 2, hears fast, hears fast")
	c.say("0g", "c")
	c.resume(0, "0g", 1)
	c.mustTell("a resume", "hears c, has missed [b c] up to 3")
}
