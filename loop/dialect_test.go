package loop

import (
	"fmt"
	"strings"
	"testing"

	"ringcast/dialect"
	"ringcast/loop/order"
	"ringcast/wsproto"
)

// hearAll reads text frames until n have come.
func hearTexts(t *testing.T, p *peer, n int) (texts []string) {
	t.Helper()
	for len(texts) < n {
		op, text, err := p.next()
		if err != nil || op != byte(wsproto.OpText) {
			t.Fatalf("after %d texts: got opcode %d, %q (%v)", len(texts), op, text, err)
		}
		texts = append(texts, text)
	}
	return texts
}

// Clients of two dialects in one group, on all loops: each hears every message in its own form, once, in one order.
func TestClientsOfTwoDialectsHearOneOrderInOneGroup(t *testing.T) {
	s := startServer(t, Config{Loops: 4, Dialects: []dialect.Entry{loud}})
	const members, each = 12, 200
	var peers []*peer
	for i := range members {
		var p *peer
		if i%2 == 0 {
			p = dial(t, s)
		} else {
			p = dialPath(t, s, "/loud")
			if got := hearTexts(t, p, 1)[0]; got != "HELLO" {
				t.Fatalf("greeting: got %q, want HELLO", got)
			}
		}
		p.say(`{"cmd":"add_group","group_id":"g","id":1}`)
		if got := hearTexts(t, p, 1)[0]; got != `{"id":1,"ok":true}` {
			t.Fatalf("answer: got %q", got)
		}
		peers = append(peers, p)
	}
	for _, p := range peers[:4] {
		go func() {
			for i := range each {
				p.say(`{"cmd":"send_to_group","group_id":"g","message":"from %p %d"}`, p, i)
			}
		}()
	}
	var first string
	for i, p := range peers {
		heard := strings.Join(hearTexts(t, p, 4*each), "\n")
		if i == 0 {
			first = heard
		}
		want := first
		if i%2 == 1 {
			want = strings.ToUpper(first)
		}
		if heard != want {
			t.Fatalf("member %d heard another order, or another form, than the first", i)
		}
	}
}

func TestADialectClosesWithItsOwnCodes(t *testing.T) {
	s := startServer(t, Config{Loops: 2, Dialects: []dialect.Entry{loud}, Limits: Limits{GroupsPerClient: 1}})
	for path, want := range map[string]string{"/": "\x03\xf0too many groups", "/loud": "\x10\x0eTOO MANY GROUPS"} {
		p := dialPath(t, s, path)
		if path == "/loud" {
			hearTexts(t, p, 1)
		}
		p.say(`{"cmd":"add_group","group_id":"a"}`)
		p.say(`{"cmd":"add_group","group_id":"b"}`)
		if op, got, err := p.next(); err != nil || op != byte(wsproto.OpClose) || got != want {
			t.Errorf("%s: got opcode %d, %q (%v), want a Close frame with %q", path, op, got, err, want)
		}
	}
}

// A client keeps its form in three bits, so there is room for so many dialects; the last one is heard as what it is.
func TestThereAreAsManyDialectsAsThereMayBe(t *testing.T) {
	spoken := make([]dialect.Entry, dialect.FormsMax-len(dialect.Table)-1) // but for the Pusher protocol, which a server always has
	for i := range spoken {
		path := fmt.Sprintf("/%d", i)
		spoken[i] = dialect.Entry{Name: path, Serves: func(p string) bool { return p == path }, New: dialect.Table[0].New}
	}
	spoken[len(spoken)-1].New = loud.New
	s := startServer(t, Config{Loops: 1, Dialects: spoken})
	first, last := dialPath(t, s, "/0"), dialPath(t, s, spoken[len(spoken)-1].Name)
	for want, p := range map[string]*peer{"said": first, "SAID": last} {
		p.say(`{"cmd":"add_group","group_id":%q}`, want)
		p.say(`{"cmd":"send_to_group","group_id":%q,"message":"said"}`, want)
		if want == "SAID" {
			hearTexts(t, p, 1) // the greeting
		}
		if got := hearTexts(t, p, 1)[0]; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if _, err := Start(Config{Dialects: append(spoken, loud)}); err == nil || err.Error() != "dialects: 9 are more than 8" {
		t.Errorf("one dialect more: got %v, want it refused", err)
	}
}

// slowDialect is a loud one that is at work on a message until it is let go.
type slowDialect struct {
	loudly
	begun, end chan struct{}
}

func (d *slowDialect) Encode(m *dialect.Message) []byte {
	close(d.begun)
	<-d.end
	return d.loudly.Encode(m)
}

// beingMade is a message of which another goroutine is making the loud form, until finish is called.
func beingMade(text string) (m *message, finish func()) {
	m, _ = order.NewMessage([]byte("0"), []byte(text), nil, false)
	d := &slowDialect{begun: make(chan struct{}), end: make(chan struct{})}
	made := make(chan struct{})
	go func() {
		m.In(1, d)
		close(made)
	}()
	<-d.begun
	return m, func() {
		close(d.end)
		<-made
	}
}

// A message whose form another loop is making keeps its audience in the queue; the group's other audiences are served.
func TestAnAudienceWhoseFormIsBeingMadeGoesOnLater(t *testing.T) {
	st := newStage(1, nil, loud)
	plain, shouting := st.enter(0), st.enterAt(0, "/loud")
	for _, c := range []*stageConn{plain, shouting} {
		c.say(`{"cmd":"add_group","group_id":"0"}`)
	}
	st.settle()
	s := st.hub.shards[0]
	m, finish := beingMade("said")
	s.passes.gather(s.groups.Get("0"), m)
	s.woken()
	plain.heard(t, "said")
	if !st.kicks[0] || strings.Contains(string(shouting.out), "SAID") {
		t.Fatalf("kick %v, heard %q; want a kick, and nothing heard yet", st.kicks[0], shouting.out)
	}
	finish()
	st.settle()
	shouting.heard(t, "SAID")
	if len(s.passes.queue) != 0 || s.passes.gathered != 0 {
		t.Errorf("left: %d audiences, %d bytes", len(s.passes.queue), s.passes.gathered)
	}
}

// brokenDialect panics over messages that say so.
type brokenDialect struct{ loudly }

func (d *brokenDialect) Encode(m *dialect.Message) []byte {
	if string(m.Payload()) == "panic" {
		panic("a dialect that panics")
	}
	return d.loudly.Encode(m)
}

// A message that a dialect panics over is lost to its clients alone: nobody is closed for it, and the order goes on.
func TestAMessageThatADialectPanicsOverIsLostToItsClientsOnly(t *testing.T) {
	broken := loud
	broken.New = func() dialect.Dialect { return &brokenDialect{} }
	st := newStage(1, nil, broken)
	plain, shouting := st.enter(0), st.enterAt(0, "/loud")
	for _, c := range []*stageConn{plain, shouting} {
		c.say(`{"cmd":"add_group","group_id":"0"}`)
	}
	st.settle()
	st.busy = true // all three go in one batch
	for _, message := range []string{"before", "panic", "after"} {
		plain.say(`{"cmd":"send_to_group","group_id":"0","message":"%s"}`, message)
	}
	st.settle()
	plain.heard(t, "\x81\x06before\x81\x05panic\x81\x05after")
	shouting.heard(t, "\x81\x06BEFORE\x81\x05AFTER")
	s := st.hub.shards[0]
	if got := s.count.Panics.Load(); got != 1 || plain.closed || plain.client.state != stateOpen || shouting.client.state != stateOpen {
		t.Errorf("got %d panics, states %v and %v; want one, and everybody open", got, plain.client.state, shouting.client.state)
	}
	if len(s.passes.queue) != 0 || s.passes.gathered != 0 {
		t.Errorf("left: %d audiences, %d bytes", len(s.passes.queue), s.passes.gathered)
	}
}
