package wsproto

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
	reader   *Reader
	parser   CommandParser
	seq      uint64
	out      *strings.Builder
}

func play(t *testing.T, transcript string) string {
	var out strings.Builder
	c := conversation{reader: NewReader(1 << 20), out: &out, upgraded: strings.HasPrefix(transcript, "# frames")}
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
			p = unhex(t, text)
		}
		c.take(p)
	}
	return out.String()
}

func (c *conversation) take(p []byte) {
	if !c.upgraded {
		c.head = append(c.head, p...)
		req, n, err := ReadRequest(c.head, testHeadBytes)
		c.say("%s", showHandshake(req, n, err))
		var rejection *Rejection
		if errors.As(err, &rejection) {
			c.say("%q", rejection.AppendTo(nil))
			c.head = nil
			return
		}
		if n == 0 || !req.Upgrade {
			return
		}
		c.say("%q", AppendUpgrade(nil, &req))
		c.upgraded = true
		p = c.head[n:]
	}
	for len(p) > 0 {
		n, ev := c.reader.Next(p)
		p = p[n:]
		if ev.Kind == EventNone {
			c.say("none")
			return
		}
		c.say("%s", show(ev))
		switch ev.Kind {
		case EventText, EventBinary:
			c.command(ev.Payload)
		case EventPing:
			c.answer(AppendPong(nil, ev.Payload))
		case EventClose:
			c.answer(AppendClose(nil, ev.Code, ""))
		case EventFail:
			c.answer(AppendClose(nil, ev.Code, ev.Reason))
		}
	}
}

func (c *conversation) command(payload []byte) {
	cmd, code := c.parser.Parse(payload)
	c.say("  %s", showCommand(cmd, code))
	switch {
	case cmd.ID == nil:
	case code != "":
		c.answer(AppendError(nil, cmd.ID, code))
	case cmd.Verb == SendToGroup:
		c.seq++
		c.answer(AppendSeq(nil, cmd.ID, c.seq))
	default:
		c.answer(AppendOK(nil, cmd.ID))
	}
}

func (c *conversation) say(format string, args ...any) {
	fmt.Fprintf(c.out, "< "+format+"\n", args...)
}

func (c *conversation) answer(frame []byte) {
	c.say("  %s  %q", hex.EncodeToString(frame[:2]), frame[2:])
}
