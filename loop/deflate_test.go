package loop

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ringcast/dialect"
	"ringcast/loop/order"
	"ringcast/wsproto"
)

// Clients with compression and without it, step by step on made-up sockets.

func compressing(b *bounds) { b.Compression = true }

// beside has goroutines that compress run when the test calls run, and whatever they make.
func (st *stage) beside() (run func()) {
	var works []func()
	st.hub.deflater.Start = func(work func()) { works = append(works, work) }
	return func() {
		for ; len(works) > 0; works = works[1:] {
			works[0]()
		}
	}
}

// offering is a client that offers compression, and the answer to its handshake.
func (st *stage) offering(loop int, path string) (c *stageConn, answer string) {
	c = &stageConn{shard: st.hub.shards[loop], fd: len(st.conns)}
	st.conns = append(st.conns, c)
	st.hub.admit()
	c.client = c.shard.opened(c)
	request := strings.Replace(simRequest, "GET / ", "GET "+path+" ", 1)
	c.shard.traffic(c.client, []byte(strings.Replace(request, "Sec-WebSocket-Version", simOffer+"Sec-WebSocket-Version", 1)))
	st.settle()
	answer, after, _ := strings.Cut(string(c.out), "\r\n\r\n")
	c.out = []byte(after)
	return c, answer
}

func (st *stage) deflating(loop int, path string) *stageConn {
	c, _ := st.offering(loop, path)
	return c
}

// sayDeflated says something compressed.
func (c *stageConn) sayDeflated(text string) {
	frame := wsproto.AppendMaskedFrame(nil, wsproto.OpText, [4]byte{1, 2, 3, 4}, []byte(deflated(text)))
	frame[0] |= 0x40
	c.shard.traffic(c.client, frame)
}

// inflated is what a client has heard since the last call, and how many of them came compressed. A Close frame is "close " and its code.
func (c *stageConn) inflated(t *testing.T) (texts []string, compressed int) {
	t.Helper()
	for in := c.out; len(in) > 0; {
		n, at := int(in[1]), 2
		switch n {
		case 126:
			n, at = int(binary.BigEndian.Uint16(in[2:])), 4
		case 127:
			n, at = int(binary.BigEndian.Uint64(in[2:])), 10
		}
		text := in[at : at+n]
		if in[0] == 0xC1 {
			compressed++
			inflated, err := inflate(string(text))
			if text = []byte(inflated); err != nil {
				t.Fatalf("client %d: %v", c.fd, err)
			}
		}
		if in[0] == 0x88 {
			text = fmt.Appendf(nil, "close %d", binary.BigEndian.Uint16(text))
		}
		texts, in = append(texts, string(text)), in[at+n:]
	}
	c.out = nil
	return texts, compressed
}

// hears is that a client has heard these texts, so many of them compressed.
func (c *stageConn) hears(t *testing.T, compressed int, want ...string) {
	t.Helper()
	if got, n := c.inflated(t); !slices.Equal(got, want) || n != compressed {
		t.Errorf("client %d heard %.200q, %d compressed; want %.200q, %d compressed", c.fd, got, n, want, compressed)
	}
}

var long = strings.Repeat("a text that is long enough to be compressed; ", 20)

func TestClientsOfEachDialectHearTheSameCompressedOrNot(t *testing.T) {
	st := newPusherStage(3, compressing, loud, dialect.Centrifuge([16]byte{1}))
	joins := []struct{ path, connect, join string }{
		{"/", "", `{"cmd":"add_group","group_id":"0g"}`},
		{"/loud", "", `{"cmd":"add_group","group_id":"0g","hears":true}`},
		{centrifugePath, `{"id":1,"connect":{}}`, `{"id":2,"subscribe":{"channel":"0g"}}`},
		{"/app/key" + pusherQuery, "", `{"event":"pusher:subscribe","data":{"channel":"0g"}}`},
	}
	var asIs, compressed [][]*stageConn // by dialect
	for _, d := range joins {
		var a, b []*stageConn
		for loop := range 3 {
			a, b = append(a, st.request(loop, d.path)), append(b, st.deflating(loop, d.path))
		}
		asIs, compressed = append(asIs, a), append(compressed, b)
		for _, c := range append(slices.Clone(a), b...) {
			if d.connect != "" {
				c.say("%s", d.connect)
			}
			c.say("%s", d.join)
			st.settle()
		}
	}
	sender := st.enter(1)
	const messages = 20
	for _, c := range st.conns {
		c.out = nil
	}
	for n := range messages {
		sender.publish(fmt.Sprint(n, long))
		sender.publish(fmt.Sprint(n))
		if n%3 == 0 {
			st.settle()
		}
	}
	st.settle()
	for i := range joins {
		first, n := asIs[i][0].inflated(t)
		if len(first) != 2*messages || n != 0 {
			t.Fatalf("dialect %d: heard %d messages, %d compressed", i, len(first), n)
		}
		for _, c := range asIs[i][1:] {
			c.hears(t, 0, first...)
		}
		for _, c := range compressed[i] {
			c.hears(t, messages, first...)
		}
	}
	total := st.hub.Snapshot().Total()
	if want := uint64(messages * len(joins)); total.Compressions != want || total.CompressionIn < 3*total.CompressionOut {
		t.Errorf("got %d compressions of %d bytes to %d, want %d, and a third of the bytes", total.Compressions, total.CompressionIn, total.CompressionOut, want)
	}
	if total.DeflateClients != int64(3*len(joins)) {
		t.Errorf("got %d clients that deflate, want %d", total.DeflateClients, 3*len(joins))
	}
}

func TestMessagesAreCompressedFromACertainSizeOn(t *testing.T) {
	for _, size := range []int{1, 255, 256, 257, 300, 301} {
		for _, min := range []int{256, 301} {
			st := newStage(1, func(b *bounds) { b.Compression, b.CompressionMin = true, min })
			c := st.deflating(0, "/")
			c.say(`{"cmd":"add_group","group_id":"0g"}`)
			text := strings.Repeat("x", size)
			c.publish(text)
			compressed := 0
			if size >= min {
				compressed = 1
			}
			c.hears(t, compressed, text)
		}
	}
}

func TestAReloadSwitchesCompressionOnAndOffForWhoComesNext(t *testing.T) {
	st := newStage(1, nil)
	var clients []*stageConn
	for _, on := range []bool{false, true, false} {
		st.apply(func(b *bounds) { b.Compression = on })
		c, answer := st.offering(0, "/")
		if accepts := strings.Contains(answer, "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover"); accepts != on {
			t.Errorf("compression %v: got %q", on, answer)
		}
		c.say(`{"cmd":"add_group","group_id":"0g"}`)
		clients = append(clients, c)
	}
	clients[0].publish(long)
	for i, compressed := range []int{0, 1, 0} {
		clients[i].hears(t, compressed, long)
	}
	for i, want := range []string{"close 1002", `{"id":1,"ok":true}`, "close 1002"} {
		clients[i].sayDeflated(`{"cmd":"add_group","group_id":"other","id":1}`)
		clients[i].hears(t, 0, want)
	}
	if got := st.hub.Snapshot().Total(); got.InflatedIn != 1 || got.DeflateClients != 1 {
		t.Errorf("got %d messages inflated, %d clients that deflate, want 1 and 1", got.InflatedIn, got.DeflateClients)
	}
	st.apply(func(b *bounds) { b.CompressionMin = 10_000 })
	clients[1].publish(long)
	clients[1].hears(t, 0, long)
	clients[1].shard.closed(clients[1].client)
	if got := st.hub.Snapshot().Total().DeflateClients; got != 0 {
		t.Errorf("got %d clients that deflate when it has gone", got)
	}
}

// large is compressed by a goroutine.
var large = strings.Repeat("a text so long that no loop compresses it itself; ", 1000)

func TestALargeMessageIsCompressedBesideTheLoopsAndKeepsItsPlace(t *testing.T) {
	st := newStage(2, compressing).raw()
	run := st.beside()
	sender, other := st.enter(0), st.deflating(1, "/")
	asIs, compressed := st.enter(1), []*stageConn{st.deflating(0, "/"), st.deflating(1, "/")}
	other.say(`{"cmd":"add_group","group_id":"1other"}`)
	for _, c := range append(compressed, asIs) {
		c.say(`{"cmd":"add_group","group_id":"0g"}`)
	}
	st.settle()
	sender.publish("before")
	sender.publish(large)
	sender.publish("behind")
	sender.publish(large + "2")
	st.settle() // which ends, so nobody kicks again and again
	sender.say(`{"cmd":"send_to_group","group_id":"1other","message":%q}`, long)
	st.settle()
	asIs.hears(t, 0, "before", large, "behind", large+"2")
	other.hears(t, 1, long)
	for _, c := range compressed {
		c.hears(t, 0, "before")
	}
	for i, s := range st.hub.shards {
		if len(s.passes.awaiting) != 1 || len(s.passes.queue) != 0 || st.kicks[i] || st.wakes[i] {
			t.Errorf("loop %d: %d audiences wait for a form, %d for a pass, kicked %v, woken %v; want 1 and none", i, len(s.passes.awaiting), len(s.passes.queue), st.kicks[i], st.wakes[i])
		}
	}
	run()
	if !st.wakes[0] || !st.wakes[1] {
		t.Errorf("loops woken: %v, want both", st.wakes)
	}
	st.settle()
	for _, c := range compressed {
		c.hears(t, 2, large, "behind", large+"2")
	}
	if got := st.hub.Snapshot().Total().Compressions; got != 3 {
		t.Errorf("got %d compressions, want 3", got)
	}
	for i, s := range st.hub.shards {
		if len(s.passes.awaiting)+len(s.passes.queue)+s.passes.gathered != 0 {
			t.Errorf("loop %d: something is left: %d, %d, %d bytes", i, len(s.passes.awaiting), len(s.passes.queue), s.passes.gathered)
		}
	}
}

// Those who wait for a form go, and others come, before it is there.
func TestAnAudienceThatWaitsForAFormMayEnd(t *testing.T) {
	st := newStage(1, compressing)
	run := st.beside()
	sender, first, second := st.enter(0), st.deflating(0, "/"), st.deflating(0, "/")
	first.say(`{"cmd":"add_group","group_id":"0g"}`)
	sender.publish(large)
	st.settle()
	first.say(`{"cmd":"leave_group","group_id":"0g"}`)
	second.say(`{"cmd":"add_group","group_id":"0g"}`)
	sender.publish("to the second")
	st.settle()
	run()
	st.settle()
	first.hears(t, 0)
	second.hears(t, 0, "to the second")
}

func TestABorrowerLeavesFirstCompressionsToTheLoop(t *testing.T) {
	st := newStage(2, compressing).raw()
	sender, asleep, owner := st.enter(0), st.deflating(1, "/"), st.deflating(0, "/")
	asleep.say(`{"cmd":"add_group","group_id":"0g"}`)
	st.settle()
	say := func(text string) {
		sender.publish(text)
		sender.publish("short")
	}
	if say("short"); st.wakes[1] {
		t.Error("the loop was woken for messages that are too short to be compressed")
	}
	asleep.hears(t, 0, "short", "short")
	if sender.publish(long); !st.wakes[1] || len(asleep.out) > 0 || st.hub.Snapshot().Total().Compressions != 0 {
		t.Errorf("woken %v, %d bytes sent, %d compressions; want the loop to be woken to compress", st.wakes[1], len(asleep.out), st.hub.Snapshot().Total().Compressions)
	}
	st.settle()
	asleep.hears(t, 1, long)
	owner.say(`{"cmd":"add_group","group_id":"0g"}`)
	st.settle()
	m, _ := order.NewMessage([]byte("0g"), []byte(long), nil, false)
	st.hub.deflater.In(m, order.Deflated, nil, st.hub.bounds.Load().CompressionMin, 0)
	if g := st.hub.shards[1].groups.Get("0g"); !st.hub.shards[1].isMade(g, m) {
		t.Error("a borrower may not send what is compressed already")
	}
}

// A compression that panics: the message goes as it is, and nobody is closed.
func TestACompressionThatPanicsHarmsOneFormOfOneMessage(t *testing.T) {
	for _, text := range []string{long, large} {
		st := newStage(1, compressing, loud)
		run := st.beside()
		st.hub.deflater.Compress = func(dst, frames []byte, min int) []byte {
			if bytes.Contains(frames, []byte("panic")) {
				panic("a compressor that panics")
			}
			return wsproto.AppendDeflated(dst, frames, min)
		}
		sender, one, other := st.enter(0), st.deflating(0, "/"), st.deflating(0, "/loud")
		other.out = nil
		for _, c := range []*stageConn{one, other} {
			c.say(`{"cmd":"add_group","group_id":"0g"}`)
		}
		for range 3 {
			sender.publish("panic" + text)
			sender.publish(text)
			st.settle()
			run()
			st.settle()
		}
		one.hears(t, 3, "panic"+text, text, "panic"+text, text, "panic"+text, text)
		up := strings.ToUpper(text)
		other.hears(t, 6, "PANIC"+up, up, "PANIC"+up, up, "PANIC"+up, up)
		if got := st.hub.Snapshot().Total(); got.Panics != 3 || got.Compressions != 9 {
			t.Errorf("got %d panics and %d compressions, want 3 and 9", got.Panics, got.Compressions)
		}
	}
}

func TestAMessageLeavesAClientOutThatDeflates(t *testing.T) {
	st := newStage(1, compressing).raw()
	a, b, c := st.deflating(0, "/"), st.deflating(0, "/"), st.enter(0)
	for _, c := range []*stageConn{a, b, c} {
		c.say(`{"cmd":"add_group","group_id":"0g"}`)
	}
	st.together(func() {
		st.tell(c, "1"+long, but(a))
		st.tell(c, "2"+long, everybody)
		st.tell(c, "3", but(b))
		st.tell(c, "4"+long, but(c))
	})
	a.hears(t, 2, "2"+long, "3", "4"+long)
	b.hears(t, 3, "1"+long, "2"+long, "4"+long)
	c.hears(t, 0, "1"+long, "2"+long, "3")
}

func TestMembersAreToldHowManyTheyAreWhoeverDeflates(t *testing.T) {
	st := newPusherStage(1, func(b *bounds) { withApps(b, countingApp); compressing(b) })
	asIs, compressed := st.request(0, "/app/key"+pusherQuery), st.deflating(0, "/app/key"+pusherQuery)
	for i, c := range []*stageConn{asIs, compressed} {
		c.out = nil
		st.subscribes(c, &countingApp, "news", "")
		st.ticks(1)
		c.hears(t, 0, subscribed("news"), toldOf("news", i+1))
	}
	asIs.hears(t, 0, toldOf("news", 2))
	st.unsubscribes(asIs, "news")
	st.ticks(1)
	compressed.hears(t, 0, toldOf("news", 1))
	st.unsubscribes(compressed, "news")
	st.ticks(1)
	if n := len(st.hub.shards[0].headcounts.list); n != 0 {
		t.Errorf("%d channels are looked at, of which nobody is a member", n)
	}
}

func TestWhoDeflatesIsSentStraightToTheKernel(t *testing.T) {
	st := newStage(1, compressing).raw()
	c := st.deflating(0, "/")
	c.say(`{"cmd":"add_group","group_id":"0g"}`)
	send, sends := c.shard.env.send, 0
	c.shard.env.send = func(fd int, p []byte) sent {
		sends++
		return send(fd, p)
	}
	if c.publish(long); sends != 1 {
		t.Errorf("got %d raw sends for a message, want 1", sends)
	}
	c.hears(t, 1, long)
}

func TestWhatAClientHasInflatedInATickIsBounded(t *testing.T) {
	st := newStage(1, compressing)
	c, other := st.deflating(0, "/"), st.deflating(0, "/")
	bomb := "{}" + strings.Repeat(" ", 1<<20-2)
	const ticks = 3
	for range ticks {
		for range inflatedTickMax >> 20 {
			c.sayDeflated(bomb)
		}
		st.ticks(1)
	}
	if c.client.state != stateOpen {
		t.Fatal("with as much as it may have in each tick: closed, want it open")
	}
	for range 60 {
		c.sayDeflated(bomb)
		other.sayDeflated("{}")
	}
	c.heard(t, "\x03\xf0")
	if total := st.hub.Snapshot().Total(); total.InflatedIn > ticks*inflatedTickMax>>20+60+20 || other.client.state != stateOpen {
		t.Errorf("%d messages were inflated, the other client is %v, want those up to the bound, and it open", total.InflatedIn, other.client.state)
	}
}
