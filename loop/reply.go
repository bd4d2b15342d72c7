package loop

import "ringcast/dialect"

// replies is what a shard has to say to one client and has not sent yet: what one callback says to one client goes out in
// one send.
//
// Owner: the loop.
type replies struct {
	out []byte
	to  *client // nil: out is empty
}

// replyBytesMax is how much is gathered for one client before it is sent; a client may pipeline without end.
const replyBytesMax = 32 << 10

// take empties it. What it returns may be overwritten by the next reply.
func (r *replies) take() (to *client, out []byte) {
	to, out = r.to, r.out
	r.to, r.out = nil, out[:0]
	if cap(out) > 2*replyBytesMax {
		r.out = nil
	}
	return to, out
}

// drop forgets what is for a client.
func (r *replies) drop(c *client) {
	if r.to == c {
		r.to, r.out = nil, r.out[:0]
	}
}

// outFor is the buffer to append replies for c to; hand the result to replyTo.
func (s *shard) outFor(c *client) []byte {
	if s.replies.to != c || len(s.replies.out) > replyBytesMax {
		s.flushReplies()
	}
	return s.replies.out
}

func (s *shard) replyTo(c *client, out []byte) {
	s.replies.out, s.replies.to = out, c
	s.count.Replies.Add(1)
}

// answer tells an open client of an outcome, in its own dialect. It is the one way by which clients are told anything but
// messages, pongs and closes.
func (s *shard) answer(c *client, o dialect.Outcome) {
	if c.state == stateOpen {
		s.replyTo(c, s.dialect(c).Answer(s.outFor(c), o))
	}
}

// dialect is what c speaks.
func (s *shard) dialect(c *client) dialect.Dialect { return s.dialects[c.form()] }

// flushReplies sends what has gathered.
func (s *shard) flushReplies() {
	c, out := s.replies.take()
	if len(out) == 0 || c.state > stateClosing {
		return
	}
	s.count.BytesOut.Add(uint64(len(out)))
	if s.stillSlow(c); c.state <= stateClosing {
		s.push(c, out, 0)
	}
}
