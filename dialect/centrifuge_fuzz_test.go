package dialect

import (
	"bytes"
	"encoding/json"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"ringcast/wsproto"
)

// linesOf are the lines of a frame that are not blank.
func linesOf(frame string) (lines []string) {
	for line := range strings.SplitSeq(frame, "\n") {
		if strings.Trim(line, " \t\r") != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

var canonicalID = regexp.MustCompile(`^[1-9][0-9]*$`)

// slowCentrifuge is the oracle: the rules of a command on top of encoding/json.
func slowCentrifuge(line []byte) (cmd Command, code ErrorCode) {
	bad := Command{Verb: Close, Code: 3501, Reason: "bad request"}
	line = bytes.Trim(line, " \t\r\n")
	if !utf8.Valid(line) || !json.Valid(line) || line[0] != '{' || nesting(line) > 512 {
		return bad, ""
	}
	verbs := map[string]Verb{"connect": Connect, "subscribe": AddGroup, "unsubscribe": LeaveGroup, "publish": SendToGroup, "presence": Presence, "presence_stats": Stats, "history": History, "ping": Respond, "send": Close, "refresh": Auth, "sub_refresh": AuthGroup}
	codes := map[string]ErrorCode{"rpc": ErrNotAvailable}
	var id, request json.RawMessage
	var methods []string
	strange := false
	members := json.NewDecoder(bytes.NewReader(line))
	for members.Token(); members.More(); { // in order, as a map would lose that there are two of a method
		key, err := members.Token()
		if err != nil {
			panic(err)
		}
		var value json.RawMessage
		if err := members.Decode(&value); err != nil {
			panic(err)
		}
		null := string(value) == "null"
		name := key.(string)
		_, isVerb := verbs[name]
		_, isCode := codes[name]
		switch {
		case name == "id":
			id = value
		case null:
		case isVerb || isCode:
			methods, request = append(methods, name), value
		default:
			strange = true
		}
	}
	if string(id) == "null" || string(id) == "0" {
		id = nil
	}
	if _, err := strconv.ParseUint(string(id), 10, 32); id != nil && (err != nil || !canonicalID.Match(id)) || len(methods) > 1 {
		return bad, ""
	}
	switch {
	case len(methods) == 0 && strange && id != nil:
		return Command{ID: id}, ErrUnknownCmd
	case len(methods) == 0 && !strange && id == nil:
		return Command{Verb: Respond}, ""
	case len(methods) == 0 || request[0] != '{':
		return bad, ""
	case methods[0] == "send":
		return Command{Verb: Close, Code: 3508, Reason: "not available"}, ""
	case id == nil:
		return bad, ""
	}
	if code := codes[methods[0]]; code != "" {
		return Command{ID: id}, code
	}
	cmd = Command{Verb: verbs[methods[0]], ID: id}
	if cmd.Verb == Respond {
		return cmd, ""
	}
	var asked map[string]json.RawMessage
	if err := json.Unmarshal(request, &asked); err != nil {
		panic(err)
	}
	var token *string
	if value, ok := asked["token"]; ok && slices.Contains([]Verb{Connect, AddGroup, Auth, AuthGroup}, cmd.Verb) {
		if json.Unmarshal(value, &token) != nil {
			return bad, ""
		}
	}
	if token != nil && *token != "" {
		cmd.Token = []byte(*token)
	}
	switch {
	case cmd.Verb == Auth && cmd.Token == nil:
		return bad, ""
	case cmd.Verb == Connect && !slowResume(&cmd, asked["subs"]):
		return bad, ""
	case cmd.Verb == Auth || cmd.Verb == Connect:
		return cmd, ""
	}
	if !slowPast(&cmd, asked) {
		return bad, ""
	}
	var channel any
	if value, ok := asked["channel"]; ok {
		if err := json.Unmarshal(value, &channel); err != nil {
			panic(err)
		}
	}
	group, _ := channel.(string)
	if group == "" || len(group) > 255 {
		return cmd, ErrBadGroupID
	}
	if cmd.Verb == AuthGroup && cmd.Token == nil {
		return cmd, ErrBadMessage
	}
	if cmd.Verb == SendToGroup {
		data, ok := asked["data"]
		if !ok {
			return cmd, ErrBadMessage
		}
		var text string
		if cmd.JSON = data[0] != '"'; cmd.JSON {
			cmd.Message = data
		} else if err := json.Unmarshal(data, &text); err != nil {
			panic(err)
		} else {
			cmd.Message = []byte(text)
		}
	}
	cmd.Group = []byte(group)
	return cmd, ""
}

// slowPast is the oracle of what is asked of a group's past, and of who comes and goes.
func slowPast(cmd *Command, asked map[string]json.RawMessage) (ok bool) {
	ok = true
	read := func(from map[string]json.RawMessage, key string, into any) {
		if value, has := from[key]; has && json.Unmarshal(value, into) != nil {
			ok = false
		}
	}
	position := func(from map[string]json.RawMessage) (p Position) {
		var offset int64
		var epoch string
		read(from, "offset", &offset)
		read(from, "epoch", &epoch)
		ok = ok && 0 <= offset && offset <= 1<<53
		return Position{Offset: uint64(offset), Epoch: slowEpoch(epoch)}
	}
	switch cmd.Verb {
	case AddGroup:
		read(asked, "join_leave", &cmd.Hears)
		read(asked, "recover", &cmd.Recover)
		var flag int64
		read(asked, "flag", &flag)
		ok = ok && -1<<53 <= flag && flag <= 1<<53
		if since := position(asked); cmd.Recover {
			cmd.Since, cmd.OrNone = since, flag&2 != 0
		}
	case History:
		var limit int32
		read(asked, "limit", &limit)
		read(asked, "reverse", &cmd.Reverse)
		cmd.Limit = int(limit)
		var since map[string]json.RawMessage
		read(asked, "since", &since)
		if since != nil {
			cmd.HasSince, cmd.Since = true, position(since)
		}
	}
	return ok
}

// slowResume is the oracle of the positions that a client connects with.
func slowResume(cmd *Command, value json.RawMessage) (ok bool) {
	// One by one, as of names that are equal each is read, and the last counts.
	type sub struct {
		name  string
		value json.RawMessage
	}
	var subs []sub
	if value == nil || string(value) == "null" {
		return true
	}
	if value[0] != '{' {
		return false
	}
	members := json.NewDecoder(bytes.NewReader(value))
	for members.Token(); members.More(); {
		key, err := members.Token()
		if err != nil {
			panic(err)
		}
		var value json.RawMessage
		if err := members.Decode(&value); err != nil {
			panic(err)
		}
		subs = append(subs, sub{name: key.(string), value: value})
	}
	last := map[string]Command{}
	for _, sub := range subs {
		var asked map[string]json.RawMessage
		if json.Unmarshal(sub.value, &asked) != nil {
			return false
		}
		delete(asked, "flag")
		delete(asked, "join_leave")
		one := Command{Verb: AddGroup}
		if !slowPast(&one, asked) {
			return false
		}
		last[sub.name] = one
	}
	for name, one := range last {
		if one.Recover && 1 <= len(name) && len(name) <= 255 {
			if cmd.Resume == nil {
				cmd.Resume = map[string]Position{}
			}
			cmd.Resume[name] = one.Since
		}
	}
	return true
}

// slowEpoch is the oracle of epochs: math/big's numbers.
func slowEpoch(text string) uint64 {
	if text == "" {
		return 0
	}
	n, ok := new(big.Int).SetString(text[:min(len(text), 99)], 36)
	if !ok || n.Text(36) != text || !n.IsUint64() || n.Sign() == 0 {
		return 1<<64 - 1
	}
	return n.Uint64()
}

func FuzzCentrifuge(f *testing.F) {
	for _, seed := range []string{
		"", "\n \r\n", "{}", "{}\n{}\n", `{"id":0}`, `[]`, `{"id":1}`, "{\"id\":1,\n\"ping\":{}}", "x\n{}",
		`{"connect":{"token":"…","name":"js"},"id":1}` + "\n" + `{"subscribe":{"channel":"chat","flag":1},"id":2}`,
		`{"id":3,"publish":{"channel":"\u7d44","data":"\ud800\udc00\ud800\n\/\u0001"}}` + "\r\n" + `{"publish":{"data":[1.5e-3,{"a":[]},null,"\r\n"],"channel":"c"},"id":4294967295}`,
		`{"unsubscribe":{"channel":"a"},"id":4294967296}`, `{"id":-0,"presence_stats":{"channel":"a"}}`, `{"id":1e2,"presence":{}}`,
		`{"id":1,"\u0072pc":null,"later":1,"history":{"since":{"offset":18446744073709551615,"epoch":"e"}}}`, `{"send":{"data":1}}`,
		`{"id":1,"id":null,"subscribe":{},"subscribe":null}`, `{"id":1,"connect":{},"ping":{}}`, `{"id":9,"sub_refresh":[]}`,
		`{"id":1,"subscribe":{"channel":"` + strings.Repeat(`\u0061`, 256) + `"}}`,
		`{"id":1,"connect":{"data":` + strings.Repeat("[", 510) + strings.Repeat("]", 510) + `}}`,
		`{"id":1,"connect":{"data":` + strings.Repeat("[", 511) + strings.Repeat("]", 511) + `}}`,
		`{"subscribe":{"channel":"c","flag":1,"positioned":true,"recover":true,"offset":7,"epoch":"1y2p0ij32e8e7"},"id":2}`,
		`{"id":2,"subscribe":{"channel":"c","recover":true,"offset":9007199254740992,"epoch":"3w5e11264sgsf"}}`,
		`{"id":2,"subscribe":{"channel":"c","recover":false,"offset":9007199254740993}}`, `{"id":2,"subscribe":{"channel":"","epoch":7}}`,
		`{"id":2,"subscribe":{"channel":"c","recover":true,"offset":-0,"epoch":"3w5e11264sgsl"}}`, `{"id":2,"subscribe":{"channel":"c","recover":1}}`,
		`{"history":{"channel":"c","limit":-2147483648,"since":{"offset":0,"epoch":"\u0061"},"reverse":true},"id":3}`,
		`{"history":{"channel":"c","limit":2147483648},"id":3}`, `{"history":{"channel":"c","limit":null,"since":null,"reverse":null},"id":3}`,
		`{"history":{"channel":"c","since":[]},"id":3}`, `{"history":{"channel":"c","since":{},"since":{"epoch":"00"}},"id":3}`,
		`{"presence":{"channel":"c","join_leave":1},"id":5}`, `{"presence":{"channel":7},"id":5}`, `{"presence":null,"presence":[],"id":5}`,
		`{"subscribe":{"channel":"c","flag":-2,"recover":true},"id":2}`, `{"subscribe":{"channel":"c","flag":"2"},"id":2}`,
		`{"subscribe":{"channel":"c","join_leave":true,"flag":3},"id":2}` + "\n" + `{"presence":{"channel":"c"},"id":3}`,
		`{"subscribe":{"channel":"c","\u006aoin_leave":true,"join_leave":false},"id":2}`, `{"subscribe":{"channel":"","join_leave":"true"},"id":2}`,
		`{"connect":{"token":"a\u002eb","name":"js","subs":{"c":{}}},"id":1}`, `{"connect":{"token":7},"id":1}`, `{"refresh":{"token":""},"id":2}`, `{"refresh":{"token":"x"},"id":2}`,
		`{"sub_refresh":{"channel":"c","token":"x"},"id":2}`, `{"sub_refresh":{"token":null,"channel":"c"},"id":2}`, `{"subscribe":{"channel":"c","token":"x"},"id":3}`, `{"publish":{"channel":"c","data":1,"token":{}},"id":3}`,
		`{"connect":{"subs":{"c":{"recover":true,"offset":7,"epoch":"1y2p0ij32e8e7"},"\u0063\ud800":{"recover":true},"":{"recover":true},"c":null}},"id":1}`,
		`{"connect":{"subs":{"a":{"recover":true,"offset":9007199254740993}}},"id":1}`, `{"connect":{"subs":[],"subs":null},"id":1}`, `{"connect":{"subs":{"a":[]}},"id":1}`,
		`{"connect":{"subs":{"` + strings.Repeat(`\u0061`, 256) + `":{"recover":true}}},"id":1}`,
		`{"publish":{"channel":"c","data":1,"limit":"x","recover":[],"since":1},"id":4}`,
		"{\"id\":1,\"subscribe\":{\"channel\":\"\xff\"}}", `{"` + strings.Repeat(`\u0069`, 15) + `":1,"id":2,"ping":{}}`,
	} {
		f.Add([]byte(seed))
	}
	c := newCentrifuge() // one for all runs: what it remembers must not matter
	f.Fuzz(func(t *testing.T, payload []byte) {
		frame := string(payload)
		got := commandsOf(t, c, frame)
		lines := linesOf(frame)

		// Commands mean the same, whatever frames they come in.
		var apart, want []string
		for _, line := range lines {
			apart = append(apart, commandsOf(t, c, line)...)
			want = append(want, showCentrifuge(slowCentrifuge([]byte(line))))
		}
		if half := len(lines) / 2; half > 0 {
			split := append(commandsOf(t, c, strings.Join(lines[:half], "\n")), commandsOf(t, c, "\r\n"+strings.Join(lines[half:], "\n \n")+"\n")...)
			if !slices.Equal(split, apart) {
				t.Fatalf("%q in two frames:\n got %q\nwant %q", frame, split, apart)
			}
		}
		if len(lines) == 0 {
			want, apart = []string{"respond id=-"}, got
		}
		if !slices.Equal(got, want) || !slices.Equal(apart, want) {
			t.Fatalf("%q:\n  got %q\napart %q\n want %q", frame, got, apart, want)
		}

		for _, line := range lines {
			checkReplies(t, c, []byte(line))
		}
		if _, _, code := c.Next(payload, true); code != "" || string(payload) != frame {
			t.Fatalf("%q: got %q for a binary message, and the payload %q", frame, code, payload)
		}
	})
}

// servedAs is that a client has become a member of all groups that it connects to with a position.
func servedAs(cmd *Command, past *Past) (served []Served) {
	for group := range cmd.Resume {
		served = append(served, Served{Group: group, Past: past, Data: []byte("{}")})
	}
	return served
}

// checkReplies checks that all that can be said of a command is one line of JSON, and that a message is heard as it was said.
func checkReplies(t *testing.T, c *centrifuge, line []byte) {
	cmd, _, code := c.Next(line, false)
	if cmd.ID != nil {
		said := message("g", string(line), false)
		said.Kept, said.Offset = true, 1<<53
		past := &Past{Top: Position{Offset: 1 << 53, Epoch: 1 << 63}, Since: cmd.Since, Recovered: true, WasRecovering: cmd.Recover, Messages: slices.Values([]*Message{said, said})}
		for _, what := range []What{OK, Refused, Members, Read, Listed} {
			text := wsproto.TextPayload(c.Answer(nil, Outcome{What: what, TTL: uint32(len(line) % 3), Verb: cmd.Verb, ID: cmd.ID, Code: code, Number: 1 << 40, Past: past, Present: []Present{{Client: 64}, {Client: 65}}, Users: 1, Served: servedAs(&cmd, past)}))
			var reply struct{ ID uint32 }
			if err := json.Unmarshal(text, &reply); err != nil || strconv.FormatUint(uint64(reply.ID), 10) != string(cmd.ID) || bytes.ContainsAny(text, "\r\n") {
				t.Fatalf("%q: got the reply %q (%v)", line, text, err)
			}
		}
	}
	if cmd.Recover && 0 < cmd.Since.Epoch && cmd.Since.Epoch < EpochUnknown {
		samePosition(t, cmd.Since)
	}
	if len(cmd.Group) > 0 {
		sameGroup(t, string(cmd.Group))
	}
	if cmd.Verb == SendToGroup && code == "" {
		samePast(t, []*Message{message(string(cmd.Group), string(cmd.Message), cmd.JSON)})
		samePush(t, message(string(cmd.Group), string(cmd.Message), cmd.JSON))
	}
}
