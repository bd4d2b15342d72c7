package loop

import (
	"bytes"

	"ringcast/dialect"
	"ringcast/loop/door"
	"ringcast/wsproto"
)

// This file is the handshake: a connection's request head, with a PROXY protocol header before it from some proxies, and the
// answer: the upgrade, or a refusal. What is plain HTTP leaves the loop (departure.go).

// partialHead is what has come of a request head that is not complete.
type partialHead struct {
	bytes []byte       // with a PROXY protocol header before it, as long as that is not complete
	scan  wsproto.Scan // how far the request head has been read
}

// handshake reads the request head and returns the bytes after it, which are the first frames. An incomplete head is kept in
// c.extra.
func (s *shard) handshake(c *client, p []byte) (rest []byte) {
	var head partialHead
	kept := c.extra != nil && c.extra.head != nil
	if kept {
		head = *c.extra.head
		head.bytes = append(head.bytes, p...)
	} else {
		head.bytes = p
	}
	from := c.source()
	if from.AwaitsProxy() {
		client, n, err := wsproto.ReadProxy(head.bytes)
		if err != nil {
			s.reject(c, err)
			return nil
		}
		if n > 0 {
			if !s.hub.addresses.Proxied(from, client, &s.bounds.addresses) {
				s.turnAway(c, awayAddress, wsproto.RejectProxied)
				return nil
			}
			head.bytes = head.bytes[n:]
		}
	}
	var req wsproto.Request
	n := 0
	if !from.AwaitsProxy() {
		rules := wsproto.HeadRules{BytesMax: s.bounds.HandshakeBytesMax, Subprotocols: s.bounds.subprotocols}
		var err error
		if req, n, err = wsproto.ReadRequest(head.bytes, &head.scan, rules); err != nil {
			s.reject(c, err)
			return nil
		}
	}
	if n == 0 {
		if len(head.bytes) == 0 { // a whole PROXY protocol header, and nothing after it
			s.dropInput(c)
			return nil
		}
		if !kept {
			head.bytes = append([]byte(nil), head.bytes...) // gnet's memory is only borrowed
			c.more().head = &partialHead{}
		}
		*c.extra.head = head
		s.keepPartial(c, cap(head.bytes), !kept)
		return nil
	}
	s.dropInput(c)
	if !req.Upgrade {
		if !kept {
			head.bytes = bytes.Clone(head.bytes) // gnet's memory is only borrowed
		}
		s.depart(c, &req, bytes.TrimLeft(head.bytes, "\r\n")) // empty lines before a request count for nothing (RFC 9112 §2.2)
		return nil
	}
	if !s.mayUpgrade(c, &req) {
		return nil
	}
	token, ok := s.arriving(c, &req)
	if !ok {
		return nil
	}
	s.upgrade(c, &req)
	if token != nil {
		s.take(c, token)
	}
	return head.bytes[n:]
}

// mayUpgrade says whether a correct handshake is accepted; false: it was answered with a refusal.
func (s *shard) mayUpgrade(c *client, req *wsproto.Request) bool {
	switch rate := s.bounds.HandshakesPerSecond; {
	case s.hub.stopping.Load() && !s.hub.handedIn:
		s.turnAway(c, awayStopping, wsproto.RejectStopping)
	case !s.bounds.origins.Allow(req.Origin):
		count(&s.count.Handshakes, handshakeOrigin)
		s.answerRejection(c, wsproto.RejectOrigin(req.Origin))
	case !s.hub.addresses.Forwarded(c.source(), req.ForwardedFor, &s.bounds.addresses):
		s.turnAway(c, awayAddress, wsproto.RejectProxied)
	case rate > 0 && !s.hub.handshakes.Allow(s.env.now(), rate):
		s.turnAway(c, awayRate, wsproto.RejectRate)
	default:
		return true
	}
	return false
}

// upgrade accepts a handshake: frames follow.
func (s *shard) upgrade(c *client, req *wsproto.Request) {
	count(&s.count.Handshakes, handshakeOK)
	s.become(c, stateOpen)
	c.marks |= markUpgraded | marks(s.hub.formOf(req.Path, req.Subprotocol))<<formShift
	entry := s.entry(c)
	if entry.Pings != nil && entry.Pings(req.Query) {
		c.marks |= markFramePings
	}
	if entry.Connects {
		s.deadlines.add(c, s.tick, s.handshakeTicks())
	} else {
		c.marks |= markConnected
	}
	s.count.Pending.Add(-1)
	s.count.Clients.Add(1)
	if s.traces.on {
		s.tell(c, Trace{Kind: TraceConnect, Reason: entry.Name})
	}
	s.replyTo(c, wsproto.AppendUpgrade(s.outFor(c), req))
	s.answer(c, dialect.Outcome{What: dialect.Greeting})
	if s.hub.stopping.Load() {
		s.close(c, dialect.CauseStopping)
	}
}

// turnAway refuses a connection whose request has been read.
func (s *shard) turnAway(c *client, why turnedAway, r *wsproto.Rejection) {
	count(&s.count.Handshakes, handshakeAway)
	count(&s.count.RefusedClientsBy, why)
	s.answerRejection(c, r.After(door.RetryAfter()))
}

// reject answers a malformed head.
func (s *shard) reject(c *client, err error) {
	count(&s.count.Handshakes, handshakeBad)
	s.answerRejection(c, rejectionOf(err))
}

func (s *shard) answerRejection(c *client, r *wsproto.Rejection) {
	s.explain(c, wsproto.StatusCode(r.Status), r.Reason)
	s.answerHTTP(c, r.AppendTo(nil))
}

// rejectionOf is the answer to a malformed head.
func rejectionOf(err error) *wsproto.Rejection {
	if r, ok := err.(*wsproto.Rejection); ok {
		return r
	}
	return &wsproto.Rejection{Status: 400, Reason: "The request could not be read."}
}

// tooManyHandshakes says whether more handshakes are under way than this loop's share of the bound. They may not be more
// than half of all connections: else clients that only connect would keep all others out until their time is over.
//
// If there are too many the oldest are ended (endLate), so a client that sends its request soon is admitted, however many
// others send none. Soon means within evictTicks: in a storm a loop opens thousands of connections before it reads the first
// request, and a client that is far away or busy has not sent one yet. For so long there may be more of them than the bound.
func (s *shard) tooManyHandshakes() bool {
	most := min(int64(s.bounds.HandshakesMax), s.hub.clientsMax.Load()/2)
	return s.handshaking > max(1, int(most)/len(s.hub.shards))
}

// mayEvict says whether a handshake that began at this tick is old enough to be ended because there are too many.
func (s *shard) mayEvict(since uint32) bool { return int32(s.tick-since) >= evictTicks }

// evictTicks is the age from which a handshake may be ended because there are too many: a second, or a tick more.
const evictTicks = 6
