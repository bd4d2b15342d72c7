package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// mends is what ringcast does better than the original, row by row: the input, and what happens with it.
var mends = []promise{
	{"message is not a string: its JSON text, byte for byte as sent", []string{
		"TestMessageThatIsNoStringIsSentAsItsJSONText"}},
	{"message missing: error bad_message", []string{"TestMissingMessageIsAnError"}},
	{"group_id array or object: error bad_group_id", []string{"TestGroupIDOfAnotherShapeIsAnError"}},
	{`group_id null, "", missing, bool, 1.5: error bad_group_id (1–255 bytes of UTF-8, or an integer in int64)`, []string{
		"TestGroupIDOfAnotherShapeIsAnError", "TestGroupIDIsOneTo255Bytes"}},
	{"a bare JSON string is ignored like other non-objects; RSV1 without deflate: close 1002", []string{
		"TestBareJSONStringIsIgnored", "TestReservedBitsAndOpcodesClose1002"}},
	{"ping between two fragments is answered and leaves the message whole", []string{
		"TestPingBetweenFragmentsLeavesTheMessageWhole"}},
	{"close frame: code checked and echoed", []string{"TestCloseCodeIsCheckedAndEchoed"}},
	{"invalid UTF-8, unmasked frame, reserved opcode, RSV2/3: 1007, 1002", []string{
		"TestInvalidUTF8Closes1007", "TestUnmaskedFrameCloses1002", "TestReservedBitsAndOpcodesClose1002",
		"TestFramesAgainstTheProtocolClose1002"}},
	{"message over the limit: close 1009; the limit is an option, default 1 MiB", []string{
		"TestMessageOverTheLimitCloses1009", "TestMessageLimitIsAnOption"}},
	{"unfinished handshake: 16 KiB and a timeout, then 431 or 408 and close", []string{
		"TestHandshakeOver16KiBIsAnswered431", "TestUnfinishedHandshakeIsAnswered408"}},
	{"slow reader: told by close code and counted, never silently", []string{
		"TestSlowClientIsClosedNotWaitedFor"}},
	{"half-open peers: heartbeat", []string{"TestSilentPeerIsClosedByTheHeartbeat"}},
	{"leaving a group: leave_group", []string{"TestAfterALeaveIsAnsweredNothingOfTheGroupComes"}},
	{"feedback: a command with an id is answered", []string{
		"TestCommandWithAnIDIsAnswered", "TestIDOfAnotherTypeIsAnError", "TestPublishReplyCarriesItsNumberInTheGroup",
		"TestTooManyGroupsIsAnError"}},
}

// closings are clients that are to be closed. All of them send first and are checked then, so that the time a server waits
// for each passes only once.
type closings []struct {
	what string
	code int
	c    *client
}

// want sends bytes that are to be answered with a close code.
func (l *closings) want(t *testing.T, what string, code int, c *client, b []byte) {
	t.Helper()
	must(t, c.raw(b))
	*l = append(*l, struct {
		what string
		code int
		c    *client
	}{what, code, c})
}

func (l closings) check(t *testing.T) {
	t.Helper()
	for _, e := range l {
		if code, err := e.c.closeCode(); err != nil || code != e.code {
			t.Errorf("%s: got code %d, %v; want close %d and the end of the connection", e.what, code, err, e.code)
		}
	}
}

func TestMessageThatIsNoStringIsSentAsItsJSONText(t *testing.T) {
	t.Parallel()
	s := shared(t)
	m := member(t, s, t.Name())
	for _, text := range []string{
		`1`, `-0`, `1.50`, `1e2`, `1E+400`, `123456789012345678901234567890`, `true`, `false`, `null`,
		`[]`, `[1, 2,  "x"]`, `{}`, `{"b" : 1, "a":[ ], "b":2}`, "{\n\t\"é\": \"\\u00e9\" }", `["\/","<>&"]`,
	} {
		must(t, m.text(`{"cmd":"send_to_group","group_id":`+quote(t.Name())+`,"message":`+text+`}`))
		m.expect(t, text)
	}
	// Space around the value is not part of the value.
	must(t, m.text(`{"cmd":"send_to_group","group_id":`+quote(t.Name())+`,"message" :  [1]  }`))
	m.expect(t, `[1]`)
}

func TestMissingMessageIsAnError(t *testing.T) {
	t.Parallel()
	s := shared(t)
	m := member(t, s, t.Name())
	m.expectError(t, `{"cmd":"send_to_group","group_id":`+quote(t.Name())+`}`, "bad_message")
	must(t, m.text(sendCommand(t.Name(), "next")))
	m.expect(t, "next")
}

func TestGroupIDOfAnotherShapeIsAnError(t *testing.T) {
	t.Parallel()
	s := shared(t)
	c := dial(t, s)
	for _, id := range []string{
		`[]`, `["123"]`, `{}`, `{"a":1}`, `null`, `""`, `true`, `false`, `1.5`, `-0.5`,
		`9223372036854775808`, `-9223372036854775809`, `1e400`,
	} {
		c.expectError(t, `{"cmd":"add_group","group_id":`+id+`}`, "bad_group_id")
		c.expectError(t, `{"cmd":"leave_group","group_id":`+id+`}`, "bad_group_id")
		c.expectError(t, `{"cmd":"send_to_group","group_id":`+id+`,"message":"m"}`, "bad_group_id")
	}
	for _, cmd := range []string{`"add_group"`, `"leave_group"`, `"send_to_group","message":"m"`} {
		c.expectError(t, `{"cmd":`+cmd+`}`, "bad_group_id")
	}
}

func TestGroupIDIsOneTo255Bytes(t *testing.T) {
	t.Parallel()
	s := shared(t)
	c := dial(t, s)
	for _, name := range []string{"x", strings.Repeat("x", 255), strings.Repeat("é", 127) + "x", strings.Repeat("組", 85)} {
		must(t, c.join(name))
		must(t, c.text(sendCommand(name, "in "+name)))
		c.expect(t, "in "+name)
	}
	for _, name := range []string{strings.Repeat("x", 256), strings.Repeat("é", 128), strings.Repeat("x", 100_000)} {
		c.expectError(t, joinCommand(name), "bad_group_id")
	}
}

func TestBareJSONStringIsIgnored(t *testing.T) {
	t.Parallel()
	s := shared(t)
	m := member(t, s, t.Name())
	for _, text := range []string{`"x"`, `"cmd"`, `""`, `"{\"cmd\":\"add_group\"}"`} {
		must(t, m.text(text))
	}
	m.expectNothing(t)
	must(t, m.text(sendCommand(t.Name(), "next")))
	m.expect(t, "next")
}

func TestReservedBitsAndOpcodesClose1002(t *testing.T) {
	t.Parallel()
	s := shared(t)
	m := member(t, s, t.Name())
	first := func(b byte) []byte { // the first byte of a frame, then a mask and nothing
		return []byte{b, 0x80, 1, 2, 3, 4}
	}
	var closes closings
	for _, b := range []byte{0xC1, 0xA1, 0x91, 0xF1, 0xC9, 0x83, 0x84, 0x87, 0x8B, 0x8F, 0xC8} {
		closes.want(t, fmt.Sprintf("first byte %#x", b), 1002, dial(t, s), first(b))
	}
	// RSV1 is refused also when permessage-deflate was offered: none was agreed on.
	offered := dial(t, s, dialing{header: "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"})
	closes.want(t, "RSV1 after an offer", 1002, offered, first(0xC1))
	closes.check(t)
	must(t, m.text(sendCommand(t.Name(), "unharmed")))
	m.expect(t, "unharmed")
}

func TestUnmaskedFrameCloses1002(t *testing.T) {
	t.Parallel()
	s := shared(t)
	var closes closings
	for _, f := range []ws.Frame{
		ws.NewTextFrame([]byte(joinCommand("x"))), ws.NewTextFrame(nil), ws.NewPingFrame(nil),
	} {
		closes.want(t, fmt.Sprintf("opcode %#x without a mask", byte(f.Header.OpCode)), 1002, dial(t, s), ws.MustCompileFrame(f))
	}
	closes.check(t)
}

func TestFramesAgainstTheProtocolClose1002(t *testing.T) {
	t.Parallel()
	s := shared(t)
	var closes closings
	for name, b := range map[string][]byte{
		"continuation of nothing":       frameBytes(ws.OpContinuation, true, []byte("x")),
		"a text inside a text":          append(frameBytes(ws.OpText, false, []byte("a")), frameBytes(ws.OpText, true, []byte("b"))...),
		"a ping in fragments":           frameBytes(ws.OpPing, false, []byte("x")),
		"a ping of 126 bytes":           frameBytes(ws.OpPing, true, make([]byte, 126)),
		"a close of one byte":           frameBytes(ws.OpClose, true, []byte{3}),
		"a 64-bit length with its top":  {0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4},
		"a close frame in fragments":    frameBytes(ws.OpClose, false, nil),
		"a 16-bit length below 126":     {0x81, 0xFE, 0, 1, 0, 0, 0, 0, 'x'},
		"a 64-bit length below 65,536":  {0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 'x'},
		"a reserved control opcode 0xB": {0x8B, 0x80, 0, 0, 0, 0},
	} {
		closes.want(t, name, 1002, dial(t, s), b)
	}
	closes.check(t)
}

func TestPingBetweenFragmentsLeavesTheMessageWhole(t *testing.T) {
	t.Parallel()
	s := shared(t)
	m := member(t, s, t.Name())
	whole := sendCommand(t.Name(), "é組🙂 whole")
	for cut := 1; cut < len(whole); cut += 3 { // also within a rune
		must(t, m.frame(ws.OpText, false, whole[:cut]))
		must(t, m.frame(ws.OpPing, true, fmt.Sprintf("ping %d", cut)))
		e, err := m.read()
		must(t, err)
		equal(t, "answer to the ping", fmt.Sprint(e.op, e.text), fmt.Sprint(ws.OpPong, fmt.Sprintf("ping %d", cut)))
		must(t, m.frame(ws.OpContinuation, false, ""))
		must(t, m.frame(ws.OpPong, true, "unasked"))
		must(t, m.frame(ws.OpContinuation, true, whole[cut:]))
		m.expect(t, "é組🙂 whole")
	}
}

func TestCloseCodeIsCheckedAndEchoed(t *testing.T) {
	t.Parallel()
	s := shared(t)
	var closes closings
	for _, c := range []struct{ sent, want int }{
		{1000, 1000}, {1001, 1001}, {1003, 1003}, {1007, 1007}, {1011, 1011}, {1012, 1012}, {1013, 1013}, {1014, 1014},
		{3000, 3000}, {4000, 4000}, {4999, 4999},
		{0, 1002}, {999, 1002}, {1004, 1002}, {1005, 1002}, {1006, 1002}, {1015, 1002}, {1016, 1002}, {2999, 1002},
		{5000, 1002}, {65535, 1002},
	} {
		closes.want(t, fmt.Sprintf("close %d", c.sent), c.want, dial(t, s),
			frameBytes(ws.OpClose, true, ws.NewCloseFrameBody(ws.StatusCode(c.sent), "because")))
	}
	closes.want(t, "close with a reason that is no UTF-8", 1007, dial(t, s),
		frameBytes(ws.OpClose, true, ws.NewCloseFrameBody(1000, "\xff")))
	closes.check(t)
	// A close without a code is answered; 1000 and none both say the same (RFC 6455 §5.5.1).
	client := dial(t, s)
	must(t, client.frame(ws.OpClose, true, ""))
	e, err := client.read()
	if err != nil || e.op != ws.OpClose || e.code != 0 && e.code != 1000 {
		t.Errorf("close without a code: got %+v, %v; want a close with none or 1000", e, err)
	}
	// What follows a close frame is not obeyed.
	m := member(t, s, t.Name())
	client = dial(t, s)
	b := frameBytes(ws.OpClose, true, ws.NewCloseFrameBody(1000, ""))
	must(t, client.raw(append(b, frameBytes(ws.OpText, true, []byte(sendCommand(t.Name(), "too late")))...)))
	client.expectClose(t, 1000)
	must(t, m.text(sendCommand(t.Name(), "after")))
	m.expect(t, "after")
}

func TestInvalidUTF8Closes1007(t *testing.T) {
	t.Parallel()
	s := shared(t)
	var closes closings
	for name, b := range map[string][]byte{
		"in a message":   frameBytes(ws.OpText, true, []byte("{\"cmd\":\"\xff\"}")),
		"a surrogate":    frameBytes(ws.OpText, true, []byte("\xed\xa0\x80")),
		"overlong":       frameBytes(ws.OpText, true, []byte("\xc0\xaf")),
		"cut at the end": append(frameBytes(ws.OpText, false, []byte("\xe7\xb5")), frameBytes(ws.OpContinuation, true, nil)...),
		"in a fragment, seen before the last one": append(frameBytes(ws.OpText, false, []byte("ok")),
			frameBytes(ws.OpContinuation, false, []byte("\xfe"))...),
	} {
		closes.want(t, name, 1007, dial(t, s), b)
	}
	closes.check(t)
}

func TestMessageOverTheLimitCloses1009(t *testing.T) {
	t.Parallel()
	s := shared(t)
	const limit = 1 << 20
	m := member(t, s, t.Name())
	exactly := sendCommand(t.Name(), "")
	exactly = sendCommand(t.Name(), strings.Repeat("x", limit-len(exactly)))
	must(t, m.text(exactly))
	got, err := m.next()
	must(t, err)
	equal(t, "bytes of a message in a command of exactly 1 MiB", len(got), limit-len(sendCommand(t.Name(), "")))

	var closes closings
	for name, b := range map[string][]byte{
		"one byte over":    {0x81, 0xFF, 0, 0, 0, 0, 0, 0x10, 0, 1, 1, 2, 3, 4}, // the header alone is enough
		"10 MiB":           {0x82, 0xFF, 0, 0, 0, 0, 0, 0xA0, 0, 0, 1, 2, 3, 4},
		"the longest said": {0x81, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4},
	} {
		closes.want(t, name, 1009, dial(t, s), b)
	}
	// The sum of the fragments counts.
	closes.want(t, "fragments", 1009, dial(t, s), append(frameBytes(ws.OpText, false, []byte(strings.Repeat("x", limit))),
		frameBytes(ws.OpContinuation, true, []byte("x"))...))
	closes.check(t)
}

func TestMessageLimitIsAnOption(t *testing.T) {
	t.Parallel()
	s := start(t, "--message-max", "4096")
	m := member(t, s, "g")
	text := strings.Repeat("x", 4096-len(sendCommand("g", "")))
	must(t, m.text(sendCommand("g", text)))
	m.expect(t, text)
	must(t, m.text(sendCommand("g", text+"x")))
	m.expectClose(t, 1009)
	s.eventually("protocol_errors counts it", func() error {
		if got := s.status().Total.ProtocolErrors; got != 1 {
			return fmt.Errorf("got %d, want 1", got)
		}
		return nil
	})
}

func TestHandshakeOver16KiBIsAnswered431(t *testing.T) {
	t.Parallel()
	s := shared(t)
	c := bare(t, s)
	must(t, c.raw([]byte("GET / HTTP/1.1\r\nHost: x\r\nX-Filler: "+strings.Repeat("x", 17_000))))
	answer(t, c, http.StatusRequestHeaderFieldsTooLarge)
}

func TestUnfinishedHandshakeIsAnswered408(t *testing.T) {
	t.Parallel()
	s := start(t, "--handshake-timeout", "5s") // enough for the handshake of the other on a busy machine
	open := member(t, s, "g")
	silent, half := bare(t, s), bare(t, s)
	must(t, half.raw([]byte("GET / HTTP/1.1\r\nHost: x\r\nUpgr")))
	answer(t, half, http.StatusRequestTimeout)
	// One that sent nothing at all may get an answer or just be closed.
	if _, err := silent.discard(); err != nil {
		t.Errorf("a connection that says nothing: %v", err)
	}
	half.hangUp()
	silent.hangUp()
	s.eventually("nothing pends", func() error {
		if got := s.status().Total; got.Pending != 0 || got.BadHandshakes < 1 {
			return fmt.Errorf("got pending %d and bad_handshakes %d, want 0 and ≥ 1", got.Pending, got.BadHandshakes)
		}
		return nil
	})
	// The timeout is for handshakes only.
	must(t, open.text(sendCommand("g", "still open")))
	open.expect(t, "still open")
}

func TestSlowClientIsClosedNotWaitedFor(t *testing.T) {
	t.Parallel()
	s := start(t, "--outbox-max", "256KiB", "--message-max", "64KiB")
	slow := dial(t, s, dialing{readBytes: slowBytes}) // a small window, since otherwise the kernel holds megabytes for it
	must(t, slow.join("g"))
	healthy := member(t, s, "g")
	sender := dial(t, s)
	text := strings.Repeat("x", 16<<10)
	sent := 0
	for s.status().Total.SlowClosed == 0 {
		if sent += 64; sent > 4096 { // 64 MiB, far more than outbox and kernel hold
			t.Fatalf("sent %d texts of 16 KiB and the client that reads nothing is not closed", sent)
		}
		for range 64 {
			_, err := publishAgain(sender, "g", text)
			must(t, err)
			healthy.expect(t, text)
		}
	}
	// It is told, after what had been sent to it before.
	code, err := slow.closeCode()
	must(t, err)
	equal(t, "close code of the slow client", code, 4008)
	equal(t, "slow_closed", s.status().Total.SlowClosed, 1)
	must(t, sender.text(sendCommand("g", "next")))
	healthy.expect(t, "next")
}

func TestSilentPeerIsClosedByTheHeartbeat(t *testing.T) {
	t.Parallel()
	s := start(t, "--heartbeat", "1s")
	silent := dial(t, s)
	silent.silent = true
	must(t, silent.join("g"))
	alive := member(t, s, "g")
	aliveSays := make(chan error, 1)
	go func() { // it does nothing but answer pings
		text, err := alive.next()
		if err == nil && text != "still here" {
			err = fmt.Errorf("got %q, want the text of the group", text)
		}
		aliveSays <- err
	}()
	pinged := false
	for {
		e, err := silent.read()
		must(t, err)
		pinged = pinged || e.op == ws.OpPing
		if e.op == ws.OpClose {
			equal(t, "close code", e.code, 1001)
			break
		}
	}
	if !pinged {
		t.Errorf("the silent peer was cut without having been pinged")
	}
	s.eventually("heartbeat_closed counts it and its membership is gone", func() error {
		if got := s.status().Total; got.HeartbeatClosed != 1 || got.Members != 1 {
			return fmt.Errorf("got heartbeat_closed %d and members %d, want 1 and 1", got.HeartbeatClosed, got.Members)
		}
		return nil
	})
	sender := dial(t, s)
	must(t, sender.text(sendCommand("g", "still here")))
	must(t, <-aliveSays)
}

func TestAfterALeaveIsAnsweredNothingOfTheGroupComes(t *testing.T) {
	t.Parallel()
	s := shared(t)
	c := member(t, s, t.Name())
	stays := member(t, s, t.Name())
	must(t, c.join(t.Name()+"/other"))
	sender := dial(t, s)
	must(t, sender.text(sendCommand(t.Name(), "before")))
	c.expect(t, "before")
	must(t, c.leave(t.Name()))
	equalTexts(t, "texts before the leave's reply", c.early, nil)
	must1(t, sender.askOK)(sendCommand(t.Name(), "after"))
	stays.expect(t, "before", "after")
	must1(t, sender.askOK)(sendCommand(t.Name()+"/other", "the other group"))
	c.expect(t, "the other group")
	c.expectNothing(t)
	must(t, c.leave(t.Name())) // leaving what one is not in is fine
	must(t, c.leave(t.Name()+"/never joined"))
	must(t, c.join(t.Name())) // and so is coming back
	must(t, sender.text(sendCommand(t.Name(), "again")))
	c.expect(t, "again")
}

func TestCommandWithAnIDIsAnswered(t *testing.T) {
	t.Parallel()
	s := shared(t)
	c := dial(t, s)
	for _, id := range []string{`7`, `0`, `-3`, `9223372036854775807`, `"a"`, `""`, `"組 and more"`} {
		must(t, c.text(withID(id, joinCommand(t.Name()))))
		got, err := c.next()
		must(t, err)
		equal(t, "answer to a join", got, `{"id":`+id+`,"ok":true}`)
	}
	for command, code := range map[string]string{
		`{"cmd":"dance"}`:                          "unknown_cmd",
		`{"group_id":"1"}`:                         "unknown_cmd",
		`{"cmd":7}`:                                "unknown_cmd",
		`{"cmd":"add_group"}`:                      "bad_group_id",
		`{"cmd":"send_to_group","group_id":"x"}`:   "bad_message",
		`{"cmd":"send_to_group","message":"only"}`: "bad_group_id",
	} {
		c.expectError(t, command, code)
	}
}

func TestIDOfAnotherTypeIsAnError(t *testing.T) {
	t.Parallel()
	s := shared(t)
	c := dial(t, s)
	for _, id := range []string{`true`, `false`, `1.5`, `[]`, `{}`, `["7"]`, `1e400`} {
		must(t, c.text(withID(id, joinCommand(t.Name()))))
		r, err := c.replyTo("null")
		must(t, err)
		equal(t, "answer to id "+id, r.code(), "bad_id")
	}
	// Such a command is not obeyed.
	seq, err := c.publish(t.Name(), "to nobody")
	must(t, err)
	equal(t, "seq in a group nobody joined", seq, 0)
}

func TestPublishReplyCarriesItsNumberInTheGroup(t *testing.T) {
	t.Parallel()
	s := shared(t)
	sender := dial(t, s)
	seq := must1(t, func(text string) (uint64, error) { return sender.publish(t.Name(), text) })
	equal(t, "seq without members", seq("nobody"), 0)
	m := member(t, s, t.Name())
	for want := uint64(1); want <= 5; want++ {
		equal(t, "seq", seq("text"), want)
	}
	second := member(t, s, t.Name())
	equal(t, "seq after another join", seq("text"), 6)
	// The leaver sends: what one client sends reaches the group's home in order, what another sends may be faster.
	must(t, m.leave(t.Name()))
	got, err := m.publish(t.Name(), "text")
	must(t, err)
	equal(t, "seq after one of two left", got, 7)
	must(t, second.leave(t.Name()))
	got, err = second.publish(t.Name(), "nobody")
	must(t, err)
	equal(t, "seq after the last one left", got, 0)
	must(t, m.join(t.Name()))
	equal(t, "seq counts from the first join anew", seq("text"), 1)
	must(t, m.text(withID(`"x"`, sendCommand(t.Name(), "m"))))
	r, err := m.replyTo(`"x"`)
	must(t, err)
	if !r.OK || r.Seq == nil || *r.Seq != 2 {
		t.Fatalf("reply to a member's publish: got %+v, want ok with seq 2", r)
	}
}

func TestTooManyGroupsIsAnError(t *testing.T) {
	t.Parallel()
	s := shared(t)
	c := dial(t, s)
	const groupsMax = 1024
	for i := 0; i < groupsMax; i += 64 {
		var joins []string
		for j := i; j < i+64; j++ {
			joins = append(joins, withID(fmt.Sprintf(`"%d"`, j), joinCommand(fmt.Sprintf("%s/%d", t.Name(), j))))
		}
		must(t, c.commands(joins...))
		for j := i; j < i+64; j++ {
			r, err := c.replyTo(fmt.Sprintf(`"%d"`, j))
			must(t, err)
			equal(t, fmt.Sprintf("join %d", j+1), r.code(), "ok")
		}
	}
	c.expectError(t, joinCommand(t.Name()+"/one more"), "too_many_groups")
	must(t, c.join(t.Name()+"/0")) // a group that it is in does not count twice
	must(t, c.leave(t.Name()+"/0"))
	must(t, c.join(t.Name()+"/one more"))

	// Without an id the only way to refuse is to close.
	must(t, c.commands(joinCommand(t.Name()+"/two more")))
	c.expectClose(t, 1008)
}
