package order

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"ringcast/dialect"
)

// openPort is a port of a table, with a loop that is nobody's home but the group's whose name begins with its number.
func openPort(t *testing.T, hs *table) *Port[*part, *asker] {
	t.Helper()
	p, err := hs.NewPort()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// said is the receipt of a publish.
func said(t *testing.T, p *Port[*part, *asker], group string, s Said) Receipt {
	t.Helper()
	r, err := p.Say(t.Context(), group, s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func text(text string) Said { return Said{Payload: []byte(text)} }

func TestAReceiptSaysWhereAMessageIsAndHowManyMembersThereAre(t *testing.T) {
	hs, _ := remembering(2, 10, 10)
	kinds := hs.env.Kind
	hs.env.Kind = func(group string) Kind {
		if group == "1kept" {
			return kinds(group)
		}
		return Kind{}
	}
	p := openPort(t, hs)
	for _, group := range []string{"1kept", "1passing"} {
		for loop := range 2 {
			join(hs, loop, &part{name: group}, numbered(loop, 1), false)
		}
	}
	for i, test := range []struct {
		group string
		said  Said
		want  Receipt
	}{
		{"1nobody", text("x"), Receipt{}},
		{"1passing", text("x"), Receipt{Position: Position{Offset: 1}, Members: 2}},
		{"1passing", Said{Unkept: true}, Receipt{Members: 2}},
		{"1passing", text(""), Receipt{Position: Position{Offset: 2}, Members: 2}},
		{"1kept", text("x"), Receipt{Position: Position{Offset: 1}, Kept: true, Members: 2}},
		{"1kept", Said{Unkept: true}, Receipt{Members: 2}},
		{"1kept", text("x"), Receipt{Position: Position{Offset: 2}, Kept: true, Members: 2}},
	} {
		if test.want.Kept {
			test.want.Position.Epoch = hs.homes[1].groups.Get("1kept").history.epoch
		}
		if got := said(t, p, test.group, test.said); got != test.want {
			t.Errorf("%d: got %+v, want %+v", i, got, test.want)
		}
	}
}

func TestWhatAPortSaysReachesMembersAsItIsSaid(t *testing.T) {
	hs := newTable(1, 256)
	p, tags, who := openPort(t, hs), []byte(`{"a":"b"}`), dialect.WhoIs{User: "ann"}.Who()
	payload := []byte(`{"n":1}`)
	join(hs, 0, &part{name: "0g"}, numbered(0, 1), false)
	said(t, p, "0g", Said{Payload: payload, JSON: true, Tags: tags, Who: who, Unkept: true})
	payload[0], tags[0] = 'x', 'x' // the caller's own again
	said(t, p, "0g", text("plain"))
	var got []*Message
	hs.Lanes(0).Drain(nil, func(d Delivery[*part, *asker]) bool {
		if d.Message != nil {
			got = append(got, d.Message)
		}
		return true
	})
	if len(got) != 2 {
		t.Fatalf("got %d messages, want 2", len(got))
	}
	if m := got[0]; string(m.Payload()) != `{"n":1}` || !m.JSON || m.Who() != who || string(m.More.Tags) != `{"a":"b"}` || !m.Unkept() || m.Offset != 0 {
		t.Errorf("got %+v with %+v, want what was said", m.Message, m.More)
	}
	if m := got[1]; string(m.Payload()) != "plain" || m.JSON || m.More != nil || m.Offset != 1 {
		t.Errorf("got %+v, want a text with nothing more", m.Message)
	}
	for _, bad := range []struct {
		said Said
		want error
	}{{Said{Key: string(make([]byte, KeyBytesMax+1))}, ErrBadKey}} {
		if _, err := p.Offer("0g", bad.said); err != bad.want {
			t.Errorf("got %v, want %v", err, bad.want)
		}
	}
}

// What is not kept is heard in its place among the others, and a position is the same before it and behind it.
func TestWhatIsNotKeptHasNoNumberAndMovesNoPosition(t *testing.T) {
	hs, now := remembering(1, 10, 10)
	p, g := openPort(t, hs), &part{name: "0g"}
	for i := range 6 {
		said(t, p, "0g", Said{Payload: fmt.Append(nil, i), Unkept: i%2 == 0})
	}
	if hs.homes[0].groups.Get("0g").offset != 3 {
		t.Errorf("got %d numbers, want 3", hs.homes[0].groups.Get("0g").offset)
	}
	*now = 9
	said(t, p, "0g", Said{Unkept: true})
	d := answer(t, hs, 0, Request[*part, *asker]{Op: OpJoin, Local: g, Past: &Ask{Recover: true, MessagesMax: 10, BytesMax: 1 << 20}})
	var got []string
	for _, m := range d.Past.Messages {
		got = append(got, string(m.Payload()))
	}
	if d.Past.Top.Offset != 3 || !d.Past.Recovered || !slices.Equal(got, []string{"1", "3", "5"}) {
		t.Errorf("got %+v with %q, want the three that are kept", d.Past, got)
	}
	for i := range 4 {
		said(t, p, "0g", Said{Payload: fmt.Append(nil, i), Unkept: i%2 == 0})
	}
	if got := heardBy(hs.Lanes(0)); !slices.Equal(got, []string{"0", "1", "2", "3"}) {
		t.Errorf("got %q, want all in their order", got)
	}
	*now = 30
	said(t, p, "0passing", Said{Unkept: true})
	if hg := hs.homes[0].groups.Get("0passing"); hg != nil {
		t.Errorf("got %+v, want no group to be known for what is not kept", hg)
	}
	if wrong := hs.homes[0].CheckHistories(); wrong != "" {
		t.Error(wrong)
	}
}

func TestAPortReadsWhatIsKeptAndWhoIsThere(t *testing.T) {
	hs, _ := remembering(2, 10, 10)
	hs.env.Kind = func(group string) Kind {
		return map[string]Kind{"1all": {Messages: 10, TTL: 10, Presence: true}}[group]
	}
	p, ann := openPort(t, hs), dialect.WhoIs{User: "ann"}.Who()
	for i := range 5 {
		said(t, p, "1all", text(fmt.Sprint(i)))
	}
	r := Request[*part, *asker]{Op: OpJoin, Local: &part{name: "1all"}, Client: numbered(0, 1)}
	r.Identify(ann)
	hs.Lanes(0).Offer(1, r)
	hs.Lanes(0).Host()
	join(hs, 1, &part{name: "1none"}, numbered(1, 2), false)
	past, err := p.History(t.Context(), "1all", Ask{Limit: 2, Since: Position{Offset: 1}, MessagesMax: 10, BytesMax: 1 << 20})
	if err != nil || past.None || past.Lost || past.Top.Offset != 5 || past.Top.Epoch == 0 || len(past.Messages) != 2 || past.Messages[0].Offset != 2 {
		t.Errorf("got %+v (%v), want messages 2 and 3 of 5", past, err)
	}
	past, err = p.History(t.Context(), "1all", Ask{Limit: -1, Since: Position{Offset: 1, Epoch: 7}, MessagesMax: 10, BytesMax: 1 << 20})
	if err != nil || !past.Lost {
		t.Errorf("got %+v (%v), want that the position is lost", past, err)
	}
	past, err = p.Presence(t.Context(), "1all")
	if err != nil || past.None || past.Crowded || past.Members != 1 || past.Users != 1 || !slices.Equal(past.Present, []dialect.Present{{Client: 64, Who: ann}}) {
		t.Errorf("got %+v (%v), want ann alone", past, err)
	}
	for _, group := range []string{"1none", "1nobody"} {
		history, err := p.History(t.Context(), group, Ask{Limit: -1})
		presence, err2 := p.Presence(t.Context(), group)
		if err != nil || err2 != nil || !history.None || !presence.None || (presence.Members == 1) != (group == "1none") {
			t.Errorf("%s: got %+v (%v) and %+v (%v), want that there is neither", group, history, err, presence, err2)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	letGo, _ := hs.Home(1).Hold()
	if _, err := p.Presence(ended, "1all"); err != context.Canceled {
		t.Errorf("who does not wait: got %v", err)
	}
	letGo()
}

func TestAHistoryThatIsForgottenBeginsAnotherEpoch(t *testing.T) {
	for _, there := range []bool{false, true} {
		hs, _ := remembering(1, 10, 10)
		p, g := openPort(t, hs), &part{name: "0g"}
		if there {
			join(hs, 0, g, numbered(0, 1), false)
		}
		for range 3 {
			said(t, p, "0g", text("x"))
		}
		before, _ := p.History(t.Context(), "0g", Ask{})
		if err := p.Forget(t.Context(), "0g"); err != nil {
			t.Fatal(err)
		}
		after, err := p.History(t.Context(), "0g", Ask{Limit: -1, MessagesMax: 10, BytesMax: 1 << 20})
		if err != nil || after.Top.Epoch == before.Top.Epoch || len(after.Messages) != 0 || there != (after.Top.Offset == 3) {
			t.Errorf("members %v: got %+v (%v), want nothing, and another epoch than %d", there, after, err, before.Top.Epoch)
		}
		d := answer(t, hs, 0, Request[*part, *asker]{Op: OpJoin, Local: g, Past: &Ask{Recover: true, Since: before.Top, MessagesMax: 10, BytesMax: 1 << 20}})
		if d.Past.Recovered {
			t.Errorf("members %v: a position from before is recovered", there)
		}
		if r := said(t, p, "0g", text("x")); r.Position.Epoch != after.Top.Epoch || r.Position.Offset != after.Top.Offset+1 {
			t.Errorf("members %v: got %+v behind %+v", there, r, after.Top)
		}
		if wrong := hs.homes[0].CheckHistories(); wrong != "" {
			t.Errorf("members %v: %s", there, wrong)
		}
	}
	hs := newTable(1, 256)
	if err := openPort(t, hs).Forget(t.Context(), "0g"); err != ErrNoHistory {
		t.Errorf("without history: got %v, want ErrNoHistory", err)
	}
}
