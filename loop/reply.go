package loop

import (
	"ringcast/dialect"
	"ringcast/wsproto"
)

// replies is the frames for one client that a shard has not sent yet, so that the replies of one callback to a client go out
// in one send.
//
// Owner: the loop.
type replies struct {
	out []byte
	to  *client // nil: out is empty
}

// replyBytesMax is how many bytes are gathered for one client before they are sent: a client may pipeline any number of commands.
const replyBytesMax = 32 << 10

// take empties it. The next reply overwrites what it returns.
func (r *replies) take() (to *client, out []byte) {
	to, out = r.to, r.out
	r.to, r.out = nil, out[:0]
	if cap(out) > 2*replyBytesMax {
		r.out = nil
	}
	return to, out
}

// drop drops what is for a client.
func (r *replies) drop(c *client) {
	if r.to == c {
		r.to, r.out = nil, r.out[:0]
	}
}

// outFor is the buffer to which the caller appends a reply to c, and which it then gives to replyTo.
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

// answer tells an open client of an outcome, in its dialect. Gaps are told in the place of messages (slow.go); beside them and
// messages only what is no dialect's is sent in other ways: pongs, Close frames, HTTP.
func (s *shard) answer(c *client, o dialect.Outcome) {
	if c.state != stateOpen {
		return
	}
	o.Client = c.Number()
	before := s.outFor(c)
	if out := s.dialect(c).Answer(before, o); len(out) > len(before) {
		if c.deflates() && s.entry(c).DeflatesAnswers {
			out = append(before, wsproto.AppendDeflated(nil, out[len(before):], s.bounds.CompressionMin)...)
		}
		s.replyTo(c, out)
	}
}

// answerRefused is answer for a refusal, or it closes the client where its dialect has it so.
func (s *shard) answerRefused(c *client, o dialect.Outcome) {
	if causes := s.entry(c).RefusalCause; causes != nil {
		if s.rates.on && c.state == stateOpen && o.Verb == dialect.AddGroup && o.Code != dialect.ErrRateLimited && !s.mayCommand(c, true) { // see subscribesAnew
			o.Code = dialect.ErrRateLimited
		}
		if why, closes := causes(o.Verb, o.Code); closes {
			if why == dialect.CauseStopping {
				why = s.stopCause(c)
			}
			s.close(c, why)
			return
		}
	}
	s.answer(c, o)
}

// entry is the entry of c's dialect.
func (s *shard) entry(c *client) *dialect.Entry { return &s.hub.dialects[c.dialect()] }

// dialect is the value of c's dialect.
func (s *shard) dialect(c *client) dialect.Dialect { return s.dialects.of[c.dialect()] }

// flushReplies sends what has gathered.
func (s *shard) flushReplies() {
	c, out := s.replies.take()
	if len(out) == 0 || c.state > stateClosing {
		return
	}
	s.count.BytesOut.Add(uint64(len(out)))
	if s.stillSlow(c); c.state <= stateClosing {
		s.push(c, out, cargo{})
	}
}
