package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"

	"ringcast/loop"
)

// This file says in sentences why a client has, or has not, got what was said to a group. It says no more than is known: what a loop has
// of the client now, and its journal, which goes back so far.

// whyAnswer is what is known, and what follows from it.
type whyAnswer struct {
	loop.Why
	Name    string   `json:"name"`    // of the client in the server API; empty: it has none there
	Verdict []reason `json:"verdict"` // the most important first
}

// reason is a sentence of a verdict.
type reason struct {
	Text string `json:"text"`
	Tone string `json:"tone"`         // good, note or bad
	At   int64  `json:"at,omitempty"` // when it happened, Unix milliseconds; 0: it is so now
}

// namer is a hub whose clients have names in the server API.
type namer interface{ ClientName(client uint64) string }

func (c *console) why(ctx context.Context, r *http.Request) (any, error) {
	group, err := name(r, "group")
	if err != nil {
		return nil, err
	}
	client, err := number(r, "client", 0)
	if err != nil {
		return nil, err
	}
	if client == 0 {
		return nil, badQuestion{"client is missing: the number of a client, as the lists show it"}
	}
	w, err := c.hub.Why(ctx, client, group)
	if err != nil {
		return nil, err
	}
	a := whyAnswer{Why: w, Verdict: verdict(&w, client, group)}
	if hub, is := c.hub.(namer); is && w.Client != nil {
		a.Name = hub.ClientName(client)
	}
	return a, nil
}

func verdict(w *loop.Why, client uint64, group string) (all []reason) {
	say := func(tone string, at int64, format string, args ...any) {
		all = append(all, reason{fmt.Sprintf(format, args...), tone, at})
	}
	troubles := sum(w.Traces, group)
	switch {
	case w.Client == nil && troubles.closed != nil:
		say("bad", troubles.closed.At, "The server closed it: %s %s.", troubles.closed.Code, troubles.closed.Reason)
	case w.Client == nil:
		say("note", 0, "It is not connected, and the server has not closed it as far as the journal goes back: it, or the network, "+
			"ended the connection; or there never was a client with the number %d.", client)
	case w.Client.State != "open":
		say("bad", 0, "Its connection is %s: it is sent nothing any more.", w.Client.State)
	case group == "":
	case w.Standing == "asked":
		say("note", 0, "It has asked to join, and has not been answered yet: what was said before the answer it does not get.")
	case w.Standing == "" && troubles.healed > 0 && troubles.healedAt >= troubles.backAt:
		say("bad", troubles.healedAt, "It is not a member now: it was too slow, lost messages, and was told to come back for them, which it has not done yet.")
	case w.Standing == "":
		say("bad", 0, "It is not a member: it is sent nothing of this group.")
	case w.Losing:
		say("bad", 0, "It is a member, but its outbox was full: messages are left out for now. It will be told to come back, and gets them from the history.")
	case w.Slow:
		say("note", 0, "It is a member and slow: %s wait in its outbox, and what is said now comes behind that.", sizeText(uint64(w.Client.SendQ)))
	default:
		say("good", 0, "It is a member, and nothing waits for it but %d messages that the next pass sends.", w.Waiting)
	}
	if w.Missed > 0 {
		say("bad", 0, "It has missed %d messages of its groups, and will be told the number when half of its outbox has gone.", w.Missed)
	}
	if t := troubles.slow; t != nil {
		if t.Group == "" {
			say("bad", t.At, "It was too slow, with %s in its outbox: %s.", sizeText(t.Number), t.Reason)
		} else {
			say("bad", t.At, "It was too slow: with %s in its outbox there was no room for a message of this group.", sizeText(t.Number))
		}
	}
	if troubles.gaps > 0 {
		say("bad", troubles.gapAt, "It was told that it has missed %d messages of its groups, in their place.", troubles.gaps)
	}
	if troubles.backAt > 0 {
		tone := "good"
		if troubles.lost {
			tone = "bad"
		}
		say(tone, troubles.backAt, "It came back after that: %s, %d messages.", troubles.backReason, troubles.back)
	}
	if t := troubles.token; t != nil {
		say("bad", t.At, "A token that it has shown is not good: %s (%s).", t.Reason, t.Code)
	}
	for _, r := range troubles.refused {
		say("bad", r.at, "%s was refused or wrong, the last as %s.", times(r.times, r.verb), r.code)
	}
	if len(w.Traces) == 0 && w.Client != nil && w.Standing == "member" && !w.Losing && w.Missed == 0 {
		say("good", 0, "The journal has no trouble of it: since it joined it was sent every message that was accepted.")
	}
	head := min(1, len(all)) // what is so now comes first, then what has happened
	slices.SortStableFunc(all[head:], func(a, b reason) int { return cmp.Compare(a.At, b.At) })
	return all
}

// sizeText is a number of bytes for people to read.
func sizeText(n uint64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d bytes", n)
	case n < 1000<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	default:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
}

// times is how often it did something.
func times(n int, verb string) string {
	if verb == "" {
		verb = "command"
	}
	if n == 1 {
		return "A " + verb + " of it"
	}
	return fmt.Sprintf("%d times a %s of it", n, verb)
}

// troubles is what traces come to.
type troubles struct {
	closed, slow     *loop.Trace // the last
	token            *loop.Trace // likewise
	gaps             uint64
	gapAt            int64
	healed           int
	healedAt, backAt int64
	back             uint64
	backReason       string
	lost             bool
	refused          []refused
}

type refused struct {
	verb, code string
	times      int
	at         int64
}

// sum sums traces up, the oldest first. Of slowness that of the group counts before that of others.
func sum(traces []loop.Trace, group string) (s troubles) {
	for i := range traces {
		t := &traces[i]
		switch t.Kind {
		case loop.TraceClose:
			s.closed = t
		case loop.TraceSlow:
			if s.slow == nil || t.Group != "" || s.slow.Group == "" {
				s.slow = t
			}
		case loop.TraceGap:
			s.gaps, s.gapAt = s.gaps+t.Number, t.At
		case loop.TraceHeal:
			s.healed, s.healedAt = s.healed+1, t.At
		case loop.TraceBack:
			s.back, s.backAt, s.backReason, s.lost = s.back+t.Number, t.At, t.Reason, t.Number == 0
		case loop.TraceRefuse:
			s.refuse(t)
		case loop.TraceToken:
			s.token = t
		}
	}
	return s
}

func (s *troubles) refuse(t *loop.Trace) {
	n := max(t.Times, 1)
	for i := range s.refused {
		if r := &s.refused[i]; r.verb == t.Reason {
			r.times, r.at, r.code = r.times+n, t.At, t.Code
			return
		}
	}
	s.refused = append(s.refused, refused{t.Reason, t.Code, n, t.At})
}
