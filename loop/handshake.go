package loop

import (
	"ringcast/dialect"
	"ringcast/loop/door"
	"ringcast/wsproto"
)

// This file is a connection's time before it is a WebSocket: its request head, what stands before that behind a proxy, and
// the answer, be it the upgrade, a page or a refusal.

// handshake reads the request head and returns the bytes behind it, which are the first frames. What is not complete is
// kept in c.extra.
func (s *shard) handshake(c *client, p []byte) (rest []byte) {
	data, kept := p, c.extra != nil && c.extra.head != nil
	if kept {
		c.extra.head = append(c.extra.head, p...)
		data = c.extra.head
	}
	from := c.source()
	if from.AwaitsProxy() {
		client, n, err := wsproto.ReadProxy(data)
		if err != nil {
			s.reject(c, err)
			return nil
		}
		if n > 0 {
			if !s.hub.addresses.Proxied(from, client, &s.bounds.addresses) {
				s.turnAway(c, awayAddress, wsproto.RejectProxied)
				return nil
			}
			if data = data[n:]; kept {
				c.extra.head = data
			}
		}
	}
	var req wsproto.Request
	n := 0
	if !from.AwaitsProxy() {
		var err error
		if req, n, err = wsproto.ReadRequest(data, s.bounds.HandshakeBytesMax); err != nil {
			s.reject(c, err)
			return nil
		}
	}
	if n == 0 {
		if len(data) == 0 { // a PROXY protocol header, whole, and nothing behind it
			s.dropInput(c)
			return nil
		}
		if !kept {
			c.more().head = append([]byte(nil), data...)
		}
		s.keepPartial(c, cap(c.extra.head), !kept)
		return nil
	}
	s.dropInput(c)
	if !req.Upgrade {
		s.answerHTTP(c, s.route(&req))
		return nil
	}
	if !s.mayUpgrade(c, &req) {
		return nil
	}
	s.upgrade(c, &req)
	return data[n:]
}

// mayUpgrade judges a handshake that is complete and right; one that may not go on has been answered.
func (s *shard) mayUpgrade(c *client, req *wsproto.Request) bool {
	switch rate := s.bounds.HandshakesPerSecond; {
	case s.hub.stopping.Load():
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

// upgrade makes a connection a client.
func (s *shard) upgrade(c *client, req *wsproto.Request) {
	count(&s.count.Handshakes, handshakeOK)
	s.become(c, stateOpen)
	c.marks |= markUpgraded | marks(s.hub.formOf(req.Path))<<formShift
	s.count.Pending.Add(-1)
	s.count.Clients.Add(1)
	s.replyTo(c, wsproto.AppendUpgrade(s.outFor(c), req))
	s.replies.out = s.dialect(c).Answer(s.replies.out, dialect.Outcome{What: dialect.Greeting}) // no reply of its own: it may be nothing
}

// turnAway refuses a connection whose request has been read.
func (s *shard) turnAway(c *client, why turnedAway, r *wsproto.Rejection) {
	count(&s.count.Handshakes, handshakeAway)
	count(&s.count.RefusedClientsBy, why)
	s.answerRejection(c, r.After(door.RetryAfter()))
}

// reject answers a head that is wrong.
func (s *shard) reject(c *client, err error) {
	count(&s.count.Handshakes, handshakeBad)
	s.answerRejection(c, rejectionOf(err))
}

func (s *shard) answerRejection(c *client, r *wsproto.Rejection) {
	s.explain(c, wsproto.StatusCode(r.Status), r.Reason)
	s.answerHTTP(c, r.AppendTo(nil))
}

// rejectionOf is what the peer is told of a bad request head.
func rejectionOf(err error) *wsproto.Rejection {
	if r, ok := err.(*wsproto.Rejection); ok {
		return r
	}
	return &wsproto.Rejection{Status: 400, Reason: "The request could not be read."}
}

// route answers plain HTTP: the demo page and a health check, nothing else. The admin side has an address of its own.
func (s *shard) route(req *wsproto.Request) []byte {
	head := req.Method == "HEAD"
	known := req.Path == "/healthz" || req.Path == "/" && s.hub.page != nil
	switch {
	case !known:
		count(&s.count.Handshakes, handshakeBad)
		return wsproto.RejectNotFound(req.Path).AppendTo(nil)
	case req.Method != "GET" && !head:
		count(&s.count.Handshakes, handshakeBad)
		return wsproto.RejectMethod(req.Method).AppendTo(nil)
	case req.Path == "/healthz":
		count(&s.count.Handshakes, handshakeHTTP)
		return wsproto.AppendHTTP(nil, 200, "text/plain; charset=utf-8", []byte("ok\n"), head)
	default:
		count(&s.count.Handshakes, handshakeHTTP)
		return wsproto.AppendHTTP(nil, 200, "text/html; charset=utf-8", s.hub.page, head)
	}
}

// Handshakes that are not finished.

// tooManyHandshakes says whether more handshakes are unfinished than this loop's share of the bound. They may never be more than half
// of all connections: who only connects would keep everybody out until the handshake's time is over.
//
// Then the oldest are ended (deadlines), so whoever sends its request soon gets in, however many others there are that
// send none. Soon is evictTicks: in a storm a loop has opened thousands of connections before it reads the first request,
// and a client that is far away or busy has not sent it yet; for so long there may be more of them than the bound.
func (s *shard) tooManyHandshakes() bool {
	most := min(int64(s.bounds.HandshakesMax), s.hub.clientsMax.Load()/2)
	return s.unfinished > max(1, int(most)/len(s.hub.shards))
}

// mayEvict says whether a handshake that began at this tick is old enough to be ended for others.
func (s *shard) mayEvict(since uint32) bool { return int32(s.tick-since) >= evictTicks }

// evictTicks is the age from which an unfinished handshake may be ended to make room: one to two seconds.
const evictTicks = 6
