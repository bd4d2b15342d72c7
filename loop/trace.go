package loop

import (
	"slices"

	"ringcast/dialect"
	"ringcast/wsproto"
)

// This file is what can be known of a client after the fact. A trace is one thing that has happened to a client. Traces of trouble (it was
// refused something, was slow, missed messages, was closed) are seldom, and the newest of them are kept in the journal of the client's
// loop, whether somebody asks or not: who asks why a client has missed a message asks too late to watch. All other traces are made
// only while somebody listens (tail.go).

// Trace is one thing that has happened to a client, as an operator sees it.
type Trace struct {
	At     int64     `json:"at"` // Unix milliseconds. While it is in a loop's hands: nanoseconds of its clock
	Kind   TraceKind `json:"kind"`
	Loop   int       `json:"loop"`             // of the client; -1: a server has said it, by a port
	Client uint64    `json:"client,omitempty"` // its number; 0: a server
	Group  string    `json:"group,omitempty"`
	Code   string    `json:"code,omitempty"`   // TraceRefuse: an error code, or an HTTP status. TraceToken: a door.Fault. TraceClose: the close code, empty where there was none
	Reason string    `json:"reason,omitempty"` // in words of ours, or of the close reason
	Number uint64    `json:"number,omitempty"` // TracePublish: bytes; TraceSlow: bytes in the outbox; TraceGap, TraceBack: messages
	Times  int       `json:"times,omitempty"`  // the same happened so often in a row, the last time At
	Remote string    `json:"remote,omitempty"` // TraceConnect, TraceClose, TraceToken: the client's address
}

// TraceKind is what has happened.
type TraceKind uint8

var traceNames kinds

// The kinds of traces, and their names.
var (
	TraceConnect = kind[TraceKind](&traceNames, "connect") // its handshake is done; Reason: its dialect
	TraceJoin    = kind[TraceKind](&traceNames, "join")    // it has become a member
	TraceLeave   = kind[TraceKind](&traceNames, "leave")   // it is a member no more
	TracePublish = kind[TraceKind](&traceNames, "publish") // what it has said is on its way to the group's home, which may still refuse it
	TraceRefuse  = kind[TraceKind](&traceNames, "refuse")  // a command or a connection was refused
	TraceClose   = kind[TraceKind](&traceNames, "close")   // it is closed, or its connection has gone
	TraceSlow    = kind[TraceKind](&traceNames, "slow")    // its outbox had no room for a message of the group
	TraceGap     = kind[TraceKind](&traceNames, "gap")     // it was told how many messages it has missed
	TraceHeal    = kind[TraceKind](&traceNames, "heal")    // it was taken out of the group, and told to come back for what it has missed
	TraceBack    = kind[TraceKind](&traceNames, "back")    // it has come back, and got what it had missed, or was told that it cannot
	TraceToken   = kind[TraceKind](&traceNames, "token")   // a token that it has shown is not good; Code, Reason: why, with nothing of the token
)

// TraceKinds is the names of all kinds.
func TraceKinds() []string { return slices.Clone(traceNames) }

// String is the kind's name.
func (k TraceKind) String() string { return traceNames[k] }

// MarshalText is for JSON.
func (k TraceKind) MarshalText() ([]byte, error) { return []byte(traceNames[k]), nil }

// traces is a shard's part in it.
//
// Owner: who holds the shard.
type traces struct {
	on      bool       // somebody listens: all traces are made. It is false on a server that nobody looks at, so what it costs is a branch that is foreseen
	tails   []*tailEnd // who
	journal journal
}

// journal is the newest traces of trouble on a loop. It grows with them up to its bound; then each overwrites the oldest.
type journal struct {
	traces []Trace
	next   int // place of the next one, when it is full
}

// journalMax bounds the journal of a loop: 0.5 MB there where it is full, and the names of groups in it, of at most 255 bytes each.
const journalMax = 4096

// put adds a trace. One that repeats the last is counted with it, so a client that does the same wrong thing again and again does
// not push out everybody else's.
func (j *journal) put(t Trace) {
	if len(j.traces) > 0 {
		last := &j.traces[(j.next+len(j.traces)-1)%len(j.traces)]
		same := t
		same.At, same.Times, same.Number = last.At, last.Times, last.Number
		if same == *last {
			last.At, last.Number, last.Times = t.At, t.Number, max(last.Times, 1)+1
			return
		}
	}
	if len(j.traces) < journalMax {
		j.traces = append(j.traces, t)
		return
	}
	j.traces[j.next] = t
	j.next = (j.next + 1) % journalMax
}

// each gives the traces, the newest first, until f says that it has enough.
func (j *journal) each(f func(*Trace) (goOn bool)) {
	for i := range j.traces {
		if !f(&j.traces[(j.next+len(j.traces)-1-i)%len(j.traces)]) {
			return
		}
	}
}

// oldest is when its memory begins, in nanoseconds of the loop's clock; 0: it has all that there was.
func (j *journal) oldest() int64 {
	if len(j.traces) < journalMax {
		return 0
	}
	return j.traces[j.next].At
}

// note puts a trace of trouble into the journal, and tells it to who listens. The name of its group must be nobody's to overwrite.
func (s *shard) note(c *client, t Trace) {
	t.At, t.Loop, t.Client = s.env.now(), s.index, c.Number()
	s.traces.journal.put(t)
	if s.traces.on {
		s.tell(c, t)
	}
}

// noteRefused notes that a command was refused, or was wrong. Messages that are no command at all are ignored, and are not trouble.
func (s *shard) noteRefused(c *client, verb dialect.Verb, group []byte, code dialect.ErrorCode) {
	name := ""
	if g := s.groups.Get(string(group)); g != nil {
		name = g.name
	} else if len(group) <= s.bounds.GroupBytesMax {
		name = string(group)
	}
	t := Trace{Kind: TraceRefuse, Group: name, Code: string(code)}
	if verb != dialect.VerbNone {
		t.Reason = verb.String()
	}
	switch {
	case code != dialect.ErrBadJSON && code != dialect.ErrUnknownCmd:
		s.note(c, t)
	case s.traces.on:
		s.tell(c, t)
	}
}

// noteSlow notes that a client's outbox had no room for a message, or for what else it is sent. Once for what comes of it: further
// messages of the group have none either.
func (s *shard) noteSlow(c *client, of cargo, reason string) {
	t := Trace{Kind: TraceSlow, Number: uint64(c.conn.OutboundBuffered()), Reason: reason}
	if of.group != nil {
		t.Group = of.group.name
	}
	s.note(c, t)
}

// noteBack notes that a client has joined a group, if it came back to it with a position: in the journal if it did so to heal.
func (s *shard) noteBack(c *client, g *group, past *dialect.Past, messages int) {
	if !past.WasRecovering {
		return
	}
	t := Trace{Kind: TraceBack, Group: g.name, Number: uint64(messages), Reason: reasonRecovered}
	if !past.Recovered {
		t.Number, t.Reason = 0, reasonLost
	}
	if _, healed := s.slow.healers.times.All()[c]; healed {
		s.note(c, t)
	} else if s.traces.on {
		s.tell(c, t)
	}
}

// noteClose notes that the server closes a client. What everybody is told at a stop is in no journal.
func (s *shard) noteClose(c *client, code wsproto.StatusCode, reason string) {
	t := Trace{Kind: TraceClose, Code: codeText(code), Reason: reason}
	switch {
	case c.state == stateHandshake:
		if t.Kind = TraceRefuse; s.traces.on {
			s.tell(c, t)
		}
	case s.hub.stopping.Load():
		if s.traces.on {
			s.tell(c, t)
		}
	default:
		t.Remote = s.remoteOf(c)
		s.note(c, t)
	}
}

// remoteOf is a client's address; empty where the env knows none.
func (s *shard) remoteOf(c *client) string {
	if s.env.names == nil {
		return ""
	}
	return c.remote()
}

// Reasons of traces that are not a dialect's.
const (
	reasonFull      = "its outbox was full"
	reasonAllFull   = "all outboxes together were full, and its was among the largest"
	reasonEnded     = "the client has said goodbye"
	reasonGone      = "the connection has ended without a Close frame"
	reasonRecovered = "it got all that it had missed"
	reasonLost      = "what it had missed could not be had any more"
	reasonLoud      = "too much of the group, or of all groups, was on its way"

	reasonUnavailable = "too few machines of the cluster could be reached, and its message was not sent"
	reasonUnconfirmed = "its message was sent to the cluster, and no word of it came in time"
	reasonTooLarge    = "its message was larger than the log of the cluster takes"
)
