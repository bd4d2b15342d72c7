package loop

import (
	"bytes"

	"ringcast/dialect"
	"ringcast/loop/door"
	"ringcast/loop/secure"
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
		var ok bool
		if head.bytes, ok = s.unproxy(c, head.bytes); !ok {
			return nil
		}
	}
	if len(head.bytes) > 0 && secure.IsHello(head.bytes[0]) && !from.AwaitsProxy() { // libraries that try wss wait for this end (pusher-js)
		count(&s.count.Handshakes, handshakeTLS)
		s.explain(c, 400, wsproto.RejectTLS.Reason)
		s.say(c, wsproto.RejectTLS.AppendTo(nil))
		s.doom(c)
		return nil
	}
	var req wsproto.Request
	n := 0
	if !from.AwaitsProxy() {
		rules := wsproto.HeadRules{BytesMax: s.bounds.HandshakeBytesMax, Subprotocols: s.bounds.subprotocols, Deflate: s.bounds.Compression}
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
		if c.isGuest() {
			s.turnAway(c, awayClients, wsproto.RejectBusy)
			return nil
		}
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

// unproxy reads the PROXY protocol header that p begins with, as long as the client's source awaits one, and returns what is behind it.
// False: the client was refused.
func (s *shard) unproxy(c *client, p []byte) (rest []byte, ok bool) {
	client, n, err := wsproto.ReadProxy(p)
	switch {
	case err != nil:
		s.reject(c, err)
		return nil, false
	case n > 0 && !s.hub.addresses.Proxied(c.source(), client, &s.bounds.addresses):
		s.turnAway(c, awayAddress, wsproto.RejectProxied)
		return nil, false
	}
	return p[n:], true
}

// mayUpgrade says whether a correct handshake is accepted; false: it was answered with a refusal.
func (s *shard) mayUpgrade(c *client, req *wsproto.Request) bool {
	switch rate := s.bounds.HandshakesPerSecond; {
	case s.hub.stopping.Load() && !s.hub.handedIn:
		s.refuse(c, req, awayStopping, wsproto.RejectStopping)
	case !s.bounds.origins.Allow(req.Origin):
		count(&s.count.Handshakes, handshakeOrigin)
		s.answerRejection(c, wsproto.RejectOrigin(req.Origin))
	case !s.hub.addresses.Forwarded(c.source(), req.ForwardedFor, &s.bounds.addresses):
		s.turnAway(c, awayAddress, wsproto.RejectProxied)
	case c.isGuest():
		s.refuse(c, req, awayClients, wsproto.RejectBusy)
	case rate > 0 && !s.hub.handshakes.Allow(s.env.now(), rate):
		s.refuse(c, req, awayRate, wsproto.RejectRate)
	default:
		return true
	}
	return false
}

// upgrade accepts a handshake: frames follow.
func (s *shard) upgrade(c *client, req *wsproto.Request) {
	count(&s.count.Handshakes, handshakeOK)
	s.open(c, req, s.formOf(req.Path, req.Subprotocol))
	entry := s.entry(c)
	if entry.Pings != nil && entry.Pings(req.Query) {
		c.marks |= markFramePings
	}
	if entry.Connects {
		s.deadlines.add(c, s.tick, s.handshakeTicks())
	} else {
		c.marks |= markConnected
	}
	if s.traces.on {
		s.tell(c, Trace{Kind: TraceConnect, Reason: entry.Name})
	}
	if entry.NeedsApp && !s.register(c, req) {
		return
	}
	s.answer(c, dialect.Outcome{What: dialect.Greeting, Number: s.bounds.heartbeatSeconds()})
	if s.hub.stopping.Load() {
		s.close(c, s.stopCause(c))
	}
}

// open answers a handshake: from here on frames are spoken.
func (s *shard) open(c *client, req *wsproto.Request, f form) {
	s.become(c, stateOpen)
	c.marks |= markUpgraded | marks(f)<<formShift
	if req.Deflate {
		c.detour |= deflates
		s.count.DeflateClients.Add(1)
	}
	s.count.Pending.Add(-1)
	s.count.Clients.Add(1)
	s.replyTo(c, wsproto.AppendUpgrade(s.outFor(c), req))
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
