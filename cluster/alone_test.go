package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"ringcast/dialect"
	"ringcast/loop"
)

func TestOffersComeBackInTheirOrderEachOnce(t *testing.T) {
	t.Parallel()
	config := aloneConfig(t)
	config.tick = time.Minute // so that nothing which is slow is taken for lost
	n := start(t, config, nil)
	var tokens []uint64
	var want []string
	for i := range 2000 {
		tokens = append(tokens, n.say(fmt.Sprintf("room %d", i%3), fmt.Sprint(i)))
	}
	for _, token := range tokens {
		if is := n.answerTo(t, token); is[:3] != "ok " {
			t.Fatalf("offer %d: got %q, want ok", token, is)
		}
	}
	for i := 1; i < 2000; i += 3 {
		want = append(want, fmt.Sprint(i))
	}
	var got []string
	for _, s := range n.f.said[n.hash("room 1")] {
		if s.group == "room 1" {
			got = append(got, s.text)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("room 1 has heard: got %v, want %v", got, want)
	}
	if s := n.Status(); s.Resends != 0 || s.HolesFilled != 0 || s.Ordered != 2000 || !s.Ready {
		t.Errorf("status: got %+v, want 2000 ordered, and nothing sent again or missed", s)
	}
}

func TestARecallHasWhatTheLogKeeps(t *testing.T) {
	t.Parallel()
	n := start(t, aloneConfig(t), nil)
	for i := range 5 {
		n.answerTo(t, n.say("room", fmt.Sprint(i)))
	}
	r := n.recallGroup(t, "room")
	if want := n.heard("room"); !slices.Equal(texts(r), want) || r.Failed || r.Floor != 0 {
		t.Errorf("recalled: got %v, floor %d, want %v from the beginning", texts(r), r.Floor, want)
	}
	if r := n.recallGroup(t, "nobody has said anything here"); len(r.Messages) != 0 || r.Failed {
		t.Errorf("recalled: got %+v, want nothing", r)
	}
}

func TestARecallSaysFromWhereItIsComplete(t *testing.T) {
	t.Parallel()
	config := aloneConfig(t)
	n := start(t, config, nil)
	many := n.config.groupKept() + 500
	last := uint64(0)
	for i := range many {
		last = n.say("hot", fmt.Sprint(i))
	}
	n.answerTo(t, last)
	said := n.heard("hot")
	r := n.recallGroup(t, "hot")
	if len(r.Messages) < config.HistoryMax+1 || len(r.Messages) > 2*(config.HistoryMax+1) || !slices.Equal(texts(r), said[many-len(r.Messages):]) {
		t.Errorf("recalled: got %d messages, want the newest, and at least %d", len(r.Messages), config.HistoryMax+1)
	}
	if r.Floor != r.Messages[0].Offset-1 || r.Upto != r.Messages[len(r.Messages)-1].Offset {
		t.Errorf("recalled: got floor %d and upto %d, want what is there", r.Floor, r.Upto)
	}

	// A quiet group is whole beside it, from the first offset that the log has.
	n.answerTo(t, n.say("quiet", "1"))
	if r := n.recallGroup(t, "quiet"); r.Floor != 0 || len(r.Messages) != 1 {
		t.Errorf("recalled of a quiet group: got %d messages from floor %d, want 1 from 0", len(r.Messages), r.Floor)
	}

	// What is forgotten is gone, and its place is known.
	token, _ := n.offer("quiet", "", func(o *offer) { o.Forgets = true })
	place := n.answerTo(t, token)
	n.answerTo(t, n.say("quiet", "2"))
	if r := n.recallGroup(t, "quiet"); len(texts(r)) != 1 || "ok "+fmt.Sprint(r.Floor) != place {
		t.Errorf("recalled behind a forgetting: got %v from floor %d, want what was said behind it, %s", texts(r), r.Floor, place)
	}
	n.f.mu.Lock()
	all := n.f.said[n.hash("quiet")]
	if before := all[len(all)-2]; !before.forgot || before.group != "quiet" {
		t.Errorf("a forgetting: got %+v, want it in the order", before)
	}
	n.f.mu.Unlock()

	// An unkept message is heard, and not recalled.
	token, _ = n.offer("quiet", "unkept", func(o *offer) { o.Message.More = &dialect.More{Unkept: true} })
	n.answerTo(t, token)
	if r := n.recallGroup(t, "quiet"); len(texts(r)) != 1 {
		t.Errorf("recalled: got %v, want no unkept message", texts(r))
	}
}

func TestARecallHasSoManyBytesAndNoMore(t *testing.T) {
	t.Parallel()
	config, many := aloneConfig(t), 18
	config.recallBytes = 16 << 16
	n := start(t, config, nil)
	text := strings.Repeat("x", 1<<16)
	for range many {
		n.answerTo(t, n.say("room", text))
	}
	r := n.recallGroup(t, "room")
	if len(r.Messages) >= many-1 || len(r.Messages) < many/2 {
		t.Fatalf("recalled: got %d messages of %d, want less than there are", len(r.Messages), many)
	}
	if r.Floor != r.Messages[0].Offset-1 || r.Floor == 0 || r.Upto != r.Messages[len(r.Messages)-1].Offset {
		t.Errorf("recalled: got floor %d and upto %d, want what is there", r.Floor, r.Upto)
	}
}

func TestAKeyIsSaidOnce(t *testing.T) {
	t.Parallel()
	n := start(t, aloneConfig(t), nil)
	key := func(o *offer) { o.Key = "invoice 17\n" }
	first, _ := n.offer("room", "a", key)
	second, _ := n.offer("room", "b", key)
	other, _ := n.offer("other", "c", key)
	plain := n.say("room", "d")
	is := n.answerTo(t, first)
	mustHave(t, "the first", is, "ok ")
	if got, want := n.answerTo(t, second), "repeat "+is[3:]; got != want {
		t.Errorf("a repeat: got %q, want %q", got, want)
	}
	mustHave(t, "the same key in another group", n.answerTo(t, other), "ok ")
	mustHave(t, "one without a key", n.answerTo(t, plain), "ok ")
	late, _ := n.offer("room", "e", key) // its home would have known: the log does too
	behind := n.say("room", "f")
	if got, want := n.answerTo(t, late), "repeat "+is[3:]; got != want {
		t.Errorf("a late repeat: got %q, want %q", got, want)
	}
	mustHave(t, "one behind it", n.answerTo(t, behind), "ok ")
	var got []string
	for _, s := range n.heard("room") {
		got = append(got, strings.Fields(s)[1])
	}
	if want := []string{"a", "d", "f"}; !slices.Equal(got, want) {
		t.Errorf("heard: got %v, want %v", got, want)
	}
	n.f.mu.Lock()
	if s := n.f.said[n.hash("room")][0]; s.key != "invoice 17\n" {
		t.Errorf("the key of a message: got %q, want that of its offer", s.key)
	}
	n.f.mu.Unlock()
}

func TestARestartKeepsWhatWasAnswered(t *testing.T) {
	t.Parallel()
	config := aloneConfig(t)
	n := start(t, config, nil)
	for i := range 20 {
		n.answerTo(t, n.say("room", fmt.Sprint(i)))
	}
	said, was := n.heard("room"), n.parts[0].epoch()
	n.Close()

	n = start(t, config, nil)
	if r := n.recallGroup(t, "room"); !slices.Equal(texts(r), said) || r.Floor != 0 {
		t.Errorf("recalled after a restart: got %v from floor %d, want %v from 0", texts(r), r.Floor, said)
	}
	if is := n.parts[0].epoch(); is != was {
		t.Errorf("the epoch after a restart: got %d, want %d", is, was)
	}
	n.answerTo(t, n.say("room", "more"))
	n.Close()

	// The machine has gone down under it: what it had not written to the disk may be gone, so positions are good no more.
	if err := os.WriteFile(filepath.Join(config.StoreDir, runningFile), []byte("another run"), 0o600); err != nil {
		t.Fatal(err)
	}
	n = start(t, config, nil)
	if is := n.parts[0].epoch(); is == was {
		t.Error("the epoch after the machine went down: got the same, want another")
	}
	n.Close()
}

func TestWhatWasNotWrittenThroughMayBeLostWhateverIsWantedNow(t *testing.T) {
	t.Parallel()
	const before = "the run of the kernel before"
	for _, c := range []struct{ synced, syncs, want bool }{{false, false, true}, {false, true, true}, {true, false, false}, {true, true, false}} {
		config := Config{Name: "test", Node: "one", StoreDir: t.TempDir(), Sync: c.synced}
		s, err := openStore(config)
		if err == nil {
			err = s.running(config)
		}
		if err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(config.StoreDir, runningFile)
		text, err := os.ReadFile(at)
		if err == nil && string(text) == kernelRun() {
			err = os.WriteFile(at, []byte(before), 0o600) // the machine went down
		}
		if err != nil {
			t.Fatal(err)
		}
		if config.Sync = c.syncs; s.mayHaveLost(config) != c.want {
			t.Errorf("synced %v, now %v: may have lost: got %v, want %v", c.synced, c.syncs, !c.want, c.want)
		}
	}
}

func TestAStoreOfAnotherIsRefused(t *testing.T) {
	t.Parallel()
	config := aloneConfig(t)
	start(t, config, nil).Close()
	for _, c := range []struct {
		name string
		is   func(*Config)
		want []string
	}{
		{"another number of partitions", func(c *Config) { c.Partitions = 3 }, []string{"born with 2 partitions", "--cluster-partitions 2"}},
		{"another cluster", func(c *Config) { c.Name = "other" }, []string{`the cluster "test"`, "--cluster-name test", "--store-dir"}},
		{"another node", func(c *Config) { c.Node = "two" }, []string{`the node "one"`, "--cluster-node one"}},
		{"a store that cannot be", func(c *Config) { c.StoreDir = filepath.Join(c.StoreDir, ownerFile) }, []string{"--store-dir"}},
		{"several nodes", func(c *Config) { c.Listen, c.Peers = "127.0.0.1:0", []string{"127.0.0.1:1"} }, []string{"alone", "--store-dir"}},
		{"no address", func(c *Config) { c.StoreDir, c.Listen, c.Peers = t.TempDir(), "here", []string{"here"} }, []string{"--cluster-listen", "host:port"}},
		{"no certificate", func(c *Config) {
			c.StoreDir, c.Listen, c.Peers, c.TLS = t.TempDir(), "127.0.0.1:0", []string{"127.0.0.1:1"}, TLS{Cert: "none", Key: "none"}
		}, []string{"--cluster-tls-cert"}},
	} {
		other := config
		c.is(&other)
		_, err := tryStart(t, other, nil)
		var wrong *ConfigError
		if !errors.As(err, &wrong) {
			t.Errorf("%s: got %v, want an error of the operator's", c.name, err)
			continue
		}
		mustHave(t, c.name, err.Error(), c.want...)
	}
	// A store of another cluster of the same name.
	if err := os.WriteFile(filepath.Join(config.StoreDir, ownerFile), []byte(`{"cluster":"test","id":"another","node":"one"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := tryStart(t, config, nil)
	var wrong *ConfigError
	if !errors.As(err, &wrong) {
		t.Errorf("a store of another cluster of the same name: got %v, want an error of the operator's", err)
	}
}

func TestWhatTheLogHasNoMoreEndsPositions(t *testing.T) {
	t.Parallel()
	config := aloneConfig(t)
	config.Partitions = 1
	lost := make(chan struct{})
	n := start(t, config, func(_ int, offset uint64) bool { // all is lost on its way until the log has dropped some of it
		select {
		case <-lost:
			return false
		default:
			return true
		}
	})
	p := n.parts[0]
	n.f.mu.Lock()
	n.f.hold = lost // also what is fetched waits
	n.f.mu.Unlock()
	many := n.config.groupKept() + 2*fetchMax // more than what one fetch has taken before
	for sent := 0; sent < many; sent++ {      // what another node says
		it := &item{offer: offer{Message: loop.NewOrderedMessage([]byte("hot"), []byte("x"), false, nil)}, number: uint64(sent + 1)}
		m := encode("rc.0."+groupToken("hot"), it, "other", names{})
		if err := n.conn.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the log to have all", func() bool {
		info, err := n.streamInfo(context.Background(), p.stream)
		return err == nil && info.State.LastSeq >= uint64(many)
	})
	close(lost)
	until(t, "it to be noticed", func() bool { return n.Status().HoleLost > 0 })
	until(t, "the homes to be told", func() bool {
		n.f.mu.Lock()
		defer n.f.mu.Unlock()
		all := n.f.epochs[0]
		return len(all) == 3 && all[1] != all[0] && all[2] == all[0]
	})
	n.answerTo(t, n.say("hot", "and on"))
}

func TestALogThatIsMadeAnewIsAnotherEpoch(t *testing.T) {
	t.Parallel()
	n := start(t, aloneConfig(t), nil)
	n.answerTo(t, n.say("room", "1"))
	p := n.parts[n.hash("room")]
	was := p.epoch()
	m, err := n.conn.Request("$JS.API.STREAM.DELETE."+p.stream, nil, patience)
	if err == nil {
		err = answer(m, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	until(t, "another epoch", func() bool { return p.epoch() != was })
	mustHave(t, "an offer to the new log", n.answerTo(t, n.say("room", "2")), "ok ")
	if r := n.recallGroup(t, "room"); len(r.Messages) != 1 {
		t.Errorf("recalled: got %v, want what the new log has", texts(r))
	}
}

func TestAFullQueueRefusesAndCounts(t *testing.T) {
	t.Parallel()
	config := aloneConfig(t)
	config.Partitions = 1
	n := start(t, config, nil)
	hold := make(chan struct{})
	n.f.mu.Lock()
	n.f.hold = hold // a home that takes nothing: nothing comes back
	n.f.mu.Unlock()
	p, taken := n.parts[0], 1
	_, _ = n.offer("room", "x", nil)
	until(t, "the home to have the first before it", func() bool { return n.Status().Ordered == 1 && p.claimed.Load() > p.tip.Load() })
	for {
		if _, is := n.offer("room", "x", nil); !is {
			break
		}
		taken++
	}
	if taken < queueMax || taken > queueMax+flightMax+1 {
		t.Errorf("offers taken: got %d, want %d that wait, and at most %d on their way", taken, queueMax, flightMax)
	}
	if s := n.Status(); s.Refused[refusedFull] != 1 || s.Offered != uint64(taken) {
		t.Errorf("status: got %+v, want one refused", s)
	}
	// The time for which they wait passes at once; the leader was heard of just now.
	p.mu.Lock()
	n.now.Add(n.waitTicks)
	p.heard.Store(n.now.Load())
	p.mu.Unlock()
	p.passTime()
	until(t, "answers to all but the one that the home has before it", func() bool {
		s := n.Status()
		return s.Refused[refusedBusy]+s.Refused[refusedUnconfirmed] == uint64(taken-1)
	})
	close(hold)
	mustHave(t, "an offer afterwards", n.answerTo(t, n.say("room", "y")), "ok ")
	n.f.mu.Lock()
	defer n.f.mu.Unlock()
	for token, is := range n.f.answers {
		if len(is) != 1 {
			t.Errorf("offer %d: got answers %v, want one", token, is)
		}
	}
}

func TestAnEpochOutlivesTheFrontOfItsLog(t *testing.T) {
	t.Parallel()
	config := aloneConfig(t)
	config.Partitions, config.StoreMax = 1, 8<<20
	n := start(t, config, nil)
	was := n.parts[0].epoch()
	text := strings.Repeat("x", 32<<10)
	for i := 0; n.parts[0].oldest.Load() < 300; i++ {
		n.answerTo(t, n.say(fmt.Sprint("room ", i%50), text))
	}
	until(t, "the marker to be written again", func() bool {
		m, err := n.lastOf(context.Background(), n.parts[0].stream, n.parts[0].markerSubject())
		return err == nil && m != nil && m.Sequence > 1
	})
	n.answerTo(t, n.say("rare", "1"))
	if r := n.recallGroup(t, "rare"); len(r.Messages) != 1 || r.Floor < 299 || r.Epoch != was || len(r.Ages) != 1 {
		t.Errorf("recalled: got %+v, want one message, and that what was before the first offset of the log is unknown", r)
	}
	n.Close()
	n = start(t, config, nil)
	if is := n.parts[0].epoch(); is != was {
		t.Errorf("the epoch after a restart: got %d, want %d", is, was)
	}
}

func TestAQueueThatNobodyTakesFromKeepsNothingThatIsOver(t *testing.T) {
	t.Parallel()
	p := newPartition(&Cluster{config: Config{Partitions: 1}}, 0)
	var waits []*item
	for i := range 10_000 { // the first waits for longer than all others
		it := &item{bytes: 1}
		if waits = append(waits, it); !p.take(it) {
			t.Fatalf("offer %d was refused", i)
		}
		if len(waits) > 10 {
			p.end(waits[1])
			waits = slices.Delete(waits, 1, 2)
		}
	}
	if n := len(p.queue.items); n > 2*len(waits)+queueSlack || p.queue.len() != len(waits) {
		t.Errorf("places: got %d, of which %d wait, want %d that wait, and no more than some beside them", n, p.queue.len(), len(waits))
	}
	for i, it := range waits {
		if got := p.queue.pop(); got != it {
			t.Errorf("offer %d is not the next", i)
		}
	}
}

func TestHomesComeAsFarAsTheLogWhereItsLastIsNoMessage(t *testing.T) {
	t.Parallel()
	config := aloneConfig(t)
	config.Partitions = 1
	n := start(t, config, nil)
	n.answerTo(t, n.say("room", "1"))
	p := n.parts[0]
	for _, m := range []*nats.Msg{{Subject: "rc.0.nroom", Data: []byte("of another version")}, {Subject: p.markerSubject(), Data: markerText(p.epoch())}} {
		before := p.tip.Load()
		if _, err := n.conn.RequestMsg(m, patience); err != nil {
			t.Fatal(err)
		}
		until(t, "the home to hear of "+m.Subject, func() bool {
			n.f.mu.Lock()
			defer n.f.mu.Unlock()
			return p.tip.Load() > before && n.f.tips[0] == p.tip.Load()
		})
	}
}

func TestWhatTheLogDoesNotTakeIsRefusedAndHoldsUpNobody(t *testing.T) {
	t.Parallel()
	n := start(t, aloneConfig(t), nil)
	before := n.say("room", "before")
	large, _ := n.offer("room", strings.Repeat("x", payloadMax), nil)
	tagged, _ := n.offer("room", "x", func(o *offer) {
		o.Message.More = &dialect.More{Tags: []byte(`{"a":"` + strings.Repeat("b", 64<<10) + `"}`)}
	})
	behind := n.say("room", "behind")
	for token, want := range map[uint64]string{before: "ok", large: "too large", tagged: "too large", behind: "ok"} {
		mustHave(t, "an answer", n.answerTo(t, token), want)
	}
	if s := n.Status(); s.Refused[refusedTooLarge] != 2 || s.Refused[refusedUnavailable] != 0 {
		t.Errorf("refused: got %v, want two that were too large", s.Refused)
	}
}

func TestAMessageIsTheSameOnAnotherNode(t *testing.T) {
	t.Parallel()
	for _, more := range []*dialect.More{nil, {Unkept: true}, {Tags: []byte(`{"a":"b"}`)}, {Who: dialect.WhoIs{}.Who()}, {ExceptName: "not this one"}, {ClientEvent: true},
		{Who: dialect.WhoIs{User: "12", NumberID: true}.Who()},
		{Who: dialect.WhoIs{User: "Zoë\r\n", Info: []byte(`{"i":1}`), GroupInfo: []byte(`[1]`)}.Who(), Tags: []byte(`{}`), Unkept: true}} {
		for _, group := range []string{"a", "A-z_0", "room 1", "b", "!", "*", "ü.>", strings.Repeat("x", 255)} {
			m := loop.NewOrderedMessage([]byte(group), []byte("pay\r\nload"), more != nil, more)
			it := &item{offer: offer{Message: m, Key: "k"}, id: keyID(group, "k"), number: 7}
			except := ""
			if more == nil {
				it.offer.Key, it.id = "", ""
			} else {
				except = more.ExceptName
			}
			s, err := decode("rl.3."+groupToken(group), encode("rc.3."+groupToken(group), it, "bo-ot", names{"me", except}))
			if err != nil {
				t.Errorf("%q: %v", group, err)
				continue
			}
			if s.Message.Group != group || string(s.Message.Payload()) != "pay\r\nload" || s.Message.JSON != m.JSON || s.Key != it.offer.Key || s.boot != "bo-ot" || s.number != 7 {
				t.Errorf("%q: got %+v of %+v", group, s, m)
			}
			is, want := s.Message.More, more
			if want == nil {
				want = &dialect.More{}
			}
			if is == nil || is.Client != "me" || is.ExceptName != want.ExceptName || is.Unkept != want.Unkept || is.ClientEvent != want.ClientEvent || !bytes.Equal(is.Tags, want.Tags) || (is.Who == nil) != (want.Who == nil) {
				t.Errorf("%q: got %+v, want %+v", group, is, want)
			} else if is.Who != nil && (is.Who.User() != want.Who.User() || is.Who.NumberID() != want.Who.NumberID() || !bytes.Equal(is.Who.Info(), want.Who.Info()) || !bytes.Equal(is.Who.GroupInfo(), want.Who.GroupInfo())) {
				t.Errorf("%q: got %+v, want %+v", group, is.Who, want.Who)
			}
		}
	}
	for _, subject := range []string{"rl.0.", "rl.0.n", "rl.0.!", "rl.0.b!!", "rl.0.x"} {
		if _, err := decode(subject, encode("x", &item{offer: offer{Message: loop.NewOrderedMessage([]byte("a"), nil, false, nil)}}, "b", names{})); !errors.Is(err, errStrange) {
			t.Errorf("%q: got %v, want that it is strange", subject, err)
		}
	}
}

// Who is not sent a message is known to its own node alone, whichever way the message comes there.
func TestAClientThatAMessageLeavesOutIsKnownToItsNode(t *testing.T) {
	t.Parallel()
	n := start(t, aloneConfig(t), nil)
	token, _ := n.offer("room", "of this node", func(o *offer) { o.Message.More = &dialect.More{Except: 7} })
	n.answerTo(t, token)
	for i, except := range []string{"client-9", "one of another node", ""} {
		it := &item{offer: offer{Message: loop.NewOrderedMessage([]byte("room"), []byte(except), false, nil)}, number: uint64(i + 1)}
		for _, way := range []string{"rc", "rf"} {
			subject := fmt.Sprintf("%s.%d.%s", way, n.hash("room"), groupToken("room"))
			if err := n.conn.PublishMsg(encode(subject, it, "other", names{except: except})); err != nil {
				t.Fatal(err)
			}
		}
	}
	var ordered, fast []uint64
	until(t, "all has come", func() bool {
		n.f.mu.Lock()
		defer n.f.mu.Unlock()
		ordered, fast = nil, nil
		for _, s := range n.f.said[n.hash("room")] {
			if s.fast {
				fast = append(fast, s.except)
			} else {
				ordered = append(ordered, s.except)
			}
		}
		return len(ordered) == 4 && len(fast) == 3
	})
	var recalled []uint64
	var known []string
	for _, m := range n.recallGroup(t, "room").Messages {
		name := ""
		if m.More != nil {
			name = m.More.ExceptName
		}
		recalled, known = append(recalled, exceptOf(m)), append(known, name)
	}
	if want := []uint64{7, 9, 0, 0}; !slices.Equal(ordered, want) || !slices.Equal(recalled, want) || !slices.Equal(fast, want[1:]) {
		t.Errorf("left out: got %v in order, %v recalled, %v fast, want %v", ordered, recalled, fast, want)
	}
	if want := []string{"client-7", "client-9", "one of another node", ""}; !slices.Equal(known, want) {
		t.Errorf("left out by name: got %q, want %q", known, want)
	}
}
