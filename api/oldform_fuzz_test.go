package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

// FuzzOldForm says anything to /api. Each command has one line of answer, which is JSON with a result or an error; encoding/json, reading
// the same body, finds as many commands; and that a body comes in pieces changes nothing.
func FuzzOldForm(f *testing.F) {
	for _, seed := range []string{
		oldLine("g", 1), oldLine("kept", 1) + oldLine("loud", 2) + `{"method":"info"}`, `{"method":"publish","params":{"channel":"g"}}x`,
		`{"id":3,"method":"broadcast","params":{"channels":["a","b"],"data":"\u00e9","tags":{"a":"b"}}}`, `{"method":"history","params":{"since":{"offset":1,"epoch":"a"}}}`,
		`{"method":"disconnect","params":{"user":"u","disconnect":{"code":4000,"reason":"r"}}}`, `{}{}`, `[`, "\"", `{"a":"\"}{"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s, b := newTestServer()
		status, whole := ask(s, "/api", string(body))
		said := len(b.said)
		if status != http.StatusOK && status != http.StatusBadRequest {
			t.Fatalf("got %d %s", status, whole)
		}
		if status == http.StatusBadRequest && said > 0 {
			t.Fatalf("something was done and answered with %d %s", status, whole)
		}
		lines := 0
		for line := range strings.Lines(whole) {
			var one struct{ Result, Error json.RawMessage }
			if status == http.StatusOK && (json.Unmarshal([]byte(line), &one) != nil || (one.Result == nil) == (one.Error == nil)) {
				t.Fatalf("the answer %q is neither a result nor an error", line)
			}
			lines++
		}
		if commands, good := countCommands(body); status == http.StatusOK && good && lines != commands {
			t.Fatalf("%d answers to %d commands", lines, commands)
		}
		pieces, _ := newTestServer()
		src := source{body: iotest.OneByteReader(strings.NewReader(string(body))), before: func() {}, most: commandBytesMax}
		n := 0
		for {
			text, err := src.value()
			if err != nil {
				break
			}
			x := pieces.exchanges.Get().(*exchange)
			if _, err := x.oldCommand(text); err != nil || !utf8.Valid(text) {
				break
			}
			n++
		}
		if status == http.StatusOK && utf8.Valid(body) && n != lines && n != lines-1 { // the last line may stand for what is no command
			t.Fatalf("%d commands in pieces, and %d answers to the whole", n, lines)
		}
	})
}

// countCommands is how many objects encoding/json finds, and whether there is nothing else. It knows no bound on the depth that we have,
// and another one for names that are the same but for their case.
func countCommands(body []byte) (n int, good bool) {
	if !utf8.Valid(body) {
		return 0, false
	}
	for d := json.NewDecoder(strings.NewReader(string(body))); ; n++ {
		var one map[string]json.RawMessage
		if err := d.Decode(&one); err != nil {
			return n, err.Error() == "EOF"
		}
		if one == nil {
			return n, false // null
		}
	}
}
