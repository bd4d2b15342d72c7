package test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// One group of clients who speak every protocol, and come with TLS or without, and with compression or without.

// way is how a client comes, and what it speaks.
type way struct {
	protocol string // plain, centrifuge or pusher
	secure   bool
	deflates bool
}

func (w way) String() string {
	return fmt.Sprintf("%s by %s%s", w.protocol, map[bool]string{false: "ws", true: "wss"}[w.secure], map[bool]string{true: " with compression"}[w.deflates])
}

// ways are all of them, those of plain clients first.
var ways = func() (all []way) {
	for _, protocol := range []string{"plain", "centrifuge", "pusher"} {
		for _, secure := range []bool{false, true} {
			all = append(all, way{protocol, secure, false}, way{protocol, secure, true})
		}
	}
	return all
}()

// ear is a client that hears a group, in whatever protocol.
type ear struct {
	*client
	way
	heard []string // texts that have come and were not taken
}

// comes connects.
func (w way) comes(t testing.TB, s *server, d dialing) (*ear, error) {
	at := s.addr
	if w.secure {
		at, d.secure = s.wss, trusted(t)
	}
	if w.deflates {
		d.offer = deflate
	}
	d.path = map[string]string{"centrifuge": centrifugePath, "pusher": pusherPath}[w.protocol]
	c, err := open(at, d)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w, err)
	}
	if (c.deflating != nil) != w.deflates {
		c.hangUp()
		return nil, fmt.Errorf("%s: got %+v, want compression if it was offered", w, c.deflating)
	}
	return &ear{client: c, way: w}, nil
}

// hears joins a group; its name is one of Pusher's.
func (e *ear) hears(group string) error {
	said, answer := []string{}, []string{}
	switch e.protocol {
	case "plain":
		return e.join(group)
	case "centrifuge":
		said, answer = []string{`{"id":1,"connect":{}}`, `{"id":2,"subscribe":{"channel":` + quote(group) + `}}`}, []string{`"connect":{`, `"subscribe":{`}
	case "pusher":
		said, answer = []string{"", `{"event":"pusher:subscribe","data":{"auth":"","channel":` + quote(group) + `}}`}, []string{`"pusher:connection_established"`, `"pusher_internal:subscription_succeeded"`}
	}
	for i := range said {
		if said[i] != "" {
			if err := e.text(said[i]); err != nil {
				return err
			}
		}
		if text, err := e.client.next(); err != nil || !strings.Contains(text, answer[i]) {
			return fmt.Errorf("%s: got %.200q, %w; want %s", e.way, text, err, answer[i])
		}
	}
	return nil
}

// next gives the next text that was said in the group.
func (e *ear) next() (string, error) {
	for len(e.heard) == 0 {
		text, err := e.client.next()
		if err != nil {
			return "", err
		}
		if err := e.take(text); err != nil {
			return "", fmt.Errorf("%s: %w: %.200q", e.way, err, text)
		}
	}
	text := e.heard[0]
	e.heard = e.heard[1:]
	return text, nil
}

// take finds the texts in a message of the server.
func (e *ear) take(message string) error {
	switch e.protocol {
	case "plain":
		e.heard = append(e.heard, message)
	case "centrifuge":
		for line := range strings.Lines(message) {
			var push struct {
				Push struct{ Pub *struct{ Data string } }
			}
			if err := json.Unmarshal([]byte(line), &push); err != nil {
				return err
			}
			if push.Push.Pub != nil {
				e.heard = append(e.heard, push.Push.Pub.Data)
			}
		}
	case "pusher":
		var frame struct{ Event, Data string }
		if err := json.Unmarshal([]byte(message), &frame); err != nil {
			return err
		}
		if frame.Event == "message" {
			e.heard = append(e.heard, frame.Data)
		}
	}
	return nil
}

// texts are what is said: what is short is sent as it is, and what is long is compressed beside the loops.
func mixedText(sender, n int) string {
	text := fmt.Sprintf("sender %d message %d ", sender, n)
	switch n % 10 {
	case 3:
		return text + randomText(24_000)
	case 6, 7, 8:
		return text + strings.Repeat("is compressed ", 20+n%50)
	}
	return text
}

func TestOneOrderForAllHoweverTheyComeAndWhateverTheySpeak(t *testing.T) {
	t.Parallel()
	s := startTLS(t, "--loops", "4", "--pusher", pusherApp, "--compression", "on", "--outbox-max", "256KiB", "--slow-client", "close")
	const group, each, sendMin, sendMax = "room", 2, 150, 3000
	q := &sequence{group: group, text: map[uint64]string{}}
	var members, deaf []*ear
	comes := func(w way, d dialing) *ear {
		e, err := w.comes(t, s, d)
		must(t, err)
		t.Cleanup(e.die)
		return e
	}
	for _, w := range ways {
		for range each {
			members = append(members, comes(w, dialing{}))
		}
	}
	for _, w := range ways[1:] {
		if w.deflates || w.secure {
			deaf = append(deaf, comes(w, dialing{readBytes: 8 << 10}))
		}
	}
	for _, e := range append(members, deaf...) {
		must(t, e.hears(group))
	}

	var reading, sending, visiting sync.WaitGroup
	var enough, over atomic.Bool // the deaf are gone; and so are the visitors, of whom one may wait for a text to the last
	failures := make(chan error, 100)
	fail := func(err error) {
		select {
		case failures <- err:
		default: // there are many already
		}
	}
	heard := make([][]string, len(members))
	for i, e := range members {
		reading.Go(func() {
			for {
				text, err := e.next()
				if err != nil {
					fail(fmt.Errorf("member %d, %s, after %d texts: %w", i, e.way, len(heard[i]), err))
					return
				}
				if text == lastText {
					return
				}
				heard[i] = append(heard[i], text)
			}
		})
	}
	done := make(chan struct{})
	var stretches sync.Map // who → texts
	for place := range 4 {
		visiting.Go(func() {
			rnd := rand.New(rand.NewPCG(7, uint64(place)))
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				w := ways[rnd.IntN(len(ways))]
				texts, err := w.visits(t, s, group, rnd, &enough)
				if err != nil {
					fail(fmt.Errorf("visit %d of place %d, %s: %w", n, place, w, err))
					return
				}
				stretches.Store(fmt.Sprintf("visit %d of place %d, %s", n, place, w), texts)
			}
		})
	}
	for i, w := range ways[:4] { // those of plain clients
		c := comes(w, dialing{})
		sending.Go(func() {
			for n := 0; n < sendMax && (n < sendMin || !over.Load()); n++ {
				text := mixedText(i, n)
				seq, err := c.publish(group, text)
				if err == nil {
					err = q.record(seq, text)
				}
				if err != nil {
					fail(fmt.Errorf("sender %d, %s, message %d: %w", i, w, n, err))
					return
				}
			}
		})
	}
	s.eventually("who does not read is closed", func() error {
		if got := s.status().Total.SlowClosed; got < uint64(len(deaf)) {
			return fmt.Errorf("got %d closed, want %d", got, len(deaf))
		}
		return nil
	})
	enough.Store(true)
	close(done)
	visiting.Wait()
	over.Store(true)
	sending.Wait()
	last := comes(ways[0], dialing{})
	_, err := last.publish(group, lastText)
	must(t, err)
	reading.Wait()
	close(failures)
	for err := range failures {
		t.Error(err)
	}
	want, err := q.texts()
	must(t, err)
	place := map[string]int{}
	for at, text := range want {
		place[text] = at
	}
	for i, got := range heard {
		if at, same := firstDifference(got, want); !same {
			t.Errorf("member %d, %s: got %s from place %d on (%d texts), want %s (%d texts)", i, members[i].way, brief(got[at:]), at, len(got), brief(want[at:]), len(want))
		}
		if members[i].deflates && members[i].frames == 0 {
			t.Errorf("member %d, %s: got no compressed frame", i, members[i].way)
		}
	}
	visits := 0
	stretches.Range(func(who, what any) bool {
		got := what.([]string)
		if visits++; len(got) > 0 {
			from := place[got[0]]
			if at, same := firstDifference(got, want[from:min(from+len(got), len(want))]); !same {
				t.Errorf("%s: got %s from its text %d on, want it to hear without a gap from %d on", who, brief(got[at:]), at, from)
			}
		}
		return true
	})
	// Each text is compressed once at most for each protocol, however many hear it.
	wire := s.wire()
	if most := uint64(3 * (len(want) + 1)); wire.Compressions == 0 || wire.Compressions > most {
		t.Errorf("compressions: got %d, want some and %d at most", wire.Compressions, most)
	}
	if visits == 0 || wire.Inflated == 0 {
		t.Errorf("got %d visits and %d compressed messages of clients, want some", visits, wire.Inflated)
	}
	t.Logf("%d texts, %d visits, %d compressions", len(want), visits, wire.Compressions)
	s.hasMembers(int64(len(members)))
}

// visits joins a group, hears some of it, and goes in any way.
func (w way) visits(t *testing.T, s *server, group string, rnd *rand.Rand, enough *atomic.Bool) (texts []string, err error) {
	e, err := w.comes(t, s, dialing{small: true})
	if err != nil {
		return nil, err
	}
	defer e.hangUp()
	if rnd.IntN(4) == 0 { // gone before anything is answered
		e.die()
		return nil, nil
	}
	if err := e.hears(group); err != nil {
		return nil, err
	}
	for range rnd.IntN(20) {
		if enough.Load() { // there may be nothing more to hear
			break
		}
		text, err := e.next()
		if err != nil {
			return texts, err
		}
		texts = append(texts, text)
	}
	switch rnd.IntN(3) {
	case 0:
		e.die()
	case 1:
		err = e.closeWith(1000, "")
	}
	return texts, err
}
