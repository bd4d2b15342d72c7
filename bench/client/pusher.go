package client

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// In the Pusher protocol a text message is one JSON object, an event: its name, mostly a channel, and data. A server's data is a
// string, which for events of the protocol itself is again JSON. Commands have no ids: a join is answered with the channel's name,
// and nothing else is answered. A client's own event is for channels that need a signature, goes to those who are subscribed, and only they may send one,
// and comes to all of them but the one who has sent it.

// App is what an application's clients show a server of the Pusher protocol.
type App struct {
	ID, Key, Secret string

	// Channels is how the names of its channels begin, which says what they are: PublicChannels, PrivateChannels, PresenceChannels.
	Channels string
}

// How names of channels begin.
const (
	PublicChannels   = ""
	PrivateChannels  = "private-"
	PresenceChannels = "presence-"
)

// PusherQuery is that of a request, if a URL has none.
const PusherQuery = "protocol=7&client=bench&version=1"

const (
	pusherEvent = "client-bench" // of all texts
	pusherPong  = `{"event":"pusher:pong","data":{}}`

	pusherSubscribed = "pusher_internal:subscription_succeeded"
)

// Sign is the signature of a text.
func (a *App) Sign(text string) string {
	sum := hmac.New(sha256.New, []byte(a.Secret))
	sum.Write([]byte(text))
	return hex.EncodeToString(sum.Sum(nil))
}

// SignPost is the query of a request that posts a body to a path of the HTTP API. It is good for ten minutes.
func (a *App) SignPost(path string, body []byte, now time.Time) string {
	query := fmt.Sprintf("auth_key=%s&auth_timestamp=%d&auth_version=1.0&body_md5=%x", a.Key, now.Unix(), md5.Sum(body))
	return query + "&auth_signature=" + a.Sign("POST\n"+path+"\n"+query)
}

// subscribe is the command by which client number n, with this socket id, joins a channel.
func (a *App) subscribe(channel, socketID string, n int32) []byte {
	switch a.Channels {
	case PublicChannels:
		return fmt.Appendf(nil, `{"event":"pusher:subscribe","data":{"auth":"","channel":"%s"}}`, channel)
	case PresenceChannels:
		signature := a.Sign(fmt.Sprintf(`%s:%s:{"user_id":"%d"}`, socketID, channel, n))
		return fmt.Appendf(nil, `{"event":"pusher:subscribe","data":{"auth":"%s:%s","channel":"%s","channel_data":"{\"user_id\":\"%d\"}"}}`, a.Key, signature, channel, n)
	}
	return fmt.Appendf(nil, `{"event":"pusher:subscribe","data":{"auth":"%s:%s","channel":"%s"}}`, a.Key, a.Sign(socketID+":"+channel), channel)
}

func pusherUnsubscribe(channel string) []byte {
	return fmt.Appendf(nil, `{"event":"pusher:unsubscribe","data":{"channel":"%s"}}`, channel)
}

func pusherSend(channel string) string {
	return fmt.Sprintf(`{"event":"%s","channel":"%s","data":"`, pusherEvent, channel)
}

const pusherSendEnd = `"}`

// pusherSaid is an event of a server.
type pusherSaid struct {
	Event   string          `json:"event"`
	Channel string          `json:"channel"`
	Data    json.RawMessage `json:"data"`
}

// text is the string that the data is; ok is false for anything else.
func (s *pusherSaid) text() (text string, ok bool) {
	return text, len(s.Data) > 0 && s.Data[0] == '"' && json.Unmarshal(s.Data, &text) == nil
}

// socketID reads the event that has to be a client's first.
func (s *pusherSaid) socketID() (string, error) {
	var data struct {
		SocketID        string `json:"socket_id"`
		ActivityTimeout int    `json:"activity_timeout"`
	}
	text, ok := s.text()
	switch {
	case s.Event == "pusher:error":
		return "", fmt.Errorf("connect: refused with %.100s", text)
	case s.Event != "pusher:connection_established":
		return "", fmt.Errorf("connect: the first event is %.60q", s.Event)
	case !ok || json.Unmarshal([]byte(text), &data) != nil || data.SocketID == "" || data.ActivityTimeout < 1:
		return "", fmt.Errorf("connect: no socket id or no activity timeout in the first event")
	case strings.ContainsFunc(data.SocketID, func(r rune) bool { return (r < '0' || r > '9') && r != '.' }):
		return "", fmt.Errorf("connect: the socket id %.60q is not of two numbers", data.SocketID)
	}
	return data.SocketID, nil
}

// checkPusherReply is CheckReply in this protocol: what is said where no answer is due can only be a refusal.
func checkPusherReply(what, channel string, reply []byte) error {
	var said pusherSaid
	if err := json.Unmarshal(reply, &said); err != nil {
		return fmt.Errorf("%s: the reply is not the JSON of an event", what)
	}
	text, ok := said.text()
	switch {
	case said.Event == "pusher:subscription_error" || said.Event == "pusher:error":
		return fmt.Errorf("%s: refused with %.200s", what, text)
	case said.Event != pusherSubscribed || what != OfJoin:
		return fmt.Errorf("%s: answered by the event %.60q", what, said.Event)
	case said.Channel != channel:
		return fmt.Errorf("%s: the reply is for another channel", what)
	case strings.HasPrefix(channel, PresenceChannels) && !(ok && strings.HasPrefix(text, `{"presence":{`)): // for others some servers leave the data out
		return fmt.Errorf("%s: the reply does not say who is there", what)
	}
	return nil
}

// pusher handles one event.
func (g *Generator) pusher(c *Conn, line []byte, now int64) {
	if c.state >= stateReady {
		if text, from, size := g.shapes.read(line); size == len(line) {
			g.play.Heard(c, text, from, now)
			return
		}
	}
	var said pusherSaid
	if err := json.Unmarshal(line, &said); err != nil {
		g.strange(c, line, now)
		return
	}
	if c.state == stateGreeting {
		id, err := said.socketID()
		if err != nil {
			g.Cut(c, err.Error())
			return
		}
		c.socketID = id
		g.admitted(c)
		return
	}
	switch said.Event {
	case "pusher:ping":
		if c.state != stateClosing { // nothing may follow our close frame
			g.pings++
			g.send(c, opText, []byte(pusherPong))
		}
	case "pusher:pong", "pusher_internal:member_added", "pusher_internal:member_removed", "pusher_internal:subscription_count": // no message
	case pusherSubscribed, "pusher:subscription_error", "pusher:error":
		if c.state == stateJoining {
			g.proved(c, line)
			return
		}
		g.play.Replied(c, line, now)
	case pusherEvent:
		text, ok := said.text()
		if c.state < stateReady || !ok {
			g.strange(c, line, now)
			return
		}
		from := Origin{Group: g.roster.Number(said.Channel)}
		g.shapes.learn(line, text, from)
		g.play.Heard(c, []byte(text), from, now)
	default:
		g.strange(c, line, now)
	}
}
