package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// groupServer is a small correct server of the seed protocol, with one place where a test may spoil it. It is slow and
// simple on purpose: one lock puts everything in order.
type groupServer struct {
	mu     sync.Mutex
	groups map[string][]*groupMember
	spoil  func(m *groupMember, text string) []string // what member m gets in place of text; nil: the text
	silent bool                                       // answers no ids, as the original
	pings  bool                                       // pings each client after its join and wants the pong
	pongs  int
}

// groupMember is one joined connection. place is the id of its join, which is the client's number: with one group also
// the member's place as the bench names it.
type groupMember struct {
	conn  net.Conn
	place int
	heard int    // texts sent to it, before spoiling
	held  string // for a spoiler that gives something back later
}

// serve starts the server and returns its ws:// address.
func (s *groupServer) serve(t *testing.T) string {
	t.Helper()
	s.groups = map[string][]*groupMember{}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "http", "ws", 1) + "/"
}

func (s *groupServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, _, _, err := ws.UpgradeHTTP(r, w)
	if err != nil {
		return
	}
	defer conn.Close()
	for {
		header, err := ws.ReadHeader(conn)
		if err != nil || header.Length > 1<<20 {
			break
		}
		frame := ws.Frame{Header: header, Payload: make([]byte, header.Length)}
		if _, err := io.ReadFull(conn, frame.Payload); err != nil {
			break
		}
		frame = ws.UnmaskFrameInPlace(frame)
		if frame.Header.OpCode == ws.OpClose {
			break
		}
		s.mu.Lock()
		if frame.Header.OpCode == ws.OpPong && string(frame.Payload) == "are you there" {
			s.pongs++
		}
		if frame.Header.OpCode == ws.OpText {
			s.command(conn, frame.Payload)
		}
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, members := range s.groups {
		kept := members[:0]
		for _, m := range members {
			if m.conn != conn {
				kept = append(kept, m)
			}
		}
		s.groups[name] = kept
	}
}

func (s *groupServer) command(conn net.Conn, text []byte) {
	var c struct {
		Cmd     string          `json:"cmd"`
		Group   string          `json:"group_id"`
		Message string          `json:"message"`
		ID      json.RawMessage `json:"id"`
	}
	if json.Unmarshal(text, &c) != nil {
		return
	}
	switch c.Cmd {
	case "add_group":
		place, _ := strconv.Atoi(string(c.ID))
		s.groups[c.Group] = append(s.groups[c.Group], &groupMember{conn: conn, place: place})
		if c.ID != nil && !s.silent {
			wsutil.WriteServerText(conn, fmt.Appendf(nil, `{"id":%s,"ok":true}`, c.ID))
		}
		if s.pings {
			ws.WriteFrame(conn, ws.NewPingFrame([]byte("are you there")))
		}
	case "send_to_group":
		for _, m := range s.groups[c.Group] {
			texts := []string{c.Message}
			if given, ok := readStamp([]byte(c.Message)); s.spoil != nil && ok && given.publisher != probePublisher {
				texts = s.spoil(m, c.Message)
				m.heard++
			}
			for _, text := range texts {
				wsutil.WriteServerText(m.conn, []byte(text))
			}
		}
	}
}
