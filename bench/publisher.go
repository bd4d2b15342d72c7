package main

import (
	"math/bits"

	"ringcast/bench/check"
	"ringcast/bench/client"
)

// publisher sends the numbered messages of one connection to one group. Owner: the generator that has the connection.
type publisher struct {
	number  int // among all publishers of the run, as the stamp has it
	group   int
	place   int // among the publishers of its group
	conn    *client.Conn
	command client.Send

	sequence uint32 // of the next message
	allowed  uint32 // messages below this number may be sent now
	queued   bool   // it is in its crew's list of publishers that have something to do
	held     bool   // the socket was full when it wanted to send: lateness from then on is the server's
	gone     bool   // its connection was cut off

	elsewhere uint32 // once gone: one more than the highest number that a member in another process got

	// Closed loop only. A message is acknowledged when every member of the group has it. Waiting for one designated
	// member would be cheaper, but a server that happens to serve that member first would look faster than it is, and
	// what waits for the others would have no bound: the window would no longer limit what is in flight.
	window uint32
	floor  uint32   // all messages below are acknowledged by the members in this process
	floors []uint32 // the same by process, noFloor without members; nil in a run of one process
	needed uint32   // members of the group in this process
	got    []uint32 // deliveries of message n, at n modulo the length (a power of two)
}

// appendMessage appends the frame of a publisher's next message.
func (c *crew) appendMessage(buf []byte, p *publisher, id int, due int64) []byte {
	if p.conn.Packs() {
		c.text = p.appendCommand(c.text[:0], id, due, c.fill)
		return c.g.AppendText(buf, p.conn, c.text)
	}
	key := c.g.MaskKey()
	buf = client.AppendTextHeader(buf, p.command.Len(id, c.plan.Size), key)
	at := len(buf)
	buf = p.appendCommand(buf, id, due, c.fill)
	client.Mask(buf[at:], key)
	return buf
}

// appendCommand appends what sends the next message.
func (p *publisher) appendCommand(dst []byte, id int, due int64, fill check.Fillings) []byte {
	dst = p.command.AppendStart(dst, id)
	dst = check.AppendStamp(dst, check.Stamp{Publisher: uint32(p.number), Sequence: p.sequence, Due: due})
	dst = append(dst, fill.Of(p.sequence)...)
	return p.command.AppendEnd(dst)
}

// openWindow allows the first messages of a closed loop.
func (p *publisher) openWindow(window, members int) {
	p.window, p.needed = uint32(window), uint32(members)
	p.got = make([]uint32, 1<<bits.Len(uint(window-1)))
	p.allowed = p.window
	if members == 0 {
		p.floor = noFloor
	}
}

// noFloor is the floor of a process without members, which has nothing to acknowledge.
const noFloor = 1<<32 - 1

// acknowledge notes one more member that has the message, and reports whether that allows further ones.
func (p *publisher) acknowledge(sequence uint32) bool {
	last := uint32(len(p.got) - 1)
	p.got[sequence&last]++
	if sequence != p.floor || p.got[sequence&last] < p.needed {
		return false
	}
	for p.floor < p.sequence && p.got[p.floor&last] == p.needed {
		p.got[p.floor&last] = 0
		p.floor++
	}
	return p.advance()
}

// advance moves the window to where the members of all processes are, and reports whether that is further on.
func (p *publisher) advance() bool {
	floor := p.floor
	for _, elsewhere := range p.floors {
		floor = min(floor, elsewhere)
	}
	before := p.allowed
	p.allowed = floor + p.window
	return p.allowed > before
}

// schedule is an open loop: message n of the whole run is due n/rate after the start, publishers take turns. Its due
// times do not depend on the server, and a message that is sent late keeps its due time in its stamp.
type schedule struct {
	start, end int64
	rate       float64 // messages a second of all publishers of the run
	publishers int     // of the run
	own        []*publisher
	turn       int    // the publisher of the next message, in own
	round      uint32 // its sequence number
}

func (s *schedule) due(publisher int, sequence uint32) int64 {
	n := float64(sequence)*float64(s.publishers) + float64(publisher)
	return max(s.start+int64(n*1e9/s.rate), 0) // a spurt may have been due before the bench began
}

// spurt makes the next so many messages of each publisher due before now; those after them are due when they would have been without.
func (s *schedule) spurt(rounds uint32) {
	s.start -= int64(float64(rounds) * float64(s.publishers) * 1e9 / s.rate)
}

// advance allows all messages that are due and hands their publishers to mark. It returns when the next is due, or
// over when none is before the end.
func (s *schedule) advance(now int64, mark func(*publisher)) (wake int64, over bool) {
	for len(s.own) > 0 {
		p := s.own[s.turn]
		due := s.due(p.number, s.round)
		if due >= s.end {
			return 0, true
		}
		if due > now {
			return due, false
		}
		p.allowed = s.round + 1
		mark(p)
		if s.turn++; s.turn == len(s.own) {
			s.turn = 0
			s.round++
		}
	}
	return 0, true
}
