package bus

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// channelServer is a Channel server that a test plays by hand.
type channelServer struct {
	t        *testing.T
	listener net.Listener
}

func listenAsServer(t *testing.T) *channelServer {
	t.Helper()
	var last error
	for range quietPorts {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", quietFirst+(quietStart+int(quietGiven.Add(1)))%quietPorts))
		if err == nil {
			t.Cleanup(func() { l.Close() })
			return &channelServer{t, l}
		}
		last = err
	}
	t.Fatalf("no free port on 127.0.0.1: %v", last)
	return nil
}

// Ports of servers that close and listen again: the kernel gives none of them to a connection, or to who listens on any port, which could take it meanwhile,
// and no other package's tests, nor the bench, take them. They are given in a row that begins anywhere, so that two processes seldom give the same.
const quietFirst, quietPorts = 11_000, 1_000

var (
	quietStart = rand.IntN(quietPorts)
	quietGiven atomic.Int32
)

// accept accepts the next connection and reads what a client sends first.
func (s *channelServer) accept() *phpClient {
	s.t.Helper()
	s.listener.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	conn, err := s.listener.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	c := &phpClient{s.t, conn, bufio.NewReader(conn)}
	c.hear(`a:2:{s:4:"type";s:9:"subscribe";s:8:"channels";a:1:{i:0;s:13:"send_to_group";}}`)
	return c
}

func (b *started) publish(texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		if err := b.groups.PublishWait(context.Background(), "123", []byte(text), nil); err != nil {
			b.t.Fatal(err)
		}
	}
}

// said is what a client publishes of a message.
func (b *started) said(text string) string {
	return string(publishFrame(stringName(BridgeDefault), groupData("123", []byte(text), b.end.(*remote).mark)))[frameHeadBytes:]
}

func TestAClientPublishesWithItsMarkAndKnowsItsEchoes(t *testing.T) {
	s := listenAsServer(t)
	b := startBus(t, Config{Connect: s.listener.Addr().String()})
	c := s.accept()
	mark := b.end.(*remote).mark
	b.publish("here")
	c.hear(fmt.Sprintf(`a:3:{s:4:"type";s:7:"publish";s:8:"channels";a:1:{i:0;s:13:"send_to_group";}s:4:"data";`+
		`a:3:{s:8:"group_id";s:3:"123";s:7:"message";s:4:"here";s:8:"ringcast";s:16:"%s";}}`, mark))
	b.eventually("one has not come back", func(Stats) bool { return b.end.(*remote).unechoed.Load() == 1 })
	c.say(frame(event(BridgeDefault, string(groupData("123", []byte("here"), mark)))), // the echo
		frame(event(BridgeDefault, string(groupData("123", []byte("another ringcast's"), "0123456789abcdef")))),
		frame(event(BridgeDefault, `a:2:{s:8:"group_id";i:123;s:7:"message";i:5;}`)),
		frame(event(BridgeDefault, `a:2:{s:8:"group_id";b:1;s:7:"message";i:5;}`)),
		frame(event(BridgeDefault, about("", "no group"))),
		frame(event("other", about("123", "x"))), frame(job(BridgeDefault, about("123", "x"))), string(ping))
	b.eventually("all was read", func(s Stats) bool { return s.Refused["unknown"] == 2 })
	if got := b.groups.published(); !slices.Equal(got, []string{"123=here", "123=another ringcast's", "123=5"}) {
		t.Errorf("published: got %q", got)
	}
	b.publish("the end")
	c.hear(b.said("the end")) // and nothing of what came from there
	st := b.Stats()
	if st.EventsIn != 4 || st.Published != 2 || st.Refused["group"] != 2 || !st.Connected || st.Mode != "client" || st.Reconnects != 0 {
		t.Errorf("got %+v", st)
	}
}

func TestAClientComesBackWithWhatWaitedAndCountsWhatMayBeLost(t *testing.T) {
	s := listenAsServer(t)
	b := startBus(t, Config{Connect: s.listener.Addr().String(), BufferBytesMax: 2000})
	c := s.accept()
	b.publish("one", "two", "three")
	c.hear(b.said("one"), b.said("two"), b.said("three"))
	c.say(frame(event(BridgeDefault, string(groupData("123", []byte("one"), b.end.(*remote).mark)))))
	b.eventually("two have not come back", func(Stats) bool { return b.end.(*remote).unechoed.Load() == 2 })
	c.conn.Close()
	b.eventually("they count as lost", func(s Stats) bool { return s.Lost == 2 })

	c = s.accept() // it connects while nobody reads
	b.eventually("it is back", func(s Stats) bool { return s.Connected && s.Reconnects == 1 })
	s.listener.Close()
	c.say("\x00\x00\x00\x01") // what is no frame ends the link
	b.eventually("it is away", func(s Stats) bool { return !s.Connected })
	const waiting = 20
	kept := 2000 / frameBytes([]byte(frame(b.said("00"))))
	for i := range waiting {
		b.publish(fmt.Sprintf("%02d", i))
	}
	refused := uint64(waiting - kept)
	b.eventually("the buffer is full", func(s Stats) bool { return s.Refused["buffer"] == refused && s.WaitingBytes <= 2000 })
	again, err := net.Listen("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	s.listener = again
	c = s.accept()
	for i := range kept {
		c.hear(b.said(fmt.Sprintf("%02d", i)))
	}
	b.eventually("there is room", func(s Stats) bool { return s.WaitingBytes == 0 })
	b.publish("new")
	c.hear(b.said("new"))
	b.eventually("all is counted", func(s Stats) bool {
		return s.Lost == 2 && s.Reconnects == 2 && s.Refused["buffer"] == refused && s.EventsOut == uint64(3+kept+1)
	})
}

func TestAFrameThatWasCutIsSentAgainWhole(t *testing.T) {
	s := listenAsServer(t)
	b := startBus(t, Config{Connect: s.listener.Addr().String()})
	c := s.accept()
	big := strings.Repeat("x", 9<<20) // more than socket buffers hold
	b.publish(big, "behind it")
	if _, err := c.in.Peek(1000); err != nil {
		t.Fatal(err)
	}
	c.conn.Close()
	c = s.accept()
	c.hear(b.said(big), b.said("behind it"))
	if st := b.Stats(); st.Lost != 0 {
		t.Errorf("lost: got %d, want 0", st.Lost)
	}
	b.publish(strings.Repeat("y", 10<<20), "small")
	c.hear(b.said("small"))
	if st := b.Stats(); st.Refused["too_big"] != 1 {
		t.Errorf("got %+v, want one event too big for PHP", st)
	}
}

func TestWhatWasWrittenCountsThoughMoreWaits(t *testing.T) {
	s := listenAsServer(t)
	s.listener.Close()
	b := startBus(t, Config{Connect: s.listener.Addr().String(), BufferBytesMax: 64 << 20})
	const events, size, read = 3 * writeBatchMax, 64 << 10, writeBatchMax + 50 // far more than socket buffers hold
	text := strings.Repeat("x", size)
	for range events {
		b.publish(text)
	}
	b.eventually("all wait", func(s Stats) bool { return s.WaitingBytes > events*size })
	again, err := net.Listen("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	s.listener = again
	c := s.accept()
	said := b.said(text)
	for range read {
		c.hear(said)
	}
	b.eventually("what is written counts", func(s Stats) bool {
		return s.EventsOut >= read-writeBatchMax && b.end.(*remote).unechoed.Load() == int64(b.Stats().EventsOut)
	})
}

func TestAClientWritesWhatWaitsBeforeItCloses(t *testing.T) {
	s := listenAsServer(t)
	groups := newFakeGroups()
	started0, err := Start(Config{Connect: s.listener.Addr().String(), echoWait: patience}, groups)
	if err != nil {
		t.Fatal(err)
	}
	b := &started{started0, t, groups}
	c := s.accept()
	b.publish("last")
	b.eventually("it is on its way", func(s Stats) bool { return s.EventsOut == 1 })
	go func() {
		c.hear(b.said("last"))
		c.say(frame(event(BridgeDefault, string(groupData("123", []byte("last"), b.end.(*remote).mark)))))
	}()
	if err := b.Close(context.Background()); err != nil || b.Stats().Lost != 0 {
		t.Errorf("got %v, lost %d", err, b.Stats().Lost)
	}
	c.cut()
	s.listener.Close()
	groups = newFakeGroups()
	if started0, err = Start(Config{Connect: s.listener.Addr().String()}, groups); err != nil {
		t.Fatal(err)
	}
	b = &started{started0, t, groups}
	b.publish("never")
	b.eventually("it waits", func(s Stats) bool { return s.WaitingBytes > 0 })
	if err := b.Close(context.Background()); err == nil {
		t.Error("close with a server that is away and events that wait: got no error")
	}
}
