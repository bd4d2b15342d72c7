package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"ringcast/bench/check"
	"ringcast/bench/client"
)

// What only the Centrifuge protocol has. The tests of what all dialects have run in each.

func centrifugeFanout(t *testing.T, s *groupServer, more ...string) []string {
	return append([]string{"fanout", "--dialect", "centrifuge", "--url", s.serve(t), "--members", "7", "--time", "200ms"}, more...)
}

func TestPushesThatShareAFrameAreAllChecked(t *testing.T) {
	t.Parallel()
	at := func(m *groupMember) bool { return m.place == 3 && m.heard == 20 }
	for _, c := range []struct {
		name  string
		spoil func(m *groupMember, text string) []string
		kind  check.Fault
		want  string
	}{
		{"nothing", nil, check.Kinds, ""},
		{"drops one", func(m *groupMember, text string) []string {
			if at(m) {
				return nil
			}
			return []string{text}
		}, check.Lost, "group 0 member 3 never got publisher 0's #20"},
		{"doubles one", func(m *groupMember, text string) []string {
			if at(m) {
				return []string{text, text}
			}
			return []string{text}
		}, check.Doubled, "group 0 member 3 got publisher 0's #20 again, after its #20"},
		{"changes a byte", func(m *groupMember, text string) []string {
			if at(m) {
				return []string{text[:len(text)-1] + "!", text}
			}
			return []string{text}
		}, check.Altered, "group 0 member 3 got publisher 0's #20 with another text"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := &groupServer{spoil: c.spoil, pings: true}
			status, out, errs, r := bench(t, centrifugeFanout(t, s, "--window", "8", "--messages", "24", "--time", "20s", patience(c.kind))...)
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.batches == 0 {
				t.Error("got no frame with several pushes, want some")
			}
			if c.spoil == nil {
				if status != exitFine || r.Fanout.Delivered != 24*7 {
					t.Errorf("got status %d, want %d\n%s%s", status, exitFine, out, errs)
				}
				return
			}
			if status != exitFaulty || len(r.Counts) != 1 || r.Counts[c.kind.String()] != 1 || !strings.HasPrefix(r.Examples[c.kind.String()][0], c.want) {
				t.Errorf("got status %d and %v, want %d and %q\n%s%s", status, r.Examples, exitFaulty, c.want, out, errs)
			}
		})
	}
}

// Each server does one thing wrong that the seed protocol does not have, once.
func TestWhatIsWrongWithTheProtocolIsNamedExactly(t *testing.T) {
	t.Parallel()
	also := func(told string) func(m *groupMember, text string) string { // the right push and another line
		return func(m *groupMember, text string) string {
			if given, _ := check.ReadStamp([]byte(text)); m.place != 3 || given.Sequence != 20 {
				return ""
			}
			push := `{"push":{"channel":"%s","pub":{"data":"%s"}}}`
			return fmt.Sprintf(push, m.channel, text) + "\n" + strings.NewReplacer("CHANNEL", m.channel, "TEXT", text).Replace(told)
		}
	}
	publishes := func(told string) func(method string, id int) string {
		n := 0
		return func(method string, id int) string {
			if method == "publish" {
				if n++; n == 20 {
					return strings.ReplaceAll(told, "ID", fmt.Sprint(id))
				}
			}
			return "-"
		}
	}
	for _, c := range []struct {
		name string
		s    *groupServer
		kind check.Fault
		want string
	}{
		{"by another channel", &groupServer{line: also(`{"push":{"channel":"other","pub":{"data":"TEXT"}}}`)}, check.Foreign,
			"group 0 member 3 got publisher 0's #20 by the channel of another group"},
		{"by the channel of another run", &groupServer{line: also(`{"push":{"channel":"bench-00000000-0","pub":{"data":"TEXT"}}}`)}, check.Foreign,
			"group 0 member 3 got publisher 0's #20 by the channel of another group"},
		{"not as text", &groupServer{line: also(`{"push":{"channel":"CHANNEL","pub":{"data":{"a":1}}}}`)}, check.Altered,
			`group 0 member 3 got a text of 7 bytes that was not published: "{\"a\":1}"`},
		{"no JSON", &groupServer{line: also(`{"push":{"channel":"CHANNEL","pub":{"data":"TEXT"}}`)}, check.Altered,
			`group 0 member 3 got a text of `},
		{"unsubscribed", &groupServer{line: also(`{"push":{"channel":"CHANNEL","unsubscribe":{"code":2500,"reason":"gap"}}}`)}, check.Cut,
			`group 0 member 3 was cut off: unsubscribed by the server with 2500 "gap"`},
		{"disconnected", &groupServer{line: also(`{"push":{"disconnect":{"code":3503,"reason":"kicked"}}}`)}, check.Cut,
			`group 0 member 3 was cut off: disconnected by the server with 3503 "kicked"`},
		{"a publish refused", &groupServer{answer: publishes(`{"id":ID,"error":{"code":111,"message":"too many requests","temporary":true}}`)}, check.Failed,
			`a publisher's connection: publish: refused with 111 "too many requests"`},
		{"a publish not answered", &groupServer{answer: publishes("")}, check.Failed, "1 of 40 publishes were not answered"},
		{"a publish answered twice", &groupServer{answer: publishes(`{"id":ID,"publish":{}}` + "\n" + `{"id":ID,"publish":{}}`)}, check.Failed,
			"there were 1 answers more than the 40 publishes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			waits := patience(c.kind)
			if c.kind == check.Failed { // answers are waited for that do not come, as messages are that are lost
				waits = patience(check.Lost)
			}
			status, out, errs, r := bench(t, centrifugeFanout(t, c.s, "--rate", "200", waits)...)
			got := r.Examples[c.kind.String()]
			if status != exitFaulty || len(r.Counts) != 1 || len(got) != 1 || r.Counts[c.kind.String()] != 1 || !strings.HasPrefix(got[0], c.want) {
				t.Fatalf("got status %d and %v %v, want %d and exactly %q\n%s%s", status, r.Counts, r.Examples, exitFaulty, c.want, out, errs)
			}
		})
	}
}

func TestConnectAndSubscribeThatAreRefusedAreCountedByCause(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]string{"connect": `connect: refused with 101 "unauthorized"`, "subscribe": `join: refused with 101 "unauthorized"`} {
		s := &groupServer{answer: func(asked string, id int) string {
			if asked == method {
				return fmt.Sprintf(`{"id":%d,"error":{"code":101,"message":"unauthorized"}}`, id)
			}
			return "-"
		}}
		status, out, _, r := bench(t, "connect", "--dialect", "centrifuge", "-n", "5", "--hold", "0s", "--url", s.serve(t))
		if status != exitFaulty || r.Causes[want] != 5 {
			t.Errorf("got status %d, causes %v, want %d and 5 times %s\n%s", status, r.Causes, exitFaulty, want, out)
		}
	}
}

func TestTheCeilingSpeaksTheCentrifugeProtocol(t *testing.T) {
	t.Parallel()
	status, out, errs, runs := benchRuns(t, 2, "ceiling", "--dialect", "centrifuge", "--members", "40", "--groups", "4", "--joins", "2", "--publishers", "2", "--rate", "500",
		"--size", "3000", "--time", "300ms", patient)
	if status != exitFine || !runs[0].Fine || !runs[1].Fine {
		t.Fatalf("got status %d, want %d\n%s%s", status, exitFine, out, errs)
	}
	ceilingBesideChurn(t, "--dialect", "centrifuge", "--rate", ceilingRate(), "--publishers", "4", "--bystanders", "2")
}

func TestTheDialectHasAPath(t *testing.T) {
	t.Parallel()
	for url, want := range map[string][2]string{
		"ws://127.0.0.1:1":                      {"/", "/connection/websocket"},
		"ws://127.0.0.1:1/":                     {"/", "/connection/websocket"},
		"ws://127.0.0.1:1/?a=b":                 {"/?a=b", "/connection/websocket?a=b"},
		"ws://127.0.0.1:1/ws":                   {"/ws", "/ws"},
		"ws://127.0.0.1:1/connection/x?a=b":     {"/connection/x?a=b", "/connection/x?a=b"},
		"ws://127.0.0.1:1/connection/websocket": {"/connection/websocket", "/connection/websocket"},
	} {
		for i, dialect := range []client.Dialect{client.Plain, client.Centrifuge} {
			if got, err := parseTarget(url, dialect, client.App{}, false); err != nil || got.Path != want[i] || got.Dialect != dialect {
				t.Errorf("%s of %s: got %+v, %v, want %s", url, dialect, got, err, want[i])
			}
		}
	}
}

func TestWhatADialectDoesNotHaveIsRefused(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"--join-proof probe is for servers":                                      {"fanout", "--dialect", "centrifuge", "--join-proof", "probe"},
		"--dialect must be one of":                                               {"fanout", "--dialect", "mqtt"},
		"--with: gws speaks the dialect plain alone: leave it out":               {"compare", "--dialect", "centrifuge", "--with", "ceiling,gws"},
		"--with: centrifuge speaks the dialect centrifuge alone: leave it out, ": {"compare", "--with", "centrifuge"},
	} {
		var stdout, stderr bytes.Buffer
		if status := run(context.Background(), args, &stdout, &stderr); status != exitUnable || !strings.Contains(stderr.String(), want) {
			t.Errorf("%v: got status %d and %q, want %d and %q", args, status, &stderr, exitUnable, want)
		}
	}
}

func TestEveryPeerOfTheDefaultsSpeaksTheirDialect(t *testing.T) {
	t.Parallel()
	for _, dialect := range []client.Dialect{client.Plain, client.Centrifuge, client.Pusher} {
		if err := (&compareVerb{Dialect: dialect, With: defaultWith[dialect]}).checkWith(); err != nil || len(defaultWith[dialect]) == 0 {
			t.Errorf("%s: got %v of %v", dialect, err, defaultWith[dialect])
		}
	}
}
