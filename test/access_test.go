package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// pageClient is a Centrifuge client that has connected.
func pageClient(t *testing.T, s *server) *client {
	t.Helper()
	c := dial(t, s, dialing{path: centrifugePath})
	c.answers(t, `{"id":1,"connect":{}}`, `{"id":1,"connect":`)
	return c
}

// answers asks, and compares the beginning of what comes back.
func (c *client) answers(t *testing.T, command, want string) {
	t.Helper()
	must(t, c.frame(ws.OpText, true, command))
	if got, err := c.next(); err != nil || !strings.HasPrefix(got, want) {
		t.Errorf("%s: got %s, %v, want %s", command, got, err, want)
	}
}

const permissionDenied = `"error":{"code":103,"message":"permission denied"}`

func TestKindsSayWhoMayJoinAndPublish(t *testing.T) {
	t.Parallel()
	s, write := configured(t, `{"groups": [{"match": "locked:*", "join": "token"}, {"match": "news", "publish": "server"},
		{"match": "chat:*", "publish": "member"}, {"match": "own:*", "publish": "user"}]}`, "--channel", "127.0.0.1:0", "--loops", "3")
	s.eventually("the banner, and the log before it, warn of groups that nobody can join or publish to", func() error {
		for _, line := range []string{`no client can join or publish to`, `"locked:*"`, `"own:*"`} {
			if !strings.Contains(s.out.String(), line) {
				return fmt.Errorf("got none with %s", line)
			}
		}
		return nil
	})
	plain, page := dial(t, s), pageClient(t, s)
	plain.expectError(t, joinCommand("locked:1"), "forbidden")
	page.answers(t, `{"id":2,"subscribe":{"channel":"locked:1"}}`, `{"id":2,`+permissionDenied)
	silent := dial(t, s)
	must(t, silent.commands(joinCommand("locked:1")))
	silent.expectClose(t, 1008)

	// Nobody but a server publishes news.
	must(t, plain.join("news"))
	page.answers(t, `{"id":3,"subscribe":{"channel":"news"}}`, `{"id":3,"subscribe":`)
	plain.expectError(t, sendCommand("news", "x"), "forbidden")
	page.answers(t, `{"id":4,"publish":{"channel":"news","data":"x"}}`, `{"id":4,`+permissionDenied)
	silent = dial(t, s)
	must(t, silent.commands(sendCommand("news", "x")))
	silent.expectClose(t, 1008)
	php := dialChannel(t, s)
	php.say(t, said("publish", "send_to_group", groupEvent("news", "from PHP")))
	plain.expect(t, "from PHP")
	if got, err := page.next(); err != nil || !strings.Contains(got, `"data":"from PHP"`) {
		t.Errorf("page: got %s, %v, want what PHP said", got, err)
	}

	// Members publish, also those that have just asked to be; others do not, but for PHP.
	stranger := dial(t, s)
	stranger.expectError(t, sendCommand("chat:1", "x"), "forbidden")
	must(t, plain.text(joinCommand("chat:1")))
	must(t, plain.text(sendCommand("chat:1", "in one breath")))
	plain.expect(t, "in one breath")
	page.answers(t, `{"id":5,"publish":{"channel":"chat:1","data":"x"}}`, `{"id":5,`+permissionDenied)
	php.say(t, said("publish", "send_to_group", groupEvent("chat:1", "from PHP")))
	plain.expect(t, "from PHP")
	must(t, plain.leave("chat:1"))
	plain.expectError(t, sendCommand("chat:1", "x"), "forbidden")
	plain.expectError(t, sendCommand("own:1", "x"), "forbidden")
	equal(t, "commands refused", s.status().Total.RefusedBy.Forbidden, 10)

	// A reload opens groups, and closes others; members stay.
	write(`{"groups": [{"match": "news", "join": "user", "publish": "member"}, {"match": "own:*", "publish": "token"}]}`)
	equal(t, "exit status of the reload", run("reload", "--run-dir", s.dir).exit, 0)
	must(t, plain.join("news")) // once more
	stranger.expectError(t, joinCommand("news"), "forbidden")
	stranger.expectError(t, sendCommand("news", "x"), "forbidden")
	must(t, stranger.join("locked:1"))
	must(t, plain.text(sendCommand("locked:1", "open")))
	stranger.expect(t, "open")
	must(t, plain.text(sendCommand("news", "from a member")))
	plain.expect(t, "from a member")
	if got, err := page.next(); err != nil || !strings.Contains(got, `"data":"from a member"`) {
		t.Errorf("page: got %s, %v, want what a member said", got, err)
	}
	s.eventually("the log warns of what is closed now", func() error {
		if log := s.out.String(); strings.Count(log, "no client can join or publish to") != 2 || !strings.Contains(log, `join="\"news\"" publish="\"own:*\""`) {
			return errors.New("got " + log)
		}
		return nil
	})
}

func TestStatusAndConnectionsShowTheKindsInForce(t *testing.T) {
	t.Parallel()
	s, write := configured(t, `{"groups": [{"match": "chat:*", "history": 100, "presence": true}]}`, "--loops", "2")
	c, page := dial(t, s), pageClient(t, s)
	for _, group := range []string{"chat:1", "other", "chat:2"} {
		must(t, c.join(group))
	}
	page.answers(t, `{"id":2,"subscribe":{"channel":"chat:1"}}`, `{"id":2,"subscribe":`)
	check := func(when, kinds, plain, centrifuge string) {
		t.Helper()
		var st struct{ Kinds []map[string]string }
		must(t, json.Unmarshal([]byte(run("status", "--json", "--run-dir", s.dir).stdout), &st))
		var got []string
		for _, kind := range st.Kinds {
			got = append(got, fmt.Sprint(kind["match"], " ", kind["history"], " ", kind["presence"], " ", kind["join-leave"], " ", kind["publish"]))
		}
		equal(t, "kinds "+when, strings.Join(got, ", "), kinds)
		var rows []struct {
			Dialect string
			Kinds   []string
		}
		must(t, json.Unmarshal([]byte(run("connections", "--json", "--run-dir", s.dir).stdout), &rows))
		equal(t, "connections "+when, len(rows), 2)
		for _, row := range rows {
			equal(t, row.Dialect+"'s kinds "+when, strings.Join(row.Kinds, " "), map[string]string{"plain": plain, "centrifuge": centrifuge}[row.Dialect])
		}
	}
	check("at first", "chat:* 100 on asked anyone, * off off asked anyone", "chat:* *", "chat:*")
	if text := run("status", "--run-dir", s.dir).stdout; !strings.Contains(text, "KINDS OF GROUPS") || !strings.Contains(text, "\nchat:* ") {
		t.Errorf("status: got %s, want the kinds in it", text)
	}
	if text := run("connections", "--run-dir", s.dir).stdout; !strings.Contains(text, "  centrifuge ") || !strings.Contains(text, "  chat:* *\n") {
		t.Errorf("connections: got %s, want dialects and kinds in it", text)
	}
	write(`{"join-leave": "all", "groups": [{"match": "chat:2", "publish": "member"}, {"match": "chat:*"}]}`)
	equal(t, "exit status of the reload", run("reload", "--run-dir", s.dir).exit, 0)
	check("after a reload", "chat:2 off off all member, chat:* off off all anyone, * off off all anyone", "chat:* * chat:2", "chat:*")
}
