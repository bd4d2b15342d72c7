package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// What a client of the Pusher protocol may get wrong, on purpose or not: each has its answer or its close code, and nobody else notices.
func TestHostilePusherClientsHarmNobody(t *testing.T) {
	t.Parallel()
	s := startPusher(t, "--message-max", "4MiB", "--history", "10")
	subscribe := func(data string) string { return `{"event":"pusher:subscribe","data":` + data + `}` }
	nested := func(deep int) string { return strings.Repeat("[", deep) + strings.Repeat("]", deep) }
	const refused, errored, in = `"event":"pusher:subscription_error"`, `"event":"pusher:error"`, `"event":"pusher_internal:subscription_succeeded"`
	signed := func(channel, data string) string { return "signed " + channel + " " + data }
	cases := []struct {
		what, said, answer string // "": nothing has to come
		code               int    // 0: it stays
	}{
		{"data that is a string and no JSON", subscribe(`"news"`), errored, 0},
		{"data that is a string of JSON", subscribe(`"{\"channel\":\"news\"}"`), in, 0},
		{"data that is a number", subscribe(`7`), errored, 0},
		{"data that is null", subscribe(`null`), errored, 0},
		{"data that is a list", subscribe(`["news"]`), errored, 0},
		{"no data", `{"event":"pusher:subscribe"}`, errored, 0},
		{"no channel", subscribe(`{"auth":""}`), errored, 0},
		{"a channel that is a number", subscribe(`{"channel":7}`), "", 0},
		{"a channel that is null", subscribe(`{"channel":null}`), "", 0},
		{"a channel without a name", subscribe(`{"channel":""}`), "", 0},
		{"a channel with a space", subscribe(`{"channel":"a b"}`), "", 0},
		{"a channel with a slash", subscribe(`{"channel":"4/news"}`), "", 0},
		{"a channel in another alphabet", subscribe(`{"channel":"組"}`), "", 0},
		{"a channel with a control character", subscribe(`{"channel":"a\u0000b"}`), "", 0},
		{"a channel of 165 bytes", subscribe(`{"channel":"` + strings.Repeat("c", 165) + `"}`), "", 0},
		{"a channel of 164 bytes", subscribe(`{"channel":"` + strings.Repeat("c", 164) + `"}`), in, 0},
		{"a channel of a megabyte", subscribe(`{"channel":"` + strings.Repeat("c", 1<<20) + `"}`), "", 0},
		{"no signature", subscribe(`{"channel":"private-a"}`), refused, 0},
		{"a signature that is empty", subscribe(`{"channel":"private-a","auth":""}`), refused, 0},
		{"a signature that is a number", subscribe(`{"channel":"private-a","auth":7}`), "", 0},
		{"a signature of another key", subscribe(`{"channel":"private-a","auth":"other:` + strings.Repeat("0", 64) + `"}`), refused, 0},
		{"a signature of a megabyte", subscribe(`{"channel":"private-a","auth":"` + strings.Repeat("0", 1<<20) + `"}`), "", 0},
		{"a signature in capitals", "capitals private-a", "", 0},
		{"signed", signed("private-a", ""), in, 0},
		{"a presence channel without a user", signed("presence-a", ""), refused, 0},
		{"a user that is no JSON", signed("presence-a", `{"user_id":`), "", 0},
		{"a user that is no object", signed("presence-a", `"ann"`), "", 0},
		{"a user without an id", signed("presence-a", `{"user_info":{}}`), "", 0},
		{"a user with an empty id", signed("presence-a", `{"user_id":""}`), "", 0},
		{"a user whose id is null", signed("presence-a", `{"user_id":null}`), "", 0},
		{"a user whose id is an object", signed("presence-a", `{"user_id":{}}`), "", 0},
		{"a user whose id is a megabyte", signed("presence-a", `{"user_id":"`+strings.Repeat("u", 1<<20)+`"}`), "", 0},
		{"a user with info 10,000 deep", signed("presence-a", `{"user_id":"u","user_info":`+nested(10_000)+`}`), "", 0},
		{"a user, all right", signed("presence-a", `{"user_id":"u","user_info":{}}`), in, 0},
		{"the user of another text", subscribe(fmt.Sprintf(`{"channel":"presence-a","auth":%q,"channel_data":"{}"}`, pusherSign("1.1:presence-a"))), refused, 0},
		{"a user that is an object, not a string", subscribe(`{"channel":"presence-a","auth":"x","channel_data":{"user_id":"u"}}`), "", 0},
		{"a private channel with a user that is null", "null private-a", in, 0},
		{"a group of a user", subscribe(`{"channel":"#server-to-user-ann","auth":""}`), refused, 0},
		{"nothing", ``, "", 0},
		{"no JSON", `nonsense`, "", 0},
		{"half of JSON", `{"event":"pusher:subscribe","data":{"channel":"news"`, "", 0},
		{"JSON and more", `{"event":"pusher:pong"}{"event":"pusher:pong"}`, "", 0},
		{"a list", `[{"event":"pusher:ping"}]`, "", 0},
		{"a number", `7`, "", 0},
		{"no event", `{}`, "", 0},
		{"an event that is a number", `{"event":7}`, "", 0},
		{"an event that is null", `{"event":null}`, "", 0},
		{"an event that nobody knows", `{"event":"pusher:nothing","data":{}}`, errored, 0},
		{"an event of the server's", `{"event":"pusher_internal:member_added","channel":"news","data":"{}"}`, "", 0},
		{"an event that is no client event", `{"event":"hello","channel":"news","data":{}}`, errored, 0},
		{"an event 10,000 deep", `{"event":"client-a","channel":"private-a","data":` + nested(10_000) + `}`, "", 0},
		{"a client event without a channel", `{"event":"client-a","data":{}}`, errored, 0},
		{"a client event without data", `{"event":"client-a","channel":"private-a"}`, "", 0},
		{"a client event in a strange channel", `{"event":"client-a","channel":"private-z","data":{}}`, errored, 0},
		{"a client event in a public channel", `{"event":"client-a","channel":"news","data":{}}`, errored, 0},
		{"a client event of a megabyte", `{"event":"client-a","channel":"private-a","data":"` + strings.Repeat("x", 1<<20) + `"}`, errored, 0},
		{"unsubscribe of what one is not in", `{"event":"pusher:unsubscribe","data":{"channel":"news"}}`, "", 0},
		{"unsubscribe of nothing", `{"event":"pusher:unsubscribe","data":"x"}`, "", 0},
		{"a sign-in of nobody", `{"event":"pusher:signin","data":{}}`, errored, 0},
		{"a sign-in that nobody signed", `{"event":"pusher:signin","data":{"auth":"` + pusherSign("x") + `","user_data":"{\"id\":\"ann\"}"}}`, errored, 0},
		{"a sign-in without an id", "signin {}", errored, 0},
		{"a sign-in with a number", `signin {"id":7}`, "", 0},
		{"two keys of one name", `{"event":"pusher:subscribe","event":"pusher:ping","data":{"channel":"news"}}`, "", 0},
		{"text that is no UTF-8", "bytes", "", 1007},
		{"a message over the bound", strings.Repeat(" ", 4<<20+1), "", 4100},
	}
	besides(t, s, func(t *testing.T) {
		watcher, socket := dialPusher(t, s.addr)
		must(t, watcher.text(pusherSubscribe(socket, "private-quiet", "")))
		watcher.expectPusher(t, "pusher_internal:subscription_succeeded", "private-quiet", "{}")
		for _, c := range cases {
			client, socket := dialPusher(t, s.addr)
			said := []byte(c.said)
			if about, is := strings.CutPrefix(c.said, "signed "); is {
				channel, data, _ := strings.Cut(about, " ")
				said = []byte(pusherSubscribe(socket, channel, data))
			} else if channel, is := strings.CutPrefix(c.said, "capitals "); is {
				said = []byte(subscribe(`{"channel":"` + channel + `","auth":"` + strings.Replace(strings.ToUpper(pusherSign(socket+":"+channel)), strings.ToUpper(pusherKey), pusherKey, 1) + `"}`))
			} else if channel, is := strings.CutPrefix(c.said, "null "); is {
				said = []byte(subscribe(`{"channel":"` + channel + `","auth":"` + pusherSign(socket+":"+channel) + `","channel_data":null}`))
			} else if user, is := strings.CutPrefix(c.said, "signin "); is {
				said = []byte(`{"event":"pusher:signin","data":{"auth":"` + pusherSign(socket+"::user::"+user) + `","user_data":` + quote(user) + `}}`)
			} else if c.said == "bytes" {
				said = []byte("{\"event\":\"\xff\"}")
			}
			for _, op := range []ws.OpCode{ws.OpText, ws.OpBinary} {
				if c.code > 0 && op == ws.OpBinary {
					continue
				}
				must(t, client.raw(frameBytes(op, true, said)))
				if c.code > 0 {
					if code, err := client.closeCode(); code != c.code {
						t.Errorf("%s: got close %d, %v; want %d", c.what, code, err, c.code)
					}
					continue
				}
				heard, err := client.beforePusherPong()
				if err != nil {
					t.Errorf("%s: got %q and then %v, want it to stay", c.what, heard, err)
					break
				}
				if op == ws.OpText && !strings.Contains(strings.Join(heard, "\n"), c.answer) {
					t.Errorf("%s: got %.300q, want %s in it", c.what, heard, c.answer)
				}
			}
			client.hangUp()
		}
		watcher.expectNothing(t)
	})
}

// beforePusherPong asks whether the server is there, in Pusher's words, and gives what comes before the answer. A subscribe that was said before
// it is answered by the home of its group: that may come behind, and is waited for.
func (c *client) beforePusherPong() (texts []string, err error) {
	for range 2 {
		if err := c.text(`{"event":"pusher:ping","data":{}}`); err != nil {
			return texts, err
		}
		for {
			text, err := c.next()
			if err != nil {
				return texts, err
			}
			if strings.HasPrefix(text, `{"event":"pusher:pong"`) {
				break
			}
			texts = append(texts, text)
		}
		if len(texts) > 0 {
			return texts, nil
		}
		// What is answered by a home is behind by a turn or two of the loops; a publish to a group of its own goes the same way.
		if err := c.text(`{"event":"pusher:subscribe","data":{"channel":"barrier"}}`); err != nil {
			return texts, err
		}
		for {
			text, err := c.next()
			if err != nil {
				return texts, err
			}
			if strings.Contains(text, `"channel":"barrier"`) {
				break
			}
			texts = append(texts, text)
		}
	}
	return texts, nil
}
