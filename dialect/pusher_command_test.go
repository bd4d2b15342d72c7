package dialect

import (
	"fmt"
	"strings"
	"testing"
)

// newPusher is the dialect's value of one loop, with a key of zeros.
func newPusher() *pusher { return Pusher([16]byte{}).New().(*pusher) }

// showPusher is a command or its error in words.
func showPusher(cmd Command, code ErrorCode) string {
	s := cmd.Verb.String()
	if cmd.Group != nil {
		s += fmt.Sprintf(" %q", cmd.Group)
	}
	if cmd.Verb == SendToGroup && code == "" {
		s += fmt.Sprintf(" %s %q json=%v", cmd.Event, cmd.Message, cmd.JSON)
	}
	if len(cmd.Auth) > 0 {
		s += fmt.Sprintf(" auth=%s", cmd.Auth)
	}
	if cmd.Data != nil {
		s += fmt.Sprintf(" data=%q", cmd.Data)
	}
	if code != "" {
		s += " " + string(code)
	}
	if cmd.ID == nil {
		s += " unanswered"
	}
	return s
}

func TestPusherCommands(t *testing.T) {
	a164 := strings.Repeat("a", ChannelBytesMax)
	for _, test := range []struct{ frame, want string }{
		// As pusher-js says them.
		{`{"event":"pusher:subscribe","data":{"auth":"","channel":"news"}}`, `add_group "news"`},
		{`{"event":"pusher:subscribe","data":{"auth":"KEY:58df","channel":"private-a"}}`, `add_group "private-a" auth=KEY:58df`},
		{`{"event":"pusher:subscribe","data":{"auth":"KEY:58df","channel_data":"{\"user_id\":\"u1\",\"user_info\":{\"n\":\"U1\"}}","channel":"presence-b"}}`,
			`add_group "presence-b" auth=KEY:58df data="{\"user_id\":\"u1\",\"user_info\":{\"n\":\"U1\"}}"`},
		{`{"event":"pusher:unsubscribe","data":{"channel":"news"}}`, `leave_group "news"`},
		{`{"event":"pusher:ping","data":{}}`, `respond`},
		{`{"event":"pusher:pong","data":{}}`, `none unanswered`},
		{`{"event":"pusher:signin","data":{"auth":"KEY:4708","user_data":"{\"id\":\"u1\",\"watchlist\":[\"u2\"]}"}}`, `sign_in auth=KEY:4708 data="{\"id\":\"u1\",\"watchlist\":[\"u2\"]}"`},
		{`{"event":"client-x","data":{"m":1},"channel":"private-a"}`, `send_to_group "private-a" client-x "{\"m\":1}" json=true`},
		{`{"event":"client-y","data":"str","channel":"presence-b"}`, `send_to_group "presence-b" client-y "str" json=false`},

		// As others do, who encode the data once more.
		{`{"event":"pusher:subscribe","data":"{\"channel\":\"private-a\",\"auth\":\"K:1\",\"channel_data\":\"{\\\"user_id\\\":1}\"}"}`, `add_group "private-a" auth=K:1 data="{\"user_id\":1}"`},
		{`{"event":"pusher:unsubscribe","data":" {\"ch\\u0061nnel\":\"n\\u0065ws\"} "}`, `leave_group "news"`},
		{`{"event":"pusher:ping"}`, `respond`},
		{`{"event":"pusher:ping","data":"{}"}`, `respond`},
		{`{"event":"pusher:pong","data":5,"channel":[]}`, `none unanswered`},
		{` {"\u0065vent" : "pusher\u003asubscribe" , "data" : {"channel":"a","channel":"b"} , "more" : [{}] } `, `add_group "b"`},

		// What is signed is handed on as it was sent, and what is not there is none.
		{`{"event":"pusher:subscribe","data":{"auth":"K:1","channel_data":null,"channel":"private-a"}}`, `add_group "private-a" auth=K:1`},
		{`{"event":"pusher:subscribe","data":{"auth":"K:1","channel_data":"","channel":"private-a"}}`, `add_group "private-a" auth=K:1`},
		{`{"event":"pusher:subscribe","data":{"auth":"K:1","channel_data":"{ \"user_id\" : \"\\u00fc\\/\" }","channel":"presence-b"}}`, `add_group "presence-b" auth=K:1 data="{ \"user_id\" : \"\\u00fc\\/\" }"`},
		{`{"event":"pusher:subscribe","data":{"auth":"K:1","user_data":"{}","channel":"private-a"}}`, `add_group "private-a" auth=K:1`},
		{`{"event":"pusher:unsubscribe","data":{"auth":"K:1","channel_data":5,"channel":"private-a"}}`, `leave_group "private-a" auth=K:1`},
		{`{"event":"pusher:subscribe","data":{"auth":5,"channel":"news"}}`, `add_group "news"`},
		{`{"event":"pusher:subscribe","data":{"auth":null,"channel":"news"}}`, `add_group "news"`},
		{`{"event":"pusher:subscribe","data":{"auth":"K:1","channel_data":{"user_id":1},"channel":"presence-b"}}`, `add_group "presence-b" auth=K:1 bad_user`},
		{`{"event":"pusher:signin","data":{"auth":"K:1","user_data":{"id":"1"}}}`, `sign_in auth=K:1 bad_user`},
		{`{"event":"pusher:signin","data":{"auth":"K:1"}}`, `sign_in auth=K:1 bad_user`},
		{`{"event":"pusher:signin","data":{"auth":"K:1","user_data":""}}`, `sign_in auth=K:1 data=""`},
		{`{"event":"pusher:signin","data":{"user_data":"{}","channel":"a b"}}`, `sign_in data="{}"`},

		// Names of channels.
		{`{"event":"pusher:subscribe","data":{"channel":"` + a164 + `"}}`, `add_group "` + a164 + `"`},
		{`{"event":"pusher:subscribe","data":{"channel":"` + a164 + `a"}}`, `add_group "` + a164 + `a" bad_channel`},
		{`{"event":"pusher:subscribe","data":{"channel":"` + strings.Repeat("a", 256) + `"}}`, `add_group bad_channel`},
		{`{"event":"pusher:subscribe","data":{"channel":"#server-to-user-u1"}}`, `add_group "#server-to-user-u1"`},
		{`{"event":"pusher:subscribe","data":{"channel":"2/news"}}`, `add_group "2/news" bad_channel`},
		{`{"event":"pusher:subscribe","data":{"channel":"a b"}}`, `add_group "a b" bad_channel`},
		{`{"event":"pusher:subscribe","data":{"channel":""}}`, `add_group bad_channel`},
		{`{"event":"pusher:subscribe","data":{"channel":7}}`, `add_group bad_channel`},
		{`{"event":"pusher:subscribe","data":{"channel":["a"]}}`, `add_group bad_channel`},
		{`{"event":"pusher:subscribe","data":{}}`, `add_group bad_channel`},
		{`{"event":"pusher:unsubscribe","data":{"channel":"\ud800"}}`, `leave_group "` + "\ufffd" + `" bad_channel`},

		// Data of another type ends nothing but itself.
		{`{"event":"pusher:subscribe","data":"news"}`, `add_group bad_message`},
		{`{"event":"pusher:subscribe","data":"{\"channel\":\"news\""}`, `add_group bad_message`},
		{`{"event":"pusher:subscribe","data":"{\"channel\":\"news\"} x"}`, `add_group bad_message`},
		{`{"event":"pusher:subscribe","data":"\"{}\""}`, `add_group bad_message`},
		{`{"event":"pusher:subscribe","data":["news"]}`, `add_group bad_message`},
		{`{"event":"pusher:subscribe","data":null}`, `add_group bad_message`},
		{`{"event":"pusher:subscribe"}`, `add_group bad_message`},
		{`{"event":"pusher:unsubscribe","data":1}`, `leave_group bad_message`},
		{`{"event":"pusher:signin","data":true}`, `sign_in bad_message`},

		// Client events.
		{`{"event":"client-x","channel":"private-cache-a"}`, `send_to_group "private-cache-a" client-x "null" json=true`},
		{`{"event":"client-x","channel":"private-a","data":null}`, `send_to_group "private-a" client-x "null" json=true`},
		{`{"event":"client-x","channel":"private-a","data":""}`, `send_to_group "private-a" client-x "" json=false`},
		{`{"event":"client-x","channel":"private-a","data":"{\"m\":1}"}`, `send_to_group "private-a" client-x "{\"m\":1}" json=false`},
		{`{"event":"client-","channel":"private-a","data":1.50}`, `send_to_group "private-a" client- "1.50" json=true`},
		{`{"event":"cl\u0069ent-\"","channel":"private-a","data":[ 1 ]}`, `send_to_group "private-a" client-" "[ 1 ]" json=true`},
		{`{"event":"client-x","channel":"news","data":1}`, `send_to_group "news" forbidden`},
		{`{"event":"client-x","channel":"cache-a","data":1}`, `send_to_group "cache-a" forbidden`},
		{`{"event":"client-x","channel":"#server-to-user-u","data":1}`, `send_to_group "#server-to-user-u" forbidden`},
		{`{"event":"client-x","channel":"private-encrypted-a","data":1}`, `send_to_group "private-encrypted-a" forbidden`},
		{`{"event":"client-x","data":1}`, `send_to_group bad_channel`},
		{`{"event":"client-x","channel":"2/private-a","data":1}`, `send_to_group "2/private-a" bad_channel`},
		{`{"event":"client-` + strings.Repeat("x", 193) + `","channel":"private-a","data":1}`, `send_to_group "private-a" client-` + strings.Repeat("x", 193) + ` "1" json=true`},
		{`{"event":"client-` + strings.Repeat("x", 194) + `","channel":"private-a","data":1}`, `send_to_group bad_event`},
		{`{"event":"\u0063lient-` + strings.Repeat("x", 194) + `","channel":"private-a","data":1}`, `none unknown_cmd`},

		// Anything else.
		{`{"event":"Client-x","channel":"private-a","data":1}`, `none unknown_cmd`},
		{`{"event":"news","channel":"private-a","data":1}`, `none unknown_cmd`},
		{`{"event":"pusher:connection_established","data":"{}"}`, `none unknown_cmd`},
		{`{"event":"pusher:subscribe ","data":{"channel":"a"}}`, `none unknown_cmd`},
		{`{"event":["pusher:ping"]}`, `none unknown_cmd`},
		{`{"event":null}`, `none unknown_cmd`},
		{`{"event":""}`, `none unknown_cmd`},
		{`{}`, `none unknown_cmd`},
		{`[]`, `none bad_json`},
		{`"pusher:ping"`, `none bad_json`},
		{`pusher:ping`, `none bad_json`},
		{`{"event":"pusher:ping"`, `none bad_json`},
		{`{"event":"pusher:ping"}{}`, `none bad_json`},
		{`{"event":"pusher:ping","data":{"a":}}`, `none bad_json`},
		{"{\"event\":\"pusher:ping\",\"data\":\"\xff\"}", `none bad_json`},
		{`{"event":"pusher:ping","data":` + strings.Repeat("[", 512) + strings.Repeat("]", 512) + `}`, `none bad_json`},
		{`{"event":"pusher:ping","data":` + strings.Repeat("[", 511) + strings.Repeat("]", 511) + `}`, `respond`},
		{" \n", `none bad_json`},
	} {
		cmd, rest, code := newPusher().Next([]byte(test.frame), false)
		if got := showPusher(cmd, code); got != test.want || len(rest) > 0 {
			t.Errorf("%.200s:\n got %s, %d bytes left\nwant %s", test.frame, got, len(rest), test.want)
		}
	}
	if cmd, _, code := newPusher().Next([]byte(`{"event":"pusher:ping"}`), true); showPusher(cmd, code) != `none bad_json` {
		t.Errorf("binary: got %s, want it not heard", showPusher(cmd, code))
	}
}

// One loop reads the messages of all its clients with one value.
func TestPusherKeepsNothingOfACommand(t *testing.T) {
	p := newPusher()
	for range 2 {
		for _, frame := range []string{`{"event":"pusher:subscribe","data":"{\"channel\":\"private-\\u0061\",\"auth\":\"K:\\u0031\"}"}`, `{"event":"pusher:subscribe","data":{"channel":"news"}}`} {
			cmd, _, code := p.Next([]byte(frame), false)
			fresh, _, freshCode := newPusher().Next([]byte(frame), false)
			if got, want := showPusher(cmd, code), showPusher(fresh, freshCode); got != want {
				t.Errorf("%s: got %s, want %s", frame, got, want)
			}
		}
	}
}
