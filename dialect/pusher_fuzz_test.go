package dialect

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// slowObject reads an object on top of encoding/json; nil: it is none that is understood.
func slowObject(text []byte) (members map[string]json.RawMessage) {
	if !utf8.Valid(text) || !json.Valid(text) || bytes.TrimLeft(text, " \t\r\n")[0] != '{' || nesting(text) > 512 {
		return nil
	}
	if err := json.Unmarshal(text, &members); err != nil {
		panic(err)
	}
	return members
}

// slowText is the text of a JSON string.
func slowText(value json.RawMessage) (text string, ok bool) {
	if len(value) == 0 || value[0] != '"' {
		return "", false
	}
	if err := json.Unmarshal(value, &text); err != nil {
		panic(err)
	}
	return text, true
}

// slowPusher is the oracle: the rules of a command on top of encoding/json.
func slowPusher(payload []byte) (cmd Command, code ErrorCode) {
	cmd.ID = []byte{}
	members := slowObject(payload)
	if members == nil {
		return cmd, ErrBadJSON
	}
	channel := func(value json.RawMessage) ErrorCode {
		name, ok := slowText(value)
		if !ok || name == "" || len(name) > 255 {
			return ErrBadChannel
		}
		cmd.Group = []byte(name)
		rest := strings.TrimPrefix(name, "#")
		if len(name) > 164 || rest == "" {
			return ErrBadChannel
		}
		for _, c := range rest {
			if !strings.ContainsRune("-abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_=@,.;", c) {
				return ErrBadChannel
			}
		}
		return ""
	}
	event, ok := slowText(members["event"])
	known := map[string]Verb{"pusher:subscribe": AddGroup, "pusher:unsubscribe": LeaveGroup, "pusher:signin": SignIn}
	switch {
	case ok && len(event) > 200 && bytes.HasPrefix(members["event"], []byte(`"client-`)):
		cmd.Verb = SendToGroup
		return cmd, ErrBadEvent
	case ok && len(event) <= 200 && strings.HasPrefix(event, "client-"):
		cmd.Verb = SendToGroup
		if code := channel(members["channel"]); code != "" {
			return cmd, code
		}
		name := string(cmd.Group)
		if !strings.HasPrefix(name, "private-") && !strings.HasPrefix(name, "presence-") || strings.HasPrefix(name, "private-encrypted-") {
			return cmd, ErrForbidden
		}
		cmd.Event, cmd.Message, cmd.JSON = []byte(event), members["data"], true
		if cmd.Message == nil {
			cmd.Message = []byte("null")
		}
		if text, ok := slowText(members["data"]); ok {
			cmd.Message, cmd.JSON = []byte(text), false
		}
		return cmd, ""
	case event == "pusher:ping":
		cmd.Verb = Respond
		return cmd, ""
	case event == "pusher:pong":
		return Command{}, ""
	case known[event] == VerbNone:
		return cmd, ErrUnknownCmd
	}
	cmd.Verb = known[event]
	data := []byte(members["data"])
	if text, ok := slowText(data); ok {
		data = []byte(text)
	}
	asked := slowObject(data)
	if asked == nil {
		return cmd, ErrBadMessage
	}
	auth, _ := slowText(asked["auth"])
	cmd.Auth = []byte(auth)
	signed := asked[map[Verb]string{AddGroup: "channel_data", SignIn: "user_data", LeaveGroup: ""}[cmd.Verb]]
	if cmd.Verb == LeaveGroup {
		signed = nil
	}
	text, isText := slowText(signed)
	if isText {
		cmd.Data = []byte(text)
	}
	if cmd.Verb != SignIn {
		if code := channel(asked["channel"]); code != "" {
			return cmd, code
		}
	}
	switch missing := signed == nil || string(signed) == "null"; {
	case cmd.Verb == SignIn && !isText, !isText && !missing:
		return cmd, ErrBadUser
	case cmd.Verb == AddGroup && text == "":
		cmd.Data = nil
	}
	return cmd, ""
}

func FuzzPusher(f *testing.F) {
	for _, seed := range []string{
		`{"event":"pusher:subscribe","data":{"auth":"","channel":"news"}}`,
		`{"event":"pusher:subscribe","data":{"auth":"KEY:58df","channel_data":"{\"user_id\":\"u1\",\"user_info\":{\"n\":\"U1\"}}","channel":"presence-b"}}`,
		`{"event":"pusher:subscribe","data":"{\"channel\":\"pr\\u0069vate-a\",\"auth\":\"K:1\",\"channel_data\":null}"}`,
		`{"event":"pusher:unsubscribe","data":{"channel":"news"}}`, `{"event":"pusher:unsubscribe","data":"{\"channel\":\"a/b\"}"}`,
		`{"event":"pusher:ping","data":{}}`, `{"event":"pusher:pong","data":"{}"}`,
		`{"event":"pusher:signin","data":{"auth":"KEY:4708","user_data":"{\"id\":\"u1\",\"user_info\":null}"}}`, `{"event":"pusher:signin","data":{"user_data":{}}}`,
		`{"event":"client-x","data":{"m":[1,"\u00e4"]},"channel":"private-a"}`, `{"event":"client-\"","data":"\ud83d\ude00\n","channel":"presence-b"}`, `{"event":"client-x","channel":"private-encrypted-a"}`,
		`{"\u0065vent":"cl\u0069ent-x","channel":"\u0070rivate-","data": -0.5e3 }`, `{"event":"client-` + strings.Repeat("x", 200) + `"}`,
		`{"event":"pusher:subscribe","data":"news"}`, `{"event":"pusher:subscribe","data":{"channel":"#server-to-user-1"}}`, `{"event":[],"data":null}`, `[]`, `{"event":"x"`,
		`{"event":"pusher:subscribe","data":"{\"a\":` + strings.Repeat("[", 512) + strings.Repeat("]", 512) + `}"}`,
		`{"event":"pusher:subscribe","data":{"channel":"presence-1","channel_data":"{\"user_id\":-7,\"user_info\":[1,\n2]}"}}`,
	} {
		f.Add([]byte(seed))
	}
	p := newPusher() // one for all runs: what it remembers must not matter
	f.Fuzz(func(t *testing.T, payload []byte) {
		before := bytes.Clone(payload)
		got, rest, gotCode := p.Next(payload, false)
		if !bytes.Equal(payload, before) || len(rest) > 0 {
			t.Fatalf("got the payload changed to %q and %d bytes left, want %q and none", payload, len(rest), before)
		}
		want, wantCode := slowPusher(payload)
		if g, w := showPusher(got, gotCode), showPusher(want, wantCode); g != w || (got.Group == nil) != (want.Group == nil) {
			t.Fatalf("%q:\n got %s\nwant %s", payload, g, w)
		}
		if got.ID != nil {
			checkPusherAnswers(t, &got, gotCode)
		}
		if got.Verb == SendToGroup && gotCode == "" {
			checkClientEvent(t, &got)
		}
	})
}

// checkPusherAnswers checks that an SDK can read all that can be said of a command, in frames whose data is text, and what is in it.
func checkPusherAnswers(t *testing.T, cmd *Command, code ErrorCode) {
	group := string(cmd.Group)
	past := &Past{HasCached: true, Cached: with(message(group, string(cmd.Data), false), More{Tags: []byte(`{"event":"a"}`)})}
	for _, who := range []*Who{MemberOf(cmd.Data), UserOf(cmd.Data), nil, WhoIs{User: group}.Who()} {
		if who != nil && !json.Valid(infoOf(who)) {
			t.Fatalf("%q: got the info %q, want JSON", cmd.Data, infoOf(who))
		}
		past.Present = append(past.Present, Present{Who: who})
		m := &Message{Group: "presence-b", Sort: Came, More: &More{Who: who, Edge: true}}
		if texts := textsOf(t, newPusher().Encode(m)); who != nil && who.User() != "" {
			var data struct {
				ID   any             `json:"user_id"`
				Info json.RawMessage `json:"user_info"`
			}
			text, _ := eventOf(t, texts[0]).Data.(string)
			d := json.NewDecoder(strings.NewReader(text))
			d.UseNumber()
			err := d.Decode(&data)
			if number, is := data.ID.(json.Number); is {
				data.ID = number.String()
			}
			if err != nil || data.ID != who.User() || string(data.Info) != string(infoOf(who)) {
				t.Fatalf("%+v: got %q (%v)", who, texts, err)
			}
		}
	}
	for _, o := range []Outcome{{What: OK, Past: past, Data: cmd.Data}, {What: Refused, Code: code}, {What: Removed}, {What: Published}} {
		o.Verb, o.Group, o.ID = cmd.Verb, group, cmd.ID
		for _, text := range textsOf(t, newPusher().Answer(nil, o)) {
			e := eventOf(t, text)
			if data, is := e.Data.(string); e.Event == "a" && (!is || data != string(cmd.Data)) || e.Event != "a" && is && !json.Valid([]byte(data)) || e.Data != nil && !is {
				t.Fatalf("%+v: got %q, want data that is text, and what it was", o, text)
			}
		}
	}
}

// checkClientEvent checks with encoding/json that what others are sent is what a client has said.
func checkClientEvent(t *testing.T, cmd *Command) {
	name, _ := json.Marshal(string(cmd.Event))
	m := with(message(string(cmd.Group), string(cmd.Message), cmd.JSON), More{Tags: []byte(`{"event":` + string(name) + `}`), ClientEvent: true})
	texts := textsOf(t, newPusher().Encode(m))
	var got struct {
		Event, Channel string
		Data           json.RawMessage
	}
	if err := json.Unmarshal([]byte(texts[0]), &got); err != nil || len(texts) != 1 || got.Event != string(cmd.Event) || got.Channel != string(cmd.Group) {
		t.Fatalf("%q: got %q (%v)", cmd.Event, texts, err)
	}
	said := string(got.Data)
	if text, ok := slowText(got.Data); ok == cmd.JSON {
		t.Fatalf("%q: got the data %q, want JSON %v", cmd.Message, got.Data, cmd.JSON)
	} else if ok {
		said = text
	}
	if said != string(cmd.Message) {
		t.Fatalf("got the data %q, want %q", said, cmd.Message)
	}
}
