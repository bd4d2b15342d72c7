package loop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"

	"ringcast/dialect"
	"ringcast/wsproto"
)

// loud is a dialect in one file: its members hear text in capitals, are greeted, and are closed with codes of their
// own. It commands as plain does, and of a group's past besides: "past" in an add_group is the position of who comes back, and there
// is a history. What has a place in a history is heard with its offset. With "hears" in an add_group its members hear who comes (C) and goes
// (W), by their numbers; each such news has a number of its own too. There is presence, a list of numbers. It is spoken at /loud.
var loud = dialect.Entry{
	Name:      "loud",
	Serves:    func(path string) bool { return path == "/loud" },
	New:       func() dialect.Dialect { return &loudly{} },
	Positions: true,
	Hears:     true,
	Heals:     true,
}

type loudly struct{ dialect.Plain }

// loudPast is what a command says of the past, and what the answer says of it.
type loudPast struct {
	Offset  uint64
	Epoch   loudEpoch
	Limit   int  `json:",omitempty"` // history
	Since   bool `json:",omitempty"` // history: Offset counts
	Reverse bool `json:",omitempty"` // history

	Asked     bool          `json:",omitempty"` // answer
	Recovered bool          `json:",omitempty"` // answer
	From      uint64        `json:",omitempty"` // answer
	Messages  []loudMessage `json:",omitempty"` // answer
}

type loudMessage struct {
	Offset uint64
	Text   string
}

// loudEpoch is as long in any text, as worlds must not depend on its value.
type loudEpoch uint64

func (e loudEpoch) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%016x", uint64(e)), nil }
func (e *loudEpoch) UnmarshalText(text []byte) error {
	_, err := fmt.Sscanf(string(text), "%x", (*uint64)(e))
	return err
}

func (l *loudly) Next(payload []byte, binary bool) (cmd dialect.Command, rest []byte, code dialect.ErrorCode) {
	cmd, rest, code = l.Plain.Next(payload, binary)
	var said struct {
		Cmd   string
		Group string `json:"group_id"`
		ID    json.RawMessage
		Past  *loudPast
		Hears bool
	}
	if !bytes.Contains(payload, []byte(`"past"`)) && !bytes.Contains(payload, []byte(`"hears"`)) || json.Unmarshal(payload, &said) != nil {
		return cmd, rest, code
	}
	if said.Cmd == "presence" {
		return dialect.Command{Verb: dialect.Presence, Group: []byte(said.Group), ID: said.ID}, rest, ""
	}
	if cmd.Hears = said.Hears; said.Past == nil {
		return cmd, rest, code
	}
	p := said.Past
	switch {
	case cmd.Verb == dialect.AddGroup:
		cmd.Recover = true
	case said.Cmd == "history":
		code = ""
		cmd = dialect.Command{Verb: dialect.History, Group: []byte(said.Group), ID: said.ID, Limit: p.Limit, HasSince: p.Since, Reverse: p.Reverse}
	}
	cmd.Since = position{Offset: p.Offset, Epoch: uint64(p.Epoch)}
	return cmd, rest, code
}

// loudNews counts the news that were encoded. All loops share one form of each.
var loudNews atomic.Uint64

func (l *loudly) Encode(m *dialect.Message) []byte {
	if m.Sort != dialect.Said {
		if m.More != nil && m.More.Still {
			return nil // the client itself neither comes nor goes
		}
		client, _ := m.Sender()
		what := map[dialect.Sort]string{dialect.Came: "C", dialect.Went: "W"}[m.Sort]
		return wsproto.AppendFrame(nil, wsproto.OpText, fmt.Appendf(nil, "%s|%s|%d|%016x", what, m.Group, client, loudNews.Add(1)))
	}
	if m.JSON {
		return m.Frame()
	}
	text := bytes.ToUpper(m.Payload())
	if m.Kept {
		text = append(fmt.Appendf(nil, "K%d|", m.Offset), text...)
	}
	return wsproto.AppendFrame(nil, wsproto.OpText, text)
}

func (l *loudly) Answer(dst []byte, o dialect.Outcome) []byte {
	switch p := o.Past; {
	case o.What == dialect.Parted:
		return wsproto.AppendFrame(dst, wsproto.OpText, fmt.Appendf(nil, `{"event":"parted","group_id":%q}`, o.Group))
	case o.What == dialect.Greeting:
		return wsproto.AppendFrame(dst, wsproto.OpText, []byte("HELLO"))
	case o.What == dialect.Listed:
		present := []uint64{}
		for _, p := range o.Present {
			present = append(present, p.Client)
		}
		text, _ := json.Marshal(map[string]any{"id": json.RawMessage(o.ID), "ok": true, "present": present})
		return wsproto.AppendFrame(dst, wsproto.OpText, text)
	case p != nil:
		told := loudPast{Offset: p.Top.Offset, Epoch: loudEpoch(p.Top.Epoch), Asked: p.WasRecovering, Recovered: p.Recovered, From: p.Since.Offset}
		if p.Messages != nil {
			for m := range p.Messages {
				told.Messages = append(told.Messages, loudMessage{m.Offset, string(m.Payload())})
			}
		}
		text, _ := json.Marshal(map[string]any{"id": json.RawMessage(o.ID), "ok": true, "past": told})
		return wsproto.AppendFrame(dst, wsproto.OpText, text)
	}
	return l.Plain.Answer(dst, o)
}

func (l *loudly) Close(cause dialect.Cause) (wsproto.StatusCode, string) {
	_, reason := l.Plain.Close(cause)
	return 4100 + wsproto.StatusCode(cause), strings.ToUpper(reason)
}
