package dialect

import (
	"fmt"
	"strings"
	"testing"
)

// showCommand is a command or its error in words.
func showCommand(cmd Command, code ErrorCode) string {
	id := "-"
	if cmd.ID != nil {
		id = string(cmd.ID)
	}
	if code != "" {
		return fmt.Sprintf("%s id=%s", code, id)
	}
	switch {
	case cmd.Verb == Auth:
		return fmt.Sprintf("%v%s id=%s", cmd.Verb, showToken(&cmd), id)
	case cmd.Verb != SendToGroup:
		return fmt.Sprintf("%v %q%s id=%s", cmd.Verb, cmd.Group, showToken(&cmd), id)
	}
	key := ""
	if cmd.Key != nil {
		key = fmt.Sprintf(" key=%q", cmd.Key)
	}
	return fmt.Sprintf("%v %q %q%s id=%s", cmd.Verb, cmd.Group, cmd.Message, key, id)
}

func TestCommandsMeanWhatTheyMeantInTheOriginal(t *testing.T) {
	for _, test := range []struct{ payload, want string }{
		// The lines of the seed's browser console.
		{`{"cmd":"add_group", "group_id":"123"}`, `add_group "123" id=-`},
		{`{"cmd":"send_to_group", "group_id":"123", "message":"這個是消息"}`, `send_to_group "123" "這個是消息" id=-`},
		{`{"cmd":"leave_group","group_id":"123","id":7}`, `leave_group "123" id=7`},

		// group_id: 123 and "123" are one group, names that only look like numbers are not.
		{`{"cmd":"add_group","group_id":123}`, `add_group "123" id=-`},
		{`{"cmd":"add_group","group_id":"0123"}`, `add_group "0123" id=-`},
		{`{"cmd":"add_group","group_id":" 123"}`, `add_group " 123" id=-`},
		{`{"cmd":"add_group","group_id":"1e2"}`, `add_group "1e2" id=-`},
		{`{"cmd":"add_group","group_id":-0}`, `add_group "0" id=-`},
		{`{"cmd":"add_group","group_id":-5}`, `add_group "-5" id=-`},
		{`{"cmd":"add_group","group_id":9223372036854775807}`, `add_group "9223372036854775807" id=-`},
		{`{"cmd":"add_group","group_id":-9223372036854775808}`, `add_group "-9223372036854775808" id=-`},
		{`{"cmd":"add_group","group_id":9223372036854775808}`, `bad_group_id id=-`},
		{`{"cmd":"add_group","group_id":-9223372036854775809}`, `bad_group_id id=-`},
		{`{"cmd":"add_group","group_id":10000000000000000000}`, `bad_group_id id=-`},
		{`{"cmd":"add_group","group_id":"\u7d44"}`, `add_group "組" id=-`},
		{`{"cmd":"add_group","group_id":"組"}`, `add_group "組" id=-`},
		{`{"cmd":"add_group","group_id":"a\u0000b"}`, `add_group "a\x00b" id=-`},
		{`{"cmd":"add_group","group_id":"` + strings.Repeat("a", 255) + `"}`, `add_group "` + strings.Repeat("a", 255) + `" id=-`},
		{`{"cmd":"add_group","group_id":"` + strings.Repeat(`\u0061`, 255) + `"}`, `add_group "` + strings.Repeat("a", 255) + `" id=-`},
		{`{"cmd":"add_group","group_id":"` + strings.Repeat("a", 256) + `"}`, `bad_group_id id=-`},
		{`{"cmd":"add_group","group_id":"` + strings.Repeat(`\u0061`, 256) + `"}`, `bad_group_id id=-`},
		{`{"cmd":"add_group","group_id":"` + strings.Repeat("組", 86) + `"}`, `bad_group_id id=-`},
		{`{"cmd":"add_group","id":1}`, `bad_group_id id=1`},
		{`{"cmd":"add_group","group_id":null,"id":1}`, `bad_group_id id=1`},
		{`{"cmd":"add_group","group_id":"","id":1}`, `bad_group_id id=1`},
		{`{"cmd":"add_group","group_id":true,"id":1}`, `bad_group_id id=1`},
		{`{"cmd":"add_group","group_id":1.5,"id":1}`, `bad_group_id id=1`},
		{`{"cmd":"add_group","group_id":1e2,"id":1}`, `bad_group_id id=1`},
		{`{"cmd":"add_group","group_id":["a"],"id":1}`, `bad_group_id id=1`},
		{`{"cmd":"add_group","group_id":{"a":1},"id":1}`, `bad_group_id id=1`},

		// message: a string's text, anything else as it was sent.
		{`{"cmd":"send_to_group","group_id":1,"message":"a\n\"\u00e9\ud83d\ude00\\\/\b\f\r\t"}`, `send_to_group "1" "a\n\"é😀\\/\b\f\r\t" id=-`},
		{`{"cmd":"send_to_group","group_id":1,"message":""}`, `send_to_group "1" "" id=-`},
		{`{"cmd":"send_to_group","group_id":1,"message": 1.50e3 }`, `send_to_group "1" "1.50e3" id=-`},
		{`{"cmd":"send_to_group","group_id":1,"message":null}`, `send_to_group "1" "null" id=-`},
		{`{"cmd":"send_to_group","group_id":1,"message":false}`, `send_to_group "1" "false" id=-`},
		{`{"cmd":"send_to_group","group_id":1,"message":[1, {"a" : "\u0041"}]}`, `send_to_group "1" "[1, {\"a\" : \"\\u0041\"}]" id=-`},
		{`{"cmd":"send_to_group","group_id":1,"id":"x"}`, `bad_message id="x"`},
		{`{"cmd":"send_to_group","group_id":1,"message":"\ud800"}`, `send_to_group "1" "�" id=-`},
		{`{"cmd":"send_to_group","group_id":1,"message":"\udc00\ud800\u0041"}`, `send_to_group "1" "��A" id=-`},
		{`{"cmd":"send_to_group","group_id":1,"message":"\ud800\ud83d\ude00"}`, `send_to_group "1" "�😀" id=-`},
		{`{"cmd":"send_to_group","group_id":1,"message":"\ufffd\u0041"}`, `send_to_group "1" "�A" id=-`},
		{`{"cmd":"add_group","group_id":1,"message":[]}`, `add_group "1" id=-`},

		// key: of send_to_group alone.
		{`{"cmd":"send_to_group","group_id":1,"message":"x","key":"k\u0041","id":1}`, `send_to_group "1" "x" key="kA" id=1`},
		{`{"cmd":"send_to_group","group_id":1,"message":"\u0078","key":"\u0000"}`, `send_to_group "1" "x" key="\x00" id=-`},
		{`{"key":"a","cmd":"send_to_group","group_id":1,"message":"x","k\u0065y":"b"}`, `send_to_group "1" "x" key="b" id=-`},
		{`{"cmd":"send_to_group","group_id":1,"message":"x","key":null,"id":1}`, `send_to_group "1" "x" id=1`},
		{`{"cmd":"send_to_group","group_id":1,"message":"x","key":"` + strings.Repeat(`\u0061`, 255) + `"}`, `send_to_group "1" "x" key="` + strings.Repeat("a", 255) + `" id=-`},
		{`{"cmd":"send_to_group","group_id":1,"message":"x","id":1,"key":"` + strings.Repeat("a", 256) + `"}`, `bad_key id=1`},
		{`{"cmd":"send_to_group","group_id":1,"message":"x","id":1,"key":"` + strings.Repeat("組", 86) + `"}`, `bad_key id=1`},
		{`{"cmd":"send_to_group","group_id":1,"message":"x","id":1,"key":""}`, `bad_key id=1`},
		{`{"cmd":"send_to_group","group_id":1,"message":"x","id":1,"key":7}`, `bad_key id=1`},
		{`{"cmd":"send_to_group","group_id":1,"message":"x","key":["k"]}`, `bad_key id=-`},
		{`{"cmd":"send_to_group","group_id":1,"key":7,"id":1}`, `bad_message id=1`},
		{`{"cmd":"add_group","group_id":1,"key":7,"id":1}`, `add_group "1" id=1`},
		{`{"cmd":"leave_group","group_id":1,"key":"","id":1}`, `leave_group "1" id=1`},

		// cmd.
		{`{"group_id":1,"id":2}`, `unknown_cmd id=2`},
		{`{"cmd":null,"group_id":1,"id":2}`, `unknown_cmd id=2`},
		{`{"cmd":7,"group_id":1,"id":2}`, `unknown_cmd id=2`},
		{`{"cmd":"ADD_GROUP","group_id":1,"id":2}`, `unknown_cmd id=2`},
		{`{"cmd":"add_group ","group_id":1,"id":2}`, `unknown_cmd id=2`},
		{`{"cmd":"\u0061dd_group","group_id":1}`, `add_group "1" id=-`},
		{`{}`, `unknown_cmd id=-`},
		{`{ "id" : 3 } `, `unknown_cmd id=3`},

		// id.
		{`{"cmd":"add_group","group_id":1,"id":"a\"b"}`, `add_group "1" id="a\"b"`},
		{`{"cmd":"add_group","group_id":1,"id":-0}`, `add_group "1" id=-0`},
		{`{"cmd":"add_group","group_id":1,"id":""}`, `add_group "1" id=""`},
		{`{"cmd":"add_group","group_id":1,"id":null}`, `add_group "1" id=-`},
		{`{"cmd":"add_group","group_id":1,"id":` + strings.Repeat("1", 128) + `}`, `add_group "1" id=` + strings.Repeat("1", 128)},
		{`{"cmd":"add_group","group_id":1,"id":` + strings.Repeat("1", 129) + `}`, `bad_id id=null`},
		{`{"cmd":"add_group","group_id":1,"id":"` + strings.Repeat("a", 127) + `"}`, `bad_id id=null`},
		{`{"cmd":"add_group","group_id":1,"id":1.0}`, `bad_id id=null`},
		{`{"cmd":"add_group","group_id":1,"id":true}`, `bad_id id=null`},
		{`{"cmd":"add_group","group_id":1,"id":[1]}`, `bad_id id=null`},
		{`{"cmd":"add_group","group_id":1,"id":{}}`, `bad_id id=null`},
		{`{"cmd":"nonsense","id":{}}`, `bad_id id=null`},

		// Keys: others are ignored, the last of equal ones counts, after decoding.
		{`{"x":[{"cmd":"no"}],"cmd":"add_group","group_id":1,"Cmd":"no","":0}`, `add_group "1" id=-`},
		{`{"cmd":"no","cmd":"add_group","group_id":[],"group_id":1,"id":1,"id":null}`, `add_group "1" id=-`},
		{`{"group_id":"first","\u0067roup_id":"second","cmd":"add_group"}`, `add_group "second" id=-`},
		{`{"cmd":"add_group","group_id":1,"` + strings.Repeat(`\u0067`, 1000) + `":1}`, `add_group "1" id=-`},

		// Not a JSON object in UTF-8.
		{``, `bad_json id=-`},
		{`   `, `bad_json id=-`},
		{`"add_group"`, `bad_json id=-`},
		{`[]`, `bad_json id=-`},
		{`7`, `bad_json id=-`},
		{`null`, `bad_json id=-`},
		{"\ufeff{}", `bad_json id=-`},
		{"{\"cmd\":\"add_group\",\"group_id\":\"\xff\",\"id\":1}", `bad_json id=-`},
		{"{\"cmd\":\"add_group\",\"group_id\":\"a\nb\"}", `bad_json id=-`},
		{"{\"cmd\":\"add_group\",\"group_id\":\"a\x00b\"}", `bad_json id=-`},
		{`{"cmd":"add_group","group_id":1,"id":1`, `bad_json id=-`},
		{`{"cmd":"add_group","group_id":1,"id":1}}`, `bad_json id=-`},
		{`{"cmd":"add_group","group_id":1,}`, `bad_json id=-`},
		{`{"cmd":"add_group","group_id":01}`, `bad_json id=-`},
		{`{"cmd":"add_group","group_id":+1}`, `bad_json id=-`},
		{`{"cmd":"add_group","group_id":1.}`, `bad_json id=-`},
		{`{"cmd":"add_group","group_id":1e}`, `bad_json id=-`},
		{`{"cmd":"add_group","group_id":-}`, `bad_json id=-`},
		{`{"cmd":"add_group","group_id":"\x41"}`, `bad_json id=-`},
		{`{"cmd":"add_group","group_id":"\u12g4"}`, `bad_json id=-`},
		{`{"cmd":"add_group","group_id":"\u12`, `bad_json id=-`},
		{`{"cmd":"add_group","group_id":tru}`, `bad_json id=-`},
		{`{"cmd":"add_group" "group_id":1}`, `bad_json id=-`},
		{`{"cmd":"add_group","group_id":1,"x":[1,]}`, `bad_json id=-`},
		{`{"cmd":"add_group","group_id":1,"x":[1}}`, `bad_json id=-`},
		{`{"cmd":"add_group","group_id":1,"x":{"a":1]}`, `bad_json id=-`},
		{`{"cmd":"add_group","group_id":1,"x":trux}`, `bad_json id=-`},
		{`{"cmd":"add_group","group_id":1,"x":{"a"}}`, `bad_json id=-`},
		{`{"cmd":"add_group","group_id":1,"x":{1:2}}`, `bad_json id=-`},
		{`{'cmd':'add_group'}`, `bad_json id=-`},
		{`{"cmd":"add_group"/**/}`, `bad_json id=-`},
	} {
		var p CommandParser
		if got := showCommand(p.Parse([]byte(test.payload))); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.payload, got, test.want)
		}
	}
}

func TestControlCharactersAreRefusedAnywhereInAString(t *testing.T) {
	for c := range byte(0x20) {
		for at := range 20 {
			inside := []byte("twenty characters...")
			inside[at] = c
			payload := `{"cmd":"send_to_group","group_id":1,"message":"` + string(inside) + `"}`
			var p CommandParser
			if _, got := p.Parse([]byte(payload)); got != ErrBadJSON {
				t.Errorf("%q: got %q, want %q", payload, got, ErrBadJSON)
			}
		}
	}
}

func TestNestingIsBoundedAsInPHP(t *testing.T) {
	nested := func(depth int, front, inside, back string) string {
		return `{"cmd":"send_to_group","group_id":1,"message":` + strings.Repeat(front, depth) + inside + strings.Repeat(back, depth) + `}`
	}
	for _, test := range []struct {
		name, payload, want string
	}{
		// The command itself is one level.
		{"arrays up to the bound", nested(jsonDepthMax-1, "[", "", "]"), ""},
		{"arrays over the bound", nested(jsonDepthMax, "[", "", "]"), "bad_json"},
		{"objects up to the bound", nested(jsonDepthMax-1, `{"a":`, "1", "}"), ""},
		{"objects over the bound", nested(jsonDepthMax, `{"a":`, "1", "}"), "bad_json"},
		{"a bomb", strings.Repeat("[", 1<<20), "bad_json"},
		{"a bomb inside", `{"a":` + strings.Repeat("[", 1<<20), "bad_json"},
		{"many, but side by side", `{"cmd":"send_to_group","group_id":1,"message":[` + strings.Repeat("[],{},", 1000) + "0]}", ""},
	} {
		var p CommandParser
		if _, got := p.Parse([]byte(test.payload)); string(got) != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func TestParserRemembersNothingOfThePayloadBefore(t *testing.T) {
	var p CommandParser
	p.Parse([]byte(`{"cmd":"send_to_group","group_id":"\u0061","message":"\u0062","id":1}`))
	p.Parse([]byte(`{"a":[[[{`))
	for payload, want := range map[string]string{
		`{"cmd":"add_group"}`:                  `bad_group_id id=-`,
		`{"cmd":"leave_group","group_id":"g"}`: `leave_group "g" id=-`,
	} {
		if got := showCommand(p.Parse([]byte(payload))); got != want {
			t.Errorf("%s: got %s, want %s", payload, got, want)
		}
	}
}

func TestLargeScratchIsDropped(t *testing.T) {
	var p CommandParser
	large := `{"cmd":"send_to_group","group_id":1,"message":"` + strings.Repeat(`\n`, 100_000) + `"}`
	if cmd, code := p.Parse([]byte(large)); code != "" || len(cmd.Message) != 100_000 {
		t.Fatalf("got %q with %d bytes, want 100000 bytes", code, len(cmd.Message))
	}
	p.Parse([]byte(`{}`))
	if got := cap(p.scratch); got > scratchBytesKept {
		t.Errorf("got %d bytes of scratch, want at most %d", got, scratchBytesKept)
	}
}

func TestScratchDoesNotGrowFromCommandToCommand(t *testing.T) {
	var p CommandParser
	for range 1000 {
		p.Parse([]byte(`{"cmd":"add_group","group_id":"\u0061\u0062\u0063"}`))
	}
	if got, want := cap(p.scratch), 64; got > want {
		t.Errorf("got %d bytes of scratch, want at most %d", got, want)
	}
}

func TestParseLeavesThePayloadAsItIs(t *testing.T) {
	const payload = `{"cmd":"send_to_group","group_id":"\u0061","message":"\u0062\n","id":"\u0063"}`
	b := []byte(payload)
	var p CommandParser
	p.Parse(b)
	if string(b) != payload {
		t.Errorf("got %s, want %s", b, payload)
	}
}

func TestParsingAllocatesNothing(t *testing.T) {
	var p CommandParser
	for _, payload := range []string{
		`{"cmd":"add_group","group_id":"123"}`,
		`{"cmd":"send_to_group","group_id":"123","message":"這個是消息","id":7}`,
		`{"cmd":"send_to_group","group_id":"\u7d44","message":"line\nline","id":"a"}`,
		`{"cmd":"send_to_group","group_id":123,"message":{"a":[1,2,3]}}`,
		`{"cmd":"send_to_group","group_id":123,"message":"x","key":"\u006b1"}`,
		`not JSON`,
	} {
		b := []byte(payload)
		p.Parse(b) // the scratch is there after the first time
		if got := testing.AllocsPerRun(100, func() { p.Parse(b) }); got != 0 {
			t.Errorf("%s: got %v allocations, want 0", payload, got)
		}
	}
}
