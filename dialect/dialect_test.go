package dialect

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"ringcast/wsproto"
)

// all is every dialect that a server may speak, and the one for tools.
var all = append([]Entry{Echo, Centrifuge([16]byte{}), Pusher([16]byte{})}, Table...)

// Whatever may become of a client, it can be told.
func TestEveryDialectHasACodeForEveryCause(t *testing.T) {
	for _, entry := range all {
		d := entry.New()
		for cause := range Cause(Causes) {
			code, reason := d.Close(cause)
			if code < 1000 || code > 4999 || code == 1004 || code == 1005 || code == 1006 || code == 1015 {
				t.Errorf("%s, cause %d: got code %d, want one that may stand in a frame (RFC 6455 §7.4)", entry.Name, cause, code)
			}
			if !utf8.ValidString(reason) || len(reason) > 123 {
				t.Errorf("%s, cause %d: got a reason of %d bytes, want UTF-8 of at most 123", entry.Name, cause, len(reason))
			}
		}
	}
}

func TestAGapOfAnyDialectFitsItsBound(t *testing.T) {
	for _, entry := range all {
		if got := entry.New().Answer(nil, Outcome{What: Gap, Number: 1<<64 - 1}); len(got) > GapBytesMax {
			t.Errorf("%s: got %d bytes, want at most %d", entry.Name, len(got), GapBytesMax)
		}
	}
}

func TestTheFirstDialectOfTheTableServesEveryPathAndKeepsFrames(t *testing.T) {
	if len(Table) == 0 || len(Table) > FormsMax {
		t.Fatalf("got %d dialects, want 1 to %d", len(Table), FormsMax)
	}
	for _, path := range []string{"/", "", "/anything?x=y"} {
		if !Table[0].Serves(path) {
			t.Errorf("%s serves no client that asks for %q; want every path to be somebody's", Table[0].Name, path)
		}
	}
	m := &Message{Wire: string(wsproto.AppendFrame(nil, wsproto.OpText, []byte("hi")))}
	if got := Table[0].New().Encode(m); !bytes.Equal(got, m.Frame()) || string(m.Payload()) != "hi" {
		t.Errorf("got frame %q and payload %q, want the frame as it is kept and hi", got, m.Payload())
	}
}

func TestPlainSaysWhetherAMessageIsJSON(t *testing.T) {
	var p Plain
	for value, want := range map[string]bool{`"text"`: false, `"{}"`: false, `{"a":1}`: true, `[1]`: true, `1`: true, `null`: true} {
		cmd, rest, code := p.Next([]byte(`{"cmd":"send_to_group","group_id":"g","message":`+value+`}`), false)
		if code != "" || len(rest) != 0 || cmd.JSON != want {
			t.Errorf("%s: got JSON %v, %d bytes left (%s), want %v and none", value, cmd.JSON, len(rest), code, want)
		}
	}
}

// Without an id nobody is to be answered, so a client that only listens is greeted by nothing.
func TestPlainGreetsNobody(t *testing.T) {
	var p Plain
	if got := p.Answer(nil, Outcome{What: Greeting}); len(got) != 0 {
		t.Errorf("got %q, want nothing", got)
	}
	if got := string(p.Answer(nil, Outcome{What: Ping})); !strings.HasPrefix(got, "\x89\x00") {
		t.Errorf("ping: got %q, want an empty ping frame", got)
	}
}
