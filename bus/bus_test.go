package bus

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"ringcast/loop"
)

// patience bounds every wait for something that must happen.
const patience = 20 * time.Second

// fakeGroups replaces the hub's feed: what is published comes out again, in order.
type fakeGroups struct {
	wake chan struct{}

	mu     sync.Mutex
	said   []loop.Publication // not taken yet
	all    []loop.Publication
	err    error         // of PublishWait
	hold   chan struct{} // while it is open nothing comes out; nil: at once
	closed bool
}

func newFakeGroups() *fakeGroups { return &fakeGroups{wake: make(chan struct{}, 1)} }

func (g *fakeGroups) PublishWait(ctx context.Context, group string, message []byte, token any) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.err != nil:
		return g.err
	case group == "" || len(group) > 255:
		return loop.ErrBadGroup
	case !utf8.Valid(message):
		return loop.ErrBadMessage
	}
	p := loop.Publication{Group: group, Message: slices.Clone(message), Token: token}
	g.said, g.all = append(g.said, p), append(g.all, p)
	select {
	case g.wake <- struct{}{}:
	default:
	}
	return nil
}

func (g *fakeGroups) Take(ctx context.Context, into []loop.Publication) ([]loop.Publication, error) {
	for {
		g.mu.Lock()
		hold, some := g.hold, len(g.said) > 0
		if some && hold == nil {
			into, g.said = append(into, g.said...), nil
			g.mu.Unlock()
			return into, nil
		}
		g.mu.Unlock()
		if !some {
			hold = nil
		}
		select {
		case <-g.wake:
		case <-hold:
			g.mu.Lock()
			g.hold = nil
			g.mu.Unlock()
		case <-ctx.Done():
			return into, ctx.Err()
		}
	}
}

func (g *fakeGroups) Close() { g.mu.Lock(); defer g.mu.Unlock(); g.closed = true }

// published is what went to the groups, as group=text.
func (g *fakeGroups) published() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []string
	for _, p := range g.all {
		all = append(all, p.Group+"="+string(p.Message))
	}
	return all
}

func (g *fakeGroups) change(f func()) { g.mu.Lock(); defer g.mu.Unlock(); f() }

// started is a bus under test, with its groups.
type started struct {
	*Bus
	t      testing.TB
	groups *fakeGroups
}

func startBus(t testing.TB, cfg Config) *started {
	t.Helper()
	if cfg.Listen == "" && cfg.Listener == nil && cfg.Connect == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	groups := newFakeGroups()
	b, err := Start(cfg, groups)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		b.Close(ctx)
		if !groups.closed {
			t.Error("the groups were not closed")
		}
	})
	return &started{b, t, groups}
}

// eventually waits until f holds.
func (b *started) eventually(what string, f func(s Stats) bool) {
	b.t.Helper()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	deadline := time.After(patience)
	for !f(b.Stats()) {
		select {
		case <-again.C:
		case <-deadline:
			b.t.Fatalf("waited for: %s; got %+v and %q", what, b.Stats(), b.groups.published())
		}
	}
}

// phpClient is a Channel client that says frames as they are.
type phpClient struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

func (b *started) dial() *phpClient {
	b.t.Helper()
	kind, where := network(b.Addr())
	conn, err := net.Dial(kind, where)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { conn.Close() })
	return &phpClient{b.t, conn, bufio.NewReader(conn)}
}

// frame is a frame around a body.
func frame(body string) string { return string(sealFrame(append(newFrame(0), body...))) }

func (c *phpClient) say(frames ...string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, strings.Join(frames, "")); err != nil {
		c.t.Fatal(err)
	}
}

func (c *phpClient) next() (string, error) {
	c.conn.SetReadDeadline(time.Now().Add(patience))
	body, err := readFrame(c.in, nil, 1<<30, nil)
	return string(body), err
}

func (c *phpClient) hear(bodies ...string) {
	c.t.Helper()
	for _, want := range bodies {
		got, err := c.next()
		if err != nil || got != want {
			c.t.Fatalf("got %q, %v\nwant %q", got, err, want)
		}
	}
}

// hearNothing checks that nothing was sent to the client: its own event comes next.
func (c *phpClient) hearNothing() {
	c.t.Helper()
	_, own, _ := net.SplitHostPort(c.conn.LocalAddr().String())
	own = "own" + own // another's end would be heard until the server has come to the unsubscribe
	c.say(verb("subscribe", own), verb("publish", own, "s:3:\"end\";"), verb("unsubscribe", own))
	c.hear(event(own, `s:3:"end";`))
}

func (c *phpClient) cut() {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, c.in); err != nil && strings.Contains(err.Error(), "timeout") {
		c.t.Fatal("the connection was not closed")
	}
}

// verb is the frame that says a verb about a channel, with data if there is any.
func verb(verb, channel string, data ...string) string {
	n := 2 + len(data)
	body := fmt.Sprintf(`a:%d:{s:4:"type";s:%d:"%s";s:8:"channels";a:1:{i:0;%s}`, n, len(verb), verb, appendString(nil, []byte(channel)))
	for _, d := range data {
		body += `s:4:"data";` + d
	}
	return frame(body + "}")
}

const reserve = "\x00\x00\x00\x23" + `a:1:{s:4:"type";s:7:"reserve";}`

func event(channel, data string) string {
	return string(eventFrame(verbEvent, stringName(channel), []byte(data)))[frameHeadBytes:]
}

func job(queue, data string) string {
	return string(eventFrame(verbQueue, stringName(queue), []byte(data)))[frameHeadBytes:]
}

func about(group, text string) string { return string(groupData(group, []byte(text), "")) }

// The bytes of a PHP client and a PHP server, as recorded on the wire.
func TestCapturedTrafficIsAnsweredAsTheOriginalDid(t *testing.T) {
	subscribe := `00000053 613a323a7b733a343a2274797065223b733a393a22737562736372696265223b733a383a226368616e6e656c73223b613a313a7b693a303b733a31333a2273656e645f746f5f67726f7570223b7d7d`
	b := startBus(t, Config{})
	c := b.dial()
	for _, turn := range []struct{ client, server string }{
		{unhex(t, subscribe+subscribe), ""},
		{
			unhex(t, "000000a0") + `a:3:{s:4:"type";s:7:"publish";s:8:"channels";a:1:{i:0;s:13:"send_to_group";}s:4:"data";a:2:{s:8:"group_id";s:3:"123";s:7:"message";s:15:"這個是消息";}}`,
			unhex(t, "00000093") + `a:3:{s:4:"type";s:5:"event";s:7:"channel";s:13:"send_to_group";s:4:"data";a:2:{s:8:"group_id";s:3:"123";s:7:"message";s:15:"這個是消息";}}`,
		}, {
			unhex(t, "00000087") + `a:3:{s:4:"type";s:7:"publish";s:8:"channels";a:1:{i:0;s:13:"send_to_group";}s:4:"data";a:2:{s:8:"group_id";i:123;s:7:"message";N;}}` +
				unhex(t, "0000009c") + `a:3:{s:4:"type";s:7:"publish";s:8:"channels";a:2:{i:0;s:13:"send_to_group";i:1;s:5:"other";}s:4:"data";a:3:{i:0;d:1.5;i:1;b:1;i:2;a:1:{s:1:"k";a:0:{}}}}`,
			unhex(t, "0000007a") + `a:3:{s:4:"type";s:5:"event";s:7:"channel";s:13:"send_to_group";s:4:"data";a:2:{s:8:"group_id";i:123;s:7:"message";N;}}` +
				unhex(t, "0000007f") + `a:3:{s:4:"type";s:5:"event";s:7:"channel";s:13:"send_to_group";s:4:"data";a:3:{i:0;d:1.5;i:1;b:1;i:2;a:1:{s:1:"k";a:0:{}}}}`,
		}, {
			unhex(t, "0000006c") + `a:3:{s:4:"type";s:11:"publishLoop";s:8:"channels";a:1:{i:0;s:13:"send_to_group";}s:4:"data";s:4:"loop";}`,
			unhex(t, "0000005a") + `a:3:{s:4:"type";s:5:"event";s:7:"channel";s:13:"send_to_group";s:4:"data";s:4:"loop";}`,
		},
		{unhex(t, "00000043") + `a:2:{s:4:"type";s:5:"watch";s:8:"channels";a:1:{i:0;s:2:"q1";}}` + unhex(t, "00000023") + `a:1:{s:4:"type";s:7:"reserve";}`, ""},
		{
			unhex(t, "00000064") + `a:3:{s:4:"type";s:7:"enqueue";s:8:"channels";a:1:{i:0;s:2:"q1";}s:4:"data";a:1:{s:3:"job";i:1;}}`,
			unhex(t, "00000057") + `a:3:{s:4:"type";s:5:"queue";s:7:"channel";s:2:"q1";s:4:"data";a:1:{s:3:"job";i:1;}}`,
		},
		{unhex(t, "00000023") + `a:1:{s:4:"type";s:7:"reserve";}`, ""},
		{
			unhex(t, "00000045") + `a:2:{s:4:"type";s:7:"unwatch";s:8:"channels";a:1:{i:0;s:2:"q1";}}` +
				unhex(t, "00000056") + `a:2:{s:4:"type";s:11:"unsubscribe";s:8:"channels";a:1:{i:0;s:13:"send_to_group";}}`, "",
		},
		{unhex(t, "00000004 00000004"), ""},
	} {
		c.say(turn.client)
		got := make([]byte, len(turn.server))
		c.conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.ReadFull(c.in, got); err != nil || string(got) != turn.server {
			t.Fatalf("said %q\ngot  %q, %v\nwant %q", turn.client, got, err, turn.server)
		}
	}
	b.eventually("it is all forgotten", func(s Stats) bool { return s.Subscriptions == 0 && s.Channels == 0 && s.Queues == 0 })
	if got := b.groups.published(); !slices.Equal(got, []string{"123=這個是消息", "123=null"}) {
		t.Errorf("published to groups: got %q", got)
	}
}

func unhex(t *testing.T, text string) string {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func unbase64(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func base64Text(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
