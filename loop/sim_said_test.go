package loop

import (
	"context"
	"fmt"

	"ringcast/loop/order"
)

// This file is the ports of a simulated world whose callers are told what became of a publish. Some of their messages are not kept, and
// some are under a key, of which there are few: a repeat is heard by nobody.

// simSaid is what such a caller says, and knows.
type simSaid struct {
	order.Said
	pending *Pending
	heard   bool
}

// unkept says whether a message is not to be kept.
func (m *simMessage) unkept() bool { return m.said != nil && m.said.Unkept }

func (w *world) publishByPort(group string) {
	if w.chance(50) {
		w.sayByPort(group)
		for w.excepts.are && w.chance(40) { // so that some of a batch leaves a peer out
			w.sayByPort(group)
		}
		return
	}
	m := w.newMessage(nil, group)
	switch err := insist(w.port, group, []byte(m.text)); err {
	case nil:
		m.accepted = true
	case ErrBusy:
		w.must(w.tight, "a port was refused though lanes are large")
	default:
		w.must(false, "port: %v", err)
	}
}

func (w *world) sayByPort(group string) {
	m := w.newMessage(nil, group)
	m.said = &simSaid{Said: order.Said{Payload: []byte(m.text), Unkept: w.chance(30)}}
	if w.chance(30) {
		m.said.Key = fmt.Sprint(w.rng.IntN(3))
	}
	if w.excepts.are && w.chance(60) {
		w.leaveOut(m)
	}
	var err error
	switch m.said.pending, err = w.port.Offer(group, m.said.Said); err {
	case nil:
	case ErrBusy:
		m.said.pending = nil
		w.must(w.tight, "a port was refused though lanes are large")
	default:
		w.must(false, "port: %v", err)
	}
}

// checkSaid judges, at rest, what the callers were told, and returns which numbers those messages have that leave somebody out.
func (w *world) checkSaid() (numbers map[simNumber]*simMessage) {
	first := map[string]Receipt{} // by group and key
	numbers = map[simNumber]*simMessage{}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	for _, m := range w.sent {
		if m.said == nil || m.said.pending == nil {
			continue
		}
		r, err := m.said.pending.Wait(over) // it is known already
		w.must(err == m.refused && w.tooLoud[m.number] == 0 || err == ErrBusy && w.tooLoud[m.number] == 1, "message %d: told %v", m.number, err)
		m.said.pending = nil
		w.numbered(m, r, err, numbers)
		if m.accepted = err == nil && !r.Repeated; m.accepted {
			w.must(!m.unkept() || r.Position == Position{} && !r.Kept, "message %d is not kept, and told %+v", m.number, r)
			if m.unkept() && m.said.heard {
				w.unkept++
			}
		}
		if key := m.group + " " + m.said.Key; err == nil && m.said.Key != "" {
			was, is := first[key]
			w.must(is == r.Repeated, "message %d: told %+v; its key was said before: %v", m.number, r, is)
			if is {
				was.Repeated = true
				if w.orderer != nil && r.Position.Offset == was.Position.Offset {
					was = r // the orderer has said it, and knows no more
				}
				w.must(r == was && !m.said.heard, "message %d repeats another, is told %+v, want %+v; heard: %v", m.number, r, was, m.said.heard)
				w.repeats++
			} else {
				first[key] = r
			}
		}
	}
	return numbers
}
