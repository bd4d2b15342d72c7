package loop

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"ringcast/wsproto"
)

// testTimeout is generous: a test waits for a condition, the deadline only ends a hang.
const testTimeout = 60 * time.Second

// startServer runs a server for the length of a test.
func startServer(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := Start(cfg)
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("Stop: %v", err)
		}
		if n := s.Hub().Snapshot().Total().Panics; n != 0 {
			t.Errorf("panics: got %d, want 0", n)
		}
	})
	return s
}

// peer is a WebSocket client of a test, on a blocking socket.
type peer struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

func dial(t testing.TB, s *Server) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(testTimeout))
	p := &peer{t: t, conn: conn, in: bufio.NewReader(conn)}
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	for line := ""; line != "\r\n"; {
		if line, err = p.in.ReadString('\n'); err != nil {
			t.Fatalf("handshake: %v", err)
		}
	}
	return p
}

func (p *peer) say(format string, args ...any) {
	frame := wsproto.AppendMaskedFrame(nil, wsproto.OpText, [4]byte{1, 2, 3, 4}, fmt.Appendf(nil, format, args...))
	if _, err := p.conn.Write(frame); err != nil {
		p.t.Errorf("write: %v", err)
	}
}

// next is the next frame's payload; the error is the socket's.
func (p *peer) next() (op byte, payload string, err error) {
	var head [2]byte
	if _, err := io.ReadFull(p.in, head[:]); err != nil {
		return 0, "", err
	}
	n := int(head[1])
	switch n {
	case 126:
		var ext [2]byte
		_, err = io.ReadFull(p.in, ext[:])
		n = int(ext[0])<<8 | int(ext[1])
	case 127:
		var ext [8]byte
		_, err = io.ReadFull(p.in, ext[:])
		n = 0
		for _, b := range ext {
			n = n<<8 | int(b)
		}
	}
	if err != nil {
		return 0, "", err
	}
	buf := make([]byte, n)
	_, err = io.ReadFull(p.in, buf)
	return head[0] & 15, string(buf), err
}

func (p *peer) want(want string) {
	p.t.Helper()
	if _, got, err := p.next(); err != nil || got != want {
		p.t.Fatalf("got %q (%v), want %q", got, err, want)
	}
}

func (p *peer) join(group string) {
	p.t.Helper()
	p.say(`{"cmd":"add_group","group_id":%q,"id":1}`, group)
	p.want(`{"id":1,"ok":true}`)
}

func TestAllMembersOnAllLoopsHoldOneSequence(t *testing.T) {
	const members, senders, each = 64, 6, 1000
	s := startServer(t, Config{Loops: 8})
	peers := make([]*peer, members)
	for i := range peers {
		peers[i] = dial(t, s)
		peers[i].join("g")
	}
	for i, row := range s.Hub().Snapshot().Loops {
		if row.Clients == 0 {
			t.Errorf("loop %d: got no clients, want some", i)
		}
	}
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			p := dial(t, s)
			for n := range each {
				p.say(`{"cmd":"send_to_group","group_id":"g","message":"%d %d"}`, i, n)
			}
		})
	}
	got := make([][]string, members)
	for i := range peers {
		wg.Go(func() {
			for range senders * each {
				_, m, err := peers[i].next()
				if err != nil {
					t.Errorf("member %d after %d messages: %v", i, len(got[i]), err)
					return
				}
				got[i] = append(got[i], m)
			}
		})
	}
	wg.Wait()
	checkOneSequence(t, got, senders, each)
}

// checkOneSequence: all lists are equal, and hold each sender's messages once, in its order.
func checkOneSequence(t *testing.T, got [][]string, senders, each int) {
	t.Helper()
	next := make([]int, senders)
	for _, m := range got[0] {
		var sender, n int
		fmt.Sscanf(m, "%d %d", &sender, &n)
		if n != next[sender] {
			t.Fatalf("sender %d: got message %d, want %d", sender, n, next[sender])
		}
		next[sender]++
	}
	for sender, n := range next {
		if n != each {
			t.Errorf("sender %d: got %d messages, want %d", sender, n, each)
		}
	}
	for i := range got {
		for n := range got[0] {
			if n >= len(got[i]) || got[i][n] != got[0][n] {
				t.Fatalf("member %d differs from member 0 at message %d", i, n)
			}
		}
	}
}
