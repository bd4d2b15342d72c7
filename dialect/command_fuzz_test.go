package dialect

import (
	"bytes"
	"encoding/json"
	"math/big"
	"regexp"
	"strings"
	"testing"

	"ringcast/wsproto"
	"unicode/utf8"
)

var integerLiteral = regexp.MustCompile(`^-?[0-9]+$`)

// slowParse is the oracle: the rules of a command on top of encoding/json.
func slowParse(payload []byte) (cmd Command, code ErrorCode) {
	var object map[string]json.RawMessage
	if !utf8.Valid(payload) || json.Unmarshal(payload, &object) != nil || object == nil || nesting(payload) > 512 {
		return Command{}, ErrBadJSON
	}
	text := func(key string) (s string, ok bool) {
		value := object[key]
		if len(value) == 0 || value[0] != '"' {
			return "", false
		}
		err := json.Unmarshal(value, &s)
		return s, err == nil
	}
	if id, ok := object["id"]; ok && string(id) != "null" {
		if len(id) > 128 || id[0] != '"' && !integerLiteral.Match(id) {
			return Command{ID: []byte("null")}, ErrBadID
		}
		cmd.ID = id
	}
	name, _ := text("cmd")
	switch name {
	case "add_group":
		cmd.Verb = AddGroup
	case "leave_group":
		cmd.Verb = LeaveGroup
	case "send_to_group":
		cmd.Verb = SendToGroup
	case "auth":
		cmd.Verb = Auth
	default:
		return Command{ID: cmd.ID}, ErrUnknownCmd
	}
	if token, shown := object["token"]; cmd.Verb == Auth || cmd.Verb == AddGroup && shown && string(token) != "null" {
		s, _ := text("token")
		cmd.Token = []byte(s)
	}
	if cmd.Verb == Auth {
		return cmd, ""
	}
	if group := object["group_id"]; integerLiteral.Match(group) {
		n, _ := new(big.Int).SetString(string(group), 10)
		if !n.IsInt64() {
			return Command{ID: cmd.ID}, ErrBadGroupID
		}
		cmd.Group = []byte(n.String())
	} else {
		s, ok := text("group_id")
		if !ok || s == "" || len(s) > 255 {
			return Command{ID: cmd.ID}, ErrBadGroupID
		}
		cmd.Group = []byte(s)
	}
	if cmd.Verb == SendToGroup {
		message, ok := object["message"]
		if !ok {
			return Command{ID: cmd.ID}, ErrBadMessage
		}
		cmd.Message = message
		if s, ok := text("message"); ok {
			cmd.Message = []byte(s)
		}
		if key, has := object["key"]; has && string(key) != "null" {
			s, ok := text("key")
			if !ok || s == "" || len(s) > 255 {
				return Command{ID: cmd.ID}, ErrBadKey
			}
			cmd.Key = []byte(s)
		}
	}
	return cmd, ""
}

// nesting is how deep the containers of valid JSON stand in each other.
func nesting(payload []byte) (deepest int) {
	depth, inString := 0, false
	for i := 0; i < len(payload); i++ {
		switch c := payload[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

func FuzzCommand(f *testing.F) {
	for _, seed := range []string{
		`{"cmd":"add_group", "group_id":"123"}`,
		`{"cmd":"send_to_group", "group_id":"123", "message":"這個是消息"}`,
		`{"cmd":"leave_group","group_id":-0,"id":"\ud83d\ude00"}`,
		`{"cmd":"send_to_group","group_id":-9223372036854775808,"message":[1.5e-3,{"a":[]},null,true],"id":-12}`,
		`{"cmd":"send_to_group","group_id":"\u7d44","message":"\ud800\udc00\ud800\n\/","id":1e5}`,
		`{"\u0063md":"add_group","group_id":9223372036854775808,"id":null,"id":7}`,
		`{"cmd":"add_group","group_id":1,"id":"` + strings.Repeat("a", 126) + `"}`,
		`{"a":{"b":{"c":[[[0]],{}]}}}`, `[]`, `"cmd"`, `{"cmd":"x"`, `{"a":01}`, "{\"a\":\"\x1f\"}", `{"a":"\u00zz"}`, "{}\x00",
		`{"a":` + strings.Repeat("[", 511) + strings.Repeat("]", 511) + `}`,
		`{"a":` + strings.Repeat("[", 512) + strings.Repeat("]", 512) + `}`,
		`{"cmd":"auth","token":"a.b.c","id":1}`, `{"cmd":"auth","token":7}`, `{"cmd":"auth","group_id":[]}`, `{"cmd":"auth","token":"a\u002eb"}`, `{"token":"x","cmd":"add_group","group_id":1}`,
		`{"key":"k","cmd":"send_to_group","group_id":1,"message":"x","id":1}`, `{"key":"\u0000\ud800","cmd":"send_to_group","group_id":1,"message":"\n"}`, `{"key":"","cmd":"send_to_group","group_id":1,"message":1,"id":2}`, `{"key":[],"cmd":"add_group","group_id":1}`,
		`{"token":null,"cmd":"add_group","group_id":1}`, `{"token":[],"cmd":"add_group","group_id":1,"id":"x"}`, `{"token":"x","cmd":"send_to_group","group_id":1,"message":""}`,
	} {
		f.Add([]byte(seed))
	}
	var p CommandParser // one for all runs: what it remembers must not matter
	f.Fuzz(func(t *testing.T, payload []byte) {
		before := bytes.Clone(payload)
		got, gotCode := p.Parse(payload)
		if !bytes.Equal(payload, before) {
			t.Fatalf("got the payload changed to %q, want %q", payload, before)
		}
		want, wantCode := slowParse(payload)
		if gotCode != wantCode || got.Verb != want.Verb || !bytes.Equal(got.Group, want.Group) ||
			!bytes.Equal(got.Message, want.Message) || !bytes.Equal(got.Key, want.Key) || (got.Key == nil) != (want.Key == nil) || !bytes.Equal(got.Token, want.Token) || (got.Token == nil) != (want.Token == nil) || !bytes.Equal(got.ID, want.ID) || (got.ID == nil) != (want.ID == nil) {
			t.Fatalf("%q:\n got %s\nwant %s", payload, showCommand(got, gotCode), showCommand(want, wantCode))
		}
		if got.ID != nil && !json.Valid(AppendOK(nil, got.ID)[replyHeaderBytes(got.ID):]) {
			t.Fatalf("%q: the reply to id %q is no JSON", payload, got.ID)
		}
	})
}

func replyHeaderBytes(id []byte) int {
	payloadBytes := len(replyID) + len(id) + len(replyOK)
	return wsproto.TextFrameBytes(payloadBytes) - payloadBytes
}
