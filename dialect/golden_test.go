package dialect

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"ringcast/wsproto"
)

var update = flag.Bool("update", false, "rewrite the transcripts under testdata with what the code does now")

// TestTranscripts plays conversations. In a transcript
//
//	# says what it is about
//	> 81 85 …        bytes from the client that arrive at once, as hex
//	> "GET / …"      the same as a Go string
//	< …              what the server makes of them, and the bytes it answers
//
// The first bytes are HTTP, unless the first line is "# frames". The "<" lines are what
// -update rewrites; they are to be read in review.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/transcripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("got %d transcripts (%v), want some", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := string(raw)
			got := play(t, want)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			gotLines, wantLines := strings.Split(got, "\n"), strings.Split(want, "\n")
			for i := range max(len(gotLines), len(wantLines)) {
				g, w := "(the end)", "(the end)"
				if i < len(gotLines) {
					g = gotLines[i]
				}
				if i < len(wantLines) {
					w = wantLines[i]
				}
				if g != w {
					t.Fatalf("%s:%d:\n got %s\nwant %s\n(-update rewrites the file)", file, i+1, g, w)
				}
			}
		})
	}
}

// conversation is a server without a socket and without groups: just enough to answer.
type conversation struct {
	upgraded bool
	head     []byte
	reader   *wsproto.Reader
	plain    Plain
	seq      uint64
	keys     map[string]uint64 // the numbers of what was said under keys
	out      *strings.Builder
}

func play(t *testing.T, transcript string) string {
	var out strings.Builder
	c := conversation{reader: wsproto.NewReader(1 << 20), out: &out, upgraded: strings.HasPrefix(transcript, "# frames"), keys: map[string]uint64{}}
	for line := range strings.Lines(transcript) {
		if strings.HasPrefix(line, "<") {
			continue
		}
		out.WriteString(line)
		text, ok := strings.CutPrefix(line, "> ")
		if !ok {
			continue
		}
		text = strings.TrimSpace(text)
		var p []byte
		if strings.HasPrefix(text, `"`) {
			s, err := strconv.Unquote(text)
			if err != nil {
				t.Fatalf("bad string %s: %v", text, err)
			}
			p = []byte(s)
		} else {
			var err error
			if p, err = hex.DecodeString(strings.ReplaceAll(text, " ", "")); err != nil {
				t.Fatalf("bad hex %s: %v", text, err)
			}
		}
		c.take(p)
	}
	return out.String()
}

func (c *conversation) take(p []byte) {
	if !c.upgraded {
		c.head = append(c.head, p...)
		req, n, err := wsproto.ReadRequest(c.head, new(wsproto.Scan), wsproto.HeadRules{BytesMax: 16 << 10})
		c.say("%s", showHandshake(req, n, err))
		var rejection *wsproto.Rejection
		if errors.As(err, &rejection) {
			c.say("%q", rejection.AppendTo(nil))
			c.head = nil
			return
		}
		if n == 0 || !req.Upgrade {
			return
		}
		c.say("%q", wsproto.AppendUpgrade(nil, &req))
		c.upgraded = true
		p = c.head[n:]
	}
	for len(p) > 0 {
		n, ev := c.reader.Next(p)
		p = p[n:]
		if ev.Kind == wsproto.EventNone {
			c.say("none")
			return
		}
		c.say("%s", show(ev))
		switch ev.Kind {
		case wsproto.EventText, wsproto.EventBinary:
			c.command(ev.Payload)
		case wsproto.EventPing:
			c.answer(wsproto.AppendPong(nil, ev.Payload))
		case wsproto.EventClose:
			c.answer(wsproto.AppendClose(nil, ev.Code, ""))
		case wsproto.EventFail:
			c.answer(wsproto.AppendClose(nil, ev.Code, ev.Reason))
		}
	}
}

func (c *conversation) command(payload []byte) {
	cmd, _, code := c.plain.Next(payload, false)
	c.say("  %s", showCommand(cmd, code))
	o := Outcome{What: OK, Verb: cmd.Verb, ID: cmd.ID}
	switch {
	case cmd.ID == nil:
		return
	case code != "":
		o.What, o.Code = Refused, code
	case cmd.Verb == SendToGroup:
		o.What = Published
		if o.Number, o.Repeated = c.keys[string(cmd.Key)]; !o.Repeated {
			c.seq++
			o.Number = c.seq
		}
		if cmd.Key != nil {
			c.keys[string(cmd.Key)] = o.Number
		}
	}
	c.answer(c.plain.Answer(nil, o))
}

func (c *conversation) say(format string, args ...any) {
	fmt.Fprintf(c.out, "< "+format+"\n", args...)
}

func (c *conversation) answer(frame []byte) {
	c.say("  %s  %q", hex.EncodeToString(frame[:2]), frame[2:])
}

// show is an event in words.
func show(ev wsproto.Event) string {
	switch ev.Kind {
	case wsproto.EventClose:
		return fmt.Sprintf("close %d %q", ev.Code, ev.Payload)
	case wsproto.EventFail:
		return fmt.Sprintf("fail %d %s", ev.Code, ev.Reason)
	}
	return fmt.Sprintf("%v %q", ev.Kind, ev.Payload)
}

// showHandshake is the verdict on a request in words.
func showHandshake(req wsproto.Request, n int, err error) string {
	var rejection *wsproto.Rejection
	switch {
	case errors.As(err, &rejection):
		return fmt.Sprintf("%d %s", rejection.Status, rejection.Reason)
	case n == 0:
		return "incomplete"
	case req.Upgrade:
		return "upgrade " + req.Path
	}
	return "plain " + req.Method + " " + req.Path
}
