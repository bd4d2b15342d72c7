package dialect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestPusherAnswers(t *testing.T) {
	id := NewNames([16]byte{}).SocketID(65)
	ann, ten := WhoIs{User: "ann", Info: []byte(`{"n":"Ann"}`)}.Who(), WhoIs{User: "10", NumberID: true}.Who()
	there := []Present{{Client: 66, Who: ten}, {Client: 65, Who: ann}, {Client: 67}, {Client: 68, Who: WhoIs{User: "ann", Info: []byte("2")}.Who()}, {Client: 69, Who: WhoIs{Info: []byte("3")}.Who()},
		{Name: "5d1", Who: WhoIs{User: `"b`, Info: []byte("4"), GroupInfo: []byte("5")}.Who()}}
	cached := with(message("2/cache-x", `{"a":1}`, true), More{Tags: []byte(`{"event":"ev"}`)})
	joined := func(group string, past *Past) Outcome {
		return Outcome{What: OK, Verb: AddGroup, Group: group, ID: pusherID, Past: past}
	}
	const succeeded, refused = `{"event":"pusher_internal:subscription_succeeded","channel":`, `{"event":"pusher:subscription_error","channel":`
	for _, test := range []struct {
		o    Outcome
		want []string
	}{
		{Outcome{What: Greeting, Client: 65, Number: 120}, []string{`{"event":"pusher:connection_established","data":"{\"socket_id\":\"` + id + `\",\"activity_timeout\":120}"}`}},
		{Outcome{What: Greeting, Client: 65, Number: 60}, []string{`{"event":"pusher:connection_established","data":"{\"socket_id\":\"` + id + `\",\"activity_timeout\":120}"}`}},
		{Outcome{What: Greeting, Client: 65, Number: 300}, []string{`{"event":"pusher:connection_established","data":"{\"socket_id\":\"` + id + `\",\"activity_timeout\":300}"}`}},
		{Outcome{What: Ping}, []string{`{"event":"pusher:ping","data":"{}"}`}},
		{Outcome{What: OK, Verb: Respond, ID: pusherID}, []string{`{"event":"pusher:pong","data":"{}"}`}},
		{Outcome{What: OK, Verb: SignIn, ID: pusherID, Data: []byte(`{ "id":"u\u0031"}`)}, []string{`{"event":"pusher:signin_success","data":"{\"user_data\":\"{ \\\"id\\\":\\\"u\\\\u0031\\\"}\"}"}`}},
		{Outcome{What: OK, Verb: LeaveGroup, Group: "news", ID: pusherID}, nil},
		{Outcome{What: Published, Verb: SendToGroup, ID: pusherID, Number: 7}, nil},
		{Outcome{What: Gap, Number: 7}, nil},
		{Outcome{What: Joined, Group: "presence-a", Past: &Past{Present: there}}, nil},

		{joined("news", nil), []string{succeeded + `"news","data":"{}"}`}},
		{joined("2/news", &Past{Top: Position{Offset: 1, Epoch: 2}, Present: there}), []string{succeeded + `"news","data":"{}"}`}},
		{joined("#server-to-user-ann", nil), []string{succeeded + `"#server-to-user-ann","data":"{}"}`}},
		{joined("2/presence-b", &Past{Present: there}), []string{succeeded +
			`"presence-b","data":"{\"presence\":{\"ids\":[\"\\\"b\",\"10\",\"ann\"],\"hash\":{\"\\\"b\":5,\"10\":null,\"ann\":{\"n\":\"Ann\"}},\"count\":3}}"}`}},
		{joined("presence-b", nil), []string{succeeded + `"presence-b","data":"{\"presence\":{\"ids\":[],\"hash\":{},\"count\":0}}"}`}},
		{joined("cache-x", &Past{HasCached: true}), []string{succeeded + `"cache-x","data":"{}"}`, `{"event":"pusher:cache_miss","channel":"cache-x"}`}},
		{joined("2/cache-x", &Past{HasCached: true, Cached: cached}), []string{succeeded + `"cache-x","data":"{}"}`, `{"event":"ev","channel":"cache-x","data":"{\"a\":1}"}`}},
		{joined("presence-cache-x", &Past{HasCached: true, Present: there[:1]}), []string{succeeded + `"presence-cache-x","data":"{\"presence\":{\"ids\":[\"10\"],\"hash\":{\"10\":null},\"count\":1}}"}`,
			`{"event":"pusher:cache_miss","channel":"presence-cache-x"}`}},

		{Outcome{What: Counted, Group: "2/private-a", Number: 12}, []string{`{"event":"pusher_internal:subscription_count","channel":"private-a","data":"{\"subscription_count\":12}"}`}},
		{Outcome{What: Removed, Group: "2/private-a"}, []string{refused + `"private-a","data":"{\"type\":\"AuthError\",\"error\":\"a server has taken this connection out of the channel\",\"status\":401}"}`}},
		{Outcome{What: Lapsed, Group: "private-a"}, []string{refused + `"private-a","data":"{\"type\":\"AuthError\",\"error\":\"what allowed this connection to be in the channel has ended\",\"status\":401}"}`}},
		{Outcome{What: Refused, Verb: AddGroup, Group: "2/private-a", ID: pusherID, Code: ErrBadToken}, []string{refused +
			`"private-a","data":"{\"type\":\"AuthError\",\"error\":\"the signature is not valid: it must be the app's, for this socket id, channel and data\",\"status\":401}"}`}},
		{Outcome{What: Refused, Verb: AddGroup, Group: "a \"b/c", ID: pusherID, Code: ErrBadChannel}, []string{refused +
			`"a \"b/c","data":"{\"type\":\"ChannelError\",\"error\":\"a channel's name has 1 to 164 letters, digits or any of -_=@,.; and may begin with #\",\"status\":400}"}`}},
		{Outcome{What: Refused, Verb: AddGroup, Group: "presence-a", ID: pusherID, Code: ErrTooManyMembers}, []string{refused +
			`"presence-a","data":"{\"type\":\"LimitReached\",\"error\":\"the presence channel has as many members as it may have\",\"status\":4004}"}`}},
		{Outcome{What: Refused, Verb: AddGroup, ID: pusherID, Code: ErrBadMessage}, []string{`{"event":"pusher:error","data":"{\"code\":null,\"message\":\"the data must be an object, or its JSON text in a string\"}"}`}},
		{Outcome{What: Refused, Verb: AddGroup, ID: pusherID, Code: ErrBadChannel}, []string{
			`{"event":"pusher:error","data":"{\"code\":null,\"message\":\"a channel's name has 1 to 164 letters, digits or any of -_=@,.; and may begin with #\"}"}`}},
		{Outcome{What: Refused, ID: pusherID, Code: ErrUnknownCmd}, []string{
			`{"event":"pusher:error","data":"{\"code\":null,\"message\":\"clients may send pusher:subscribe, pusher:unsubscribe, pusher:signin, pusher:ping, pusher:pong and client events\"}"}`}},
		{Outcome{What: Refused, Verb: SignIn, ID: pusherID, Code: ErrForbidden}, []string{`{"event":"pusher:error","data":"{\"code\":4009,\"message\":\"a signature for this is missing, or it is not for this connection\"}"}`}},
		{Outcome{What: Refused, Verb: SendToGroup, Group: "private-a", ID: pusherID, Code: ErrForbidden}, []string{
			`{"event":"pusher:error","data":"{\"code\":4301,\"message\":\"client events are for private and presence channels that are not encrypted, of apps that allow them\"}"}`}},
		{Outcome{What: Refused, Verb: SendToGroup, ID: pusherID, Code: ErrBadMessage}, []string{`{"event":"pusher:error","data":"{\"code\":4301,\"message\":\"the data of the event is longer than the server allows\"}"}`}},
		{Outcome{What: Refused, Verb: SignIn, ID: pusherID, Code: ErrOtherToken}, []string{`{"event":"pusher:error","data":"{\"code\":4009,\"message\":\"this connection has signed in as another user\"}"}`}},
		{Outcome{What: Refused, Verb: SendToGroup, Group: "private-a", ID: pusherID, Code: ErrNotMember}, []string{
			`{"event":"pusher:error","data":"{\"code\":4301,\"message\":\"only who is subscribed to the channel may send client events to it\"}"}`}},
	} {
		p := newPusher()
		p.Answer(nil, joined("presence-other", &Past{Present: there, HasCached: true, Cached: cached})) // nothing of it is to be left
		if got := textsOf(t, p.Answer(nil, test.o)); !slices.Equal(got, test.want) {
			t.Errorf("%+v:\n got %s\nwant %s", test.o, got, test.want)
		}
		if got := p.Answer([]byte("before"), test.o); !bytes.HasPrefix(got, []byte("before")) || !slices.Equal(textsOf(t, got[len("before"):]), test.want) {
			t.Errorf("%+v behind others: got %q", test.o, got)
		}
	}
}

// What is cached is what was sent to who was there.
func TestPusherTellsTheCachedEventAsItWasHeard(t *testing.T) {
	p := newPusher()
	cached := with(message("cache-x", strings.Repeat("\"", 70_000), false), More{Tags: []byte(`{"event":"ev"}`)})
	frames := p.Answer(nil, Outcome{What: OK, Verb: AddGroup, Group: "cache-x", ID: pusherID, Past: &Past{HasCached: true, Cached: cached}})
	if want := p.Encode(cached); !bytes.HasSuffix(frames, want) || len(textsOf(t, frames)) != 2 {
		t.Errorf("got %d bytes, want %d of the event behind the answer", len(frames), len(want))
	}
}

// Every refusal has its answer, which an SDK can read, and only subscriptions have one with a channel.
func TestPusherTellsEveryRefusal(t *testing.T) {
	for code := range sentences {
		for _, verb := range []Verb{VerbNone, AddGroup, LeaveGroup, SendToGroup, Respond, SignIn} {
			texts := textsOf(t, newPusher().Answer(nil, Outcome{What: Refused, Verb: verb, Group: "a\n\"", ID: pusherID, Code: code}))
			if len(texts) != 1 {
				t.Fatalf("%v, %s: got %q, want one frame", verb, code, texts)
			}
			e := eventOf(t, texts[0])
			data, _ := e.Data.(string)
			var told struct {
				Type, Error, Message string
				Status               int
				Code                 *int
			}
			if err := json.Unmarshal([]byte(data), &told); err != nil {
				t.Fatalf("%v, %s: got the data %q (%v)", verb, code, data, err)
			}
			wantCode := map[Verb]int{SendToGroup: 4301, SignIn: 4009}[verb]
			switch e.Event {
			case "pusher:subscription_error":
				if verb != AddGroup || *e.Channel != "a\n\"" || told.Type == "" || told.Error == "" || told.Status == 0 {
					t.Errorf("%v, %s: got %s, want no error of a subscription, or all of one", verb, code, texts[0])
				}
			case "pusher:error":
				if e.Channel != nil || told.Message == "" || told.Code == nil && wantCode != 0 || told.Code != nil && *told.Code != wantCode {
					t.Errorf("%v, %s: got %s, want the code %d (0: null) and a sentence", verb, code, texts[0], wantCode)
				}
			default:
				t.Errorf("%v, %s: got %s, want an error", verb, code, texts[0])
			}
		}
	}
	for code, why := range refusals {
		if _, known := sentences[code]; !known || strings.ContainsAny(why.kind, `"\`) {
			t.Errorf("%s: got a refusal of kind %q, want one of a code that is known", code, why.kind)
		}
	}
	for code, sentence := range pusherSentences {
		if _, known := sentences[code]; !known || strings.ContainsAny(sentence, `"\`) {
			t.Errorf("%s: got the sentence %q, want one for a code that is known, without quotes", code, sentence)
		}
	}
}

// An SDK has a member for each user, however many tabs it has, and each key of the hash in its list.
func TestPusherListsEachUserOnce(t *testing.T) {
	var present []Present
	for i := range 1000 {
		present = append(present, Present{Client: uint64(64 + i), Who: WhoIs{User: fmt.Sprint("user \"", i%334, "\x01"), Info: []byte(fmt.Sprintf(`{"n":%d}`, i%334))}.Who()})
	}
	p := newPusher()
	texts := textsOf(t, p.Answer(nil, Outcome{What: OK, Verb: AddGroup, Group: "presence-a", ID: pusherID, Past: &Past{Present: present}}))
	var data struct {
		Presence struct {
			IDs   []string `json:"ids"`
			Hash  map[string]struct{ N int }
			Count int
		}
	}
	text, _ := eventOf(t, texts[0]).Data.(string)
	if err := json.Unmarshal([]byte(text), &data); err != nil {
		t.Fatal(err)
	}
	list := data.Presence
	if list.Count != 334 || len(list.IDs) != 334 || len(list.Hash) != 334 || !slices.IsSorted(list.IDs) {
		t.Errorf("got %d users, %d ids, %d in the hash, want 334", list.Count, len(list.IDs), len(list.Hash))
	}
	for _, id := range list.IDs {
		info, ok := list.Hash[id]
		if want := fmt.Sprint("user \"", info.N, "\x01"); !ok || id != want {
			t.Fatalf("%q: got the info of %q, %v", id, want, ok)
		}
	}
	for _, who := range p.members[:cap(p.members)] {
		if who != nil {
			t.Fatalf("got %+v kept, want nobody", who)
		}
	}
}

// Answers go into memory that is there, and an event is one allocation of its size.
func TestPusherAllocatesNothingButEvents(t *testing.T) {
	p := newPusher()
	dst := make([]byte, 0, 64<<10)
	there := []Present{{Client: 65, Who: WhoIs{User: "b"}.Who()}, {Client: 66, Who: WhoIs{User: "a", Info: []byte("1")}.Who()}, {Client: 67, Who: WhoIs{User: "b"}.Who()}}
	for _, o := range []Outcome{
		{What: Greeting, Client: 65, Number: 120}, {What: Ping}, {What: OK, Verb: Respond}, {What: OK, Verb: SignIn, Data: []byte(`{"id":"a"}`)}, {What: OK, Verb: AddGroup, Group: "news"},
		{What: OK, Verb: AddGroup, Group: "presence-a", Past: &Past{Present: there}}, {What: Refused, Verb: AddGroup, Group: "private-a", Code: ErrBadToken},
		{What: OK, Verb: AddGroup, Group: "cache-a", Past: &Past{HasCached: true, Cached: message("cache-a", "x", false)}}, {What: Refused, Code: ErrUnknownCmd}, {What: Removed, Group: "a"},
	} {
		p.Answer(dst, o)
		if got := testing.AllocsPerRun(100, func() { sink = p.Answer(dst, o) }); got != 0 {
			t.Errorf("%+v: got %v allocations, want 0", o, got)
		}
	}
	for _, frame := range []string{
		`{"event":"pusher:subscribe","data":{"auth":"K:1","channel":"private-a","channel_data":"{\"user_id\":1}"}}`, `{"event":"pusher:subscribe","data":"{\"channel\":\"\\u0061\"}"}`,
		`{"event":"client-x","channel":"private-a","data":{"a":1}}`, `{"event":"pusher:ping"}`,
	} {
		payload := []byte(frame)
		p.Next(payload, false)
		if got := testing.AllocsPerRun(100, func() { p.Next(payload, false) }); got != 0 {
			t.Errorf("%s: got %v allocations, want 0", frame, got)
		}
	}
	ann := WhoIs{User: "ann", Info: []byte("{}")}.Who()
	for _, m := range []*Message{
		message("news", "a\nb", false), with(message("presence-a", `{"a":1}`, true), More{Tags: []byte(`{"event":"client-\u0061"}`), ClientEvent: true, Who: ann}),
		{Group: "presence-a", Sort: Came, More: &More{Who: ann, Edge: true}}, {Group: "presence-a", Sort: Went, More: &More{Who: ann, Edge: true}},
		message("news", strings.Repeat("[\r\n", 40_000), true),
	} {
		frame := p.Encode(m)
		if got := testing.AllocsPerRun(20, func() { sink = p.Encode(m) }); got != 1 || cap(frame) > len(frame)+len(frame)/4+32 {
			t.Errorf("%d bytes: got %v allocations, %d bytes for %d, want one of nearly that", len(m.Wire), got, cap(frame), len(frame))
		}
	}
	for _, o := range []Outcome{{What: OK, Verb: SignIn, Data: bytes.Repeat([]byte("a"), 1<<20)}} {
		if p.Answer(nil, o); cap(p.data) > scratchBytesKept {
			t.Errorf("got %d bytes of scratch kept, want at most %d", cap(p.data), scratchBytesKept)
		}
	}
	if got := len(p.Answer(nil, Outcome{What: Greeting, Client: math.MaxUint64, Number: math.MaxUint64})); got > 200 {
		t.Errorf("got a greeting of %d bytes, want at most 200", got)
	}
}
