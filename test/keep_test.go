package test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"
)

// promise connects a line about the original, the PHP group push, with the tests that check it for ringcast.
type promise struct {
	line  string
	tests []string
}

// keeps is what ringcast keeps of the original, line by line.
var keeps = []promise{
	{"members receive the message text alone, as one unmasked, unfragmented text frame", []string{
		"TestMemberReceivesTheTextAloneInOneUnmaskedTextFrame"}},
	{"a command without an id is never answered, whether it succeeds or fails", []string{
		"TestCommandWithoutIDIsNeverAnswered"}},
	{"the sender gets its own message if it is a member", []string{"TestSenderWhoIsMemberGetsItsOwnMessage"}},
	{"the sender need not be a member", []string{"TestSenderNeedNotBeAMember"}},
	{"joining twice delivers once", []string{"TestJoiningTwiceDeliversOnce"}},
	{"many groups per connection", []string{"TestOneClientHoldsManyGroups"}},
	{"join and send pipelined in one TCP segment reach the sender", []string{
		"TestJoinAndSendInOneSegmentReachTheSender"}},
	{"all members see one total order (6 senders × 200 messages, 12 receivers)", []string{
		"TestAllMembersSeeOneOrder", "TestOneSequenceForAllMembersOverEightLoops"}},
	{`123 and "123" are the same group`, []string{"TestNumberAndItsDigitsNameOneGroup"}},
	{`"0123", " 123", "1e2" are groups of their own`, []string{"TestNamesThatLookAlikeAreDifferentGroups"}},
	{`names compare by raw bytes after JSON decoding ("組" equals "\u7d44"; no folding, no normalisation)`, []string{
		"TestNamesCompareByBytesAfterDecoding", "TestNamesThatLookAlikeAreDifferentGroups"}},
	{"binary input holding JSON is accepted; output is always text", []string{
		"TestBinaryInputIsAcceptedAndOutputIsText"}},
	{"extra keys are ignored, the last duplicate key wins", []string{"TestExtraKeysAreIgnoredAndTheLastDuplicateWins"}},
	{"invalid JSON, an unknown cmd, a non-object: ignored, the connection stays", []string{
		"TestWhatIsNoCommandIsIgnoredAndTheConnectionStays"}},
	{"any path, any Host is accepted", []string{"TestAnyPathAndAnyHostAreAccepted"}},
	{"the console lines of the original's documentation work and print the message", []string{
		"TestConsoleLinesOfTheOriginalPrintWhatPagesAndBackendsSay"}},
}

func TestEveryPromiseHasItsTests(t *testing.T) {
	t.Parallel()
	have := testNames(t)
	for _, p := range slices.Concat(keeps, mends) {
		if len(p.tests) == 0 {
			t.Errorf("%s: got no test, want one", p.line)
		}
		for _, name := range p.tests {
			if !have[name] {
				t.Errorf("%s: got no test of the name %s, want it in this package", p.line, name)
			}
		}
	}
}

// testNames lists the test functions of this package.
func testNames(t *testing.T) map[string]bool {
	names := map[string]bool{}
	files, err := os.ReadDir(".")
	must(t, err)
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		must(t, err)
		for _, d := range file.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
				names[fn.Name.Name] = true
			}
		}
	}
	return names
}

// common is one server for all tests that neither need flags of their own nor count what the server counts. Each test
// takes groups named after itself.
var common struct {
	sync.Mutex
	s     *server
	users int
}

// shared returns the common server; the last test that releases it stops it.
func shared(t *testing.T) *server {
	t.Helper()
	common.Lock()
	defer common.Unlock()
	if common.users++; common.users == 1 || common.s.ended() {
		common.s = start(&outliving{TB: t})
	}
	s := *common.s // a copy that reports to this test
	s.t = t
	t.Cleanup(func() {
		common.Lock()
		defer common.Unlock()
		if common.users--; common.users == 0 {
			o := common.s.t.(*outliving)
			o.TB = t // the test that started it may be over
			for _, f := range slices.Backward(o.cleanups) {
				f()
			}
		}
	})
	return &s
}

// outliving keeps clean-ups until the last user has ended; that one reports what fails then.
type outliving struct {
	testing.TB
	cleanups []func()
}

func (o *outliving) Cleanup(f func()) { o.cleanups = append(o.cleanups, f) }

func TestMemberReceivesTheTextAloneInOneUnmaskedTextFrame(t *testing.T) {
	t.Parallel()
	s := shared(t)
	m := member(t, s, t.Name())
	sender := dial(t, s)
	// client.read checks each frame; the lengths are those at which a frame's header changes its form.
	for _, n := range []int{0, 1, 125, 126, 65535, 65536, 500_000} {
		text := strings.Repeat("é", n/2) + strings.Repeat("x", n%2)
		must(t, sender.text(sendCommand(t.Name(), text)))
		m.expect(t, text)
	}
	text := "\"quoted\" \\ back, \u0000 nul, \u2028, 🙂, </script>"
	must(t, sender.text(sendCommand(t.Name(), text)))
	m.expect(t, text)
}

func TestCommandWithoutIDIsNeverAnswered(t *testing.T) {
	t.Parallel()
	s := shared(t)
	c := dial(t, s)
	must(t, c.commands(
		joinCommand(t.Name()),
		joinCommand(t.Name()),
		`{"cmd":"leave_group","group_id":"never joined"}`,
		sendCommand(t.Name()+"/nobody", "lost"),
		`{"cmd":"add_group"}`,
		`{"cmd":"add_group","group_id":[]}`,
		`{"cmd":"send_to_group","group_id":"x"}`,
		`{"cmd":"send_to_group","group_id":null,"message":"m"}`,
		`{"cmd":"dance"}`,
		`{"cmd":"dance","id":null}`, // null is absent
		`{"id":7`,
		sendCommand(t.Name(), "first text"),
	))
	c.expect(t, "first text")
	// A join is answered when the group's home has answered; the join of another group and a ping give it the time.
	must(t, c.join(t.Name()+"/other"))
	c.expectNothing(t)
}

func TestSenderWhoIsMemberGetsItsOwnMessage(t *testing.T) {
	t.Parallel()
	s := shared(t)
	c := member(t, s, t.Name())
	other := member(t, s, t.Name())
	must(t, c.text(sendCommand(t.Name(), "mine")))
	c.expect(t, "mine")
	other.expect(t, "mine")
}

func TestSenderNeedNotBeAMember(t *testing.T) {
	t.Parallel()
	s := shared(t)
	m := member(t, s, t.Name())
	sender := dial(t, s)
	must(t, sender.text(sendCommand(t.Name(), "from outside")))
	m.expect(t, "from outside")
	sender.expectNothing(t)
}

func TestJoiningTwiceDeliversOnce(t *testing.T) {
	t.Parallel()
	s := shared(t)
	m := member(t, s, t.Name())
	must(t, m.join(t.Name()))
	must(t, m.text(joinCommand(t.Name())))
	must(t, m.commands(sendCommand(t.Name(), "once"), sendCommand(t.Name(), "then")))
	m.expect(t, "once", "then")
	// One leave undoes both joins.
	must(t, m.leave(t.Name()))
	seq, err := m.publish(t.Name(), "gone")
	must(t, err)
	equal(t, "seq in a group that its only member left", seq, 0)
}

func TestOneClientHoldsManyGroups(t *testing.T) {
	t.Parallel()
	s := shared(t)
	c := dial(t, s)
	sender := dial(t, s)
	want := map[string]bool{}
	const groups = 100
	for i := range groups {
		must(t, c.join(fmt.Sprintf("%s/%d", t.Name(), i)))
	}
	for i := range groups {
		text := fmt.Sprintf("text %d", i)
		must(t, sender.text(sendCommand(fmt.Sprintf("%s/%d", t.Name(), i), text)))
		want[text] = true
	}
	got, err := c.collect(groups) // no order is promised between groups
	must(t, err)
	for _, text := range got {
		if !want[text] {
			t.Fatalf("got %q, want each text of the %d groups once", text, groups)
		}
		delete(want, text)
	}
}

func TestJoinAndSendInOneSegmentReachTheSender(t *testing.T) {
	t.Parallel()
	s := shared(t)
	for i := range 50 { // fresh groups on fresh clients, hence other homes and other loops
		group := fmt.Sprintf("%s/%d", t.Name(), i)
		c, err := open(s.addr, dialing{})
		must(t, err)
		must(t, c.commands(joinCommand(group), sendCommand(group, "這個是消息")))
		c.expect(t, "這個是消息")
		c.hangUp()
	}
	// Even in the segment of the handshake.
	c := bare(t, s)
	key := newKey()
	hello := "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: " + key +
		"\r\nSec-WebSocket-Version: 13\r\n\r\n"
	b := append([]byte(hello), frameBytes(ws.OpText, true, []byte(joinCommand(t.Name())))...)
	b = append(b, frameBytes(ws.OpText, true, []byte(sendCommand(t.Name(), "at once")))...)
	must(t, c.raw(b))
	must(t, c.upgraded(key))
	c.expect(t, "at once")
}

func TestAllMembersSeeOneOrder(t *testing.T) {
	t.Parallel()
	broadcast{members: 12, senders: 6, messages: 200}.check(t, shared(t))
}

func TestNumberAndItsDigitsNameOneGroup(t *testing.T) {
	t.Parallel()
	s := start(t) // its own, since the groups cannot be named after the test
	byNumber, byDigits := dial(t, s), dial(t, s)
	for _, digits := range []string{"123", "0", "-5", "9223372036854775807", "-9223372036854775808"} {
		must1(t, byNumber.askOK)(`{"cmd":"add_group","group_id":` + digits + `}`)
		must(t, byDigits.join(digits))
		must1(t, byDigits.askOK)(`{"cmd":"send_to_group","group_id":` + digits + `,"message":"to the number"}`)
		must1(t, byDigits.askOK)(sendCommand(digits, "to the digits"))
		byNumber.expect(t, "to the number", "to the digits")
		byDigits.expect(t, "to the number", "to the digits")
	}
}

func TestNamesThatLookAlikeAreDifferentGroups(t *testing.T) {
	t.Parallel()
	s := start(t) // its own, since the groups cannot be named after the test
	m := dial(t, s)
	sender := dial(t, s)
	for _, c := range []struct{ joined, other string }{
		{"123", "0123"}, {"123", " 123"}, {"123", "123 "}, {"100", "1e2"}, {"123", "123.0"}, {"123", "+123"},
		{"0", "-0"}, {"Group", "group"},
		{"caf\u00e9", "cafe\u0301"}, // é precomposed and composed
		{"a", "a\u0000"}, {"ſ", "s"},
	} {
		must(t, m.join(c.joined))
		seq, err := sender.publish(c.other, "wrong")
		must(t, err)
		if seq != 0 {
			t.Errorf("publish to %q: got seq %d, want 0: nobody but %q was joined", c.other, seq, c.joined)
		}
		must(t, sender.text(sendCommand(c.joined, "right")))
		m.expect(t, "right")
		must(t, m.leave(c.joined))
	}
}

func TestNamesCompareByBytesAfterDecoding(t *testing.T) {
	t.Parallel()
	s := shared(t)
	m := dial(t, s)
	for _, c := range []struct{ one, two string }{
		{`"組"`, `"\u7d44"`}, {`"a/b"`, `"a\/b"`}, {`"🙂"`, `"\ud83d\ude42"`}, {`"A"`, `"\u0041"`},
	} {
		must1(t, m.askOK)(`{"cmd":"add_group","group_id":` + c.one + `}`)
		must1(t, m.askOK)(`{"cmd":"send_to_group","group_id":` + c.two + `,"message":"same"}`)
		m.expect(t, "same")
	}
}

func TestBinaryInputIsAcceptedAndOutputIsText(t *testing.T) {
	t.Parallel()
	s := shared(t)
	m := dial(t, s)
	must(t, m.frame(ws.OpBinary, true, withID("1", joinCommand(t.Name()))))
	r, err := m.replyTo("1")
	must(t, err)
	equal(t, "reply to a binary command", r.code(), "ok")
	must(t, m.frame(ws.OpBinary, true, sendCommand(t.Name(), "as text")))
	m.expect(t, "as text") // read refuses any data frame but text
}

func TestExtraKeysAreIgnoredAndTheLastDuplicateWins(t *testing.T) {
	t.Parallel()
	s := shared(t)
	m := member(t, s, t.Name())
	must1(t, m.askOK)(`{"x":{"cmd":"dance","deep":[[{}]]},"cmd":"send_to_group","group_id":` + quote(t.Name()) +
		`,"message":"extra","time":12,"Cmd":"add_group"}`)
	must1(t, m.askOK)(`{"cmd":"dance","group_id":[],"message":"first","cmd":"send_to_group","group_id":` +
		quote(t.Name()) + `,"message":"last"}`)
	m.expect(t, "extra", "last")
	// The last one wins also when it is the bad one.
	m.expectError(t, `{"cmd":"send_to_group","group_id":"x","group_id":null,"message":"m"}`, "bad_group_id")
}

func TestWhatIsNoCommandIsIgnoredAndTheConnectionStays(t *testing.T) {
	t.Parallel()
	s := shared(t)
	m := member(t, s, t.Name())
	for _, text := range []string{
		``, ` `, `{`, `}`, `[`, `nul`, `{"cmd":"add_group"`, `{"cmd":}`, `{cmd:"add_group"}`, `{"cmd":"add_group",}`,
		`null`, `true`, `7`, `-0.5e10`, `"add_group"`, `[]`, `[{"cmd":"add_group","group_id":"1"}]`, `{}`,
		`{"cmd":"dance"}`, `{"cmd":null}`, `{"cmd":["add_group"]}`, `{"cmd":"ADD_GROUP","group_id":"1"}`,
		`{"group_id":"1","message":"m"}`, `{"cmd":"add_group","group_id":"1"} trailing`, "\ufeff{}",
		`'single'`, `{"cmd":"add_group","group_id":"\x"}`,
	} {
		must(t, m.text(text))
		got, err := m.beforePong()
		if err != nil || len(got) != 0 {
			t.Fatalf("after %q: got %q, %v; want no answer and the connection open", text, got, err)
		}
	}
	must(t, m.text(sendCommand(t.Name(), "still here")))
	m.expect(t, "still here")
}

func TestAnyPathAndAnyHostAreAccepted(t *testing.T) {
	t.Parallel()
	s := shared(t)
	m := member(t, s, t.Name())
	for _, d := range []dialing{
		{path: "/"}, {path: "/chat"}, {path: "/healthz"}, {path: "/a/b/c?x=1&y=%20"}, {path: "/%E7%B5%84"},
		{host: "example.com"}, {host: "example.com:1"}, {host: "[::1]:1234"}, {host: "xn--nxasmq6b"},
		{header: "Origin: https://elsewhere.example\r\n"},
		{header: "Sec-WebSocket-Protocol: chat, superchat\r\n"},
		{header: "Cookie: " + strings.Repeat("c", 4000) + "\r\n"},
	} {
		c, err := open(s.addr, d)
		if err != nil {
			t.Fatalf("%+v: %v", d, err)
		}
		must(t, c.text(sendCommand(t.Name(), "through")))
		m.expect(t, "through")
		c.hangUp()
	}
}

// must1 is f without its error, which ends the test.
func must1[A, R any](t testing.TB, f func(A) (R, error)) func(A) R {
	return func(a A) R {
		t.Helper()
		r, err := f(a)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
}
