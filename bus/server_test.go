package bus

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"ringcast/loop"
)

func (b *started) subscriber(channels ...string) *phpClient {
	b.t.Helper()
	want := b.Stats().Subscriptions + len(channels)
	c := b.dial()
	for _, channel := range channels {
		c.say(verb("subscribe", channel))
	}
	b.eventually("subscribed", func(s Stats) bool { return s.Subscriptions == want })
	return c
}

func TestASubscribersEventsComeOnceAndAnothersNever(t *testing.T) {
	b := startBus(t, Config{})
	twice, other := b.subscriber("news"), b.subscriber("else")
	twice.say(verb("subscribe", "news"), verb("publish", "news", "i:1;"))
	twice.hear(event("news", "i:1;"))
	other.say(verb("publish", "news", "i:2;"))
	twice.hear(event("news", "i:2;"))
	other.hearNothing()
	twice.say(verb("unsubscribe", "news"), verb("publish", "news", "i:3;"))
	twice.hearNothing()
}

func TestNumbersAndStringsAreOneNameAndKeepTheirType(t *testing.T) {
	b := startBus(t, Config{})
	c := b.dial()
	c.say(frame(`a:2:{s:8:"channels";a:2:{i:0;i:123;i:1;i:-7;}s:4:"type";s:9:"subscribe";}`), // in another order
		verb("publish", "123", "N;"), verb("publish", "-7", "N;"), verb("publish", "0123", "N;"),
		frame(`a:3:{s:4:"type";s:7:"publish";s:4:"data";b:1;s:8:"channels";a:1:{s:1:"x";i:123;}}`))
	c.hear(event("123", "N;"), event("-7", "N;"), `a:3:{s:4:"type";s:5:"event";s:7:"channel";i:123;s:4:"data";b:1;}`)
}

func TestPublishLoopGoesRound(t *testing.T) {
	b := startBus(t, Config{})
	clients := []*phpClient{b.subscriber("turns"), b.subscriber("turns"), b.subscriber("turns")}
	publisher := b.dial()
	for i := range 8 {
		publisher.say(verb("publishLoop", "turns", fmt.Sprintf("i:%d;", i)))
	}
	for i := range 8 {
		clients[i%3].hear(event("turns", fmt.Sprintf("i:%d;", i)))
	}
	clients[0].conn.Close()
	b.eventually("one is gone", func(s Stats) bool { return s.Subscriptions == 2 })
	for i := range 4 {
		publisher.say(verb("publishLoop", "turns", fmt.Sprintf("i:%d;", i)))
	}
	for i := range 4 {
		clients[2-i%2].hear(event("turns", fmt.Sprintf("i:%d;", i)))
	}
	publisher.say(verb("publishLoop", BridgeDefault, about("g", "x")))
	publisher.hearNothing()
	if got := b.groups.published(); len(got) > 0 {
		t.Errorf("published to groups by publishLoop, which is for one: got %q", got)
	}
}

func TestPublishLoopPassesOverWhoTakesNothingAnyMore(t *testing.T) {
	b := startBus(t, Config{})
	first, second := b.subscriber("turns"), b.subscriber("turns")
	srv := b.end.(*server)
	srv.mu.Lock()
	srv.channels["turns"].subscribers[0].cut() // and not yet removed everywhere
	srv.publishLoop([]byte("turns"), eventFrame(verbEvent, stringName("turns"), []byte("i:1;")))
	srv.mu.Unlock()
	second.hear(event("turns", "i:1;"))
	first.cut()
}

func TestAClientThatComesWhileTheServerEndsIsLetGo(t *testing.T) {
	b := startBus(t, Config{})
	srv := b.end.(*server)
	srv.mu.Lock()
	srv.ending = true
	srv.mu.Unlock()
	b.dial().cut()
}

func TestAJobWaitsForWhoReservedAndGoesToOne(t *testing.T) {
	b := startBus(t, Config{})
	producer, one, two := b.dial(), b.dial(), b.dial()
	producer.say(verb("enqueue", "q", "i:0;"), verb("enqueue", "q", "i:1;"), verb("enqueue", "q", "i:2;"))
	b.eventually("jobs wait", func(s Stats) bool { return s.Jobs == 3 && s.JobBytes > 0 && s.Queues == 1 })
	one.say(reserve, verb("watch", "q")) // a reserve counts for the queues that are watched at the time
	one.hearNothing()
	one.say(reserve)
	one.hear(job("q", "i:0;"))
	one.say(verb("watch", "q"), reserve)
	one.hear(job("q", "i:1;"))
	two.say(verb("watch", "q"), verb("watch", "p"), reserve)
	two.hear(job("q", "i:2;"))
	producer.say(verb("enqueue", "p", "i:3;")) // another queue, another job, as in the original
	two.hear(job("p", "i:3;"))
	one.say(reserve, reserve) // and for one job: a second reserve adds nothing while one is open
	one.hearNothing()
	producer.say(verb("enqueue", "q", "i:4;"), verb("enqueue", "q", "i:5;"))
	one.hear(job("q", "i:4;"))
	one.hearNothing()
	one.say(reserve)
	one.hear(job("q", "i:5;"))
	one.say(reserve)
	one.hearNothing()
	one.say(verb("unwatch", "q"))
	two.say(reserve, verb("unwatch", "p"))
	two.hearNothing()
	one.hearNothing()
	producer.say(verb("enqueue", "q", "i:6;"))
	two.hear(job("q", "i:6;"))
	two.conn.Close()
	b.eventually("nothing is left", func(s Stats) bool { return s.Queues == 0 && s.Jobs == 0 && s.JobBytes == 0 && s.Subscriptions == 0 })
	st := b.Stats()
	if st.JobsIn != 7 || st.JobsOut != 7 {
		t.Errorf("jobs: got %d in and %d out, want 7 and 7", st.JobsIn, st.JobsOut)
	}
}

func TestAQueueCountsBesideItsJobsAndKeepsNoRoomForThoseThatHaveGone(t *testing.T) {
	b := startBus(t, Config{QueueBytesMax: 100_000})
	c := b.dial()
	for i := range 10 {
		c.say(verb("enqueue", fmt.Sprintf("%01000d", i), "N;"))
	}
	b.eventually("jobs wait", func(s Stats) bool { return s.Jobs == 10 })
	if got := b.Stats().JobBytes; got < 10*2000 {
		t.Errorf("ten jobs in queues with names of 1,000 bytes, twice each: got %d bytes, want at least 20,000", got)
	}
	for i := range 10 {
		c.say(verb("watch", fmt.Sprintf("%01000d", i)))
	}
	c.say(reserve, verb("watch", "q"))
	const many = 2 * jobsKeptMax
	for range many {
		c.say(verb("enqueue", "q", "N;"))
	}
	for range many {
		c.say(reserve)
	}
	b.eventually("all have gone", func(s Stats) bool { return s.JobsOut == 10+many })
	if st := b.Stats(); st.Jobs != 0 || st.JobBytes != 0 {
		t.Errorf("nothing waits: got %d jobs of %d bytes", st.Jobs, st.JobBytes)
	}
	srv := b.end.(*server)
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if got := cap(srv.queues["q"].jobs); got > jobsKeptMax {
		t.Errorf("room kept in an empty queue: got %d places, want at most %d", got, jobsKeptMax)
	}
}

func TestWhatOneClientSaysKeepsItsOrderOverAllChannels(t *testing.T) {
	b := startBus(t, Config{})
	c := b.subscriber(BridgeDefault, "other")
	hold := make(chan struct{})
	b.groups.change(func() { b.groups.hold = hold })
	p := b.dial()
	p.say(verb("publish", BridgeDefault, about("g", "1")), verb("publish", BridgeDefault, about("h", "2")),
		verb("publish", "other", "i:3;"), verb("publish", BridgeDefault, "i:4;"), verb("publishLoop", "other", "i:5;"))
	b.eventually("both are on their way", func(Stats) bool { return len(b.groups.published()) == 2 })
	close(hold)
	c.hear(event(BridgeDefault, about("g", "1")), event(BridgeDefault, about("h", "2")), event("other", "i:3;"),
		event(BridgeDefault, "i:4;"), event("other", "i:5;"))
}

func TestAClientIsNotReadFromWhileTooMuchOfItIsOnItsWay(t *testing.T) {
	b := startBus(t, Config{OutboundBytesMax: 3000})
	hold := make(chan struct{})
	b.groups.change(func() { b.groups.hold = hold })
	p := b.dial()
	const events = 10
	for range events {
		p.say(verb("publish", BridgeDefault, fmt.Sprintf(`a:3:{s:8:"group_id";i:1;s:7:"message";s:1:"x";s:4:"more";s:1000:"%s";}`, strings.Repeat("y", 1000))))
	}
	b.eventually("some are on their way", func(s Stats) bool { return s.EventsIn == 3 })
	if got := len(b.groups.published()); got != 2 {
		t.Errorf("on their way: got %d, want the two that the bound has room for", got)
	}
	close(hold)
	b.eventually("all have come", func(Stats) bool { return len(b.groups.published()) == events })
}

func TestAnEventThatNeverComesBackHoldsItsSenderUpForAWhileOnly(t *testing.T) {
	b := startBus(t, Config{landMax: time.Millisecond})
	c := b.subscriber("other")
	b.groups.change(func() { b.groups.hold = make(chan struct{}) })
	c.say(verb("publish", BridgeDefault, about("g", "lost")), verb("publish", "other", "i:1;"))
	c.hear(event("other", "i:1;"))
	c.hearNothing()
}

func TestAnEventThatComesBackTooLateIsNotTakenForAnother(t *testing.T) {
	b := startBus(t, Config{landMax: time.Millisecond})
	c := b.subscriber(BridgeDefault, "other")
	hold := make(chan struct{})
	b.groups.change(func() { b.groups.hold = hold })
	c.say(verb("publish", BridgeDefault, about("g", "late")), verb("publish", "other", "i:1;"))
	c.hear(event("other", "i:1;"))
	srv := b.end.(*server)
	var p *peer
	srv.each(func(one *peer) { p, one.inFlight = one, 1 }) // the next is on its way
	b.publish("behind it")
	close(hold)
	c.hear(event(BridgeDefault, about("g", "late")), event(BridgeDefault, about("123", "behind it")))
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if p.inFlight != 1 {
		t.Errorf("on their way: got %d, want the one that has not come back", p.inFlight)
	}
}

func TestWhatOthersPublishToGroupsIsAnEventForSubscribersOfTheBridge(t *testing.T) {
	b := startBus(t, Config{Bridge: "bridge", FrameBytesMax: 1000})
	c, other := b.subscriber("bridge"), b.subscriber(BridgeDefault)
	for _, text := range []string{"a", strings.Repeat("b", 1000), "c"} {
		if err := b.groups.PublishWait(context.Background(), "123", []byte(text), nil); err != nil {
			t.Fatal(err)
		}
	}
	c.hear(`a:3:{s:4:"type";s:5:"event";s:7:"channel";s:6:"bridge";s:4:"data";a:2:{s:8:"group_id";s:3:"123";s:7:"message";s:1:"a";}}`,
		event("bridge", about("123", "c")))
	other.hearNothing()
	if got := b.Stats().Refused["too_big"]; got != 1 {
		t.Errorf("too big for PHP: got %d, want 1", got)
	}
}

func TestReferencesThatGrowDoNotMakeAFrameThatEndsItsReceivers(t *testing.T) {
	b := startBus(t, Config{FrameBytesMax: 20_000})
	c, p := b.subscriber("c"), b.dial()
	grow := func(n int) (say, carried string) {
		data := func(to int) string {
			text := fmt.Sprintf("a:%d:{i:0;a:6:{i:0;N;i:1;N;i:2;N;i:3;N;i:4;N;i:5;N;}", n+1)
			for i := range n {
				text += fmt.Sprintf("i:%d;R:%d;", i+1, to)
			}
			return text + "}"
		}
		return frame(`a:3:{s:4:"data";` + data(8) + `s:4:"type";s:7:"publish";s:8:"channels";a:1:{i:0;s:1:"c";}}`), data(10)
	}
	few, carried := grow(100)
	p.say(few)
	c.hear(event("c", carried))
	many, carried := grow(1800)
	if len(many) > 20_000 || len(event("c", carried)) < 20_000 {
		t.Fatalf("%d bytes that grow to %d are no test of the bound", len(many), len(event("c", carried)))
	}
	p.say(many)
	p.hearNothing()
	c.hearNothing()
	if got := b.Stats().Refused["too_big"]; got != 1 {
		t.Errorf("refused as too big: got %d, want 1", got)
	}
}

func TestEachBoundClosesAndCounts(t *testing.T) {
	big := fmt.Sprintf(`s:%d:"%s";`, 900, strings.Repeat("x", 900))
	for what, test := range map[string]struct {
		cfg    Config
		closed string
		say    []string
	}{
		"a frame":            {Config{FrameBytesMax: 100}, "bad_frame", []string{verb("publish", "c", big)}},
		"channels":           {Config{SubscriptionsMax: 2}, "subscriptions", []string{verb("subscribe", "a"), verb("watch", "a"), verb("subscribe", "c")}},
		"watches":            {Config{SubscriptionsMax: 2}, "subscriptions", []string{verb("watch", "a"), verb("subscribe", "a"), verb("watch", "b")}},
		"names in one frame": {Config{SubscriptionsMax: 2}, "bad_frame", []string{frame(`a:2:{s:4:"type";s:9:"subscribe";s:8:"channels";a:3:{i:0;i:1;i:1;i:2;i:2;i:3;}}`)}},
		"a name":             {Config{}, "bad_frame", []string{verb("subscribe", strings.Repeat("n", nameBytesMax+1))}},
		"jobs in a queue":    {Config{QueueJobsMax: 2}, "queue", []string{verb("enqueue", "q", "i:1;"), verb("enqueue", "q", "i:2;"), verb("enqueue", "r", "i:3;"), verb("enqueue", "q", "i:4;")}},
		"bytes in queues":    {Config{QueueBytesMax: 1000}, "queue", []string{verb("enqueue", "q", big), verb("enqueue", "r", big)}},
		"what waits for one": {Config{OutboundBytesMax: 100 << 10}, "outbound", []string{verb("subscribe", "c"), strings.Repeat(verb("publish", "c", big), 20_000)}},
	} {
		t.Run(what, func(t *testing.T) {
			b := startBus(t, test.cfg)
			c, other := b.dial(), b.subscriber("fine")
			go func() { // may be closed while it writes, and does not read
				for _, text := range test.say {
					c.conn.Write([]byte(text))
				}
			}()
			b.eventually("closed and counted", func(s Stats) bool { return s.Closed[test.closed] == 1 && s.Clients == 1 })
			c.cut()
			other.hearNothing()
			for why, n := range b.Stats().Closed {
				if why != test.closed && n != 0 {
					t.Errorf("closed for %s: got %d, want 0", why, n)
				}
			}
		})
	}
}

func TestAFrameThatIsNotCompleteInTimeClosesItsClient(t *testing.T) {
	b := startBus(t, Config{FrameTimeout: time.Nanosecond})
	large := fmt.Sprintf(`s:%d:"%s";`, 20_000, strings.Repeat("x", 20_000)) // more than is read at once
	early, late := b.subscriber("c"), b.dial()
	early.say(verb("publish", "c", large)) // its time is over at once, but all of it has arrived
	early.hear(event("c", large))
	late.say(verb("publish", "c", large)[:10])
	b.eventually("cut off", func(s Stats) bool { return s.Closed["frame_timeout"] == 1 && s.Clients == 1 })
	late.cut()
	early.hearNothing() // silent for longer than that, but not within a frame
}

func TestTheTimeOfAFrameBeginsWithItsHeadAndEndsWithIt(t *testing.T) {
	b := startBus(t, Config{})
	c := b.dial()
	whole := verb("publish", "c", "i:1;")
	c.say(whole[:3])
	c.say(whole[3:10])
	b.eventually("its beginning is read", func(Stats) bool { return b.timed() == 1 })
	c.say(whole[10:])
	b.eventually("it is complete", func(s Stats) bool { return s.EventsIn == 1 && b.timed() == 0 })
}

func TestALargeFrameDoesNotWaitForOthersLongerThanItsTime(t *testing.T) {
	b := startBus(t, Config{FrameBytesMax: 200 << 10, FramesBytesMax: 1, FrameTimeout: time.Millisecond})
	srv := b.end.(*server)
	if !srv.frames.TryAcquire(200 << 10) {
		t.Fatal("somebody has begun a large frame")
	}
	c := b.dial()
	go c.conn.Write([]byte(verb("publish", "c", fmt.Sprintf(`s:%d:"%s";`, 150<<10, strings.Repeat("x", 150<<10)))))
	b.eventually("cut off", func(s Stats) bool { return s.FrameWaits == 1 && s.Closed["frame_timeout"] == 1 && s.Clients == 0 })
	srv.frames.Release(200 << 10)
}

// timed is how many clients have a frame that must be complete by some time.
func (b *started) timed() (n int) {
	b.end.(*server).each(func(p *peer) {
		p.clock.Lock()
		defer p.clock.Unlock()
		if p.timed {
			n++
		}
	})
	return n
}

func TestLargeFramesWaitForEachOtherAndSmallOnesForNone(t *testing.T) {
	const size = 150 << 10
	large := verb("publish", "c", fmt.Sprintf(`s:%d:"%s";`, size, strings.Repeat("x", size)))
	for what, end := range map[string]func(first *phpClient){
		"until it is complete": func(first *phpClient) { first.say(large[100:]) },
		"until it is gone":     func(first *phpClient) { first.conn.Close() },
	} {
		t.Run(what, func(t *testing.T) {
			b := startBus(t, Config{FrameBytesMax: 200 << 10, FramesBytesMax: 1})
			c, small, first, second, third := b.subscriber("c"), b.dial(), b.dial(), b.dial(), b.dial()
			first.say(large[:100])
			b.eventually("it has begun", func(Stats) bool { return b.timed() == 1 })
			go second.conn.Write([]byte(large))
			b.eventually("it waits", func(s Stats) bool { return s.FrameWaits == 1 })
			go third.conn.Write([]byte(large))
			b.eventually("they wait", func(s Stats) bool { return s.FrameWaits == 2 })
			short := verb("publish", "c", "i:1;")
			small.say(short[:10])
			b.eventually("its beginning is read", func(Stats) bool { return b.timed() == 2 })
			small.say(short[10:])
			c.hear(event("c", "i:1;"))
			if got := b.Stats().EventsIn; got != 1 {
				t.Errorf("events: got %d, want that of the small frame alone", got)
			}
			third.conn.(*net.TCPConn).SetLinger(0)
			third.conn.Close() // while it waits
			end(first)
			b.eventually("it is there", func(s Stats) bool { return s.EventsIn >= 2 && s.Clients <= 4 })
			if srv := b.end.(*server); !srv.frames.TryAcquire(200 << 10) {
				b.eventually("all is given back", func(Stats) bool { return srv.frames.TryAcquire(200 << 10) })
			}
		})
	}
}

func TestAStopDoesNotWaitForAFrameThatWaits(t *testing.T) {
	large := verb("publish", "c", fmt.Sprintf(`s:%d:"%s";`, 150<<10, strings.Repeat("x", 150<<10)))
	b := startBus(t, Config{FrameBytesMax: 200 << 10, FramesBytesMax: 1})
	first, second := b.dial(), b.dial()
	first.say(large[:100])
	b.eventually("it has begun", func(Stats) bool { return b.timed() == 1 })
	second.say(large[:100])
	b.eventually("it waits", func(s Stats) bool { return s.FrameWaits == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		t.Error(err)
	}
}

func TestWhereTooMuchWaitsForAllTheSlowestIsCutOffAndNobodyElse(t *testing.T) {
	b := startBus(t, Config{FrameBytesMax: 1 << 20, OutboundBytesMax: 6 << 20, OutboundsMax: 8 << 20})
	srv := b.end.(*server)
	big := fmt.Sprintf(`s:%d:"%s";`, 64<<10, strings.Repeat("x", 64<<10))
	healthy, slow, slowest, publisher := b.subscriber("b"), b.subscriber("b"), b.subscriber("a"), b.dial()
	b.eventually("much waits for one", func(s Stats) bool {
		publisher.say(verb("publish", "a", big))
		return s.WaitingBytes > 4<<20
	})
	published, heard := 0, 0
	b.eventually("all together have too much", func(s Stats) bool {
		publisher.say(verb("publish", "b", big))
		published++
		healthy.hear(event("b", big))
		heard++
		return s.Closed["outbounds"] > 0
	})
	slowest.cut()
	b.eventually("it is forgotten", func(s Stats) bool { return s.Clients == 3 && s.Subscriptions == 2 })
	if st := b.Stats(); st.Closed["outbounds"] != 1 || st.WaitingBytes > 8<<20 {
		t.Errorf("got %+v, want one cut off", st)
	}
	for range published {
		slow.hear(event("b", big))
	}
	healthy.hearNothing()
	slow.hearNothing()
	b.eventually("nothing waits", func(Stats) bool { return srv.outbounds.Load() == 0 })
}

func TestAnEventForManyCountsOnceInWhatWaitsForAll(t *testing.T) {
	b := startBus(t, Config{FrameBytesMax: 1 << 20, OutboundBytesMax: 1 << 20, OutboundsMax: 1})
	var all []*phpClient
	for range 20 {
		all = append(all, b.subscriber("c"))
	}
	big := fmt.Sprintf(`s:%d:"%s";`, 900<<10, strings.Repeat("x", 900<<10))
	b.dial().say(verb("publish", "c", big))
	for _, c := range all {
		c.hear(event("c", big))
		c.hearNothing()
	}
	b.eventually("nothing waits", func(Stats) bool { return b.end.(*server).outbounds.Load() == 0 })
}

func TestRoomIsMadeOnlyForWhatIsTakenAndByWhoeverIsFailingAlready(t *testing.T) {
	b := startBus(t, Config{FrameBytesMax: 1 << 20, OutboundBytesMax: 6 << 20, OutboundsMax: 8 << 20})
	srv := b.end.(*server)
	first, second, publisher := b.subscriber("a"), b.subscriber("b"), b.dial()
	big := fmt.Sprintf(`s:%d:"%s";`, 64<<10, strings.Repeat("x", 64<<10))
	for _, channel := range []string{"a", "b"} {
		b.eventually("much waits", func(s Stats) bool {
			publisher.say(verb("publish", channel, big))
			return s.WaitingBytes > 3<<20 && channel == "a" || s.WaitingBytes > 7<<20
		})
	}
	publisher.hearNothing() // all of it was taken
	srv.mu.Lock()
	a, other := srv.channels["a"].subscribers[0], srv.channels["b"].subscribers[0]
	huge := &parcel{frame: make([]byte, 5<<20)} // with what waits for a it is too much for one, with what waits for all too
	if a.put(huge) || !a.failed.Load() || other.failed.Load() {
		t.Error("a parcel that has no room in its outbox: want its client, and nobody else, cut off")
	}
	other.failed.Store(true) // as if another goroutine had begun to close it
	srv.relieve(huge)
	if got := other.out.waiting(); got != 0 {
		t.Errorf("waiting for the client that was failing: got %d bytes, want 0", got)
	}
	srv.mu.Unlock()
	first.cut()
	second.cut()
}

func TestWhoIsCutOffWithinAFrameIsNotServedToItsEnd(t *testing.T) {
	const names = 5000
	channels := fmt.Sprintf("a:%d:{", names)
	for i := range names {
		channels += fmt.Sprintf("i:%d;i:%d;", i, i)
	}
	all := func(verb string, data string) string {
		return frame(fmt.Sprintf(`a:3:{s:4:"type";s:%d:"%s";s:8:"channels";%s}s:4:"data";%s}`, len(verb), verb, channels, data))
	}
	big := fmt.Sprintf(`s:%d:"%s";`, 10_000, strings.Repeat("x", 10_000))
	for _, verb := range []string{"publish", "publishLoop"} {
		b := startBus(t, Config{OutboundBytesMax: 9_000})
		c := b.dial()
		c.say(all("subscribe", "N;"))
		b.eventually("subscribed", func(s Stats) bool { return s.Subscriptions == names })
		c.say(all(verb, big))
		b.eventually("cut off", func(s Stats) bool { return s.Clients == 0 && s.Subscriptions == 0 })
		if st := b.Stats(); st.EventsIn > names/2 || st.EventsIn+st.Refused["cut_off"] != names {
			t.Errorf("%s: got %d events of a client that was cut off meanwhile, want far fewer, and the rest refused; got %d", verb, st.EventsIn, st.Refused["cut_off"])
		}
	}
}

func TestWhileTheServerStopsNothingIsTakenAndWhatIsThereStillGoesOut(t *testing.T) {
	b := startBus(t, Config{})
	c := b.subscriber(BridgeDefault)
	b.groups.change(func() { b.groups.err = loop.ErrStopping })
	c.say(verb("publish", BridgeDefault, about("g", "too late")))
	b.eventually("refused", func(s Stats) bool { return s.Refused["stopping"] == 1 })
	b.groups.change(func() { b.groups.err = loop.ErrBusy })
	c.say(verb("publish", BridgeDefault, about("g", "too much")))
	b.eventually("refused", func(s Stats) bool { return s.Refused["memory"] == 1 })
	b.groups.change(func() { b.groups.err = nil })
	if err := b.groups.PublishWait(context.Background(), "g", []byte("accepted before"), nil); err != nil {
		t.Fatal(err)
	}
	c.hear(event(BridgeDefault, about("g", "accepted before")))
	c.hearNothing()
}

func TestMoreClientsThanMayBeAreNotLetIn(t *testing.T) {
	b := startBus(t, Config{ClientsMax: 2})
	first, second := b.dial(), b.dial()
	first.hearNothing()
	second.hearNothing()
	b.dial().cut()
	first.conn.Close()
	b.eventually("there is room", func(s Stats) bool { return s.Clients == 1 && s.RefusedClients["clients"] == 1 })
	b.dial().hearNothing()
}

func TestOnlyAllowedAddressesAreLetIn(t *testing.T) {
	b := startBus(t, Config{Listen: "[::]:0", Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/31"), netip.MustParsePrefix("::2/128")}})
	_, port, _ := net.SplitHostPort(b.Addr())
	from := func(local string) *phpClient {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(local)}}
		conn, err := d.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return &phpClient{t, conn, bufio.NewReader(conn)}
	}
	from("127.0.0.1").cut()
	from("127.0.0.2").hearNothing()
	from("127.0.0.3").hearNothing()
	from("127.0.0.4").cut()
	if got := b.Stats().RefusedClients["address"]; got != 2 {
		t.Errorf("turned away: got %d, want 2", got)
	}
}

func TestAServerThatGivesUpItsAddressKeepsItsClients(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := startBus(t, Config{Listener: listener}) // one that was opened by others
	c := b.subscriber("c")
	b.Withdraw()
	next, err := net.Listen("tcp", b.Addr())
	if err != nil {
		t.Fatalf("the next server: %v", err)
	}
	defer next.Close()
	c.say(verb("publish", "c", "N;"))
	c.hear(event("c", "N;"))
}

func TestCloseWritesWhatWaitsAndCutsWhoDoesNotTakeIt(t *testing.T) {
	groups := newFakeGroups()
	s, err := Start(Config{Listen: "127.0.0.1:0"}, groups)
	if err != nil {
		t.Fatal(err)
	}
	b := &started{s, t, groups}
	c, deaf := b.subscriber("c"), b.subscriber("c")
	big := fmt.Sprintf(`s:%d:"%s";`, 1<<20, strings.Repeat("x", 1<<20))
	publisher := b.dial()
	for range 8 {
		publisher.say(verb("publish", "c", big))
	}
	b.eventually("all is on its way", func(s Stats) bool { return s.EventsOut == 16 })
	ctx, cancel := context.WithCancel(context.Background())
	heard := make(chan int)
	go func() {
		n := 0
		for {
			if body, err := c.next(); err != nil || body != event("c", big) {
				break
			}
			n++
		}
		cancel() // the time for deaf is over
		heard <- n
	}()
	err = b.Close(ctx)
	if n := <-heard; n != 8 || err == nil {
		t.Errorf("got %d events and error %v, want 8 and that some were not taken", n, err)
	}
	deaf.cut()
	if !groups.closed {
		t.Error("the groups were not closed")
	}
}

func TestAFaultOfOursClosesOneClient(t *testing.T) {
	b := startBus(t, Config{})
	srv := b.end.(*server)
	c, other := b.subscriber("c"), b.subscriber("d")
	srv.mu.Lock()
	srv.channels["boom"] = &channel{subscribers: []*peer{nil}}
	srv.mu.Unlock()
	c.say(verb("publish", "boom", "N;"))
	c.cut()
	other.hearNothing()
	b.eventually("it is counted", func(s Stats) bool { return s.Panics == 1 && s.Closed["panic"] == 1 })
	srv.mu.Lock()
	srv.channels[BridgeDefault] = srv.channels["boom"]
	srv.mu.Unlock()
	if err := b.groups.PublishWait(context.Background(), "g", []byte("x"), nil); err != nil {
		t.Fatal(err)
	}
	b.eventually("the second is survived", func(s Stats) bool { return s.Panics == 2 })
	srv.mu.Lock()
	delete(srv.channels, BridgeDefault)
	srv.mu.Unlock()
	other.say(verb("publish", BridgeDefault, about("g", "goes on")), verb("publish", "d", "N;"))
	other.hear(event("d", "N;"))
}

func TestAUnixSocketThatADeadServerLeftIsTakenOver(t *testing.T) {
	dir, err := os.MkdirTemp("", "bus")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := dir + "/s"
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	if _, err := Start(Config{Listen: "unix:" + path}, newFakeGroups()); err == nil {
		t.Error("a socket that somebody listens on was taken")
	}
	left.Close()
	b := startBus(t, Config{Listen: "unix://" + path})
	b.dial().hearNothing()
	if b.Addr() != "unix:"+path {
		t.Errorf("address: got %s", b.Addr())
	}
	file := dir + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(Config{Listen: "unix:" + file}, newFakeGroups()); err == nil {
		t.Error("a file that is no socket was taken")
	}
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	for want, cfg := range map[string]Config{
		"name one address": {},
		"one address":      {Listen: "127.0.0.1:0", Connect: "127.0.0.1:1"},
		"positive":         {Listen: "127.0.0.1:0", QueueJobsMax: -1},
		"a name of":        {Listen: "127.0.0.1:0", Bridge: strings.Repeat("x", nameBytesMax+1)},
		"listen":           {Listen: "256.0.0.1:0"},
	} {
		groups := newFakeGroups()
		_, err := Start(cfg, groups)
		if err == nil || !strings.Contains(err.Error(), want) || !groups.closed {
			t.Errorf("%+v: got %v, groups closed %t, want %q and closed", cfg, err, groups.closed, want)
		}
	}
}

func TestExposed(t *testing.T) {
	for addr, want := range map[string]bool{"127.0.0.1:1": false, "[::1]:1": false, "unix:/x": false, "0.0.0.0:1": true,
		"[::]:1": true, "192.0.2.1:1": true} {
		if got := Exposed(addr); got != want {
			t.Errorf("%s: got %t", addr, got)
		}
	}
}

func TestEveryCountHasItsName(t *testing.T) {
	for _, names := range [][]string{refusalNames[:], closingNames[:], turnedAwayNames[:]} {
		if slices.Contains(names, "") {
			t.Errorf("names: got %q, want no empty one", names)
		}
	}
}
