package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	"github.com/gobwas/ws/wsutil"

	"ringcast/bench/check"
)

// groupServer is a small correct server of all dialects, in which a test can insert a fault. It is slow and simple on purpose:
// one lock orders everything.
type groupServer struct {
	mu      sync.Mutex
	groups  map[string][]*groupMember
	spoil   func(m *groupMember, text string) []string // what member m gets in place of text; nil: the text
	silent  bool                                       // does not answer ids, like the original
	mute    bool                                       // does not answer pings
	hangsUp bool                                       // ends a connection that pings
	packs   bool                                       // accepts permessage-deflate, and compresses all texts to who has asked for it
	packing map[net.Conn]bool                          // who has

	packedText string // the last text that was compressed
	packed     ws.Frame
	pings      bool // pings each client after its join and wants the pong
	pongs      int
	ponged     func(conn net.Conn) // called when one is answered; nil: nobody is told

	refuse func() bool                   // whether a request is answered 503
	shirk  func(cmd string, id int) bool // a command that is answered but not done
	reject func(cmd string) bool         // one that is answered with an error
	left   func(m *groupMember)          // called with a member before its leave is answered
	outbox int                           // texts that may wait for a member, beyond which it is closed with 4008; 0: all others wait
	drops  bool                          // what is beyond outbox is dropped instead
	beyond int                           // members to which that has happened, or texts
	open   int                           // connections

	// Pusher clients only.
	echoes bool // who sends hears it, too

	// Clients of Centrifuge and Pusher only.
	numbers map[net.Conn]int
	line    func(m *groupMember, text string) string // how a member is told a text; nil: by a push
	answer  func(method string, id int) string       // in place of a reply; nil, "-": the reply
	batches int                                      // frames with several lines

	orders func(key, text string) (answer string, says int) // what is answered to a publish with an id, see publish; nil: ok, and said once
	keyed  map[string]int                                   // offsets by group and key

	keeps  int                                            // messages of each channel that one who comes back can have; 0: no history
	said   map[string][]string                            // publications by channel, in JSON
	epoch  func(m *groupMember) string                    // of the histories, as a client is told; nil: always the same
	past   func(m *groupMember, missed []string) []string // what it is given in place of what it has missed, in JSON; nil: that
	result func(m *groupMember, result string) string     // what it is answered in place of a result; nil: that
}

const serverSendBytes = 128 << 10

// groupMember is one joined connection. place is the id of its join, which is the client's number: with one group also
// the member's place as the bench names it.
type groupMember struct {
	conn  net.Conn
	place int
	heard int    // texts sent to it, before faults
	held  string // for a fault that sends something later
	mark  int    // heard when the fault was inserted
	queue chan []byte
	over  bool // nothing goes into queue any more

	channel string   // of a Centrifuge client; else empty
	lines   []string // what goes into its next frame
}

// write serves the queue, and then sends a close frame if the queue was too short.
func (m *groupMember) write() {
	var err error
	for frames := range m.queue {
		if err == nil { // otherwise the client is gone, and the rest is dropped
			_, err = m.conn.Write(frames)
		}
	}
	ws.WriteFrame(m.conn, ws.NewCloseFrame(ws.NewCloseFrameBody(4008, "too slow")))
	m.conn.Close()
}

// give sends frames to a member in one write, or queues them.
func (s *groupServer) give(m *groupMember, frames []byte) {
	switch {
	case m.queue == nil:
		m.conn.Write(frames)
	case m.over:
	case len(m.queue) < cap(m.queue):
		m.queue <- frames
	case s.drops:
		s.beyond++
	default:
		s.beyond++
		s.end(m)
	}
}

func (s *groupServer) end(m *groupMember) {
	if m.queue != nil && !m.over {
		m.over = true
		close(m.queue)
	}
}

// serve starts the server and returns its ws:// address.
func (s *groupServer) serve(t *testing.T) string {
	t.Helper()
	s.init()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "http", "ws", 1) + "/"
}

func (s *groupServer) init() {
	s.packing = map[net.Conn]bool{}
	s.groups, s.numbers, s.said = map[string][]*groupMember{}, map[net.Conn]int{}, map[string][]string{}
}

func (s *groupServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	refused := s.refuse != nil && s.refuse()
	s.mu.Unlock()
	if refused {
		http.Error(w, "full", http.StatusServiceUnavailable)
		return
	}
	isPusher := strings.HasPrefix(r.URL.Path, "/app/")
	if isPusher && (!strings.HasPrefix(r.URL.Path, "/app/key") || r.URL.Query().Get("protocol") != "7") {
		http.NotFound(w, r)
		return
	}
	conn, packs, err := s.upgrade(w, r)
	if err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok { // otherwise the kernel would buffer megabytes for one that does not read
		tcp.SetWriteBuffer(serverSendBytes)
	}
	s.mu.Lock()
	s.open++
	s.packing[conn] = packs
	if isPusher {
		s.established(conn)
	}
	s.mu.Unlock()
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		header, err := ws.ReadHeader(in)
		if err != nil || header.Length > 1<<20 {
			break
		}
		frame := ws.Frame{Header: header, Payload: make([]byte, header.Length)}
		if _, err := io.ReadFull(in, frame.Payload); err != nil {
			break
		}
		frame = ws.UnmaskFrameInPlace(frame)
		if frame.Header.Rsv1() {
			if frame, err = wsflate.DecompressFrame(frame); err != nil || !packs {
				break
			}
		}
		if frame.Header.OpCode == ws.OpClose || frame.Header.OpCode == ws.OpPing && s.hangsUp {
			if !s.silent { // a server may also end the connection without an answer
				s.mu.Lock()
				ws.WriteFrame(conn, ws.NewCloseFrame(frame.Payload))
				s.mu.Unlock()
			}
			break
		}
		s.mu.Lock()
		if frame.Header.OpCode == ws.OpPing && !s.mute {
			ws.WriteFrame(conn, ws.NewPongFrame(frame.Payload))
		}
		if frame.Header.OpCode == ws.OpPong && string(frame.Payload) == "are you there" {
			s.pongs++
			if s.ponged != nil {
				s.ponged(conn)
			}
		}
		switch {
		case frame.Header.OpCode != ws.OpText:
		case r.URL.Path == "/connection/websocket":
			s.centrifuge(conn, frame.Payload)
			if in.Buffered() == 0 { // else more commands have come already, and what they bring goes into the same frames
				s.push()
			}
		case isPusher:
			s.pusher(conn, frame.Payload)
		default:
			s.command(conn, frame.Payload)
		}
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	delete(s.packing, conn)
	for name := range s.groups {
		s.leave(name, conn, func(m *groupMember) { s.end(m) })
	}
}

func (s *groupServer) leave(name string, conn net.Conn, each func(*groupMember)) {
	s.groups[name] = slices.DeleteFunc(s.groups[name], func(m *groupMember) bool {
		if m.conn == conn {
			each(m)
		}
		return m.conn == conn
	})
}

func (s *groupServer) command(conn net.Conn, text []byte) {
	var c struct {
		Cmd     string          `json:"cmd"`
		Group   string          `json:"group_id"`
		Message string          `json:"message"`
		ID      json.RawMessage `json:"id"`
		Key     string          `json:"key"`
	}
	if json.Unmarshal(text, &c) != nil {
		return
	}
	place, _ := strconv.Atoi(string(c.ID))
	place-- // ids count from the client's number on
	shirked := s.shirk != nil && s.shirk(c.Cmd, place)
	if s.reject != nil && s.reject(c.Cmd) {
		wsutil.WriteServerText(conn, fmt.Appendf(nil, `{"id":%s,"error":{"code":"busy","message":"not now"}}`, c.ID))
		return
	}
	switch c.Cmd {
	case "leave_group":
		if !shirked {
			s.leave(c.Group, conn, func(m *groupMember) {
				if s.left != nil {
					s.left(m)
				}
			})
		}
		if c.ID != nil && !s.silent {
			wsutil.WriteServerText(conn, fmt.Appendf(nil, `{"id":%s,"ok":true}`, c.ID))
		}
	case "add_group":
		s.join(c.Group, &groupMember{conn: conn, place: place}, shirked)
		if c.ID != nil && !s.silent {
			wsutil.WriteServerText(conn, fmt.Appendf(nil, `{"id":%s,"ok":true}`, c.ID))
		}
		if s.pings {
			ws.WriteFrame(conn, ws.NewPingFrame([]byte("are you there")))
		}
	case "send_to_group":
		if c.ID != nil && s.keeps > 0 {
			s.publish(conn, c.Group, c.Key, c.Message, string(c.ID))
			return
		}
		for _, m := range s.groups[c.Group] {
			var frames bytes.Buffer
			for _, text := range s.texts(m, c.Message) {
				ws.WriteFrame(&frames, s.frame(m, text))
			}
			if frames.Len() > 0 {
				s.give(m, frames.Bytes())
			}
		}
	}
}

// publish says a message of a plain client to Centrifuge clients, and answers with its number. orders may have it answered by another
// code, by the number 1 too high ("wrong"), not at all ("-"), or by the end of the connection ("cut"), and said as often as it wants.
func (s *groupServer) publish(conn net.Conn, group, key, text, id string) {
	first, known := s.keyed[group+" "+key]
	answer, says := "ok", 1
	if s.orders != nil {
		answer, says = s.orders(key, text)
	}
	if known && key != "" {
		says = 0
	}
	for range says {
		s.said[group] = append(s.said[group], fmt.Sprintf(`{"data":"%s","offset":%d}`, text, len(s.said[group])+1))
		first = len(s.said[group])
		if key != "" {
			if s.keyed == nil {
				s.keyed = map[string]int{}
			}
			s.keyed[group+" "+key] = first
		}
		for _, m := range s.groups[group] {
			for _, text := range s.texts(m, text) {
				told := fmt.Sprintf(`{"push":{"channel":"%s","pub":{"data":"%s","offset":%d}}}`, group, text, first)
				if s.line != nil {
					if other := s.line(m, text); other != "" {
						told = other
					}
				}
				m.lines = append(m.lines, told)
			}
		}
	}
	s.push()
	switch answer {
	case "ok":
		answer = fmt.Sprintf(`{"id":%s,"ok":true,"seq":%d}`, id, first)
	case "wrong":
		answer = fmt.Sprintf(`{"id":%s,"ok":true,"seq":%d}`, id, first+1)
	case "-":
		return
	case "cut":
		conn.Close()
		return
	default:
		answer = fmt.Sprintf(`{"id":%s,"error":{"code":"%s","message":"x"}}`, id, answer)
	}
	wsutil.WriteServerText(conn, []byte(answer))
}

// texts are what a member gets in place of a text.
func (s *groupServer) texts(m *groupMember, text string) []string {
	texts := []string{text}
	if given, ok := check.ReadStamp([]byte(text)); s.spoil != nil && ok && !given.IsProbe() {
		texts = s.spoil(m, text)
		m.heard++
	}
	return texts
}

func (s *groupServer) join(group string, m *groupMember, shirked bool) {
	if s.outbox > 0 {
		m.queue = make(chan []byte, s.outbox)
		go m.write()
	}
	if !shirked {
		s.groups[group] = append(s.groups[group], m)
	}
}

// centrifuge does the commands of a frame. Commands have other names in this dialect: hooks of both get those of the seed
// protocol.
func (s *groupServer) centrifuge(conn net.Conn, text []byte) {
	for line := range bytes.Lines(text) {
		var c struct {
			ID                              int
			Connect                         *struct{}
			Subscribe, Unsubscribe, Publish *struct {
				Channel, Data, Epoch string
				Recover              bool
				Offset               int
			}
		}
		if err := json.Unmarshal(line, &c); err != nil {
			return
		}
		if string(line) == "{}" {
			s.pongs++
			continue
		}
		number, connected := s.numbers[conn]
		if !connected && c.Connect == nil || connected && c.Connect != nil || c.ID < 1 {
			ws.WriteFrame(conn, ws.NewCloseFrame(ws.NewCloseFrameBody(3501, "bad request")))
			conn.Close()
			return
		}
		switch {
		case c.Connect != nil:
			s.numbers[conn] = c.ID - 1 // ids count from the client's number on
			s.reply(conn, c.ID, "connect", `{"client":"x","version":"y","ping":25,"pong":true}`)
		case c.Subscribe != nil:
			if s.reject != nil && s.reject("add_group") {
				wsutil.WriteServerText(conn, fmt.Appendf(nil, `{"id":%d,"error":{"code":111,"message":"not now","temporary":true}}`, c.ID))
				continue
			}
			shirked := s.shirk != nil && s.shirk("add_group", number)
			m := &groupMember{conn: conn, place: number, channel: c.Subscribe.Channel}
			s.join(m.channel, m, shirked)
			s.reply(conn, c.ID, "subscribe", s.subscribed(m, c.Subscribe.Recover, c.Subscribe.Offset, c.Subscribe.Epoch))
			if s.pings {
				wsutil.WriteServerText(conn, []byte("{}\n"))
			}
		case c.Unsubscribe != nil:
			if s.reject != nil && s.reject("leave_group") {
				wsutil.WriteServerText(conn, fmt.Appendf(nil, `{"id":%d,"error":{"code":111,"message":"not now","temporary":true}}`, c.ID))
				continue
			}
			if s.shirk == nil || !s.shirk("leave_group", number) {
				s.push() // what was said before is still for it
				s.leave(c.Unsubscribe.Channel, conn, func(m *groupMember) {
					if s.left != nil {
						s.left(m)
					}
				})
			}
			s.reply(conn, c.ID, "unsubscribe", "{}")
		case c.Publish != nil:
			offset := ""
			if s.keeps > 0 {
				said := s.said[c.Publish.Channel]
				offset = fmt.Sprintf(`,"offset":%d`, len(said)+1)
				s.said[c.Publish.Channel] = append(said, fmt.Sprintf(`{"data":"%s"%s}`, c.Publish.Data, offset))
			}
			for _, m := range s.groups[c.Publish.Channel] {
				for _, text := range s.texts(m, c.Publish.Data) {
					told := fmt.Sprintf(`{"push":{"channel":"%s","pub":{"data":"%s","info":{"user":"","client":"%d"}%s}}}`, m.channel, text, number, offset)
					if s.line != nil {
						if other := s.line(m, text); other != "" {
							told = other
						}
					}
					m.lines = append(m.lines, told)
				}
			}
			s.reply(conn, c.ID, "publish", "{}")
		}
	}
}

// subscribed is the result of a subscribe, with what the client has missed.
func (s *groupServer) subscribed(m *groupMember, recovers bool, offset int, epoch string) string {
	if s.keeps == 0 {
		return "{}"
	}
	is := "e"
	if s.epoch != nil {
		is = s.epoch(m)
	}
	said := s.said[m.channel]
	if !recovers || epoch != is || offset < len(said)-s.keeps {
		return fmt.Sprintf(`{"recoverable":true,"epoch":"%s","offset":%d,"was_recovering":%v}`, is, len(said), recovers)
	}
	missed := said[offset:]
	if s.past != nil {
		missed = s.past(m, slices.Clone(missed))
	}
	result := fmt.Sprintf(`{"recoverable":true,"epoch":"%s","publications":[%s],"recovered":true,"offset":%d,"was_recovering":true}`, is, strings.Join(missed, ","), offset)
	if s.result != nil {
		result = s.result(m, result)
	}
	return result
}

func (s *groupServer) reply(conn net.Conn, id int, method, result string) {
	said := fmt.Sprintf(`{"id":%d,"%s":%s}`, id, method, result)
	if s.answer != nil {
		if other := s.answer(method, id); other != "-" {
			said = other
		}
	}
	if said != "" {
		wsutil.WriteServerText(conn, []byte(said))
	}
}

// push sends what members have not been told, to each in one frame.
func (s *groupServer) push() {
	for _, members := range s.groups {
		for _, m := range members {
			if len(m.lines) == 0 {
				continue
			}
			if len(m.lines) > 1 {
				s.batches++
			}
			var frame bytes.Buffer
			ws.WriteFrame(&frame, s.frame(m, strings.Join(m.lines, "\n")))
			m.lines = nil
			s.give(m, frame.Bytes())
		}
	}
}
