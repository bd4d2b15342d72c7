package loop

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the transcripts under testdata with what the code does now")

// transcript is a conversation of several clients with two loops, each known by a letter: those of the Centrifuge protocol by small ones,
// plain ones by capitals.
//
//	# says what it is about
//	a > {"id":1…     what a client says; it enters with that, if it is not there. Several commands of a message are joined by " \n "
//	a gone           its connection is lost
//	a < {"id":1…     what a client then hears, one line a frame
//
//	pass 26s         time passes
//
// @{"sub":"ann"}@ stands for a token with these claims; the time is wallStart in the beginning. "E1" and "E2" stand for epochs, which are others each time. The "<" lines are what -update rewrites; they are to be read in review.
type transcript struct {
	st      *stage
	clients map[string]*stageConn
	names   []string
	epochs  []string
	out     strings.Builder
}

func TestTranscriptsOfCentrifugeClients(t *testing.T) {
	playTranscript(t, "testdata/transcripts/centrifuge.txt", func(b *bounds) {
		b.History, b.MembersMax, b.Presence, b.Kinds = 3, 3, true, []Kind{{Match: "bare", MembersMax: 3}}
	})
}

func TestTranscriptsOfCentrifugeClientsWithTokens(t *testing.T) {
	playTranscript(t, "testdata/transcripts/centrifuge_tokens.txt", func(b *bounds) {
		withTokens(b)
		b.NoAnonymous, b.Presence, b.Kinds = true, true, []Kind{{Match: "locked*", Join: Tokens, Publish: Tokens, Presence: true}}
	})
}

func playTranscript(t *testing.T, file string, change func(*bounds)) {
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	st := newHistoryStage(2, change)
	wall := time.Unix(wallStart, 0)
	st.hub.wall = func() time.Time { return wall }
	st.hub.homes.Hash = func(string) uint64 { return 0 }
	c := &transcript{st: st, clients: map[string]*stageConn{}}
	for line := range strings.Lines(string(raw)) {
		if line = strings.TrimRight(line, "\n"); len(line) > 2 && line[1:3] == " <" {
			continue
		}
		fmt.Fprintln(&c.out, line)
		switch name, said, _ := strings.Cut(line, " "); {
		case name == "pass":
			passed, err := time.ParseDuration(said)
			if err != nil {
				t.Fatal(err)
			}
			wall = wall.Add(passed)
			st.nanos += int64(passed)
			st.hub.beat()
		case strings.HasPrefix(said, "> "):
			c.says(name, said[2:])
		case said == "gone":
			c.clients[name].shard.closed(c.clients[name].client)
		}
		st.settle()
		c.heard()
	}
	if got := c.out.String(); *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want := strings.Split(string(raw), "\n"); got != string(raw) {
		for i, line := range strings.Split(got, "\n") {
			if i >= len(want) || line != want[i] {
				t.Fatalf("%s:%d:\n got %s\nwant %s\n(-update rewrites the file)", file, i+1, line, want[min(i, len(want)-1)])
			}
		}
		t.Fatal("the transcript is longer than what was said")
	}
}

func (c *transcript) says(name, text string) {
	client := c.clients[name]
	if client == nil {
		path := "/"
		if name == strings.ToLower(name) {
			path = centrifugePath
		}
		client = c.st.enterAt(len(c.names)%2, path)
		c.clients[name], c.names = client, append(c.names, name)
	}
	for i, epoch := range c.epochs {
		text = strings.ReplaceAll(text, fmt.Sprint("E", i+1), epoch)
	}
	text = tokenText.ReplaceAllStringFunc(text, func(claims string) string { return tokenOf(claims[1 : len(claims)-1]) })
	client.say("%s", strings.ReplaceAll(text, ` \n `, "\n"))
}

var tokenText = regexp.MustCompile(`@\{.*?\}@`)

var epochText = regexp.MustCompile(`"epoch":"([0-9a-z]+)"`)

// heard writes what all have heard since, in the order in which they came.
func (c *transcript) heard() {
	for _, name := range c.names {
		client := c.clients[name]
		for in := client.out; len(in) > 0; {
			n, at := int(in[1]), 2
			if n == 126 {
				n, at = int(in[2])<<8|int(in[3]), 4
			}
			text := string(in[at : at+n])
			if in[0] == 0x88 {
				text = fmt.Sprintf("closed %d %s", int(text[0])<<8|int(text[1]), text[2:])
			}
			for _, found := range epochText.FindAllStringSubmatch(text, -1) {
				text = strings.ReplaceAll(text, found[0], `"epoch":"`+c.epoch(found[1])+`"`)
			}
			fmt.Fprintf(&c.out, "%s < %s\n", name, strings.ReplaceAll(text, "\n", ` \n `))
			in = in[at+n:]
		}
		client.out = nil
	}
}

func (c *transcript) epoch(text string) string {
	for i, epoch := range c.epochs {
		if epoch == text {
			return fmt.Sprint("E", i+1)
		}
	}
	c.epochs = append(c.epochs, text)
	return fmt.Sprint("E", len(c.epochs))
}
