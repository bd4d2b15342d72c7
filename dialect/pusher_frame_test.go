package dialect

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"ringcast/wsproto"
)

// textsOf are the texts of frames, which must be whole text frames and nothing else.
func textsOf(t *testing.T, frames []byte) (texts []string) {
	t.Helper()
	for len(frames) > 0 {
		header, n := 2, 0
		switch frames[1] {
		case 126:
			header, n = 4, int(frames[2])<<8|int(frames[3])
		case 127:
			header = 10
			for _, b := range frames[2:10] {
				n = n<<8 | int(b)
			}
		default:
			n = int(frames[1])
		}
		if frames[0] != 0x81 || len(frames) < header+n || !bytes.HasPrefix(frames, wsproto.AppendTextHeader(nil, n)) {
			t.Fatalf("got %.200q, want whole text frames", frames)
		}
		texts = append(texts, string(frames[header:header+n]))
		frames = frames[header+n:]
	}
	return texts
}

// event is what the public documentation has in an event. A missing or null member is nil.
type event struct {
	Event   string
	Channel *string
	Data    any
	UserID  *string `json:"user_id"`
}

// eventOf reads the text of a frame as an SDK does.
func eventOf(t *testing.T, text string) (e event) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil || e.Event == "" {
		t.Fatalf("%.300q: got %+v (%v), want an event", text, e, err)
	}
	return e
}

// with is a message with what only few have.
func with(m *Message, more More) *Message {
	m.More = &more
	return m
}

func TestPusherEvents(t *testing.T) {
	ann, ten := WhoIs{User: "an\"n", Info: []byte(`{"n":"Ann"}`)}.Who(), WhoIs{User: "10", NumberID: true, Info: []byte(`[1]`), GroupInfo: []byte(`true`)}.Who()
	tag := func(name string) More { return More{Tags: []byte(`{"a":"b","event":` + name + `}`)} }
	said := func(group string, more More) *Message { return with(message(group, `{"m": 1}`, true), more) }
	for _, test := range []struct {
		name string
		m    *Message
		want string // empty: nothing is sent
	}{
		{"text", message("news", "hi", false), `{"event":"message","channel":"news","data":"hi"}`},
		{"nothing", message("news", "", false), `{"event":"message","channel":"news","data":""}`},
		{"JSON", message("news", "{\"a\": \"\\n\",\n\"b\":2}", true), `{"event":"message","channel":"news","data":"{\"a\": \"\\n\",\n\"b\":2}"}`},
		{"text that looks like JSON", message("news", `{"a":1}`, false), `{"event":"message","channel":"news","data":"{\"a\":1}"}`},
		{"a number", message("news", `1`, true), `{"event":"message","channel":"news","data":"1"}`},
		{"an odd name", message("a\"b\n組", "\x00\u2028", false), `{"event":"message","channel":"a\"b\n組","data":"\u0000` + "\u2028" + `"}`},
		{"a further app", message("app-2/news", "hi", false), `{"event":"message","channel":"news","data":"hi"}`},
		{"a name of another dialect", message("app-2/a/b", "hi", false), `{"event":"message","channel":"a/b","data":"hi"}`},

		{"a name of its own", said("news", tag(`"App\\Events\\Sold"`)), `{"event":"App\\Events\\Sold","channel":"news","data":"{\"m\": 1}"}`},
		{"an escaped name", said("news", tag(`"\u00e4\/"`)), `{"event":"\u00e4\/","channel":"news","data":"{\"m\": 1}"}`},
		{"the last of two names", said("news", More{Tags: []byte(`{"event":"a","event":"b"}`)}), `{"event":"b","channel":"news","data":"{\"m\": 1}"}`},
		{"other tags", said("news", More{Tags: []byte(`{"Event":"a"}`)}), `{"event":"message","channel":"news","data":"{\"m\": 1}"}`},
		{"a user", said("presence-a", More{Who: ann}), `{"event":"message","channel":"presence-a","data":"{\"m\": 1}"}`},
		{"an empty name", said("news", tag(`""`)), `{"event":"message","channel":"news","data":"{\"m\": 1}"}`},
		{"no name", said("news", tag(`5`)), `{"event":"message","channel":"news","data":"{\"m\": 1}"}`},
		{"a name of the protocol", said("news", tag(`"pusher:error"`)), `{"event":"message","channel":"news","data":"{\"m\": 1}"}`},
		{"a name of its inside", said("news", tag(`"pusher\u005finternal:member_added"`)), `{"event":"message","channel":"news","data":"{\"m\": 1}"}`},
		{"the name of a client event", said("private-a", tag(`"client-x"`)), `{"event":"client-x","channel":"private-a","data":"{\"m\": 1}"}`},

		{"a client event", said("private-a", More{Tags: []byte(`{"event":"client-x"}`), ClientEvent: true}), `{"event":"client-x","channel":"private-a","data":{"m": 1}}`},
		{"of text", with(message("2/private-a", `{"m":1}`, false), More{Tags: []byte(`{"event":"client-x"}`), ClientEvent: true}), `{"event":"client-x","channel":"private-a","data":"{\"m\":1}"}`},
		{"of a user", said("presence-a", More{Tags: []byte(`{"event":"client-x"}`), ClientEvent: true, Who: ann}), `{"event":"client-x","channel":"presence-a","data":{"m": 1},"user_id":"an\"n"}`},
		{"of a number", said("presence-a", More{Tags: []byte(`{"event":"client-x"}`), ClientEvent: true, Who: ten}), `{"event":"client-x","channel":"presence-a","data":{"m": 1},"user_id":"10"}`},
		{"of a user elsewhere", said("private-a", More{Tags: []byte(`{"event":"client-x"}`), ClientEvent: true, Who: ann}), `{"event":"client-x","channel":"private-a","data":{"m": 1}}`},
		{"of nobody", said("presence-a", More{Tags: []byte(`{"event":"client-x"}`), ClientEvent: true, Who: WhoIs{Info: []byte("1")}.Who()}), `{"event":"client-x","channel":"presence-a","data":{"m": 1}}`},

		{"who comes", &Message{Group: "presence-b", Sort: Came, More: &More{Who: ann, Edge: true}}, `{"event":"pusher_internal:member_added","channel":"presence-b","data":"{\"user_id\":\"an\\\"n\",\"user_info\":{\"n\":\"Ann\"}}"}`},
		{"a number comes", &Message{Group: "2/presence-b", Sort: Came, More: &More{Who: ten, Edge: true}}, `{"event":"pusher_internal:member_added","channel":"presence-b","data":"{\"user_id\":10,\"user_info\":true}"}`},
		{"who has no info", &Message{Group: "presence-b", Sort: Came, More: &More{Who: WhoIs{User: "u"}.Who(), Edge: true}}, `{"event":"pusher_internal:member_added","channel":"presence-b","data":"{\"user_id\":\"u\",\"user_info\":null}"}`},
		{"who goes", &Message{Group: "presence-b", Sort: Went, More: &More{Who: ann, Edge: true}}, `{"event":"pusher_internal:member_removed","channel":"presence-b","data":"{\"user_id\":\"an\\\"n\"}"}`},
		{"a number goes", &Message{Group: "presence-b", Sort: Went, More: &More{Who: ten, Edge: true}}, `{"event":"pusher_internal:member_removed","channel":"presence-b","data":"{\"user_id\":10}"}`},
		{"a second tab comes", &Message{Group: "presence-b", Sort: Came, More: &More{Who: ann}}, ""},
		{"and goes", &Message{Group: "presence-b", Sort: Went, More: &More{Who: ann}}, ""},
		{"nobody comes", &Message{Group: "presence-b", Sort: Came}, ""},
		{"nobody by name", &Message{Group: "presence-b", Sort: Came, More: &More{Who: WhoIs{Info: []byte("1")}.Who(), Edge: true}}, ""},
		{"another node's", &Message{Group: "presence-b", Sort: Came, More: &More{Client: "5d1", Edge: true}}, ""},
		{"who comes to another channel", &Message{Group: "private-b", Sort: Came, More: &More{Who: ann, Edge: true}}, ""},
	} {
		p := newPusher()
		p.Encode(said("presence-other", More{ClientEvent: true, Who: ten})) // nothing of it is to be left
		frame := p.Encode(test.m)
		if len(frame) == 0 && test.want == "" {
			continue
		}
		texts := textsOf(t, frame)
		if len(texts) != 1 || texts[0] != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.name, texts, test.want)
			continue
		}
		eventOf(t, texts[0])
	}
}

// The data that members get is what was said, whatever it is, and of any size.
func TestPusherPassesDataOnByteForByte(t *testing.T) {
	for _, n := range []int{0, 1, 60, 125, 126, 1000, 65_400, 65_600, 200_000} {
		for _, unit := range []string{"a", `"`, "\\n", "\n", "é", "\x01"} {
			said := strings.Repeat(unit, n)
			texts := textsOf(t, newPusher().Encode(message("c", said, false)))
			if len(texts) != 1 {
				t.Fatalf("%d times %q: got %d frames, want 1", n, unit, len(texts))
			}
			if got := eventOf(t, texts[0]).Data; got != said {
				t.Fatalf("%d times %q: got %.100q", n, unit, got)
			}
		}
	}
}

// A page takes a code from 4000 on for what the protocol means by it, and below 4000 comes back each second.
func TestPusherCloseCodesDoWhatTheyAreFor(t *testing.T) {
	forGood := []Cause{CauseForbidden, CauseNotConnected, CauseBadToken, CauseTokenEnded, CauseRevoked, CauseDisconnected,
		CauseUnknownApp, CauseAppOff, CauseBadPath, CauseNoVersion, CauseVersionFormat, CauseBadVersion}
	atOnce := []Cause{CauseSilent, CauseStopping}
	for cause := range Cause(Causes) {
		code, reason := newPusher().Close(cause)
		low, high := 4100, 4199 // after a second
		switch {
		case slices.Contains(forGood, cause):
			low, high = 4001, 4099
		case slices.Contains(atOnce, cause):
			low, high = 4200, 4299
		}
		if int(code) < low || int(code) > high || reason == "" {
			t.Errorf("cause %d: got %d %q, want a code from %d to %d, and a reason", cause, code, reason, low, high)
		}
	}
}

func TestPusherServesTheAddressesOfApps(t *testing.T) {
	entry := Pusher([16]byte{})
	for path, want := range map[string]bool{"/app/KEY": true, "/app/KEY?protocol=7": true, "/app/": true, "/app": false, "/apps/3": false, "/": false, "": false, "/x/app/KEY": false} {
		if got := entry.Serves(path); got != want {
			t.Errorf("%q: got %v, want %v", path, got, want)
		}
	}
	for configured, want := range map[uint64][2]uint64{0: {0, 0}, 1: {240, 30}, 60: {240, 30}, 120: {240, 30}, 300: {600, 30}} {
		if silence, wait := entry.HeartbeatSeconds(configured); silence != want[0] || wait != want[1] {
			t.Errorf("heartbeat %d: got a ping after %d s and the end after %d more, want %v", configured, silence, wait, want)
		}
	}
}

// What passes is no reason to tell a page that a channel is not its own: it would not ask again.
func TestPusherComesBackFromWhatPasses(t *testing.T) {
	passes := []ErrorCode{ErrBusy, ErrRateLimited, ErrUnavailable, ErrUnconfirmed, ErrStopping}
	entry := Pusher([16]byte{})
	for code := range sentences {
		for _, verb := range []Verb{VerbNone, AddGroup, LeaveGroup, SignIn, SendToGroup, Respond} {
			cause, closes := entry.RefusalCause(verb, code)
			if want := slices.Contains(passes, code) && (verb == AddGroup || verb == LeaveGroup || verb == SignIn); closes != want {
				t.Errorf("%v, %s: got closed %v, want %v", verb, code, closes, want)
			} else if got, _ := newPusher().Close(cause); closes && (got < 4100 || got > 4299) {
				t.Errorf("%v, %s: got close code %d, want one after which it comes back", verb, code, got)
			}
		}
	}
}
