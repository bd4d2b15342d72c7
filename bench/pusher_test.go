package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"ringcast/bench/check"
	"ringcast/bench/client"
)

// What only the Pusher protocol has. The tests of what all dialects have run in it, too.

// established greets a client of the Pusher protocol. Its socket id has the number of its connection.
func (s *groupServer) established(conn net.Conn) {
	s.numbers[conn] = len(s.numbers) + 1
	said := fmt.Sprintf(`{"event":"pusher:connection_established","data":"{\"socket_id\":\"%d.7\",\"activity_timeout\":120}"}`, s.numbers[conn])
	if s.answer != nil {
		if other := s.answer("connect", 0); other != "-" {
			said = other
		}
	}
	wsutil.WriteServerText(conn, []byte(said))
}

// pusher does what one event asks for. Who is a user has the number as a name by which places are known: in presence channels alone.
func (s *groupServer) pusher(conn net.Conn, text []byte) {
	var c struct {
		Event, Channel string
		Data           json.RawMessage
	}
	var asked struct {
		Auth, Channel string
		ChannelData   string `json:"channel_data"`
	}
	if json.Unmarshal(text, &c) != nil {
		return
	}
	switch event, _ := strings.CutPrefix(c.Event, "client-"); {
	case c.Event == "pusher:pong":
		s.pongs++
	case event != c.Event:
		isMember := func(m *groupMember) bool { return m.conn == conn }
		var data string
		if json.Unmarshal(c.Data, &data) != nil || !slices.ContainsFunc(s.groups[c.Channel], isMember) {
			wsutil.WriteServerText(conn, []byte(`{"event":"pusher:error","data":"{\"code\":4301,\"message\":\"no\"}"}`))
			return
		}
		for _, m := range s.groups[c.Channel] {
			if isMember(m) && !s.echoes {
				continue
			}
			var frames bytes.Buffer
			for _, text := range s.texts(m, data) {
				told := fmt.Sprintf(`{"event":"%s","channel":"%s","data":"%s"}`, c.Event, c.Channel, text)
				if s.line != nil {
					if other := s.line(m, text); other != "" {
						told = other
					}
				}
				ws.WriteFrame(&frames, s.frame(m, told))
			}
			if frames.Len() > 0 {
				s.give(m, frames.Bytes())
			}
		}
	case json.Unmarshal(c.Data, &asked) != nil:
	case c.Event == "pusher:subscribe":
		signed := fmt.Sprintf("%d.7:%s", s.numbers[conn], asked.Channel)
		if asked.ChannelData != "" {
			signed += ":" + asked.ChannelData
		}
		sum := hmac.New(sha256.New, []byte("a:secret"))
		sum.Write([]byte(signed))
		public := !strings.HasPrefix(asked.Channel, "private-") && !strings.HasPrefix(asked.Channel, "presence-")
		if !public && asked.Auth != fmt.Sprintf("key:%x", sum.Sum(nil)) || s.reject != nil && s.reject("add_group") {
			s.tell(conn, fmt.Sprintf(`{"event":"pusher:subscription_error","channel":"%s","data":"{\"type\":\"AuthError\",\"status\":401}"}`, asked.Channel))
			return
		}
		m, data := &groupMember{conn: conn, place: -1}, `{}`
		if n, _ := fmt.Sscanf(asked.ChannelData, `{"user_id":"%d"}`, &m.place); n == 1 {
			data = fmt.Sprintf(`{\"presence\":{\"ids\":[\"%d\"],\"hash\":{\"%[1]d\":null},\"count\":1}}`, m.place)
		}
		s.join(asked.Channel, m, s.shirk != nil && s.shirk("add_group", m.place))
		s.tell(conn, fmt.Sprintf(`{"event":"pusher_internal:subscription_succeeded","channel":"%s","data":"%s"}`, asked.Channel, data))
		if s.pings {
			wsutil.WriteServerText(conn, []byte(`{"event":"pusher:ping","data":"{}"}`))
		}
		for _, other := range s.groups[asked.Channel] {
			if other.conn != conn && m.place >= 0 {
				var frame bytes.Buffer
				ws.WriteFrame(&frame, ws.NewTextFrame(fmt.Appendf(nil, `{"event":"pusher_internal:member_added","channel":"%s","data":"{\"user_id\":\"%d\"}"}`, asked.Channel, m.place)))
				s.give(other, frame.Bytes())
			}
		}
	case c.Event == "pusher:unsubscribe":
		s.leave(asked.Channel, conn, func(m *groupMember) {
			if s.left != nil {
				s.left(m)
			}
		})
	}
}

// tell answers a subscribe.
func (s *groupServer) tell(conn net.Conn, said string) {
	if s.answer != nil {
		if other := s.answer("subscribe", 0); other != "-" {
			said = other
		}
	}
	if said != "" {
		wsutil.WriteServerText(conn, []byte(said))
	}
}

const testApp = "id:key:a:secret"

// inPusher completes a command line in this dialect: with the server's app, and with presence channels, in which a server knows clients by their numbers.
func inPusher(args []string) []string {
	if at := slices.Index(args, "--dialect"); at < 0 || args[at+1] != "pusher" || args[0] == "compare" {
		return args
	}
	if args[0] == "ceiling" {
		return args
	}
	if !slices.Contains(args, "--channels") {
		args = append(args, "--channels", "presence")
	}
	if !slices.Contains(args, "--app") {
		args = append(args, "--app", testApp)
	}
	return args
}

func TestPrivateChannelsAreAsPresenceChannels(t *testing.T) {
	t.Parallel()
	for _, channels := range []string{"private", "presence"} {
		status, out, errs, r := bench(t, "fanout", "--dialect", "pusher", "--channels", channels, "--url", (&groupServer{pings: true}).serve(t), "--members", "9", "--groups", "3",
			"--joins", "2", "--publishers", "6", "--window", "3", "--time", "300ms", patient)
		if status != exitFine || r.Fanout.Delivered != r.Fanout.Published*6 || r.Flags["channels"] != channels || !strings.Contains(out, "dialect pusher") {
			t.Fatalf("%s: got status %d, want %d and what is published heard by 6\n%s%s", channels, status, exitFine, out, errs)
		}
	}
	status, out, errs, r := bench(t, "connect", "--dialect", "pusher", "--channels", "public", "--url", (&groupServer{}).serve(t), "-n", "9", "--groups", "3", "--hold", "0s")
	if status != exitFine || r.Connect.Joined != 9 {
		t.Fatalf("got status %d, want %d and 9 who joined\n%s%s", status, exitFine, out, errs)
	}
}

func TestWhoHearsWhatItHasSentItselfIsFound(t *testing.T) {
	t.Parallel()
	status, out, errs, r := bench(t, "fanout", "--dialect", "pusher", "--url", (&groupServer{echoes: true}).serve(t), "--members", "3", "--publishers", "2", "--window", "1", "--messages", "20", "--time", "1m", patient)
	want := "a publisher's connection got publisher "
	if status != exitFaulty || len(r.Counts) != 1 || r.Counts["foreign"] != 20 || !strings.HasPrefix(r.Examples["foreign"][0], want) {
		t.Fatalf("got status %d and %v %v, want %d and 20 times %q\n%s%s", status, r.Counts, r.Examples, exitFaulty, want, out, errs)
	}
}

// Each server does one thing wrong that the other protocols do not have, once.
func TestWhatIsWrongWithEventsIsNamedExactly(t *testing.T) {
	t.Parallel()
	also := func(told string) func(m *groupMember, text string) string { // the right event is replaced
		return func(m *groupMember, text string) string {
			if given, _ := check.ReadStamp([]byte(text)); m.place != 3 || given.Sequence != 20 {
				return ""
			}
			return strings.ReplaceAll(told, "TEXT", text)
		}
	}
	for _, c := range []struct {
		name, told string
		want       map[check.Fault]string
	}{
		{"by another channel", `{"event":"client-bench","channel":"presence-other","data":"TEXT"}`, map[check.Fault]string{
			check.Foreign: "group 0 member 3 got publisher 0's #20 by the channel of another group", check.Lost: "group 0 member 3 never got publisher 0's #20"}},
		{"not as text", `{"event":"client-bench","channel":"presence-other","data":{"a":"TEXT"}}`, map[check.Fault]string{
			check.Altered: "group 0 member 3 got a text of ", check.Lost: "group 0 member 3 never got publisher 0's #20"}},
		{"another event", `{"event":"client-other","channel":"presence-other","data":"TEXT"}`, map[check.Fault]string{
			check.Altered: "group 0 member 3 got a text of ", check.Lost: "group 0 member 3 never got publisher 0's #20"}},
		{"no JSON", `{"event":"client-bench","channel":"presence-other","data":"TEXT"`, map[check.Fault]string{
			check.Altered: "group 0 member 3 got a text of ", check.Lost: "group 0 member 3 never got publisher 0's #20"}},
		{"an error", `{"event":"pusher:error","data":"{\"code\":4301,\"message\":\"no\"}"}`, map[check.Fault]string{
			check.Failed: `group 0 member 3: publish: refused with {"code":4301,"message":"no"}`, check.Lost: "group 0 member 3 never got publisher 0's #20"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := &groupServer{line: also(c.told)}
			status, out, errs, r := bench(t, "fanout", "--dialect", "pusher", "--url", s.serve(t), "--members", "7", "--rate", "200", "--time", "200ms")
			if status != exitFaulty || len(r.Counts) != len(c.want) {
				t.Fatalf("got status %d and %v %v, want %d\n%s%s", status, r.Counts, r.Examples, exitFaulty, out, errs)
			}
			for kind, want := range c.want {
				if got := r.Examples[kind.String()]; len(got) != 1 || !strings.HasPrefix(got[0], want) {
					t.Errorf("got %q, want %q", got, want)
				}
			}
		})
	}
}

func TestASubscribeThatIsNotSignedRightIsCountedByItsCause(t *testing.T) {
	t.Parallel()
	unsigned := `join: refused with {"type":"AuthError","status":401}`
	for _, c := range []struct {
		want string
		args []string
	}{
		{unsigned, []string{"--app", "id:key:other"}},
		{unsigned, []string{"--app", "id:key2:a:secret", "--channels", "private"}},
		{"handshake: answered 404 Not Found", []string{"--app", "id:other:a:secret"}},
	} {
		status, out, _, r := bench(t, append([]string{"connect", "--dialect", "pusher", "-n", "5", "--hold", "0s", "--url", (&groupServer{}).serve(t)}, c.args...)...)
		if status != exitFaulty || r.Causes[c.want] != 5 {
			t.Errorf("%v: got status %d, causes %v, want %d and 5 times %s\n%s", c.args, status, r.Causes, exitFaulty, c.want, out)
		}
	}
}

func TestWhatEndsTheOpeningIsCountedByItsCause(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{ // asked, said, cause
		{"connect", `{"event":"pusher:error","data":"{\"code\":4100,\"message\":\"full\"}"}`, `connect: refused with {"code":4100,"message":"full"}`},
		{"connect", `{"event":"pusher:ping","data":"{}"}`, `connect: the first event is "pusher:ping"`},
		{"connect", `{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.2\"}"}`, "connect: no socket id or no activity timeout in the first event"},
		{"connect", `{"event":"pusher:connection_established","data":"{\"socket_id\":\"a\\\"\",\"activity_timeout\":120}"}`, `connect: the socket id "a\"" is not of two numbers`},
		{"connect", `hello`, `before the join was proved the server said "hello"`},
		{"subscribe", `{"event":"pusher_internal:subscription_succeeded","channel":"other","data":"{}"}`, "join: the reply is for another channel"},
		{"subscribe", `{"event":"client-bench","channel":"other","data":"{}"}`, `before the join was proved the server said "{\"event\":\"client-bench\",\"channel\":\"other\",\"data\":\"{}\"}"`},
	} {
		s := &groupServer{answer: func(asked string, _ int) string {
			if asked == c[0] {
				return c[1]
			}
			return "-"
		}}
		status, out, _, r := bench(t, "connect", "--dialect", "pusher", "-n", "5", "--hold", "0s", "--url", s.serve(t))
		if status != exitFaulty || r.Causes[c[2]] != 5 {
			t.Errorf("got status %d, causes %v, want %d and 5 times %s\n%s", status, r.Causes, exitFaulty, c[2], out)
		}
	}
}

func TestTheCeilingSpeaksThePusherProtocol(t *testing.T) {
	t.Parallel()
	status, out, errs, runs := benchRuns(t, 2, "ceiling", "--dialect", "pusher", "--members", "40", "--groups", "4", "--joins", "2", "--publishers", "2",
		"--rate", "500", "--size", "3000", "--time", "300ms", patient)
	if status != exitFine || !runs[0].Fine || !runs[1].Fine {
		t.Fatalf("got status %d, want %d\n%s%s", status, exitFine, out, errs)
	}
	ceilingBesideChurn(t, "--dialect", "pusher", "--rate", ceilingRate(), "--publishers", "4", "--bystanders", "2")
}

func TestAnAppHasAPathAndWhatItDoesNotHaveIsRefused(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"ws://127.0.0.1:1":                    "/app/k?protocol=7&client=bench&version=1",
		"ws://127.0.0.1:1/":                   "/app/k?protocol=7&client=bench&version=1",
		"ws://127.0.0.1:1/?protocol=5":        "/app/k?protocol=5",
		"ws://127.0.0.1:1/x/app/k":            "/x/app/k?protocol=7&client=bench&version=1",
		"ws://127.0.0.1:1/x/app/k?protocol=6": "/x/app/k?protocol=6",
	} {
		if got, err := parseTarget(url, client.Pusher, client.App{Key: "k"}, false); err != nil || got.Path != want || got.Dialect != client.Pusher {
			t.Errorf("%s: got %+v, %v, want %s", url, got, err, want)
		}
	}
	for want, args := range map[string][]string{
		"--app must be of three parts":                   {"fanout", "--dialect", "pusher", "--app", "key:secret"},
		"--join-proof probe is for servers":              {"fanout", "--dialect", "pusher", "--join-proof", "probe"},
		"--channels public: clients send to private":     {"slow", "--dialect", "pusher", "--channels", "public"},
		"--member-publishers: in the dialect pusher":     {"fanout", "--dialect", "pusher", "--member-publishers"},
		"--dialect pusher: the bystanders hear":          {"resume", "--dialect", "pusher"},
		"pairs is not for --dialect pusher, in which":    {"compare", "--dialect", "pusher", "--loads", "pairs"},
		"resume is for --dialect centrifuge":             {"compare", "--dialect", "pusher", "--loads", "resume"},
		"--with: gws speaks the dialect plain alone":     {"compare", "--dialect", "pusher", "--with", "gws"},
		"--with: centrifuge speaks the dialect centrifu": {"compare", "--dialect", "pusher", "--with", "centrifuge"},
	} {
		var stdout, stderr bytes.Buffer
		if status := run(context.Background(), args, &stdout, &stderr); status != exitUnable || !strings.Contains(stderr.String(), want) {
			t.Errorf("%v: got status %d and %q, want %d and %q", args, status, &stderr, exitUnable, want)
		}
	}
}

// The door is that of an app with another secret than the signer has, in one case.
func TestPostSignsEventsOfThePusherProtocol(t *testing.T) {
	t.Parallel()
	for secret, want := range map[string]int{"a:secret": exitFine, "other": exitFaulty} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			query, signature, _ := strings.Cut(r.URL.RawQuery, "&auth_signature=")
			sum := hmac.New(sha256.New, []byte(secret))
			fmt.Fprintf(sum, "%s\n/apps/id/events\n%s", r.Method, query)
			var event struct {
				Name, Data string
				Channels   []string
			}
			if r.URL.Path != "/x/apps/id/events" || signature != fmt.Sprintf("%x", sum.Sum(nil)) || r.URL.Query().Get("body_md5") != fmt.Sprintf("%x", md5.Sum(body)) ||
				json.Unmarshal(body, &event) != nil || event.Name == "" || event.Data != "xxxxx" || len(event.Channels) != 1 || !strings.HasPrefix(event.Channels[0], "bench-") {
				w.WriteHeader(http.StatusUnauthorized)
			}
			fmt.Fprint(w, "{}")
		}))
		t.Cleanup(server.Close)
		again(t, 50*time.Millisecond, func(long time.Duration) bool {
			status, out, errs, runs := benchRuns(t, 1, "post", "--api", "pusher", "--app", testApp, "--url", server.URL+"/x/apps/id/events", "-n", "2", "--groups", "2", "--size", "5",
				"--time", long.String(), "--rounds", "1", "--no-ceiling")
			if status != want || want == exitFine && !strings.Contains(out, "dialect pusher, 2 connections") {
				t.Errorf("secret %s: got status %d, want %d\n%s%s", secret, status, want, out, errs)
			}
			return want != exitFine || runs[0].Post.Accepted > 0
		})
	}
}
