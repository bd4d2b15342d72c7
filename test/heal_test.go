package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// rawMember speaks the Centrifuge protocol on a plain socket and does what an SDK does: it counts its positions up by what it hears,
// and when it is taken out of a group it subscribes again from there.
type rawMember struct {
	t      *testing.T
	c      *client
	ids    int
	at     map[string]*rawPosition
	parted int // times that it was taken out of a group
}

type rawPosition struct {
	Offset uint64 `json:"offset"`
	Epoch  string `json:"epoch"`
	in     bool
	heard  []string
}

type rawPublication struct {
	Data   string `json:"data"`
	Offset uint64 `json:"offset"`
}

func openRawMember(t *testing.T, s *server, groups ...string) *rawMember {
	t.Helper()
	m := &rawMember{t: t, c: dial(t, s, dialing{path: centrifugePath, readBytes: slowBytes}), at: map[string]*rawPosition{}}
	m.ids++
	must(t, m.c.text(`{"id":1,"connect":{}}`))
	_, err := m.c.next()
	must(t, err)
	for _, group := range groups {
		m.at[group] = &rawPosition{}
		m.subscribe(group, "")
		for !m.at[group].in {
			m.hear()
		}
	}
	return m
}

// subscribe asks to become a member. The reply's group is known by the id.
func (m *rawMember) subscribe(group, more string) {
	m.t.Helper()
	m.ids++
	must(m.t, m.c.text(fmt.Sprintf(`{"id":%d,"subscribe":{"channel":%s%s}}`, m.ids, quote(group), more)))
	m.at[fmt.Sprint(m.ids)] = m.at[group]
}

// hear takes one frame.
func (m *rawMember) hear() {
	m.t.Helper()
	text, err := m.c.next()
	must(m.t, err)
	var said struct {
		ID        int
		Error     *struct{ Code int }
		Subscribe *struct {
			rawPosition
			Publications  []rawPublication
			Recovered     bool
			WasRecovering bool `json:"was_recovering"`
		}
		Push *struct {
			Channel     string
			Pub         *rawPublication
			Unsubscribe *struct{ Code int }
		}
	}
	must(m.t, json.Unmarshal([]byte(text), &said))
	switch {
	case said.Subscribe != nil:
		at := m.at[fmt.Sprint(said.ID)]
		if said.Subscribe.WasRecovering && !said.Subscribe.Recovered {
			m.t.Fatalf("not recovered: %.300s", text)
		}
		if at.in {
			m.t.Fatalf("a member already: %.300s", text)
		}
		at.in, at.Offset, at.Epoch = true, said.Subscribe.Offset, said.Subscribe.Epoch
		for _, pub := range said.Subscribe.Publications {
			m.publication(at, &pub)
		}
	case said.Push != nil && said.Push.Pub != nil:
		m.publication(m.at[said.Push.Channel], said.Push.Pub)
	case said.Push != nil && said.Push.Unsubscribe != nil:
		equal(m.t, "code", said.Push.Unsubscribe.Code, 2500)
		at := m.at[said.Push.Channel]
		at.in = false
		m.parted++
		m.subscribe(said.Push.Channel, fmt.Sprintf(`,"recover":true,"offset":%d,"epoch":%q`, at.Offset, at.Epoch))
	case text != "{}":
		m.t.Fatalf("heard %.300s", text)
	}
}

func (m *rawMember) publication(at *rawPosition, pub *rawPublication) {
	m.t.Helper()
	if !at.in || pub.Offset != at.Offset+1 {
		m.t.Fatalf("heard number %d (%.20s) as a member: %v, the last was %d", pub.Offset, pub.Data, at.in, at.Offset)
	}
	at.Offset = pub.Offset
	text, _, _ := strings.Cut(pub.Data, " ")
	at.heard = append(at.heard, text)
}

// A client that stops reading for a while stays, and hears all of it once.
func TestASlowCentrifugeClientHealsFromHistory(t *testing.T) {
	t.Parallel()
	s := start(t, "--history", "1000")
	m := openRawMember(t, s, "loud", "quiet", "silent")
	sender := dial(t, s)
	said := map[string][]string{}
	say := func(group string) {
		number := fmt.Sprint(len(said[group]))
		must1(t, sender.askOK)(sendCommand(group, number+" "+strings.Repeat("x", 8<<10)))
		said[group] = append(said[group], number)
	}
	for s.status().Total.SlowSkipped < 20 {
		for range 8 {
			say("loud")
		}
		say("quiet")
	}
	for group := range said {
		for m.at[group].Offset < uint64(len(said[group])) {
			m.hear()
		}
	}
	parted := m.parted
	for range 10 { // it keeps up
		for _, group := range []string{"loud", "quiet", "silent"} {
			say(group)
			for m.at[group].Offset < uint64(len(said[group])) {
				m.hear()
			}
		}
	}
	for group, texts := range said {
		equalTexts(t, "heard of "+group, m.at[group].heard, texts)
	}
	total := s.status().Total
	if parted == 0 || parted > 2 || m.parted != parted || total.SlowHealed != 1 || total.SlowClosed != 0 || total.Members != 3 {
		t.Errorf("taken out of %d groups, then of %d; healed %d, closed %d, members %d; want it of 1 or 2, of none, 1, 0 and 3",
			parted, m.parted-parted, total.SlowHealed, total.SlowClosed, total.Members)
	}
}

// The same with the real library: it joins again by itself, and the page hears each message once.
func TestASlowPageHealsFromHistory(t *testing.T) {
	t.Parallel()
	s := start(t, "--history", "10000")
	p := openNodePage(t, s.addr)
	p.listensWithHistory("room", "{}")
	sender := dial(t, s)
	p.do(`WebSocket.last.pause()`)
	var texts []string
	say := func(long string) {
		texts = append(texts, fmt.Sprint(len(texts), long))
		must1(t, sender.askOK)(sendCommand("room", texts[len(texts)-1]))
	}
	for long := strings.Repeat(" ", 8<<10); s.status().Total.SlowSkipped < 20; {
		for range 8 {
			say(long)
		}
	}
	p.do(`WebSocket.last.resume()`)
	equal(t, "code by which it is taken out of the group", p.take("subscribing", func(step nodeStep) bool { return step.Step == "subscribing" && step.Code > 0 }).Code, 2500)
	in := p.inChannel("room")
	equal(t, "asked for what it missed", in.WasRecovering, true)
	equal(t, "recovered", in.Recovered, true)
	say(", and it goes on")
	p.hearsAll(texts...)
	total := s.status().Total
	equal(t, "disconnected", p.untaken("disconnected")+p.untaken("connecting"), 0)
	if total.SlowHealed != 1 || total.SlowClosed != 0 || total.Members != 1 {
		t.Errorf("healed %d, closed %d, members %d, want 1, 0 and 1", total.SlowHealed, total.SlowClosed, total.Members)
	}
}
