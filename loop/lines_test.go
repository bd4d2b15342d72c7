package loop

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"ringcast/dialect"
	"ringcast/loop/order"
	"ringcast/wsproto"
)

// lines is a dialect that asks of the seam what plain does not: several commands in one message, one a line; commands that are
// answered though they name no id; answers that name the group; a greeting that names the client; faults with a code of their
// own; and nothing to tell of a gap.
var lines = dialect.Entry{
	Name:   "lines",
	Serves: func(path string) bool { return path == "/lines" },
	New:    func() dialect.Dialect { return &lineDialect{} },
}

type lineDialect struct{ dialect.Plain }

func (d *lineDialect) Next(payload []byte, binary bool) (dialect.Command, []byte, dialect.ErrorCode) {
	line, rest, _ := bytes.Cut(payload, []byte("\n"))
	if string(line) == "bye" {
		return dialect.Command{Verb: dialect.Close, Code: 3501, Reason: "bye"}, rest, ""
	}
	cmd, _, code := d.Plain.Next(line, binary)
	if cmd.ID == nil {
		cmd.ID = []byte{}
	}
	return cmd, rest, code
}

func (d *lineDialect) Answer(dst []byte, o dialect.Outcome) []byte {
	text := ""
	switch o.What {
	case dialect.Greeting:
		text = fmt.Sprintf("you are %d", o.Client)
	case dialect.OK:
		text = fmt.Sprintf("ok %v %s", o.Verb, o.Group)
	case dialect.Refused:
		text = fmt.Sprintf("no %v %s %s", o.Verb, o.Group, o.Code)
	case dialect.Published:
		text = fmt.Sprintf("number %d", o.Number)
	default:
		return dst
	}
	return wsproto.AppendFrame(dst, wsproto.OpText, []byte(text))
}

func TestADialectMayHaveSeveralCommandsInAMessageAndAnswerEach(t *testing.T) {
	s := startServer(t, Config{Loops: 2, Dialects: []dialect.Entry{lines}, Limits: Limits{GroupsPerClient: 2}})
	p := dialPath(t, s, "/lines")
	infos, err := allClients(context.Background(), s.Hub())
	if err != nil || len(infos) != 1 {
		t.Fatalf("got %d clients (%v), want 1", len(infos), err)
	}
	if got, want := hearTexts(t, p, 1)[0], fmt.Sprintf("you are %d", infos[0].ID); got != want {
		t.Errorf("greeting: got %q, want %q", got, want)
	}
	p.say("%s", strings.Join([]string{
		`{"cmd":"add_group","group_id":"a"}`,
		`{"cmd":"send_to_group","group_id":"a","message":"hi"}`,
		`{"cmd":"add_group","group_id":"b"}`,
		`{"cmd":"add_group","group_id":"c"}`,
		`{"cmd":"leave_group","group_id":"b"}`,
		`bye`,
		`{"cmd":"send_to_group","group_id":"a","message":"not any more"}`,
	}, "\n"))
	heard := map[string]bool{}
	for {
		op, text, err := p.next()
		if err != nil {
			t.Fatalf("after %v: %v", heard, err)
		}
		if op == byte(wsproto.OpClose) {
			if text != "\x0d\xadbye" {
				t.Errorf("got a Close frame with %q, want 3501 bye", text)
			}
			break
		}
		heard[text] = true
	}
	// What homes decide is said only if it came before the end; what the loop decides is said in any case.
	for _, want := range []string{"no add_group c too_many_groups", "ok leave_group b"} {
		if !heard[want] {
			t.Errorf("got %v, want %q among them", heard, want)
		}
	}
	if n := s.Hub().Snapshot().Total().Published; n > 1 {
		t.Errorf("got %d publishes, want none after the command that closes", n)
	}
}

// An id may be empty: a client that asks is answered, by the loop and by the home alike.
func TestAnEmptyIDIsAnsweredWhoeverDecides(t *testing.T) {
	st := newStage(2, nil, lines)
	first, second := st.enterAt(0, "/lines"), st.enterAt(0, "/lines")
	for _, c := range []*stageConn{first, second} {
		c.say(`{"cmd":"add_group","group_id":"1g"}`)
		st.settle()
		c.heard(t, "ok add_group 1g")
	}
	first.say(`{"cmd":"send_to_group","group_id":"1g","message":"x"}`)
	st.settle()
	first.heard(t, "number 1")
}

// With --slow-client drop a client loses messages only if it can be told; of a dialect that has no word for it, it is closed.
func TestAClientThatCannotBeToldOfAGapIsClosed(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.SlowClient, b.OutboxBytesMax = SlowDrop, 500 }, lines)
	plain, line := st.enter(0), st.enterAt(0, "/lines")
	for _, c := range []*stageConn{plain, line} {
		c.say(`{"cmd":"add_group","group_id":"0g","id":1}`)
		c.stuck = true
	}
	st.settle()
	port, err := st.hub.NewPort()
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := insist(port, "0g", bytes.Repeat([]byte("x"), 300)); err != nil {
			t.Fatal(err)
		}
		st.settle()
	}
	if plain.client.state != stateOpen || line.client.state == stateOpen {
		t.Errorf("plain is %v, the other %v; want open and closing", plain.client.state, line.client.state)
	}
	if got := st.hub.Snapshot().Total(); got.SlowDropped == 0 || got.SlowClosed != 1 {
		t.Errorf("got %d dropped, %d closed; want some and 1", got.SlowDropped, got.SlowClosed)
	}
}

// Text is heard in capitals, JSON as it is: a dialect knows which is which.
func TestAMessageSaysWhetherItIsJSON(t *testing.T) {
	st := newStage(1, nil, loud)
	plain, shouting := st.enter(0), st.enterAt(0, "/loud")
	shouting.say(`{"cmd":"add_group","group_id":"0"}`)
	plain.say(`{"cmd":"send_to_group","group_id":"0","message":"text"}`)
	plain.say(`{"cmd":"send_to_group","group_id":"0","message":{"a":"b"}}`)
	st.settle()
	shouting.heard(t, "TEXT")
	shouting.heard(t, `{"a":"b"}`)
}

// While another loop makes a form, the audiences behind are served in the same turn.
func TestAnAudienceThatWaitsForItsFormHoldsUpNoOther(t *testing.T) {
	st := newStage(1, nil, loud)
	shouting, plain := st.enterAt(0, "/loud"), st.enter(0)
	shouting.say(`{"cmd":"add_group","group_id":"0"}`)
	plain.say(`{"cmd":"add_group","group_id":"0 other"}`)
	st.settle()
	s := st.hub.shards[0]
	m, finish := beingMade("said")
	s.passes.gather(s.groups.Get("0"), m)
	other, _ := order.NewMessage([]byte("0 other"), []byte("heard"), nil, false)
	s.passes.gather(s.groups.Get("0 other"), other)
	s.woken()
	plain.heard(t, "heard")
	if !st.kicks[0] {
		t.Error("got no kick, want the loop to look again")
	}
	finish()
	st.settle()
	shouting.heard(t, "SAID")
}
