package dialect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"ringcast/wsproto"
)

func TestCentrifugeCommandsAskForThePast(t *testing.T) {
	const bad = "close 3501 bad request"
	const unknown = "18446744073709551615"
	for _, test := range []struct{ frame, want string }{
		// As centrifuge-js says them. At 0 and "" it leaves offset and epoch out; "_" is what it says after a close with 3014.
		{`{"subscribe":{"channel":"c","positioned":true,"recoverable":true,"join_leave":true,"flag":3,"recover":true,"offset":7,"epoch":"abc"},"id":2}`, `add_group "c" hears recover or-none since=7/13368 id=2`},
		{`{"subscribe":{"channel":"c","flag":2,"offset":7},"id":2}`, `add_group "c" id=2`},
		{`{"subscribe":{"channel":"c","flag":"2","recover":true},"id":2}`, bad},
		{`{"subscribe":{"channel":"c","flag":1,"recover":true,"epoch":"abc"},"id":2}`, `add_group "c" recover since=0/13368 id=2`},
		{`{"subscribe":{"channel":"c","flag":1,"recover":true,"offset":7},"id":2}`, `add_group "c" recover since=7/0 id=2`},
		{`{"subscribe":{"channel":"c","flag":1,"recover":true},"id":2}`, `add_group "c" recover since=0/0 id=2`},
		{`{"subscribe":{"channel":"c","flag":1,"recover":true,"epoch":"_"},"id":2}`, `add_group "c" recover since=0/` + unknown + ` id=2`},
		{`{"history":{"channel":"c"},"id":6}`, `history "c" limit=0 id=6`},
		{`{"history":{"channel":"c","limit":-1},"id":6}`, `history "c" limit=-1 id=6`},
		{`{"history":{"channel":"c","since":{"offset":0},"limit":100},"id":6}`, `history "c" since=0/0 limit=100 id=6`},
		{`{"history":{"channel":"c","since":{"offset":5,"epoch":"z"},"limit":2,"reverse":true},"id":6}`, `history "c" since=5/35 limit=2 reverse id=6`},

		// Subscribe.
		{`{"id":2,"subscribe":{"channel":"c","recover":false,"offset":7,"epoch":"abc"}}`, `add_group "c" id=2`},
		{`{"id":2,"subscribe":{"channel":"c","offset":7,"epoch":"abc"}}`, `add_group "c" id=2`},
		{`{"id":2,"subscribe":{"channel":"c","recover":null,"offset":null,"epoch":null}}`, `add_group "c" id=2`},
		{`{"id":2,"subscribe":{"epoch":"","offset":0,"recover":true,"channel":"c","limit":"x","reverse":1,"since":2}}`, `add_group "c" recover since=0/0 id=2`},
		{`{"id":2,"subscribe":{"channel":"c","\u0072ecover":true,"offset":1,"offset":2,"epoch":"\u0061\u0062c"}}`, `add_group "c" recover since=2/13368 id=2`},
		{`{"id":2,"subscribe":{"channel":"c","recover":true,"offset":9007199254740992}}`, `add_group "c" recover since=9007199254740992/0 id=2`},
		{`{"id":2,"subscribe":{"channel":"c","recover":true,"offset":9007199254740993}}`, bad},
		{`{"id":2,"subscribe":{"channel":"c","recover":true,"offset":18446744073709551616}}`, bad},
		{`{"id":2,"subscribe":{"channel":"c","recover":true,"offset":` + strings.Repeat("9", 1<<16) + `}}`, bad},
		{`{"id":2,"subscribe":{"channel":"c","recover":true,"offset":-1}}`, bad},
		{`{"id":2,"subscribe":{"channel":"c","recover":true,"offset":1.0}}`, bad},
		{`{"id":2,"subscribe":{"channel":"c","recover":true,"offset":1e3}}`, bad},
		{`{"id":2,"subscribe":{"channel":"c","recover":true,"offset":"1"}}`, bad},
		{`{"id":2,"subscribe":{"channel":"c","recover":true,"offset":{}}}`, bad},
		{`{"id":2,"subscribe":{"channel":"c","offset":true}}`, bad},
		{`{"id":2,"subscribe":{"channel":"c","recover":1}}`, bad},
		{`{"id":2,"subscribe":{"channel":"c","recover":"true"}}`, bad},
		{`{"id":2,"subscribe":{"channel":"c","recover":true,"epoch":7}}`, bad},
		{`{"id":2,"subscribe":{"channel":"c","epoch":["a"]}}`, bad},
		{`{"id":2,"subscribe":{"channel":7,"recover":1}}`, bad},
		{`{"id":2,"subscribe":{"recover":true,"offset":1}}`, `add_group bad_group_id id=2`},

		// History.
		{`{"id":6,"history":{"channel":"c","limit":2147483647}}`, `history "c" limit=2147483647 id=6`},
		{`{"id":6,"history":{"channel":"c","limit":-2147483648}}`, `history "c" limit=-2147483648 id=6`},
		{`{"id":6,"history":{"channel":"c","limit":2147483648}}`, bad},
		{`{"id":6,"history":{"channel":"c","limit":-2147483649}}`, bad},
		{`{"id":6,"history":{"channel":"c","limit":1.5}}`, bad},
		{`{"id":6,"history":{"channel":"c","limit":"1"}}`, bad},
		{`{"id":6,"history":{"channel":"c","limit":false}}`, bad},
		{`{"id":6,"history":{"channel":"c","limit":null,"since":null,"reverse":null}}`, `history "c" limit=0 id=6`},
		{`{"id":6,"history":{"channel":"c","reverse":false,"recover":1,"offset":"x","epoch":7}}`, `history "c" limit=0 id=6`},
		{`{"id":6,"history":{"channel":"c","reverse":"true"}}`, bad},
		{`{"id":6,"history":{"channel":"c","reverse":0}}`, bad},
		{`{"id":6,"history":{"channel":"c","since":{}}}`, `history "c" since=0/0 limit=0 id=6`},
		{`{"id":6,"history":{"channel":"c","since":{"offset":null,"epoch":null,"later":[1]}}}`, `history "c" since=0/0 limit=0 id=6`},
		{`{"id":6,"history":{"since":{"channel":"d","limit":7,"since":1,"offset":3,"epoch":"A"},"channel":"c"}}`, `history "c" since=3/` + unknown + ` limit=0 id=6`},
		{`{"id":6,"history":{"channel":"c","since":{"offset":1,"epoch":"a"},"since":{"offset":2}}}`, `history "c" since=2/0 limit=0 id=6`},
		{`{"id":6,"history":{"channel":"c","since":7}}`, bad},
		{`{"id":6,"history":{"channel":"c","since":"a"}}`, bad},
		{`{"id":6,"history":{"channel":"c","since":[]}}`, bad},
		{`{"id":6,"history":{"channel":"c","since":{"offset":-1}}}`, bad},
		{`{"id":6,"history":{"channel":"c","since":{"epoch":1}}}`, bad},
		{`{"id":6,"history":{"limit":1}}`, `history bad_group_id id=6`},
		{`{"history":{"channel":"c"}}`, bad},

		// Other methods have other members.
		{`{"id":4,"publish":{"channel":"c","data":1,"recover":1,"offset":"x","limit":"x","since":2}}`, `send_to_group "c" "1" json=true id=4`},
		{`{"id":4,"unsubscribe":{"channel":"c","recover":true,"offset":7,"epoch":"a"}}`, `leave_group "c" id=4`},
		{`{"id":4,"presence_stats":{"channel":"c","limit":7,"reverse":true,"since":{"offset":7}}}`, `stats "c" id=4`},
	} {
		if got := commandsOf(t, newCentrifuge(), test.frame); len(got) != 1 || got[0] != test.want {
			t.Errorf("%.200s:\n got %s\nwant %s", test.frame, got, test.want)
		}
	}
}

// sinceOf is the position in {"recover":true,"offset":…,"epoch":…}.
func sinceOf(t *testing.T, members string) Position {
	t.Helper()
	cmd, _, code := newCentrifuge().Next([]byte(`{"id":1,"subscribe":{"channel":"c","recover":true`+members+`}}`), false)
	if code != "" || !cmd.Recover {
		t.Fatalf("%.200s: got %s, want a recovery", members, showCentrifuge(cmd, code))
	}
	return cmd.Since
}

func TestATextThatNoEpochHasIsUnknown(t *testing.T) {
	for text, want := range map[string]uint64{
		"": 0, "1": 1, "z": 35, "10": 36, `\u0061`: 10, "3w5e11264sgse": 1<<64 - 2,
		"0": EpochUnknown, "00": EpochUnknown, "01": EpochUnknown, "A": EpochUnknown, "aB": EpochUnknown, "_": EpochUnknown, "1_0": EpochUnknown, "-1": EpochUnknown,
		"+1": EpochUnknown, " 1": EpochUnknown, "1 ": EpochUnknown, "0x1": EpochUnknown, "1.0": EpochUnknown, "é": EpochUnknown, `\u0000`: EpochUnknown, `\ud800`: EpochUnknown,
		"/": EpochUnknown, ":": EpochUnknown, "`": EpochUnknown, "{": EpochUnknown, "BcpHhWfo": EpochUnknown,
		"3w5e11264sgsf": EpochUnknown, "3w5e11264sgsg": EpochUnknown, "3w5e11264sgsh": EpochUnknown, "zzzzzzzzzzzzz": EpochUnknown,
		"10000000000000": EpochUnknown, strings.Repeat("1", 1<<20): EpochUnknown,
		strings.Repeat(`\u0031`, 13): slowEpoch("1111111111111"), strings.Repeat(`\u0031`, 14): EpochUnknown,
	} {
		if got := sinceOf(t, `,"epoch":"`+text+`"`).Epoch; got != want {
			t.Errorf("%.50q: got epoch %d, want %d", text, got, want)
		}
	}
}

// samePosition checks that a position which a client is told, and from which it recovers, is understood as the same.
func samePosition(t *testing.T, p Position) {
	t.Helper()
	for _, o := range []Outcome{
		{What: OK, Verb: AddGroup, ID: []byte("1"), Past: &Past{Top: p}},
		{What: OK, Verb: AddGroup, ID: []byte("1"), Past: &Past{Top: p, WasRecovering: true}},
		{What: OK, Verb: AddGroup, ID: []byte("1"), Past: &Past{Top: Position{Offset: p.Offset + 9, Epoch: p.Epoch}, Since: Position{Offset: p.Offset}, WasRecovering: true, Recovered: true}},
		{What: Read, Verb: History, ID: []byte("1"), Past: &Past{Top: p}},
	} {
		text := wsproto.TextPayload(newCentrifuge().Answer(nil, o))
		var reply struct{ Subscribe, History map[string]json.RawMessage }
		if err := json.Unmarshal(text, &reply); err != nil {
			t.Fatalf("%v: got %s: %v", p, text, err)
		}
		told := reply.Subscribe
		if told == nil {
			told = reply.History
		}
		members := ""
		for _, key := range []string{"offset", "epoch"} {
			if value, has := told[key]; has {
				members += fmt.Sprintf(`,"%s":%s`, key, value)
			}
		}
		if got := sinceOf(t, members); got != p {
			t.Fatalf("got %v back from %s, want %v", got, text, p)
		}
	}
}

func TestAPositionComesBackAsItWasTold(t *testing.T) {
	for _, epoch := range []uint64{1, 9, 10, 35, 36, 1<<31 - 1, 1 << 32, 1<<53 + 1, 1 << 63, 1<<64 - 2} {
		for _, offset := range []uint64{0, 1, 9, 10, 1 << 31, 1 << 32, 1 << 53} {
			samePosition(t, Position{Offset: offset, Epoch: epoch})
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		samePosition(t, Position{Offset: random.Uint64() >> (11 + random.IntN(53)), Epoch: random.Uint64()>>random.IntN(64) | 1})
	}
}

func TestCentrifugeTellsOfThePast(t *testing.T) {
	said := []*Message{message("c", `{"n":3}`, true), message("c", "four", false)}
	for i, m := range said {
		m.Kept, m.Offset = true, uint64(i)+3
	}
	said[1].SenderSerial = 1
	const pub3 = `{"data":{"n":3},"offset":3}`
	pub4 := `{"data":"four","info":{"user":"","client":"` + string(newCentrifuge().clientName(nil, 64)) + `"},"offset":4}`
	both, none := slices.Values(said), slices.Values([]*Message{})
	top := Position{Offset: 4, Epoch: 36}

	subscribe := func(p *Past) Outcome { return Outcome{What: OK, Verb: AddGroup, Group: "c", ID: []byte("7"), Past: p} }
	history := func(p *Past) Outcome { return Outcome{What: Read, Verb: History, ID: []byte("7"), Past: p} }
	for _, test := range []struct {
		outcome Outcome
		want    string
	}{
		{subscribe(nil), `{}`},
		{subscribe(&Past{}), `{}`},
		{subscribe(&Past{Top: Position{Offset: 4}}), `{}`},
		{subscribe(&Past{Top: Position{Offset: 4}, WasRecovering: true}), `{"was_recovering":true}`},
		{subscribe(&Past{Top: top}), `{"recoverable":true,"epoch":"10","offset":4,"positioned":true}`},
		{subscribe(&Past{Top: Position{Epoch: 1<<64 - 2}}), `{"recoverable":true,"epoch":"3w5e11264sgse","positioned":true}`},

		// Recovered: the offset is the one that was asked from.
		{subscribe(&Past{Top: top, Since: Position{2, 36}, WasRecovering: true, Recovered: true, Messages: both}),
			`{"recoverable":true,"epoch":"10","publications":[` + pub3 + `,` + pub4 + `],"recovered":true,"offset":2,"positioned":true,"was_recovering":true}`},
		{subscribe(&Past{Top: top, Since: Position{3, 0}, WasRecovering: true, Recovered: true, Messages: slices.Values(said[1:])}),
			`{"recoverable":true,"epoch":"10","publications":[` + pub4 + `],"recovered":true,"offset":3,"positioned":true,"was_recovering":true}`},
		{subscribe(&Past{Top: top, Since: Position{0, 36}, WasRecovering: true, Recovered: true, Messages: both}),
			`{"recoverable":true,"epoch":"10","publications":[` + pub3 + `,` + pub4 + `],"recovered":true,"positioned":true,"was_recovering":true}`},
		{subscribe(&Past{Top: top, Since: top, WasRecovering: true, Recovered: true}),
			`{"recoverable":true,"epoch":"10","recovered":true,"offset":4,"positioned":true,"was_recovering":true}`},
		{subscribe(&Past{Top: top, Since: top, WasRecovering: true, Recovered: true, Messages: none}),
			`{"recoverable":true,"epoch":"10","recovered":true,"offset":4,"positioned":true,"was_recovering":true}`},

		// Not recovered: no publications, and the position of now.
		{subscribe(&Past{Top: top, Since: Position{2, 36}, WasRecovering: true, Messages: both}),
			`{"recoverable":true,"epoch":"10","offset":4,"positioned":true,"was_recovering":true}`},
		{subscribe(&Past{Top: Position{Epoch: 36}, Since: Position{2, 35}, WasRecovering: true}),
			`{"recoverable":true,"epoch":"10","positioned":true,"was_recovering":true}`},

		{history(nil), `{}`},
		{history(&Past{}), `{}`},
		{history(&Past{Top: Position{Epoch: 36}}), `{"epoch":"10"}`},
		{history(&Past{Top: top}), `{"epoch":"10","offset":4}`},
		{history(&Past{Top: top, Messages: none}), `{"epoch":"10","offset":4}`},
		{history(&Past{Top: top, Messages: both}), `{"publications":[` + pub3 + `,` + pub4 + `],"epoch":"10","offset":4}`},
		{history(&Past{Top: top, Messages: slices.Values(said[:1]), Since: top}), `{"publications":[` + pub3 + `],"epoch":"10","offset":4}`},
	} {
		want := fmt.Sprintf(`{"id":7,"%s":%s}`, map[Verb]string{AddGroup: "subscribe", History: "history"}[test.outcome.Verb], test.want)
		frame, behind := bytes.CutPrefix(newCentrifuge().Answer([]byte("before"), test.outcome), []byte("before"))
		if got := replyText(t, frame); !behind || got != want || !json.Valid([]byte(got)) {
			t.Errorf("%+v:\n got %s\nwant %s", test.outcome.Past, got, want)
		}
		test.outcome.ID = nil
		if got := newCentrifuge().Answer(nil, test.outcome); len(got) != 0 {
			t.Errorf("without an id: got %q, want nothing", got)
		}
	}
}

// pastText is the text of an answer with publications: one frame, one line, behind what was there.
func pastText(t *testing.T, verb Verb, said []*Message) []byte {
	t.Helper()
	what, past := OK, &Past{Top: Position{Offset: 1 << 40, Epoch: 1 << 50}, WasRecovering: true, Recovered: true, Messages: slices.Values(said)}
	if verb == History {
		what = Read
	}
	frame, behind := bytes.CutPrefix(newCentrifuge().Answer([]byte("before"), Outcome{What: what, Verb: verb, ID: []byte("1"), Past: past}), []byte("before"))
	if !behind || len(frame) < 2 {
		t.Fatalf("got %.200q, want a frame behind what was there", frame)
	}
	text := wsproto.TextPayload(frame)
	header := wsproto.AppendTextHeader(nil, len(text))
	if !bytes.HasPrefix(frame, header) || len(frame) != len(header)+len(text) || bytes.ContainsAny(text, "\r\n") {
		t.Fatalf("got %.200q, want one text frame with one line", frame)
	}
	return text
}

// samePast checks that publications of the past are, byte for byte, those that were pushed.
func samePast(t *testing.T, said []*Message) {
	t.Helper()
	var want []string
	for _, m := range said {
		var reply struct{ Push struct{ Pub json.RawMessage } }
		if err := json.Unmarshal(pushText(t, m), &reply); err != nil {
			t.Fatal(err)
		}
		want = append(want, string(reply.Push.Pub))
	}
	for _, verb := range []Verb{AddGroup, History} {
		var reply struct {
			Subscribe, History struct{ Publications []json.RawMessage }
		}
		text := pastText(t, verb, said)
		if err := json.Unmarshal(text, &reply); err != nil {
			t.Fatalf("got %.200s: %v", text, err)
		}
		got := append(reply.Subscribe.Publications, reply.History.Publications...)
		if len(got) != len(want) {
			t.Fatalf("got %d publications, want %d", len(got), len(want))
		}
		for i := range want {
			if string(got[i]) != want[i] {
				t.Fatalf("%v, publication %d: got %.200s, want %.200s", verb, i, got[i], want[i])
			}
		}
	}
}

func TestThePastIsToldAsItWasPushed(t *testing.T) {
	var said []*Message
	for i, payload := range []string{"", "hi", "a\nb\r\"\\\x01", "{}", "[1,\r\n 2]", `{"a":"\n"}`, "null", strings.Repeat("x", 70_000), "[\n\r\"" + strings.Repeat(`\n`, 40_000) + "\"]\n"} {
		for _, isJSON := range []bool{false, json.Valid([]byte(payload))} {
			m := message("g", payload, isJSON)
			m.Kept, m.Offset, m.SenderSerial = i%3 > 0, uint64(i)<<20, uint32(i%2)
			said = append(said, m)
		}
	}
	samePast(t, said)
	for _, m := range said {
		samePast(t, []*Message{m})
	}
}

// The reply is moved to its header once its length is known, and headers have three lengths.
func TestAReplyFitsItsHeaderAtEveryLength(t *testing.T) {
	empty := len(pastText(t, History, []*Message{message("g", "", false)}))
	for _, length := range []int{125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537, 512 << 10} {
		m := message("g", strings.Repeat("x", length-empty), false)
		if got := len(pastText(t, History, []*Message{m})); got != length {
			t.Fatalf("got a reply of %d bytes, want %d", got, length)
		}
		samePast(t, []*Message{m})
	}
}

func TestThePastCostsNoMemoryForEachPublication(t *testing.T) {
	c := newCentrifuge()
	dst := make([]byte, 0, 1<<20)
	m := message("g", "[\r\n"+strings.Repeat(`"\n",`, 80)+"1\n]", true)
	m.Kept, m.Offset, m.SenderSerial = true, 1<<53, 1
	var allocs [2]float64
	for _, verb := range []Verb{AddGroup, History} {
		for i, n := range []int{1, 1000} {
			past := &Past{Top: Position{Offset: 1, Epoch: 1<<64 - 2}, WasRecovering: true, Recovered: true, Messages: slices.Values(slices.Repeat([]*Message{m}, n))}
			o := Outcome{What: OK, Verb: verb, ID: []byte("1"), Past: past}
			if allocs[i] = testing.AllocsPerRun(20, func() { sink = c.Answer(dst, o) }); len(sink) < n*len(m.Wire)*3/4 {
				t.Fatalf("got an answer of %d bytes for %d messages", len(sink), n)
			}
			// It grows by a part of itself, not by publications, and nothing of it is kept.
			if got := testing.AllocsPerRun(20, func() { sink = c.Answer(nil, o) }); got > allocs[i]+40 {
				t.Errorf("%v, %d publications: got %v allocations without memory to write to, want %v and at most 40", verb, n, got, allocs[i])
			}
		}
		if allocs[0] > 4 || allocs[1] != allocs[0] {
			t.Errorf("%v: got %v allocations for one publication and %v for 1000, want the same few", verb, allocs[0], allocs[1])
		}
	}
	if len(c.group) > 0 || cap(c.scratch) > scratchBytesKept {
		t.Errorf("got %d and %d bytes kept, want nothing of an answer", len(c.group), cap(c.scratch))
	}
}

func TestPlainIsNotToldOfThePast(t *testing.T) {
	var p Plain
	past := &Past{Top: Position{1, 1}, WasRecovering: true, Recovered: true, Messages: slices.Values([]*Message{message("g", "hi", false)})}
	o := Outcome{What: OK, Verb: AddGroup, Group: "g", ID: []byte("7"), Past: past}
	if got := replyText(t, p.Answer(nil, o)); got != `{"id":7,"ok":true}` {
		t.Errorf("got %s, want what is said of any join", got)
	}
	if got := p.Answer(nil, Outcome{What: Read, Verb: History, ID: []byte("7"), Past: past}); len(got) != 0 {
		t.Errorf("got %q, want nothing: it has no such command", got)
	}
}
