package dialect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ringcast/wsproto"
)

// newCentrifuge is the dialect's value of one loop, with a key of zeros.
func newCentrifuge() *centrifuge { return Centrifuge([16]byte{}).New().(*centrifuge) }

// showCentrifuge is a command or its error in words.
func showCentrifuge(cmd Command, code ErrorCode) string {
	id := "-"
	if cmd.ID != nil {
		id = string(cmd.ID)
	}
	switch {
	case code != "":
		return fmt.Sprintf("%v %s id=%s", cmd.Verb, code, id)
	case cmd.Verb == Close:
		return fmt.Sprintf("close %d %s", cmd.Code, cmd.Reason)
	case cmd.Verb == SendToGroup:
		return fmt.Sprintf("send_to_group %q %q json=%v id=%s", cmd.Group, cmd.Message, cmd.JSON, id)
	case cmd.Group != nil:
		hears, token := "", showToken(&cmd)
		if cmd.Hears {
			hears = " hears"
		}
		return fmt.Sprintf("%v %q%s%s%s id=%s", cmd.Verb, cmd.Group, hears, showPast(&cmd), token, id)
	}
	return fmt.Sprintf("%v%s%s id=%s", cmd.Verb, showToken(&cmd), showResume(&cmd), id)
}

// showResume is where a client that connects was, in words.
func showResume(cmd *Command) (s string) {
	for _, group := range slices.Sorted(maps.Keys(cmd.Resume)) {
		s += fmt.Sprintf(" %q=%d/%d", group, cmd.Resume[group].Offset, cmd.Resume[group].Epoch)
	}
	return s
}

// showToken is the token of a command, in words.
func showToken(cmd *Command) string {
	if cmd.Token == nil {
		return ""
	}
	return fmt.Sprintf(" token=%q", cmd.Token)
}

// showPast is what a command asks of the past, in words.
func showPast(cmd *Command) (s string) {
	if cmd.Recover {
		s += " recover"
	}
	if cmd.OrNone {
		s += " or-none"
	}
	if cmd.Recover || cmd.HasSince || cmd.Since != (Position{}) {
		s += fmt.Sprintf(" since=%d/%d", cmd.Since.Offset, cmd.Since.Epoch)
	}
	if cmd.Verb == History || cmd.Limit != 0 {
		s += fmt.Sprintf(" limit=%d", cmd.Limit)
	}
	if cmd.Reverse {
		s += " reverse"
	}
	return s
}

// commandsOf are the commands of one frame in words.
func commandsOf(t *testing.T, c *centrifuge, frame string) (commands []string) {
	t.Helper()
	payload := []byte(frame)
	for more := true; more; more = len(payload) > 0 {
		before := len(payload)
		cmd, rest, code := c.Next(payload, false)
		if len(rest) >= max(before, 1) {
			t.Fatalf("%q: got %d bytes left of %d, want fewer with each command", frame, len(rest), before)
		}
		commands = append(commands, showCentrifuge(cmd, code))
		payload = rest
	}
	return commands
}

func TestCentrifugeCommands(t *testing.T) {
	const bad, pong = "close 3501 bad request", "respond id=-"
	for _, test := range []struct{ frame, want string }{
		// As centrifuge-js says them.
		{`{"connect":{"name":"js"},"id":1}`, `connect id=1`},
		{`{"connect":{"token":"x","data":{"a":[1]},"name":"js","version":"5","headers":{"h":"v"},"subs":{"c":{"recover":true}}},"id":1}`, `connect token="x" "c"=0/0 id=1`},
		{`{"connect":{"subs":{"a":{"recover":true,"offset":7,"epoch":"e"},"b":{"offset":7},"":{"recover":true},"\u7d44":{"recover":true,"later":1}}},"id":1}`, `connect "a"=7/14 "組"=0/0 id=1`},
		{`{"connect":{"subs":{"a":{"recover":true},"b":{"recover":true},"a":{"recover":false},"b":null,"c":{"recover":true},"\u0063":{"recover":true,"offset":2}}},"id":1}`, `connect "c"=2/0 id=1`},
		{`{"connect":{"subs":{"` + strings.Repeat("a", 255) + `":{"recover":true},"` + strings.Repeat("b", 256) + `":{"recover":true}}},"id":1}`, `connect "` + strings.Repeat("a", 255) + `"=0/0 id=1`},
		{`{"connect":{"subs":null},"id":1}`, `connect id=1`},
		{`{"connect":{"subs":{}},"id":1}`, `connect id=1`},
		{`{"connect":{"subs":[]},"id":1}`, bad},
		{`{"connect":{"subs":{"a":[]}},"id":1}`, bad},
		{`{"connect":{"subs":{"a":{"recover":1}}},"id":1}`, bad},
		{`{"connect":{"subs":{"a":{"offset":-1}}},"id":1}`, bad},
		{`{"connect":{"subs":{"` + strings.Repeat("a", 2000) + `":{"epoch":7}}},"id":1}`, bad},
		{`{"refresh":{"token":"x","subs":7},"id":10}`, `auth token="x" id=10`},
		{`{"subscribe":{"channel":"chat","flag":1},"id":2}`, `add_group "chat" id=2`},
		{`{"publish":{"channel":"chat","data":{"n":1}},"id":3}`, `send_to_group "chat" "{\"n\":1}" json=true id=3`},
		{`{"presence_stats":{"channel":"chat"},"id":5}`, `stats "chat" id=5`},
		{`{"unsubscribe":{"channel":"chat"},"id":6}`, `leave_group "chat" id=6`},
		{`{}`, pong},
		{`{"id":7,"ping":{}}`, `respond id=7`},
		{`{"presence":{"channel":"chat"},"id":4}`, `presence "chat" id=4`},
		{`{"history":{"channel":"chat","limit":10},"id":6}`, `history "chat" limit=10 id=6`},
		{`{"refresh":{"token":"x"},"id":10}`, `auth token="x" id=10`},
		{`{"refresh":{"token":""},"id":10}`, bad},
		{`{"refresh":{},"id":10}`, bad},
		{`{"refresh":{"token":[]},"id":10}`, bad},
		{`{"sub_refresh":{"channel":"c","token":"x"},"id":10}`, `auth_group "c" token="x" id=10`},
		{`{"sub_refresh":{"channel":"c"},"id":10}`, `auth_group bad_message id=10`},
		{`{"subscribe":{"channel":"c","token":7},"id":10}`, bad},
		{`{"connect":{"token":{}},"id":10}`, bad},
		{`{"publish":{"channel":"c","data":1,"token":7},"id":10}`, `send_to_group "c" "1" json=true id=10`},
		{`{"rpc":{"method":"m","data":1},"id":10}`, `none not_available id=10`},
		{`{"send":{"data":1}}`, `close 3508 not available`},
		{`{"id":1,"send":{"data":1}}`, `close 3508 not available`},

		// What is left out, and what is not known.
		{`{"id":1,"connect":{}}`, `connect id=1`},
		{` { "id" : 2 , "subscribe" : { "channel" : "c" , "token" : "" , "recover" : true , "offset" : 7 , "epoch" : "e" } } `, `add_group "c" recover since=7/14 id=2`},
		{`{"id":2,"subscribe":{"channel":"c","token":"x","since":{"offset":1}}}`, `add_group "c" token="x" id=2`},
		{`{"id":2,"later":[1,{"id":5}],"subscribe":{"channel":"c"},"":0}`, `add_group "c" id=2`},
		{`{"id":2,"connect":null,"subscribe":{"channel":"c"},"publish":null}`, `add_group "c" id=2`},
		{`{"id":2,"later":{}}`, `none unknown_cmd id=2`},
		{`{"id":2,"Connect":{}}`, `none unknown_cmd id=2`},
		{`{"later":{}}`, bad},
		{`{"id":0}`, pong},
		{`{"id":null,"connect":null}`, pong},
		{`{"\u0069d":9,"\u0073ubscribe":{"\u0063hannel":"c"}}`, `add_group "c" id=9`},
		{`{"id":1,"id":2,"subscribe":{"channel":"a","channel":"b"}}`, `add_group "b" id=2`},

		// The id.
		{`{"id":4294967295,"ping":{}}`, `respond id=4294967295`},
		{`{"id":4294967296,"ping":{}}`, bad},
		{`{"id":18446744073709551616,"ping":{}}`, bad},
		{`{"id":99999999999999999999999999,"ping":{}}`, bad},
		{`{"id":0,"ping":{}}`, bad},
		{`{"ping":{}}`, bad},
		{`{"id":null,"ping":{}}`, bad},
		{`{"id":-1,"ping":{}}`, bad},
		{`{"id":-0,"ping":{}}`, bad},
		{`{"id":1.0,"ping":{}}`, bad},
		{`{"id":1e3,"ping":{}}`, bad},
		{`{"id":01,"ping":{}}`, bad},
		{`{"id":"1","ping":{}}`, bad},
		{`{"id":[1],"ping":{}}`, bad},
		{`{"id":true,"ping":{}}`, bad},
		{`{"id":"x"}`, bad},
		{`{"id":1}`, bad},
		{`{"id":1,"subscribe":null}`, bad},

		// The method.
		{`{"id":1,"subscribe":{"channel":"c"},"unsubscribe":{"channel":"c"}}`, bad},
		{`{"id":1,"subscribe":{"channel":"c"},"subscribe":{"channel":"c"}}`, bad},
		{`{"id":1,"subscribe":"c"}`, bad},
		{`{"id":1,"connect":[]}`, bad},
		{`{"id":1,"connect":true}`, bad},
		{`{"send":1}`, bad},

		// The channel.
		{`{"id":1,"subscribe":{}}`, `add_group bad_group_id id=1`},
		{`{"id":1,"subscribe":{"channel":""}}`, `add_group bad_group_id id=1`},
		{`{"id":1,"subscribe":{"channel":null}}`, `add_group bad_group_id id=1`},
		{`{"id":1,"subscribe":{"channel":7}}`, `add_group bad_group_id id=1`},
		{`{"id":1,"unsubscribe":{"channel":{}}}`, `leave_group bad_group_id id=1`},
		{`{"id":1,"presence_stats":{"channel":["c"]}}`, `stats bad_group_id id=1`},
		{`{"id":1,"publish":{"data":1}}`, `send_to_group bad_group_id id=1`},
		{`{"id":1,"subscribe":{"channel":"` + strings.Repeat("a", 255) + `"}}`, `add_group "` + strings.Repeat("a", 255) + `" id=1`},
		{`{"id":1,"subscribe":{"channel":"` + strings.Repeat("a", 256) + `"}}`, `add_group bad_group_id id=1`},
		{`{"id":1,"subscribe":{"channel":"` + strings.Repeat(`\u0061`, 255) + `"}}`, `add_group "` + strings.Repeat("a", 255) + `" id=1`},
		{`{"id":1,"subscribe":{"channel":"` + strings.Repeat(`\u0061`, 256) + `"}}`, `add_group bad_group_id id=1`},
		{`{"id":1,"subscribe":{"channel":"` + strings.Repeat("組", 86) + `"}}`, `add_group bad_group_id id=1`},
		{`{"id":1,"subscribe":{"channel":"\u7d44\n"}}`, `add_group "組\n" id=1`},

		// The data.
		{`{"id":1,"publish":{"channel":"c"}}`, `send_to_group bad_message id=1`},
		{`{"id":1,"publish":{"channel":"c","data":null}}`, `send_to_group "c" "null" json=true id=1`},
		{`{"id":1,"publish":{"channel":"c","data": 1.50e3 }}`, `send_to_group "c" "1.50e3" json=true id=1`},
		{`{"id":1,"publish":{"channel":"c","data":[1, "\u0041"]}}`, `send_to_group "c" "[1, \"\\u0041\"]" json=true id=1`},
		{`{"id":1,"publish":{"channel":"c","data":"hi"}}`, `send_to_group "c" "hi" json=false id=1`},
		{`{"id":1,"publish":{"channel":"c","data":""}}`, `send_to_group "c" "" json=false id=1`},
		{`{"id":1,"publish":{"data":"a\n\"\u00e9\ud83d\ude00","channel":"\u0063"}}`, `send_to_group "c" "a\n\"é😀" json=false id=1`},
		{`{"id":1,"publish":{"channel":"\u0063","data":"{\"a\":1}"}}`, `send_to_group "c" "{\"a\":1}" json=false id=1`},

		// Not one JSON object in UTF-8.
		{`[]`, bad}, {`7`, bad}, {`null`, bad}, {`"connect"`, bad}, {`{"id":1,"connect":{}`, bad}, {`{"id":1,"connect":{}}}`, bad},
		{`{"id":1,"connect":{},}`, bad}, {`{"id":1 "connect":{}}`, bad}, {`{} {}`, bad}, {`{}{}`, bad}, {`x`, bad}, {"\x00", bad},
		{"{\"id\":1,\"subscribe\":{\"channel\":\"\xff\"}}", bad},
		{`{"id":1,"connect":{"data":` + strings.Repeat("[", 510) + strings.Repeat("]", 510) + `}}`, `connect id=1`},
		{`{"id":1,"connect":{"data":` + strings.Repeat("[", 511) + strings.Repeat("]", 511) + `}}`, bad},
		{`{"id":1,"connect":{"data":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}}`, bad},
		{strings.Repeat("[", 1<<20), bad},
	} {
		c := newCentrifuge()
		if got := commandsOf(t, c, test.frame); len(got) != 1 || got[0] != test.want {
			t.Errorf("%.200s:\n got %s\nwant %s", test.frame, got, test.want)
		}
	}
}

func TestACentrifugeFrameHasACommandALine(t *testing.T) {
	const pong = "respond id=-"
	for _, test := range []struct {
		frame string
		want  []string
	}{
		{"", []string{pong}},
		{"\n", []string{pong}},
		{" \r\n\t\n", []string{pong}},
		{"{}\n", []string{pong}},
		{"{}\n\n  \r\n", []string{pong}},
		{"\n\n{}", []string{pong}},
		{"{}\n{}", []string{pong, pong}},
		{"{\"id\":1,\"connect\":{}}\r\n\r\n{\"id\":2,\"subscribe\":{\"channel\":\"a\"}}\n{\"id\":3,\"ping\":{}}\n", []string{"connect id=1", `add_group "a" id=2`, "respond id=3"}},
		{"{\"id\":1,\n\"connect\":{}}", []string{"close 3501 bad request", "close 3501 bad request"}}, // no line of it is a command
		{"x\n{\"id\":1,\"connect\":{}}", []string{"close 3501 bad request", "connect id=1"}},
	} {
		if got := commandsOf(t, newCentrifuge(), test.frame); !slices.Equal(got, test.want) {
			t.Errorf("%q:\n got %q\nwant %q", test.frame, got, test.want)
		}
	}
	cmd, rest, code := newCentrifuge().Next([]byte(`{}`), true)
	if got := showCentrifuge(cmd, code); got != "close 3501 bad request: JSON in text frames is spoken here" || len(rest) != 0 {
		t.Errorf("a binary message: got %s and %d bytes left, want it closed", got, len(rest))
	}
}

func TestCentrifugeAnswers(t *testing.T) {
	id := []byte("7")
	refused := func(verb Verb, code ErrorCode) Outcome { return Outcome{What: Refused, Verb: verb, ID: id, Code: code} }
	for _, test := range []struct {
		outcome Outcome
		want    string // "": nothing
	}{
		{Outcome{What: Greeting}, ""},
		{Outcome{What: Gap, Number: 9}, ""},
		{Outcome{What: Ping}, `{}`},
		{Outcome{What: OK, Verb: Connect, ID: id}, `{"id":7,"connect":{"client":"66e94bd4-ef8a-4c3b-884c-fa59ca342b2e","version":"ringcast"}}`},
		{Outcome{What: OK, Verb: Connect, ID: id, Number: 25}, `{"id":7,"connect":{"client":"66e94bd4-ef8a-4c3b-884c-fa59ca342b2e","version":"ringcast","ping":25,"pong":true}}`},
		{Outcome{What: OK, Verb: Connect, ID: []byte("4294967295"), Number: 1<<64 - 1}, `{"id":4294967295,"connect":{"client":"66e94bd4-ef8a-4c3b-884c-fa59ca342b2e","version":"ringcast","ping":18446744073709551615,"pong":true}}`},
		{Outcome{What: OK, Verb: Connect, ID: id, TTL: 5, Served: []Served{
			{Group: "a\n"}, {Group: "b", Data: []byte(`{"x":1}`)}, {Group: "c", Past: &Past{}, Data: []byte("1")},
			{Group: "d", Past: &Past{Top: Position{Offset: 2, Epoch: 14}}, Data: []byte("2")}, {Group: "e", Past: &Past{Top: Position{Epoch: 14}, WasRecovering: true}},
		}}, `{"id":7,"connect":{"client":"66e94bd4-ef8a-4c3b-884c-fa59ca342b2e","version":"ringcast","expires":true,"ttl":5,"subs":{"a\n":{},"b":{"data":{"x":1}},"c":{"data":1},` +
			`"d":{"recoverable":true,"epoch":"e","offset":2,"positioned":true,"data":2},"e":{"recoverable":true,"epoch":"e","positioned":true,"was_recovering":true}}}}`},
		{Outcome{What: OK, Verb: AddGroup, Group: "g", ID: id}, `{"id":7,"subscribe":{}}`},
		{Outcome{What: OK, Verb: LeaveGroup, Group: "g", ID: id}, `{"id":7,"unsubscribe":{}}`},
		{Outcome{What: Published, Verb: SendToGroup, ID: id, Number: 12}, `{"id":7,"publish":{}}`},
		{Outcome{What: OK, Verb: Respond, ID: id}, `{"id":7,"ping":{}}`},
		{Outcome{What: OK, Verb: Respond}, ""},
		{Outcome{What: Members, Verb: Stats, ID: id, Number: 3}, `{"id":7,"presence_stats":{"num_clients":3}}`},
		{Outcome{What: Members, Verb: Stats, ID: id}, `{"id":7,"presence_stats":{"num_clients":0}}`},
		{refused(AddGroup, ErrBusy), `{"id":7,"error":{"code":111,"message":"too many requests","temporary":true}}`},
		{refused(AddGroup, ErrRateLimited), `{"id":7,"error":{"code":111,"message":"too many requests","temporary":true}}`},
		{refused(AddGroup, ErrStopping), `{"id":7,"error":{"code":111,"message":"too many requests","temporary":true}}`},
		{refused(AddGroup, ErrGroupsFull), `{"id":7,"error":{"code":111,"message":"too many requests","temporary":true}}`},
		{refused(AddGroup, ErrTooManyGroups), `{"id":7,"error":{"code":106,"message":"limit exceeded"}}`},
		{refused(AddGroup, ErrGroupFull), `{"id":7,"error":{"code":106,"message":"limit exceeded"}}`},
		{refused(AddGroup, ErrBadGroupID), `{"id":7,"error":{"code":107,"message":"bad request"}}`},
		{refused(SendToGroup, ErrBadMessage), `{"id":7,"error":{"code":107,"message":"bad request"}}`},
		{refused(VerbNone, ErrBadID), `{"id":7,"error":{"code":107,"message":"bad request"}}`},
		{refused(VerbNone, ErrBadJSON), `{"id":7,"error":{"code":107,"message":"bad request"}}`},
		{refused(VerbNone, ErrUnknownCmd), `{"id":7,"error":{"code":104,"message":"method not found"}}`},
		{refused(AddGroup, ErrAlreadyJoined), `{"id":7,"error":{"code":105,"message":"already subscribed"}}`},
		{refused(Stats, ErrNotMember), `{"id":7,"error":{"code":103,"message":"permission denied"}}`},
		{refused(VerbNone, ErrNotAvailable), `{"id":7,"error":{"code":108,"message":"not available"}}`},
		{refused(History, ErrUnrecoverable), `{"id":7,"error":{"code":112,"message":"unrecoverable position"}}`},
		{refused(SendToGroup, ErrUnavailable), `{"id":7,"error":{"code":100,"message":"unavailable","temporary":true}}`},
		{refused(SendToGroup, ErrUnconfirmed), `{"id":7,"error":{"code":100,"message":"unknown"}}`},
		{refused(AddGroup, "new"), `{"id":7,"error":{"code":100,"message":"internal server error","temporary":true}}`},
		{refused(LeaveGroup, ErrBadGroupID), `{"id":7,"unsubscribe":{}}`},
		{refused(LeaveGroup, ErrRateLimited), `{"id":7,"error":{"code":111,"message":"too many requests","temporary":true}}`},
	} {
		frame := newCentrifuge().Answer([]byte("before"), test.outcome)
		frame, behind := bytes.CutPrefix(frame, []byte("before"))
		switch {
		case !behind:
			t.Errorf("%+v: got %q, want it behind what was there", test.outcome, frame)
		case test.want == "" && len(frame) > 0:
			t.Errorf("%+v: got %q, want nothing", test.outcome, frame)
		case test.want != "":
			if got := replyText(t, frame); got != test.want || !json.Valid([]byte(got)) {
				t.Errorf("%+v:\n got %s\nwant %s", test.outcome, got, test.want)
			}
		}
	}
}

func TestCentrifugeHasAnErrorForEveryCode(t *testing.T) {
	if got, want := slices.Sorted(maps.Keys(centrifugeErrors)), slices.Sorted(maps.Keys(sentences)); !slices.Equal(got, want) {
		t.Errorf("got errors for %q, want them for %q", got, want)
	}
	for code, e := range centrifugeErrors {
		// Without the flag these end a subscription, or the whole client, for good. What is unknown only a publish is told, which nothing
		// repeats by itself.
		if temporary := (e.code == 100 || e.code == 111) && code != ErrUnconfirmed; e.temporary != temporary || e.code < 100 || e.code > 199 {
			t.Errorf("%s: got %d, temporary %v, want an error of the protocol, %v", code, e.code, e.temporary, temporary)
		}
	}
}

// A client looks at the code only if there is a reason, and takes a reason that is JSON for advice.
func TestCentrifugeCloseCodesDoWhatTheyAreFor(t *testing.T) {
	forGood := []Cause{CauseTooManyGroups, CauseGroupFull, CauseForbidden, CauseNotConnected, CauseNoConnect, CauseBadToken, CauseRevoked, CauseDisconnected,
		CauseUnknownApp, CauseAppOff, CauseBadPath, CauseNoVersion, CauseVersionFormat, CauseBadVersion}
	for cause := range Cause(Causes) {
		code, reason := newCentrifuge().Close(cause)
		terminal := code >= 3500
		if code < 3000 || code > 3999 || terminal != slices.Contains(forGood, cause) {
			t.Errorf("cause %d: got code %d, want one of the protocol, and that it ends the client is %v", cause, code, !terminal)
		}
		if reason == "" || json.Valid([]byte(reason)) {
			t.Errorf("cause %d: got the reason %q, want one that is no JSON", cause, reason)
		}
	}
	for _, frame := range []string{`x`, `{"send":{}}`} {
		cmd, _, _ := newCentrifuge().Next([]byte(frame), false)
		if cmd.Verb != Close || cmd.Code < 3500 || cmd.Reason == "" || json.Valid([]byte(cmd.Reason)) {
			t.Errorf("%s: got %s, want it closed for good, with a reason that is no JSON", frame, showCentrifuge(cmd, ""))
		}
	}
}

func TestCentrifugeServesItsPathAlone(t *testing.T) {
	entry := Centrifuge([16]byte{})
	for path, want := range map[string]bool{
		"/connection/websocket": true, "/connection/websocket?a=b": true, "/connection/websocket?": true, "/connection/websocket?/": true,
		"/": false, "": false, "/connection/websocket/": false, "/connection/websockets": false, "/x?/connection/websocket": false,
	} {
		if got := entry.Serves(path); got != want {
			t.Errorf("%q: got %v, want %v", path, got, want)
		}
	}
	if !entry.Connects || !entry.JoinsOnce || !entry.Named || !entry.Hears || !entry.Heals || entry.New() == entry.New() {
		t.Errorf("got %+v, want an entry whose clients connect, join once, are named, hear of others and heal, and a value for each loop", entry)
	}
}

func TestClientNamesAreUUIDs(t *testing.T) {
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]uint64{}
	a, again := newCentrifuge(), newCentrifuge()
	other := Centrifuge([16]byte{1}).New().(*centrifuge)
	for n := range uint64(2000) {
		client := n<<20 | n
		name := string(a.clientName(nil, client))
		if before, taken := seen[name]; taken || !uuid.MatchString(name) || len(name) != clientNameBytes {
			t.Fatalf("client %d: got %s (as client %d has: %v), want a random UUID of its own", client, name, before, taken)
		}
		seen[name] = client
		if got := string(again.clientName([]byte("x"), client)); got != "x"+name {
			t.Fatalf("client %d: got %s on another loop, want x%s", client, got, name)
		}
		if got := string(other.clientName(nil, client)); got == name {
			t.Fatalf("client %d: got %s with another key, too", client, got)
		}
	}
}

func TestCentrifugeAllocatesOnlyTheFramesOfMessages(t *testing.T) {
	c := newCentrifuge()
	dst := make([]byte, 0, 1<<10)
	for _, frame := range []string{
		`{}`, `x`, `{"id":1,"connect":{"name":"js"}}`, `{"id":2,"subscribe":{"channel":"\u7d44"}}`, `{"id":2,"later":1}`,
		`{"id":3,"publish":{"channel":"\u0063","data":"line\nline"}}`, `{"id":3,"publish":{"channel":"c","data":{"a":[1,2,3]}}}` + "\n{}\n",
		`{"id":2,"subscribe":{"channel":"c","recover":true,"offset":9007199254740992,"epoch":"\u0033w5e11264sgse"}}`, `{"id":2,"subscribe":{"channel":"c","recover":1}}`,
		`{"id":2,"subscribe":{"channel":"c","join_leave":true}}`, `{"id":2,"subscribe":{"channel":"c","join_leave":1}}`, `{"id":4,"presence":{"channel":"\u0063"}}`,
		`{"id":2,"subscribe":{"channel":"c","recover":true,"offset":` + strings.Repeat("9", 1<<16) + `}}`, `{"id":2,"subscribe":{"channel":"c","recover":true,"epoch":"_"}}`,
		`{"id":2,"subscribe":{"channel":"c","recover":true,"epoch":"` + strings.Repeat(`\u0061`, 1<<16) + `"}}`,
		`{"id":2,"subscribe":{"channel":"c","recover":true,"epoch":"` + strings.Repeat("z", 1<<16) + `"}}`,
		`{"id":6,"history":{"channel":"c","limit":-2147483648,"since":{"offset":1,"epoch":"zzzzzzzzzzzzz"},"reverse":true}}`,
	} {
		payload := []byte(frame)
		c.Next(payload, false) // the scratch is there after the first time
		if got := testing.AllocsPerRun(100, func() { c.Next(payload, false) }); got != 0 {
			t.Errorf("%.200s: got %v allocations, want 0", frame, got)
		}
	}
	past := &Past{Top: Position{Offset: 1<<64 - 1, Epoch: 1<<64 - 2}, Recovered: true}
	for _, o := range []Outcome{
		{What: OK, Verb: AddGroup, ID: []byte("1"), Past: past}, {What: Read, Verb: History, ID: []byte("1"), Past: past},
		{What: Ping}, {What: OK, Verb: Connect, ID: []byte("1"), Client: 65, Number: 25}, {What: OK, Verb: AddGroup, ID: []byte("1")},
		{What: Published, Verb: SendToGroup, ID: []byte("1")}, {What: Members, ID: []byte("1")}, {What: Refused, ID: []byte("1"), Code: ErrBusy},
		{What: Members, ID: []byte("1"), Number: 3, Users: 2}, {What: Listed, Verb: Presence, ID: []byte("1"), Present: []Present{{Client: 64}, {Client: 65}}}, {What: Parted, Group: "a\x01\"b"},
	} {
		c.Answer(dst, o)
		if got := testing.AllocsPerRun(100, func() { sink = c.Answer(dst, o) }); got != 0 {
			t.Errorf("%+v: got %v allocations, want 0", o, got)
		}
	}
	for _, m := range []*Message{
		{Group: "g", Wire: string(wsproto.AppendFrame(nil, wsproto.OpText, []byte("a\nb"))), SenderSerial: 1, Kept: true, Offset: 1<<64 - 1},
		{Group: "g\n", Sort: Came, SenderSerial: 1}, {Group: "g", Sort: Went, SenderSerial: 1},
		{Group: "g", Sort: Came, SenderSerial: 1, More: &More{Who: WhoIs{User: "ann", Info: []byte("{}")}.Who()}},
		{Group: "g", Wire: string(wsproto.AppendFrame(nil, wsproto.OpText, []byte("a\nb"))), SenderSerial: 1, Kept: true, Offset: 1, More: &More{Who: WhoIs{User: "\n"}.Who(), Tags: []byte(`{"a":"b"}`)}},
		{Group: "g", Wire: string(wsproto.AppendFrame(nil, wsproto.OpText, bytes.Repeat([]byte("[\r\n"), 40_000))), JSON: true},
	} {
		frame := c.Encode(m)
		if got := testing.AllocsPerRun(20, func() { sink = c.Encode(m) }); got != 1 || cap(frame) > len(frame)+len(frame)/4+32 {
			t.Errorf("%d bytes: got %v allocations, %d bytes for %d, want one of nearly that", len(m.Wire), got, cap(frame), len(frame))
		}
	}
}
