package bus

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"

	"ringcast/loop"
)

// journal is a log that may be read while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: level}))
}

// has says whether there is a line with all of these texts in it.
func (j *journal) has(texts ...string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for line := range strings.Lines(j.text.String()) {
		all := true
		for _, text := range texts {
			all = all && strings.Contains(line, text)
		}
		if all {
			return true
		}
	}
	return false
}

func (j *journal) String() string { j.mu.Lock(); defer j.mu.Unlock(); return j.text.String() }

// logged waits for a line with all of these texts in it.
func (b *started) logged(j *journal, texts ...string) {
	b.t.Helper()
	defer func() {
		if b.t.Failed() {
			b.t.Logf("log:\n%s", j)
		}
	}()
	b.eventually(fmt.Sprintf("a line of the log with %q", texts), func(Stats) bool { return j.has(texts...) })
}

func TestWhatDoesNotReachItsGroupIsCountedAndLogged(t *testing.T) {
	for _, c := range []struct {
		what, frame string
		err         error // of the groups
		reason      refusal
		line        []string
	}{
		{"GBK", verb("publish", BridgeDefault, about("123", "\xc4\xe3\xba\xc3")), nil, refusedGroup,
			[]string{"did not reach it", "group=123", "its message is not UTF-8", "bytes="}},
		{"too large", verb("publish", BridgeDefault, about("123", "too large")), loop.ErrBadMessage, refusedGroup,
			[]string{"did not reach it", "larger than --message-max", "group=123", fmt.Sprint("bytes=", len(about("123", "too large")))}},
		{"a bad name", verb("publish", BridgeDefault, about("", "x")), nil, refusedGroup, []string{"did not reach it", "its group_id is empty"}},
		{"a long name", verb("publish", BridgeDefault, about(strings.Repeat("g", 5000), "x")), nil, refusedGroup,
			[]string{"longer than --group-name-max", "of 5000 bytes"}},
		{"no name", verb("publish", BridgeDefault, `a:1:{s:7:"message";s:1:"x";}`), nil, refusedGroup, []string{"it has no group_id"}},
		{"no message", verb("publish", BridgeDefault, `a:1:{s:8:"group_id";i:1;}`), nil, refusedGroup, []string{"it has no message"}},
		{"a name that is none", verb("publish", BridgeDefault, `a:2:{s:8:"group_id";b:1;s:7:"message";s:1:"x";}`), nil, refusedGroup,
			[]string{"neither a string nor an integer"}},
		{"a message without a text", verb("publish", BridgeDefault, `a:2:{s:8:"group_id";i:1;s:7:"message";d:INF;}`), nil, refusedGroup,
			[]string{"no JSON text"}},
		{"short of memory", verb("publish", BridgeDefault, about("123", "x")), loop.ErrBusy, refusedMemory, []string{"memory is short", "group=123"}},
		{"stopping", verb("publish", BridgeDefault, about("123", "x")), loop.ErrStopping, refusedStopping, []string{"the server stops"}},
		{"no such verb", frame(`a:1:{s:4:"type";s:6:"jubila";}`), nil, refusedUnknown, []string{"is not known here", "type=jubila"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			var j journal
			b := startBus(t, Config{Log: j.logger(slog.LevelInfo)})
			b.groups.change(func() { b.groups.err = c.err })
			p := b.dial()
			p.say(c.frame)
			b.logged(&j, append(c.line, "level=WARN", "remote="+p.conn.LocalAddr().String())...)
			if got := b.Stats().Refused[refusalNames[c.reason]]; got != 1 {
				t.Errorf("counted: got %v, want 1 of %s", b.Stats().Refused, refusalNames[c.reason])
			}
		})
	}
}

func TestAnEventThatSpeaksOfNoGroupIsNoLoss(t *testing.T) {
	var j journal
	b := startBus(t, Config{Log: j.logger(slog.LevelInfo)})
	c := b.subscriber(BridgeDefault)
	for _, data := range []string{`s:1:"x";`, `a:1:{s:5:"other";i:1;}`, "N;"} {
		c.say(verb("publish", BridgeDefault, data))
		c.hear(event(BridgeDefault, data))
	}
	if got := b.Stats().Refused["group"]; got != 0 || j.has("level=WARN") {
		t.Errorf("got %d refused, and log\n%s\nwant none", got, &j)
	}
}

func TestAMessageThatDoesNotReachChannelClientsIsCountedAndLogged(t *testing.T) {
	var j journal
	b := startBus(t, Config{Log: j.logger(slog.LevelInfo), FrameBytesMax: 200})
	b.subscriber(BridgeDefault)
	b.publish(strings.Repeat("x", 200))
	b.logged(&j, "larger than --channel-frame-max", "group=123", "bytes=200")
	if got := b.Stats().Refused["too_big"]; got != 1 {
		t.Errorf("counted: got %d, want 1", got)
	}
}

func TestAClientOfAChannelServerLogsWhatDoesNotGetThrough(t *testing.T) {
	var j journal
	s := listenAsServer(t)
	b := startBus(t, Config{Connect: s.listener.Addr().String(), Log: j.logger(slog.LevelDebug), FrameBytesMax: 500})
	c := s.accept()
	b.logged(&j, "level=INFO", "connected to the Channel server")
	c.say(frame(event(BridgeDefault, about("123", "\xff"))))
	b.logged(&j, "level=WARN", "did not reach it", "group=123", "not UTF-8")
	c.say(frame(event(BridgeDefault, `a:1:{s:8:"group_id";i:1;}`)))
	b.logged(&j, "level=WARN", "did not reach it", "it has no message")
	c.say(frame(event("other", about("123", "x"))))
	b.logged(&j, "level=WARN", "is not known here", "channel=other")
	b.groups.change(func() { b.groups.err = loop.ErrBusy })
	c.say(frame(event(BridgeDefault, about("7", "x"))))
	b.logged(&j, "level=WARN", "memory is short", "group=7")
	b.groups.change(func() { b.groups.err = nil })
	b.publish(strings.Repeat("x", 500))
	b.logged(&j, "level=WARN", "larger than --channel-frame-max", "group=123", "bytes=500")
	s.listener.Close()
	c.conn.Close()
	b.logged(&j, "level=WARN", "no connection to the Channel server; trying again")
	b.logged(&j, "level=DEBUG", "still no connection")
}

func TestChannelClientsThatComeAndGoAreLogged(t *testing.T) {
	var j journal
	b := startBus(t, Config{Log: j.logger(slog.LevelDebug), FrameBytesMax: 500})
	worker := b.subscriber(BridgeDefault)
	where := "remote=" + worker.conn.LocalAddr().String()
	b.logged(&j, "level=DEBUG", "has connected", where)
	b.logged(&j, "level=INFO", "a Channel client receives", where, "channel=send_to_group")
	page := b.dial()
	publish := verb("publish", BridgeDefault, about("123", "x"))
	page.say(publish)
	worker.hear(event(BridgeDefault, about("123", "x")))
	page.conn.Close()
	b.logged(&j, "level=DEBUG", "has gone", "remote="+page.conn.LocalAddr().String(), `why="it has ended the connection"`, "events_in=1",
		fmt.Sprint("bytes_in=", len(publish)), "events_out=0")
	worker.conn.Close()
	b.logged(&j, "level=INFO", "has gone", where, `why="it has ended the connection"`, "events_out=1", "unsent_bytes=0")

	consumer := b.dial()
	consumer.say(verb("watch", "jobs"), reserve, verb("enqueue", "jobs", "i:1;"))
	consumer.hear(job("jobs", "i:1;"))
	where = "remote=" + consumer.conn.LocalAddr().String()
	b.logged(&j, "level=INFO", "a Channel client receives", where, "queue=jobs")
	consumer.conn.(*net.TCPConn).SetLinger(0)
	consumer.conn.Close()
	b.logged(&j, "level=INFO", "has gone", where, "connection reset by peer", "jobs_out=1")

	hostile := b.subscriber("a")
	hostile.say("\x00\x00\x00\x00")
	hostile.cut()
	where = "remote=" + hostile.conn.LocalAddr().String()
	b.logged(&j, "level=WARN", "was closed", where, "shorter than its own header")
	b.logged(&j, "level=INFO", "has gone", where, "shorter than its own header")

	last := b.subscriber("a")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if !j.has("level=INFO", "has gone", "remote="+last.conn.LocalAddr().String(), `why="the server stops"`) {
		t.Errorf("at the stop: got\n%s", &j)
	}
	lines := regexp.MustCompile("has gone").FindAllString(j.String(), -1)
	if len(lines) != 5 {
		t.Errorf("got %d ends, want one for each client:\n%s", len(lines), &j)
	}
}
