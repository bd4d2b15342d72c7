package dialect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"ringcast/wsproto"
)

func TestCentrifugeCommandsAskWhoIsThere(t *testing.T) {
	const bad = "close 3501 bad request"
	for _, test := range []struct{ frame, want string }{
		// As centrifuge-js says them.
		{`{"subscribe":{"channel":"c","join_leave":true,"flag":1},"id":2}`, `add_group "c" hears id=2`},
		{`{"presence":{"channel":"c"},"id":4}`, `presence "c" id=4`},

		{`{"id":2,"subscribe":{"channel":"c","join_leave":false}}`, `add_group "c" id=2`},
		{`{"id":2,"subscribe":{"channel":"c","join_leave":null}}`, `add_group "c" id=2`},
		{`{"id":2,"subscribe":{"\u006aoin_leave":true,"channel":"c"}}`, `add_group "c" hears id=2`},
		{`{"id":2,"subscribe":{"join_leave":false,"channel":"c","join_leave":true}}`, `add_group "c" hears id=2`},
		{`{"id":2,"subscribe":{"channel":"c","joinLeave":true,"join_leav":true,"join_leaves":1}}`, `add_group "c" id=2`},
		{`{"id":2,"subscribe":{"channel":"c","join_leave":1}}`, bad},
		{`{"id":2,"subscribe":{"channel":"c","join_leave":"true"}}`, bad},
		{`{"id":2,"subscribe":{"channel":"c","join_leave":{}}}`, bad},
		{`{"id":2,"subscribe":{"channel":7,"join_leave":[]}}`, bad},
		{`{"id":2,"subscribe":{"channel":"","join_leave":true}}`, `add_group bad_group_id id=2`},
		{`{"id":4,"presence":{"channel":"c","join_leave":1,"recover":1}}`, `presence "c" id=4`},
		{`{"id":4,"presence":{}}`, `presence bad_group_id id=4`},
		{`{"id":4,"presence":{"channel":""}}`, `presence bad_group_id id=4`},
		{`{"id":4,"presence":"c"}`, bad},
		{`{"presence":{"channel":"c"}}`, bad},
		{`{"id":4,"publish":{"channel":"c","data":1,"join_leave":1}}`, `send_to_group "c" "1" json=true id=4`},
		{`{"id":4,"unsubscribe":{"channel":"c","join_leave":1}}`, `leave_group "c" id=4`},
		{`{"id":4,"history":{"channel":"c","join_leave":1}}`, `history "c" limit=0 id=4`},
	} {
		if got := commandsOf(t, newCentrifuge(), test.frame); len(got) != 1 || got[0] != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.frame, got, test.want)
		}
	}
}

func TestCentrifugeTellsWhoIsThere(t *testing.T) {
	id, name := []byte("7"), func(client uint64) string { return string(newCentrifuge().clientName(nil, client)) }
	member := func(client uint64) string {
		return fmt.Sprintf(`"%[1]s":{"user":"","client":"%[1]s"}`, name(client))
	}
	listed := func(present ...Present) Outcome {
		return Outcome{What: Listed, Verb: Presence, ID: id, Present: present}
	}
	for _, test := range []struct {
		outcome Outcome
		want    string
	}{
		{listed(), `{"id":7,"presence":{"presence":{}}}`},
		{listed(Present{Client: 64}), `{"id":7,"presence":{"presence":{` + member(64) + `}}}`},
		{listed(Present{Client: 64, Name: name(1)}, Present{Client: 1, Name: name(1 << 30), Who: WhoIs{User: "ann"}.Who()}), `{"id":7,"presence":{"presence":{` + member(1) +
			`,"` + name(1<<30) + `":{"user":"ann","client":"` + name(1<<30) + `"}}}}`}, // of another node, whatever their numbers are
		{listed(Present{Client: 65}, Present{Client: 1<<38 - 1}, Present{Client: 64}), `{"id":7,"presence":{"presence":{` + member(65) + `,` + member(1<<38-1) + `,` + member(64) + `}}}`},
		{listed(Present{Client: 64, Who: WhoIs{User: `a"b`, Info: []byte(`{"n":1}`), GroupInfo: []byte(`[2]`)}.Who()}, Present{Client: 65, Who: WhoIs{}.Who()}, Present{Client: 66, Who: WhoIs{User: "ann", GroupInfo: []byte(`3`)}.Who()}),
			`{"id":7,"presence":{"presence":{"` + name(64) + `":{"user":"a\"b","client":"` + name(64) + `","conn_info":{"n":1},"chan_info":[2]},` + member(65) +
				`,"` + name(66) + `":{"user":"ann","client":"` + name(66) + `","chan_info":3}}}}`},
		{Outcome{What: Members, Verb: Stats, ID: id, Number: 3, Users: 1}, `{"id":7,"presence_stats":{"num_clients":3,"num_users":1}}`},
		{Outcome{What: Members, Verb: Stats, ID: id, Number: 1<<64 - 1, Users: 1<<64 - 1}, `{"id":7,"presence_stats":{"num_clients":18446744073709551615,"num_users":18446744073709551615}}`},
		{Outcome{What: Refused, Verb: Presence, ID: id, Code: ErrNotAvailable}, `{"id":7,"error":{"code":108,"message":"not available"}}`},
		{Outcome{What: Refused, Verb: Presence, ID: id, Code: ErrNotMember}, `{"id":7,"error":{"code":103,"message":"permission denied"}}`},
		{Outcome{What: Parted, Group: "chat"}, `{"push":{"channel":"chat","unsubscribe":{"code":2500,"reason":"insufficient state"}}}`},
		{Outcome{What: Parted, Group: "組\n\""}, `{"push":{"channel":"組\n\"","unsubscribe":{"code":2500,"reason":"insufficient state"}}}`},
	} {
		frame, behind := bytes.CutPrefix(newCentrifuge().Answer([]byte("before"), test.outcome), []byte("before"))
		if got := replyText(t, frame); !behind || got != test.want || !json.Valid([]byte(got)) {
			t.Errorf("%+v:\n got %s\nwant %s", test.outcome, got, test.want)
		}
	}
	if got := newCentrifuge().Answer(nil, Outcome{What: Listed, Verb: Presence, Present: []Present{{Client: 64}}}); len(got) != 0 {
		t.Errorf("without an id: got %q, want nothing", got)
	}
}

func TestCentrifugePushesWhoComesAndGoes(t *testing.T) {
	name := string(newCentrifuge().clientName(nil, 129))
	for _, test := range []struct {
		m    Message
		want string
	}{
		{Message{Group: "chat", Sort: Came}, `{"push":{"channel":"chat","join":{"info":{"user":"","client":"` + name + `"}}}}`},
		{Message{Group: "chat", Sort: Went}, `{"push":{"channel":"chat","leave":{"info":{"user":"","client":"` + name + `"}}}}`},
		{Message{Group: "chat", Sort: Came, More: &More{Who: WhoIs{User: "ann\n", Info: []byte(`{"name":"Ann"}`), GroupInfo: []byte(`1`)}.Who()}},
			`{"push":{"channel":"chat","join":{"info":{"user":"ann\n","client":"` + name + `","conn_info":{"name":"Ann"},"chan_info":1}}}}`},
		{Message{Group: "chat", Sort: Went, More: &More{Who: WhoIs{User: "ann"}.Who()}}, `{"push":{"channel":"chat","leave":{"info":{"user":"ann","client":"` + name + `"}}}}`},
		{Message{Group: "組\n\x01", Sort: Went, JSON: true, Kept: true, Offset: 7}, `{"push":{"channel":"組\n\u0001","leave":{"info":{"user":"","client":"` + name + `"}}}}`},
	} {
		test.m.SenderLoop, test.m.SenderSerial = 1, 2
		if got := string(pushText(t, &test.m)); got != test.want {
			t.Errorf("%+v:\n got %s\nwant %s", test.m, got, test.want)
		}
	}
}

// sameGroup checks with encoding/json that all pushes about a group name it, and that each fits its frame.
func sameGroup(t *testing.T, group string) {
	t.Helper()
	parted := newCentrifuge().Answer(nil, Outcome{What: Parted, Group: group})
	texts := map[string][]byte{
		"join":        pushText(t, &Message{Group: group, Sort: Came, SenderSerial: 1}),
		"leave":       pushText(t, &Message{Group: group, Sort: Went, SenderSerial: 1}),
		"unsubscribe": wsproto.TextPayload(parted),
	}
	if text := texts["unsubscribe"]; !bytes.Equal(parted, wsproto.AppendFrame(nil, wsproto.OpText, text)) || bytes.ContainsAny(text, "\r\n") {
		t.Fatalf("group %q: got %q, want one text frame with one line", group, parted)
	}
	for what, text := range texts {
		var reply struct{ Push map[string]json.RawMessage }
		var channel string
		if err := json.Unmarshal(text, &reply); err != nil || json.Unmarshal(reply.Push["channel"], &channel) != nil || channel != group || len(reply.Push) != 2 || reply.Push[what] == nil {
			t.Fatalf("group %q: got %s (%v), want a push of %s to it", group, text, err, what)
		}
	}
}

func TestPushesOfPresenceNameTheirGroup(t *testing.T) {
	for c := range byte(0x80) {
		sameGroup(t, string(rune(c))+"after it")
	}
	for size := 1; size <= GroupBytesMax; size++ { // the header grows at 126 bytes
		sameGroup(t, strings.Repeat("x", size))
		sameGroup(t, strings.Repeat("\x01", size))
	}
}

// A page finds itself and those whom it hears in the list: a client has one name, wherever it stands.
func TestAClientHasOneNameInListsPushesAndItsOwnReply(t *testing.T) {
	c := newCentrifuge()
	for client := range uint64(300) {
		client += 64
		m := message("g", "hi", false)
		m.SenderLoop, m.SenderSerial = uint8(client%64), uint32(client/64)
		came, went := *m, *m
		came.Sort, went.Sort, came.Wire, went.Wire = Came, Went, "", ""
		type info struct{ Client string }
		var connected struct{ Connect info }
		var listed struct {
			Presence struct{ Presence map[string]info }
		}
		var said struct {
			Push struct{ Pub struct{ Info info } }
		}
		var moved struct {
			Push struct{ Join, Leave struct{ Info info } }
		}
		for _, said := range []struct {
			frame []byte
			into  any
		}{
			{c.Answer(nil, Outcome{What: OK, Verb: Connect, ID: []byte("1"), Client: client}), &connected},
			{c.Answer(nil, Outcome{What: Listed, Verb: Presence, ID: []byte("1"), Client: 7, Present: []Present{{Client: client}, {Client: client + 1}}}), &listed},
			{c.Encode(m), &said}, {c.Encode(&came), &moved}, {c.Encode(&went), &moved},
		} {
			if err := json.Unmarshal(wsproto.TextPayload(said.frame), said.into); err != nil {
				t.Fatal(err)
			}
		}
		name, list := connected.Connect.Client, listed.Presence.Presence
		if got := []string{said.Push.Pub.Info.Client, moved.Push.Join.Info.Client, moved.Push.Leave.Info.Client, list[name].Client}; len(list) != 2 ||
			len(name) != clientNameBytes || !slices.Equal(got, []string{name, name, name, name}) {
			t.Fatalf("client %d: got the names %q and the list %v, want %q everywhere, and two in the list", client, got, slices.Collect(maps.Keys(list)), name)
		}
	}
}

func TestAListOfAThousandCostsNoMemoryForEach(t *testing.T) {
	c := newCentrifuge()
	present := make([]Present, 1000)
	for i := range present {
		present[i] = Present{Client: uint64(64 + i), Who: WhoIs{User: "ann", Info: []byte(`{"name":"Ann"}`)}.Who()}
	}
	dst := make([]byte, 0, 200<<10)
	o := Outcome{What: Listed, Verb: Presence, ID: []byte("1"), Present: present}
	if got := testing.AllocsPerRun(20, func() { sink = c.Answer(dst, o) }); got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
	var reply struct {
		Presence struct{ Presence map[string]any }
	}
	if err := json.Unmarshal(wsproto.TextPayload(sink), &reply); err != nil || len(reply.Presence.Presence) != len(present) {
		t.Errorf("got %d members (%v), want %d", len(reply.Presence.Presence), err, len(present))
	}
	if got := testing.AllocsPerRun(20, func() { sink = c.Answer(nil, o) }); got > 40 { // it grows by a part of itself, not by members
		t.Errorf("got %v allocations without memory to write to, want at most 40", got)
	}
}

func TestPlainAndEchoAreToldNothingOfPresence(t *testing.T) {
	for name, d := range map[string]Dialect{"plain": &Plain{}, "echo": Echo.New()} {
		for _, sort := range []Sort{Came, Went} {
			if got := d.Encode(&Message{Group: "g", Sort: sort, SenderSerial: 1}); len(got) != 0 {
				t.Errorf("%s, sort %d: got %q, want nothing", name, sort, got)
			}
		}
		for _, o := range []Outcome{{What: Listed, Verb: Presence, ID: []byte("7"), Present: []Present{{Client: 64}}}, {What: Parted, Group: "g"}} {
			if got := d.Answer(nil, o); len(got) != 0 {
				t.Errorf("%s, %+v: got %q, want nothing", name, o, got)
			}
		}
	}
}

func TestWhoAsksForPingsOfWebSocket(t *testing.T) {
	pings := Centrifuge([16]byte{}).Pings
	for query, want := range map[string]bool{
		"cf_ws_frame_ping_pong=true": true, "a=b&cf_ws_frame_ping_pong=true&c": true, "&&%zz&cf_ws_frame_ping_pong=true": true,
		"": false, "a=b": false, "cf_ws_frame_ping_pong": false, "cf_ws_frame_ping_pong=": false, "cf_ws_frame_ping_pong=false": false, "cf_ws_frame_ping_pong=1": false,
		"x=cf_ws_frame_ping_pong=true": false, "cf_ws_frame_ping_pong=true;": false, "?cf_ws_frame_ping_pong=true": false, "cf_ws_frame_ping_pong=trues": false,
	} {
		if got := pings(query); got != want {
			t.Errorf("%q: got %v, want %v", query, got, want)
		}
	}
}
