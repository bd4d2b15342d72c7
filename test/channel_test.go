package test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// channelStatus is the part of the status about the Channel link.
type channelStatus struct {
	Mode          string            `json:"mode"`
	Addr          string            `json:"addr"`
	Clients       int               `json:"clients"`
	Subscriptions int               `json:"subscriptions"`
	Queues        int               `json:"queues"`
	EventsIn      uint64            `json:"events_in"`
	EventsOut     uint64            `json:"events_out"`
	Published     uint64            `json:"published"`
	Refused       map[string]uint64 `json:"refused"`
	Closed        map[string]uint64 `json:"closed"`
	Connected     bool              `json:"connected"`
	Reconnects    uint64            `json:"reconnects"`
	Lost          uint64            `json:"lost"`
	WaitingBytes  int               `json:"waiting_bytes"`
}

func (s *server) channel() channelStatus {
	s.t.Helper()
	st := s.status()
	if st.Channel == nil {
		s.t.Fatal("the status has no channel")
	}
	return *st.Channel
}

// channelClient speaks the Channel protocol of Workerman, as far as these tests need it, from its description alone.
type channelClient struct {
	conn net.Conn
	in   *bufio.Reader
}

// php is a value as PHP serializes it: a string, an int, or a list of keys and values in turn.
func php(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf(`s:%d:"%s";`, len(v), v)
	case int:
		return fmt.Sprintf("i:%d;", v)
	case []any:
		text := fmt.Sprintf("a:%d:{", len(v)/2)
		for _, of := range v {
			text += php(of)
		}
		return text + "}"
	default:
		return "N;"
	}
}

func channelFrame(body string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(4+len(body)))) + body
}

// said is the frame of a verb about one channel; data nil: none.
func said(verb, channel string, data any) string {
	fields := []any{"type", verb, "channels", []any{0, channel}}
	if data != nil {
		fields = append(fields, "data", data)
	}
	return channelFrame(php(fields))
}

func groupEvent(group, text string) []any { return []any{"group_id", group, "message", text} }

func dialChannel(t testing.TB, s *server) *channelClient {
	t.Helper()
	addr := s.channel().Addr
	network := "tcp"
	if path, unix := strings.CutPrefix(addr, "unix:"); unix {
		network, addr = "unix", path
	}
	conn, err := net.DialTimeout(network, addr, patience)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return &channelClient{conn, bufio.NewReader(conn)}
}

func (c *channelClient) say(t testing.TB, frames ...string) {
	t.Helper()
	_, err := io.WriteString(c.conn, strings.Join(frames, ""))
	must(t, err)
}

// next is the body of the next frame.
func (c *channelClient) next() (string, error) {
	c.conn.SetReadDeadline(time.Now().Add(patience))
	var head [4]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return "", err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:])-4)
	_, err := io.ReadFull(c.in, body)
	return string(body), err
}

func (c *channelClient) expectEvent(t testing.TB, channel string, data any) {
	t.Helper()
	got, err := c.next()
	must(t, err)
	equal(t, "event", got, php([]any{"type", "event", "channel", channel, "data", data}))
}

// expectCut reads until the server ends the connection.
func (c *channelClient) expectCut(t testing.TB, what string) {
	t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, c.in); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Errorf("%s: got %v, want the connection closed", what, err)
	}
}

// subscriber is a Channel client that is subscribed to the bridge, so that it receives everything published from now on.
func subscriber(t testing.TB, s *server) *channelClient {
	t.Helper()
	before := s.channel().Subscriptions
	c := dialChannel(t, s)
	c.say(t, said("subscribe", "send_to_group", nil), said("subscribe", "send_to_group", nil))
	s.eventually("the subscription counts", func() error {
		if got := s.channel().Subscriptions; got != before+1 {
			return fmt.Errorf("got %d, want %d", got, before+1)
		}
		return nil
	})
	return c
}

func TestChannelAndWebSocketClientsShareGroupsAndOneOrder(t *testing.T) {
	t.Parallel()
	s := start(t, "--channel", "127.0.0.1:0")
	const senders, each = 3, 200
	var members []*client
	for range 6 {
		members = append(members, member(t, s, "room"))
	}
	subscribers := []*channelClient{subscriber(t, s), subscriber(t, s)}
	errs := make(chan error, 2*senders)
	for i := range senders {
		ws, publisher := dial(t, s), dialChannel(t, s)
		go func() {
			for n := range each {
				if err := ws.text(sendCommand("room", fmt.Sprintf("browser %d: %d", i, n))); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
		go func() {
			for n := range each {
				if _, err := io.WriteString(publisher.conn, said("publish", "send_to_group", groupEvent("room", fmt.Sprintf("php %d: %d", i, n)))); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range 2 * senders {
		must(t, <-errs)
	}
	first, err := members[0].collect(2 * senders * each)
	must(t, err)
	for _, m := range members[1:] {
		got, err := m.collect(len(first))
		must(t, err)
		equalTexts(t, "what members got", got, first)
	}
	for _, c := range subscribers {
		for _, text := range first {
			c.expectEvent(t, "send_to_group", groupEvent("room", text))
		}
	}
	seen := slices.Clone(first)
	slices.Sort(seen)
	equal(t, "different messages", len(slices.Compact(seen)), 2*senders*each)

	// Nothing was doubled: what is sent now is what comes next.
	for _, c := range subscribers {
		c.say(t, said("publish", "other", "x"))
	}
	subscribers[0].say(t, said("publish", "send_to_group", groupEvent("123", "the end")))
	for _, c := range subscribers {
		c.expectEvent(t, "send_to_group", groupEvent("123", "the end"))
	}
	for _, m := range members {
		m.expectNothing(t)
	}
}

func TestChannelGroupsAndMessagesKeepTheirTypes(t *testing.T) {
	t.Parallel()
	s := start(t, "--channel", "127.0.0.1:0")
	m, c, p := member(t, s, "123"), subscriber(t, s), dialChannel(t, s)
	publish := func(data []any) {
		t.Helper()
		p.say(t, said("publish", "send_to_group", data))
		c.expectEvent(t, "send_to_group", data)
	}
	publish([]any{"group_id", 123, "message", "by number", "more", 1})
	publish([]any{"group_id", "123", "message", 5})
	publish([]any{"message", []any{0, "a", 1, nil}, "group_id", "123"})
	publish([]any{"message", []any{"k", "v\"\n"}, "group_id", "123"})
	publish([]any{"group_id", "123"})                               // no message: for subscribers only
	publish([]any{"group_id", nil, "message", "x"})                 // no group
	publish([]any{"group_id", "", "message", "x"})                  // an invalid name
	publish([]any{"group_id", "123", "message", "\xff"})            // no UTF-8
	publish([]any{0, "group_id", 1, "message"})                     // values, not keys
	publish([]any{"group_id", "123", "message", "這個是消息", "x", nil}) // the end
	m.expect(t, "by number", "5", `["a",null]`, `{"k":"v\"\u000a"}`, "這個是消息")

	// From a browser a group is a string, however it was written there.
	must(t, m.text(`{"cmd":"send_to_group","group_id":123,"message":7}`))
	c.expectEvent(t, "send_to_group", groupEvent("123", "7"))
	m.expect(t, "7")
}

func TestAHostileChannelClientDisturbsNobody(t *testing.T) {
	t.Parallel()
	s := start(t, "--channel", "127.0.0.1:0")
	m, c := member(t, s, "g"), subscriber(t, s)
	deep := strings.Repeat("a:1:{i:0;", 1_000_000)
	for what, frames := range map[string]string{
		"length 0":             "\x00\x00\x00\x00",
		"length 3":             "\x00\x00\x00\x03",
		"length 4 GiB":         "\xff\xff\xff\xff",
		"text":                 "GET / HTTP/1.1\r\n\r\n",
		"no value":             channelFrame("x"),
		"no array":             channelFrame("i:5;"),
		"more behind":          channelFrame("a:0:{}a:0:{}"),
		"a million deep":       channelFrame(`a:1:{s:4:"data";` + deep + "N;" + strings.Repeat("}", 1_000_001)),
		"open and deep":        channelFrame(deep),
		"an object":            channelFrame(`O:8:"stdClass":0:{}`),
		"an object for a type": channelFrame(`a:1:{s:4:"type";O:8:"stdClass":0:{}}`),
		"a reference":          channelFrame(`a:2:{s:4:"type";s:7:"publish";s:8:"channels";R:1;}`),
		"a ring":               channelFrame(`a:3:{s:4:"type";s:7:"publish";s:8:"channels";a:1:{i:0;s:1:"c";}s:4:"data";a:1:{i:0;R:1;}}`),
		"a count too large":    channelFrame(`a:99999999:{s:4:"type";s:7:"publish";}`),
		"a count too small":    channelFrame(`a:1:{s:4:"type";s:7:"publish";s:8:"channels";a:0:{}}`),
		"a length too large":   channelFrame(`a:1:{s:4:"type";s:700:"publish";}`),
		"a negative length":    channelFrame(`a:1:{s:4:"type";s:-1:"";}`),
		"channels that are no": channelFrame(`a:2:{s:4:"type";s:9:"subscribe";s:8:"channels";s:1:"x";}`),
		"a channel of none":    channelFrame(`a:2:{s:4:"type";s:9:"subscribe";s:8:"channels";a:1:{i:0;N;}}`),
		"no channels":          channelFrame(`a:1:{s:4:"type";s:9:"subscribe";}`),
		"no data":              said("publish", "c", nil),
	} {
		h := dialChannel(t, s)
		io.WriteString(h.conn, frames) // may be closed while it writes
		h.expectCut(t, what)
	}
	half := dialChannel(t, s)
	half.say(t, said("publish", "send_to_group", groupEvent("g", "never"))[:40])
	half.conn.(*net.TCPConn).CloseWrite()
	half.expectCut(t, "half a frame")

	// What is merely useless does not close the client.
	odd := dialChannel(t, s)
	odd.say(t, "\x00\x00\x00\x04", channelFrame(`a:1:{s:4:"type";s:5:"hello";}`), channelFrame(`a:0:{}`),
		channelFrame(`a:2:{s:4:"type";i:1;i:7;N;}`), said("publish", "send_to_group", groupEvent("g", "all well")))
	c.expectEvent(t, "send_to_group", groupEvent("g", "all well"))
	m.expect(t, "all well")
	st := s.channel()
	equal(t, "clients closed for a bad frame", st.Closed["bad_frame"], 22)
	equal(t, "frames of no known type", st.Refused["unknown"], 3)
	equal(t, "panics", s.status().Total.Panics, 0)
}

func TestChannelBeyondLoopbackIsWarnedOf(t *testing.T) {
	t.Parallel()
	const warning = "has no authentication"
	for args, want := range map[string]string{
		"--channel=0.0.0.0:0":                            "restrict it with --channel-allow",
		"--channel=0.0.0.0:0 --channel-allow=127.0.0.2":  "every address in --channel-allow",
		"--channel=127.0.0.1:0":                          "",
		"--channel=unix:" + shortSocket(t, "quiet.sock"): "",
	} {
		s := start(t, strings.Fields(args)...)
		s.eventually("the banner is there", func() error {
			if !strings.Contains(s.out.String(), "Start success") {
				return fmt.Errorf("got %q", s.out.String())
			}
			return nil
		})
		got := s.out.String()
		if strings.Contains(got, "WARNING: ") != (want != "") || !strings.Contains(got, want) || strings.Contains(got, warning) != (want != "") {
			t.Errorf("%s: got %s\nwant a warning with %q", args, got, want)
		}
		if strings.Contains(args, "127.0.0.2") {
			_, port, _ := net.SplitHostPort(s.channel().Addr)
			c, err := net.Dial("tcp", "127.0.0.1:"+port)
			must(t, err)
			(&channelClient{c, bufio.NewReader(c)}).expectCut(t, "an address that is not allowed")
			from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
			c, err = from.Dial("tcp", "127.0.0.1:"+port)
			must(t, err)
			defer c.Close()
			s.eventually("who is allowed is let in", func() error {
				if got := s.channel().Clients; got != 1 {
					return fmt.Errorf("got %d clients, want 1", got)
				}
				return nil
			})
		}
	}
}

// shortSocket is a path that fits into a socket's address.
func shortSocket(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rc")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, name)
}

func TestChannelOnAUnixSocketTakesOverWhatADeadServerLeft(t *testing.T) {
	t.Parallel()
	path := shortSocket(t, "channel.sock")
	s := start(t, "--channel", "unix:"+path)
	c := subscriber(t, s)
	must(t, member(t, s, "g").text(sendCommand("g", "hello")))
	c.expectEvent(t, "send_to_group", groupEvent("g", "hello"))

	other := launch(t, starting{args: []string{"--channel", "unix:" + path}})
	other.kept = true
	equal(t, "exit status of a second server on the socket", other.exit(), 1)
	s.kept = true
	must(t, s.cmd.Process.Kill())
	<-s.over
	next := start(t, "--channel", "unix:"+path)
	subscriber(t, next)
}

func TestChannelStopsInGoodOrder(t *testing.T) {
	t.Parallel()
	s := start(t, "--channel", "127.0.0.1:0")
	c, ws := subscriber(t, s), dial(t, s)
	for i := range 500 {
		must(t, ws.text(withID(fmt.Sprint(i), sendCommand("g", fmt.Sprint(i)))))
	}
	for i := range 500 {
		_, err := ws.replyTo(fmt.Sprint(i))
		must(t, err)
	}
	ws.hangUp()
	equal(t, "exit status of stop", run("stop", "--run-dir", s.dir).exit, 0)
	for i := range 500 {
		c.expectEvent(t, "send_to_group", groupEvent("g", fmt.Sprint(i)))
	}
	c.expectCut(t, "a server that has stopped")
}

func TestChannelShowsInTheStatusOnlyWhereItIs(t *testing.T) {
	t.Parallel()
	s, url := startAdmin(t, "--channel", "127.0.0.1:0")
	subscriber(t, s)
	equal(t, "subscriptions in the metrics", scrape(t, url)["ringcast_channel_subscriptions"], 1)
	text := run("status", "--run-dir", s.dir).stdout
	for _, want := range []string{"CHANNEL", s.channel().Addr, "subscriptions", "events in", "refused"} {
		if !strings.Contains(text, want) {
			t.Errorf("status: got %s\nwant %q in it", text, want)
		}
	}
	without, url := startAdmin(t)
	if _, is := scrape(t, url)["ringcast_channel_clients"]; is {
		t.Error("metrics without --channel: got the Channel's")
	}
	if text := run("status", "--run-dir", without.dir).stdout; strings.Contains(strings.ToLower(text), "channel") || without.status().Channel != nil {
		t.Errorf("status without --channel: got %s", text)
	}
}

func TestChannelFlagsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--channel=2206":           "write :2206 for all addresses",
		"--channel=unix:here.sock": "unix:/PATH",
		"--channel=127.0.0.1:0 --channel-connect=127.0.0.1:1": "loop forever",
		"--channel-connect=127.0.0.1:0":                       "does not name a server",
		"--channel-allow=127.0.0.1":                           "--channel, which is off",
		"--channel=unix:/x --channel-allow=127.0.0.1":         "unix socket",
		"--channel=127.0.0.1:0 --channel-name=":               "must be a name",
		"--channel=127.0.0.1:0 --channel-queue-max=0":         "--channel-queue-max",
		"--channel=127.0.0.1:0 --channel-frame-max=1":         "--channel-frame-max",
	} {
		r := run(append([]string{"start", "--run-dir", runDir(t)}, strings.Fields(args)...)...)
		if r.exit != wrongSettings || !strings.Contains(r.stderr, want) {
			t.Errorf("%s: got exit status %d and %q, want %d and %q", args, r.exit, r.stderr, wrongSettings, want)
		}
	}
}

func TestRingcastsOnOneChannelServerShareGroupsWithoutEchoes(t *testing.T) {
	t.Parallel()
	hub := start(t, "--channel", "127.0.0.1:0")
	servers := []*server{hub}
	for range 2 {
		s := start(t, "--channel-connect", hub.channel().Addr)
		s.eventually("it is connected", func() error {
			if !s.channel().Connected {
				return fmt.Errorf("got %+v", s.channel())
			}
			return nil
		})
		servers = append(servers, s)
	}
	hub.eventually("both are subscribed", func() error {
		if got := hub.channel().Subscriptions; got != 2 {
			return fmt.Errorf("got %d subscriptions", got)
		}
		return nil
	})
	var members []*client
	for _, s := range servers {
		members = append(members, member(t, s, "g"))
	}
	const each = 100
	for i, m := range members {
		for n := range each {
			must(t, m.text(sendCommand("g", fmt.Sprintf("%d: %d", i, n))))
		}
	}
	for i, m := range members {
		got, err := m.collect(each * len(members))
		must(t, err)
		slices.Sort(got)
		equal(t, fmt.Sprintf("different messages on server %d", i), len(slices.Compact(got)), each*len(members))
	}
	for i, s := range servers {
		s.eventually("all events have come and gone", func() error {
			if st := s.channel(); st.EventsOut < each || i > 0 && st.EventsIn < 2*each {
				return fmt.Errorf("server %d: %+v", i, st)
			}
			return nil
		})
		equal(t, fmt.Sprintf("publishes on server %d", i), s.status().Total.Published, each*uint64(len(members)))
	}
	for _, m := range members {
		m.expectNothing(t)
	}
}

func TestAChannelLinkComesBackAndCountsWhatIsLost(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	hub := start(t, "--channel", addr)
	s := start(t, "--channel-connect", addr, "--channel-buffer-max", "1KiB")
	connected := func(want bool) {
		t.Helper()
		s.eventually(fmt.Sprintf("connected is %t", want), func() error {
			if st := s.channel(); st.Connected != want {
				return fmt.Errorf("got %+v", st)
			}
			return nil
		})
	}
	connected(true)
	hub.kept = true
	must(t, hub.cmd.Process.Kill())
	<-hub.over
	connected(false)

	m := member(t, s, "g")
	const away = 100
	for i := range away {
		must(t, m.text(sendCommand("g", fmt.Sprintf("while it was away: %3d", i))))
	}
	_, err := m.collect(away) // here they arrive all the same
	must(t, err)
	hub = start(t, "--channel", addr)
	elsewhere := member(t, hub, "g") // may come too late for some of those that waited
	connected(true)
	s.eventually("what waited was sent", func() error {
		if st := s.channel(); st.WaitingBytes != 0 {
			return fmt.Errorf("got %+v", st)
		}
		return nil
	})
	must(t, m.text(sendCommand("g", "it is back")))
	if _, err := elsewhere.collectUntil("it is back"); err != nil {
		t.Fatal(err)
	}
	s.eventually("each event was sent or refused, and both have happened", func() error {
		st := s.channel()
		if refused := st.Refused["buffer"]; st.EventsOut+refused != away+1 || refused == 0 || st.EventsOut < 2 || st.Reconnects != 1 {
			return fmt.Errorf("got %+v", st)
		}
		return nil
	})
}

// The Channel's, TLS's and the cluster's are shown only by a server that has them. ringcast_build_info is there for queries of one's own.
func TestEveryMetricHasItsPanelAndEveryPanelItsMetric(t *testing.T) {
	t.Parallel()
	cert, key := certificateFor(t, t.TempDir(), "push.example.org")
	_, url := startAdmin(t, "--tls-listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key, "--http-redirect", "127.0.0.1:0", "--channel", "127.0.0.1:0", "--cluster-name", "chat", "--cluster-node", "n1", "--store-dir", t.TempDir())
	code, text, err := ask(url+"/metrics", "")
	must(t, err)
	equal(t, "status of /metrics", code, 200)
	exists, shown := map[string]bool{}, map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (ringcast_\w+) `).FindAllStringSubmatch(text, -1) {
		exists[m[1]] = true
	}
	for _, name := range regexp.MustCompile(`ringcast_\w+`).FindAllString(document(t, "api/dashboard.json"), -1) {
		shown[strings.TrimSuffix(name, "_bucket")] = true
	}
	if len(exists) < 20 || !maps.Equal(exists, shown) {
		t.Errorf("metrics: got %v in /metrics and %v in the dashboard, want the same", slices.Sorted(maps.Keys(exists)), slices.Sorted(maps.Keys(shown)))
	}
}
