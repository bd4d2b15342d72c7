package dialect

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestPusherTranscripts plays conversations of two clients, ann and bob, with a server without sockets and signatures. In a transcript
//
//	# says what it is about
//	ann> {…}         is what ann's page sends
//	backend> a b {…} is what a backend says to channel a under the name b
//	ann< {…}         is what ann is sent then
//
// The lines with < are what -update rewrites; they are to be read in review.
func TestPusherTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/pusher/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("got %d transcripts (%v), want some", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := converse(t, string(raw))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(raw) {
				t.Errorf("%s:\n got\n%s\nwant\n%s\n(-update rewrites the file)", file, got, raw)
			}
		})
	}
}

// place is a server that does what clients ask, with a value of the dialect for all, and channels that know their members in order.
type place struct {
	t       *testing.T
	out     strings.Builder
	dialect Dialect
	members map[string][]string
	users   map[string]*Who // by client and channel
	cached  map[string]*Message
}

// pages are the clients of a transcript. Their numbers are their places, from 1.
var pages = []string{"ann", "bob"}

func converse(t *testing.T, transcript string) string {
	p := &place{t: t, dialect: newPusher(), members: map[string][]string{}, users: map[string]*Who{}, cached: map[string]*Message{}}
	for line := range strings.Lines(transcript) {
		who, what, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "> ")
		switch {
		case strings.HasPrefix(line, "#") || line == "\n":
			p.out.WriteString(line)
		case slices.Contains(pages, who):
			p.out.WriteString(line)
			if what == "connects" {
				p.tell(who, p.dialect.Answer(nil, Outcome{What: Greeting, Client: uint64(slices.Index(pages, who) + 1)}))
				continue
			}
			cmd, _, code := p.dialect.Next([]byte(what), false)
			p.do(who, cmd, code)
		case who == "backend":
			p.out.WriteString(line)
			words := strings.SplitN(what, " ", 3)
			m := with(message(words[0], words[2], strings.HasPrefix(words[2], "{")), More{Tags: []byte(`{"event":"` + words[1] + `"}`)})
			p.cached[words[0]] = m
			p.say(m, "")
		}
	}
	return p.out.String()
}

// tell writes what a client is sent.
func (p *place) tell(who string, frames []byte) {
	for _, text := range textsOf(p.t, frames) {
		fmt.Fprintf(&p.out, "%s< %s\n", who, text)
	}
}

// say sends a message to the members of its group, but for one.
func (p *place) say(m *Message, except string) {
	for _, member := range p.members[m.Group] {
		if member != except {
			p.tell(member, p.dialect.Encode(m))
		}
	}
}

// do does a command. Its signature is taken for good if it has any.
func (p *place) do(who string, cmd Command, code ErrorCode) {
	group := string(cmd.Group)
	kind, at := ChannelOf(group), slices.Index(p.members[group], who)
	o := Outcome{What: OK, Verb: cmd.Verb, Group: group, ID: cmd.ID, Data: cmd.Data, Past: &Past{HasCached: kind.Cache, Cached: p.cached[group]}}
	member := MemberOf(cmd.Data)
	switch {
	case code != "":
	case cmd.Verb == AddGroup && kind.Private && len(cmd.Auth) == 0:
		code = ErrForbidden
	case cmd.Verb == AddGroup && kind.Presence && member == nil:
		code = ErrBadUser
	case cmd.Verb == SendToGroup && at < 0:
		code = ErrNotMember
	}
	if code != "" {
		o.What, o.Code = Refused, code
		p.tell(who, p.dialect.Answer(nil, o))
		return
	}
	move := &Message{Group: group, More: &More{Edge: true}}
	switch cmd.Verb {
	case AddGroup:
		p.members[group], p.users[who+group] = append(p.members[group], who), member
		for _, there := range p.members[group] {
			o.Past.Present = append(o.Past.Present, Present{Who: p.users[there+group]})
		}
		move.Sort, move.More.Who = Came, member
	case LeaveGroup:
		if at < 0 {
			return
		}
		p.members[group] = slices.Delete(p.members[group], at, at+1)
		move.Sort, move.More.Who = Went, p.users[who+group]
	case SendToGroup:
		o.What = Published
		move = with(message(group, string(cmd.Message), cmd.JSON), More{ClientEvent: true, Who: p.users[who+group], Tags: []byte(`{"event":"` + string(cmd.Event) + `"}`)})
	}
	if cmd.ID != nil {
		p.tell(who, p.dialect.Answer(nil, o))
	}
	if cmd.Verb == AddGroup || cmd.Verb == LeaveGroup || cmd.Verb == SendToGroup {
		p.say(move, who)
	}
}
