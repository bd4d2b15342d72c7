package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// In the Centrifuge protocol a text message has one or more lines, each a JSON object. A server's line is a reply, which has
// the id of a command; or a push, such as a message; or {}, which is a ping and is answered by the same.

func centrifugeConnect(id int) []byte {
	return fmt.Appendf(nil, `{"id":%d,"connect":{"name":"bench"}}`, id)
}

func centrifugeCommand(method, group string, id int) []byte {
	return fmt.Appendf(nil, `{"id":%d,"%s":{"channel":"%s"}}`, id, method, group)
}

func centrifugeSend(group string) string {
	return fmt.Sprintf(`,"publish":{"channel":"%s","data":"`, group)
}

const (
	centrifugeSendEnd = `"}}`
	centrifugePing    = `{}`

	// batchBytesMax bounds a frame with several lines: twice what Centrifugo lets wait for a client, which is 1 MiB.
	batchBytesMax = 2 << 20
)

// centrifugeReply is a reply. Methods are pointers, since only their presence counts.
type centrifugeReply struct {
	ID    json.Number `json:"id"`
	Error *struct {
		Code    uint32 `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
	Connect     *struct{} `json:"connect"`
	Subscribe   *struct{} `json:"subscribe"`
	Unsubscribe *struct{} `json:"unsubscribe"`
	Publish     *struct{} `json:"publish"`
}

func checkCentrifugeReply(what string, text []byte, id int) error {
	if what == OfSend && id == AnyID && isPublished(text) {
		return nil
	}
	var reply centrifugeReply
	if err := json.Unmarshal(text, &reply); err != nil {
		return fmt.Errorf("%s: the reply is not the JSON of a reply", what)
	}
	done := map[string]*struct{}{OfConnect: reply.Connect, OfJoin: reply.Subscribe, OfLeave: reply.Unsubscribe, OfSend: reply.Publish}[what]
	switch {
	case reply.Error != nil:
		return fmt.Errorf("%s: refused with %d %q", what, reply.Error.Code, reply.Error.Message)
	case id != AnyID && reply.ID.String() != strconv.Itoa(id):
		return fmt.Errorf("%s: the reply has another id", what)
	case done == nil:
		return fmt.Errorf("%s: the reply is neither to that nor an error", what)
	}
	return nil
}

// isPublished says whether a line is the reply to a publish in the form that servers write. There is one for every message, so
// it is recognized without decoding.
func isPublished(line []byte) bool {
	id, ok := bytes.CutPrefix(line, []byte(idKey))
	if ok {
		id, ok = bytes.CutSuffix(id, []byte(`,"publish":{}}`))
	}
	if !ok || len(id) == 0 || len(id) > 10 {
		return false
	}
	for _, digit := range id {
		if digit < '0' || digit > '9' {
			return false
		}
	}
	return true
}

// centrifugePush is a push.
type centrifugePush struct {
	Channel string `json:"channel"`
	Pub     *struct {
		Data   json.RawMessage `json:"data"`
		Offset uint64          `json:"offset"`
	} `json:"pub"`
	Join        *struct{}       `json:"join"`
	Leave       *struct{}       `json:"leave"`
	Unsubscribe *centrifugeStop `json:"unsubscribe"`
	Disconnect  *centrifugeStop `json:"disconnect"`
}

// centrifugeStop is why a server ends a subscription or a connection.
type centrifugeStop struct {
	Code   uint32 `json:"code"`
	Reason string `json:"reason"`
}

// lines handles the lines of one text message.
func (g *Generator) lines(c *Conn, payload []byte, now int64) {
	for len(payload) > 0 && c.state != stateDead {
		if c.state >= stateReady {
			if text, from, size := g.shapes.read(payload); size > 0 {
				g.play.Heard(c, text, from, now)
				payload = payload[size:]
				continue
			}
		}
		var line []byte
		line, payload, _ = bytes.Cut(payload, []byte("\n"))
		g.line(c, line, now)
	}
}

// line handles one line of any kind.
func (g *Generator) line(c *Conn, line []byte, now int64) {
	switch {
	case len(line) == 0: // after the last one a server may also write the end of its line
		return
	case string(line) == centrifugePing:
		if c.state != stateClosing { // nothing may follow our close frame
			g.pings++
			g.send(c, opText, line)
		}
		return
	case c.state >= stateReady && bytes.HasPrefix(line, []byte(idKey)):
		g.play.Replied(c, line, now)
		return
	}
	var said struct {
		ID   json.Number     `json:"id"`
		Push *centrifugePush `json:"push"`
	}
	if err := json.Unmarshal(line, &said); err != nil {
		g.strange(c, line, now)
		return
	}
	p := said.Push
	switch {
	case p == nil && said.ID == "":
		g.strange(c, line, now)
	case p == nil && c.state == stateGreeting:
		if err := g.target.Dialect.CheckReply(OfConnect, "", line, c.lastID()); err != nil {
			g.Cut(c, err.Error())
			return
		}
		g.admitted(c)
	case p == nil && c.state == stateJoining:
		g.proved(c, line)
	case p == nil:
		g.play.Replied(c, line, now)
	case p.Disconnect != nil:
		g.Cut(c, fmt.Sprintf("disconnected by the server with %d %q", p.Disconnect.Code, p.Disconnect.Reason))
	case p.Unsubscribe != nil:
		g.Cut(c, fmt.Sprintf("unsubscribed by the server with %d %q", p.Unsubscribe.Code, p.Unsubscribe.Reason))
	case p.Join != nil || p.Leave != nil: // of others: no message
	case p.Pub == nil || c.state < stateReady:
		g.strange(c, line, now)
	default:
		from := Origin{g.roster.Number(p.Channel), p.Pub.Offset}
		var text string
		if json.Unmarshal(p.Pub.Data, &text) != nil {
			g.play.Heard(c, p.Pub.Data, from, now) // data of another kind: nobody published it
			return
		}
		g.shapes.learn(line, text, from)
		g.play.Heard(c, []byte(text), from, now)
	}
}

// strange handles a line that has no place in the protocol: later the play takes it for a message.
func (g *Generator) strange(c *Conn, line []byte, now int64) {
	if c.state < stateReady {
		g.Cut(c, fmt.Sprintf("before the join was proved the server said %.60q", line))
		return
	}
	g.play.Heard(c, line, Origin{Group: AnyGroup}, now)
}
