package test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// patience bounds every wait for something that must happen. It does not measure speed: it is long enough for a busy
// machine under the race detector, so a test that exceeds it hangs because of a fault.
const patience = 30 * time.Second

// frameBytesMax is more than any frame a server under test has reason to send.
const frameBytesMax = 32 << 20

// slowBytes is the receive buffer of clients that do not read: small, since otherwise the kernel holds megabytes for them;
// not so small that a test which reads later gets single packets.
const slowBytes = 32 << 10

// client is a WebSocket client on a plain socket, so that a test can also send what no library would. Its methods return
// errors and may be used from any goroutine, one that reads and one that writes at a time; those that take a testing.TB
// end the test and belong to the test's goroutine.
//
// Every frame it reads is checked against the rules for servers: final, no reserved bit but that of an agreed compression, unmasked,
// text or control. So each test of this package is also a test of that line of the protocol.
type client struct {
	conn       socket
	in         *bufio.Reader
	*deflating          // nil: no compression was agreed on
	silent     bool     // reader's: pings stay unanswered, as from a peer that is gone
	binary     bool     // reader's: binary messages may come, as from the echo only
	early      []string // reader's: texts that came while something else was waited for
	idsUsed    int      // writer's
}

// event is one frame from the server, as a test sees it.
type event struct {
	op   ws.OpCode
	text string // the payload; a close frame's reason
	code int    // a close frame's code, 0 when it carries none
}

// closedError is the error of reading after a close frame has come.
type closedError struct {
	code   int
	reason string
}

func (e closedError) Error() string {
	return fmt.Sprintf("closed by the server: %d %q", e.code, e.reason)
}

// reply is the answer to a command with an id.
type reply struct {
	ID    json.RawMessage `json:"id"`
	OK    bool            `json:"ok"`
	Seq   *uint64         `json:"seq"`
	Error *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

func (r reply) code() string {
	if r.Error == nil {
		return "ok"
	}
	return r.Error.Code
}

// dialing is how a client connects; its zero value is the ordinary way.
type dialing struct {
	from      string // local address without port
	path      string
	host      string
	header    string      // further header lines, each with CRLF
	readBytes int         // receive buffer of the socket
	small     bool        // one of thousands: it reads with a small buffer
	inside    *netns      // where the socket is made, nil for the namespace of the tests
	secure    *tls.Config // TLS is spoken; nil: it is not
	offer     string      // value of Sec-WebSocket-Extensions; empty: none
}

// connect opens a TCP connection to a loopback address; nothing is sent but a TLS handshake, if that is asked for.
func connect(addr string, d dialing) (*client, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); d.inside == nil && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("%s is no loopback address: these tests talk to nobody else", addr)
	}
	dialer := net.Dialer{Timeout: patience}
	if d.from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(d.from)}
	}
	var conn net.Conn
	err = d.inside.do(func() (err error) {
		conn, err = dialer.Dial("tcp", addr)
		return err
	})
	if err != nil {
		return nil, err
	}
	tcp := conn.(*net.TCPConn)
	if d.readBytes > 0 {
		if err := tcp.SetReadBuffer(d.readBytes); err != nil {
			tcp.Close()
			return nil, err
		}
	}
	inBytes := 16 << 10
	if d.small {
		inBytes = 256
	}
	c := &client{conn: tcp}
	if d.secure != nil {
		if c.conn, err = secured(tcp, d.secure); err != nil {
			return nil, err
		}
	}
	c.in = bufio.NewReaderSize(c.conn, inBytes)
	return c, nil
}

// handshake asks for an upgrade and checks the answer. A refusal comes as a *refusedError.
func (c *client) handshake(addr string, d dialing) error {
	path, host := d.path, d.host
	if path == "" {
		path = "/"
	}
	if host == "" {
		host = addr
	}
	key := newKey()
	request := "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: " + key + "\r\nSec-WebSocket-Version: 13\r\n" + d.header
	if d.offer != "" {
		request += "Sec-WebSocket-Extensions: " + d.offer + "\r\n"
	}
	if err := c.raw([]byte(request + "\r\n")); err != nil {
		return err
	}
	return c.agreed(key, d.offer != "")
}

// refusedError is an HTTP answer other than 101 to a handshake.
type refusedError struct {
	status int
	body   string
	header http.Header
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("handshake refused with %d: %q", e.status, e.body)
}

// upgraded reads the answer to a handshake sent with key, which offered no extension.
func (c *client) upgraded(key string) error { return c.agreed(key, false) }

// agreed is upgraded where compression may have been offered.
func (c *client) agreed(key string, offered bool) error {
	c.conn.SetReadDeadline(time.Now().Add(patience))
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(res.Body)
		return &refusedError{res.StatusCode, string(body), res.Header}
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // RFC 6455 §1.3
	want := base64.StdEncoding.EncodeToString(sum[:])
	if got := res.Header.Get("Sec-WebSocket-Accept"); got != want {
		return fmt.Errorf("handshake: Sec-WebSocket-Accept: got %q, want %q", got, want)
	}
	switch got := res.Header.Values("Sec-WebSocket-Extensions"); {
	case len(got) == 0:
		return nil
	case !offered || len(got) > 1:
		return fmt.Errorf("handshake: got the extensions %q, want one at most, and none that was not offered", got)
	default:
		c.deflating, err = accepted(got[0])
		return err
	}
}

func newKey() string {
	var b [16]byte
	rand.Read(b[:])
	return base64.StdEncoding.EncodeToString(b[:])
}

// open connects and upgrades.
func open(addr string, d dialing) (*client, error) {
	c, err := connect(addr, d)
	if err != nil {
		return nil, err
	}
	if err := c.handshake(addr, d); err != nil {
		c.conn.Close()
		return nil, err
	}
	return c, nil
}

// dial returns an upgraded client that is closed with the test.
func dial(t testing.TB, s *server, d ...dialing) *client {
	t.Helper()
	c, err := open(s.addr, append(d, dialing{})[0])
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(c.hangUp)
	return c
}

// bare returns a connected client that has sent nothing, closed with the test.
func bare(t testing.TB, s *server) *client {
	t.Helper()
	c, err := connect(s.addr, dialing{})
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(c.hangUp)
	return c
}

// Writing.

// raw sends bytes as they are.
func (c *client) raw(b []byte) error {
	c.conn.SetWriteDeadline(time.Now().Add(patience))
	_, err := c.conn.Write(b)
	return err
}

// frameBytes encodes a client's frame with a fresh mask.
func frameBytes(op ws.OpCode, fin bool, payload []byte) []byte {
	f := ws.MaskFrame(ws.NewFrame(op, fin, payload))
	return ws.MustCompileFrame(f)
}

// frame sends one frame.
func (c *client) frame(op ws.OpCode, fin bool, payload string) error {
	return c.raw(frameBytes(op, fin, []byte(payload)))
}

// text sends one text message, compressed if that was agreed on.
func (c *client) text(s string) error { return c.raw(c.textBytes(s)) }

func (c *client) textBytes(s string) []byte {
	if c.deflating != nil {
		return deflatedFrame(ws.OpText, true, deflated(s))
	}
	return frameBytes(ws.OpText, true, []byte(s))
}

// commands sends texts in one write, so that they share segments as far as they fit.
func (c *client) commands(texts ...string) error {
	var b []byte
	for _, s := range texts {
		b = append(b, c.textBytes(s)...)
	}
	return c.raw(b)
}

// closeWith sends a close frame.
func (c *client) closeWith(code int, reason string) error {
	return c.raw(frameBytes(ws.OpClose, true, ws.NewCloseFrameBody(ws.StatusCode(code), reason)))
}

// hangUp ends the connection with a FIN, die with a reset, both without a close frame.
func (c *client) hangUp() { c.conn.Close() }
func (c *client) die()    { c.conn.SetLinger(0); c.conn.Close() }

// quote writes a JSON string, with & < > as they are.
func quote(s string) string {
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false)
	out.Encode(s) // a string can always be encoded
	return strings.TrimSuffix(b.String(), "\n")
}

func joinCommand(group string) string { return `{"cmd":"add_group","group_id":` + quote(group) + `}` }

func sendCommand(group, message string) string {
	return `{"cmd":"send_to_group","group_id":` + quote(group) + `,"message":` + quote(message) + `}`
}

// withID puts an id in front of a command object.
func withID(id, command string) string { return `{"id":` + id + `,` + command[1:] }

// Reading.

// read gives the next frame and answers pings.
func (c *client) read() (event, error) { return c.readUntil(time.Now().Add(patience)) }

func (c *client) readUntil(deadline time.Time) (event, error) {
	c.conn.SetReadDeadline(deadline)
	h, err := ws.ReadHeader(c.in)
	if err != nil {
		return event{}, err
	}
	if h.Masked || !h.Fin || h.Rsv != 0 && !c.mayBe(h) || h.Length > frameBytesMax {
		return event{}, fmt.Errorf("frame %+v from the server: want it final, unmasked, without reserved bits", h)
	}
	payload := make([]byte, h.Length)
	if _, err := io.ReadFull(c.in, payload); err != nil {
		return event{}, fmt.Errorf("inside a frame: %w", err)
	}
	if h.Rsv != 0 {
		c.frames++
		if payload, err = inflated(payload); err != nil {
			return event{}, fmt.Errorf("compressed frame of %d bytes from the server: %w", h.Length, err)
		}
	}
	e := event{op: h.OpCode, text: string(payload)}
	switch h.OpCode {
	case ws.OpText, ws.OpPong:
	case ws.OpBinary:
		if !c.binary {
			return e, errors.New("got a binary frame, want text or control")
		}
	case ws.OpPing:
		if !c.silent {
			if err := c.frame(ws.OpPong, true, e.text); err != nil {
				return e, err
			}
		}
	case ws.OpClose:
		if len(payload) >= 2 {
			e.code, e.text = int(payload[0])<<8|int(payload[1]), string(payload[2:])
		}
	default:
		return e, fmt.Errorf("got a frame with opcode %#x, want text or control", byte(h.OpCode))
	}
	return e, nil
}

// next gives the next text, and closedError when the server closes instead.
func (c *client) next() (string, error) {
	if len(c.early) > 0 {
		s := c.early[0]
		c.early = c.early[1:]
		return s, nil
	}
	return c.nextFresh()
}

func (c *client) nextFresh() (string, error) {
	for {
		e, err := c.read()
		switch {
		case err != nil:
			return "", err
		case e.op == ws.OpText:
			return e.text, nil
		case e.op == ws.OpClose:
			return "", closedError{e.code, e.text}
		}
	}
}

// collect gives the next n texts.
func (c *client) collect(n int) ([]string, error) {
	texts := make([]string, 0, n)
	for len(texts) < n {
		s, err := c.next()
		if err != nil {
			return texts, fmt.Errorf("after %d of %d texts: %w", len(texts), n, err)
		}
		texts = append(texts, s)
	}
	return texts, nil
}

// collectUntil gives the texts up to and without the one that equals last.
func (c *client) collectUntil(last string) ([]string, error) {
	var texts []string
	for {
		s, err := c.next()
		if err != nil {
			return texts, fmt.Errorf("after %d texts, waiting for %q: %w", len(texts), last, err)
		}
		if s == last {
			return texts, nil
		}
		texts = append(texts, s)
	}
}

// replyTo waits for the reply to id (JSON, as sent); texts that come before it are kept for next. Replies about different
// groups come from different homes, hence in any order.
func (c *client) replyTo(id string) (reply, error) {
	is := func(s string) bool { return strings.HasPrefix(s, `{"id":`+id+`,`) }
	for {
		var s string
		var err error
		if at := slices.IndexFunc(c.early, is); at >= 0 {
			s = c.early[at]
			c.early = slices.Delete(c.early, at, at+1)
		} else if s, err = c.nextFresh(); err != nil {
			return reply{}, fmt.Errorf("waiting for the reply to %s: %w", id, err)
		}
		if is(s) {
			var r reply
			if err := json.Unmarshal([]byte(s), &r); err != nil {
				return r, fmt.Errorf("reply %q: %w", s, err)
			}
			if r.OK == (r.Error != nil) {
				return r, fmt.Errorf("reply %q: want either ok or an error", s)
			}
			return r, nil
		}
		c.early = append(c.early, s)
	}
}

// ask sends a command with a fresh id and waits for its reply.
func (c *client) ask(command string) (reply, error) {
	c.idsUsed++
	id := fmt.Sprintf("%d", c.idsUsed)
	if err := c.text(withID(id, command)); err != nil {
		return reply{}, err
	}
	return c.replyTo(id)
}

func (c *client) askOK(command string) (reply, error) {
	r, err := c.ask(command)
	if err == nil && r.Error != nil {
		err = fmt.Errorf("%s: got %s (%s), want ok", command, r.Error.Code, r.Error.Message)
	}
	return r, err
}

func (c *client) join(group string) error {
	_, err := c.askOK(joinCommand(group))
	return err
}

func (c *client) leave(group string) error {
	_, err := c.askOK(`{"cmd":"leave_group","group_id":` + quote(group) + `}`)
	return err
}

// publish sends to a group and gives the message's number there.
func (c *client) publish(group, message string) (uint64, error) {
	r, err := c.askOK(sendCommand(group, message))
	if err != nil {
		return 0, err
	}
	if r.Seq == nil {
		return 0, errors.New("a publish's reply has no seq")
	}
	return *r.Seq, nil
}

// beforePong pings and returns the texts that come before the pong. A loop answers in order, so all immediate answers to
// what was sent before are among them.
func (c *client) beforePong() ([]string, error) {
	if err := c.frame(ws.OpPing, true, "barrier"); err != nil {
		return nil, err
	}
	texts := c.early
	c.early = nil
	for {
		e, err := c.read()
		switch {
		case err != nil:
			return texts, fmt.Errorf("waiting for a pong: %w", err)
		case e.op == ws.OpPong && e.text == "barrier":
			return texts, nil
		case e.op == ws.OpText:
			texts = append(texts, e.text)
		case e.op == ws.OpClose:
			return texts, closedError{e.code, e.text}
		}
	}
}

// closeCode reads to the close frame, answers it and waits for the end of the connection.
func (c *client) closeCode() (int, error) {
	for {
		e, err := c.read()
		if err != nil {
			return 0, fmt.Errorf("waiting for a close frame: %w", err)
		}
		if e.op == ws.OpClose {
			if e.code != 0 {
				c.closeWith(e.code, "") // the server may have ended already; only its end matters
			}
			return e.code, c.end()
		}
	}
}

// end waits for the server to end the connection, by FIN or reset, without sending anything more.
func (c *client) end() error {
	n, err := c.discard()
	if err == nil && n > 0 {
		err = fmt.Errorf("got %d more bytes before the end of the connection, want none", n)
	}
	return err
}

// discard reads to the end of the connection, by FIN or reset, and gives the number of bytes on the way.
func (c *client) discard() (int64, error) {
	c.conn.SetReadDeadline(time.Now().Add(patience))
	n, err := io.Copy(io.Discard, c.in)
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return n, errors.New("the server left the connection open")
	}
	return n, nil
}

// Methods that end the test.

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func equalTexts(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: got %s, want %s", what, brief(got), brief(want))
	}
}

// brief keeps a failure readable if a message has a megabyte or there are thousands of them.
func brief(texts []string) string {
	var b strings.Builder
	for i, s := range texts {
		if i == 20 {
			fmt.Fprintf(&b, " … %d in all", len(texts))
			break
		}
		if len(s) > 80 {
			s = s[:80] + "…"
		}
		fmt.Fprintf(&b, " %q", s)
	}
	return "[" + strings.TrimSpace(b.String()) + "]"
}

// member returns a client that has joined a group.
func member(t testing.TB, s *server, group string) *client {
	t.Helper()
	c := dial(t, s)
	must(t, c.join(group))
	return c
}

func (c *client) expect(t testing.TB, texts ...string) {
	t.Helper()
	got, err := c.collect(len(texts))
	must(t, err)
	equalTexts(t, "texts received", got, texts)
}

// expectNothing checks that what was sent so far got no answer.
func (c *client) expectNothing(t testing.TB) {
	t.Helper()
	got, err := c.beforePong()
	must(t, err)
	equalTexts(t, "texts before the pong", got, nil)
}

func (c *client) expectClose(t testing.TB, code int) {
	t.Helper()
	got, err := c.closeCode()
	if err != nil {
		t.Fatalf("want close %d, got code %d and: %v", code, got, err)
	}
	equal(t, "close code", got, code)
}

// expectError sends a command with an id and checks that it is answered with an error code.
func (c *client) expectError(t testing.TB, command, code string) {
	t.Helper()
	r, err := c.ask(command)
	must(t, err)
	if r.code() != code || r.Error == nil || r.Error.Message == "" {
		t.Fatalf("%.200s: got %s, want the error %s with a message", command, r.code(), code)
	}
}
