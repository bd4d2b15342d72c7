package loop

import (
	"fmt"
	"slices"
	"strings"

	"ringcast/loop/secure"
	"ringcast/wsproto"
)

// This file is a tunnel before it is open. Its time is that of the handshake as a whole, TLS and request together.
//
//	gathers    what comes is kept until a whole hello lies there, with a PROXY protocol header before it from some proxies. It is
//	           partial input, and costs no more than that of any client
//	waits      for its turn: too many TLS handshakes of this loop are under way
//	shakes     the handshake runs, on a goroutine of its own, which asks for no bytes but those that are fed to it, and calls the loop
//	           when there is something to send, and when it is done
//	open       tunnel.opening is nil
//
// Those that are under way are bounded: whoever sends a hello and then nothing has a goroutine. If there are as many as there may be,
// the oldest gives way to a newcomer, if it has had a second, else the newcomer waits, and of those the newest is the next.

// opening is what is kept of a tunnel until it is open.
//
// Owner: the loop.
type opening struct {
	hello  []byte // what has come, until the handshake begins
	began  uint32 // tick at which it did
	waits  bool   // for its turn
	shakes bool   // its goroutine has begun, and its last word has not come
	told   bool   // how it ended is counted
	given  bool   // it was given up
}

// hellos are a shard's TLS handshakes.
//
// Owner: the loop.
type hellos struct {
	running []*client // their goroutines have not ended, oldest first
	waiting []*client // for their turn; some may have gone since
	gone    int       // how many of those have
	leaving int       // of those that run, how many were given up
}

const (
	// tlsHandshakesMax bounds the TLS handshakes that are under way in the process: each has a goroutine and some 30 KB.
	tlsHandshakesMax = 4096

	// earlyBytesMax bounds what a client may send before its TLS handshake is done: a request that comes close behind it, with its body.
	earlyBytesMax = 1 << 20
)

// overTLS has a new client speak TLS.
func (c *client) overTLS() {
	c.detour |= detourSecure
	c.conn = &tunnel{conn: c.conn, opening: &opening{}}
}

// greet takes what a client sends before its tunnel is open.
func (s *shard) greet(c *client, t *tunnel, p []byte) {
	o := t.opening
	if o.shakes {
		if fed := t.cipher.Feed(p); s.mayGreet(c, t, fed) {
			c.more()
			s.keepPartial(c, fed, false)
		}
		return
	}
	began := len(o.hello) == 0
	o.hello = append(o.hello, p...)
	if !s.mayGreet(c, t, len(o.hello)) {
		return
	}
	if from := c.source(); from.AwaitsProxy() {
		var ok bool
		if o.hello, ok = s.unproxy(c, o.hello); !ok {
			return
		}
	}
	if from := c.source(); len(o.hello) > 0 && !o.waits && !from.AwaitsProxy() {
		switch secure.KindOf(o.hello) {
		case secure.Hello:
			o.waits = true
			s.hellos.waiting = append(s.hellos.waiting, c)
			s.beginHellos()
		case secure.Text:
			s.answerPlain(c, t)
			return
		case secure.Garbage:
			s.endHello(t, tlsNotTLS)
			count(&s.count.Handshakes, handshakeBad)
			s.doom(c)
			return
		}
	}
	if c.state == stateHandshake && !o.shakes && len(o.hello) > 0 {
		c.more()
		s.keepPartial(c, cap(o.hello), began)
	}
}

// mayGreet ends a client that has sent too much before its handshake is done.
func (s *shard) mayGreet(c *client, t *tunnel, bytes int) bool {
	if bytes <= earlyBytesMax {
		return true
	}
	s.endHello(t, tlsFailed)
	count(&s.count.Handshakes, handshakeBad)
	s.doom(c)
	return false
}

// answerPlain tells a client that speaks plain HTTP where TLS is spoken.
func (s *shard) answerPlain(c *client, t *tunnel) {
	s.endHello(t, tlsNotTLS)
	count(&s.count.Handshakes, handshakeBad)
	c.detour &^= detourSecure
	c.conn = t.conn
	s.answerRejection(c, wsproto.RejectPlain)
}

// endHello counts how a TLS handshake has ended, once.
func (s *shard) endHello(t *tunnel, how tlsOutcome) {
	if o := t.opening; o != nil && !o.told {
		o.told = true
		count(&s.count.TLSHandshakes, how)
	}
}

// beginHellos begins the handshakes that wait, as many as there may be, the newest first: behind a hundred thousand hellos of which
// nothing follows nobody would have a turn in time. For each that is left the oldest of those that run gives way.
func (s *shard) beginHellos() {
	h := &s.hellos
	for len(h.waiting) > 0 && len(h.running) < s.hellosMax() {
		last := len(h.waiting) - 1
		c := h.waiting[last]
		h.waiting[last] = nil
		if h.waiting = h.waiting[:last]; c.tunnel().opening.waits {
			s.beginHello(c)
		} else {
			h.gone--
		}
	}
	if len(h.waiting) == 0 {
		h.waiting = nil // free the memory of a long list
	}
	for i := 0; i < len(h.running) && h.leaving < len(h.waiting)-h.gone; i++ {
		c := h.running[i]
		t := c.tunnel()
		if !s.mayEvict(t.opening.began) {
			break
		}
		if c.state == stateHandshake {
			s.endHello(t, tlsEvicted)
			count(&s.count.Handshakes, handshakeEvicted)
			s.explain(c, 408, "too many TLS handshakes are unfinished, and this is the oldest")
			s.abort(t)
			s.doom(c)
		}
	}
}

// hellosMax is the loop's share of the bound.
func (s *shard) hellosMax() int { return max(1, s.bounds.tlsHandshakes/len(s.hub.shards)) }

func (s *shard) beginHello(c *client) {
	t := c.tunnel()
	o := t.opening
	o.waits, o.shakes, o.began = false, true, s.tick
	hello := o.hello
	o.hello = nil
	s.hellos.running = append(s.hellos.running, c)
	s.count.TLSRunning.Add(1)
	progress := func(s *shard) { s.progress(c, t) }
	t.cipher = s.env.secure(hello, func() { s.hub.call(s, progress) })
}

// progress sends what a TLS handshake has to send, and goes on when it is done.
func (s *shard) progress(c *client, t *tunnel) {
	if t.opening == nil || !t.opening.shakes {
		return // its last word was taken with an earlier call
	}
	was := s.culprit
	s.culprit = c
	out, done, err := t.cipher.Progress()
	if done {
		s.hellos.running = slices.DeleteFunc(s.hellos.running, func(other *client) bool { return other == c })
		s.count.TLSRunning.Add(-1)
		t.opening.shakes = false
		if t.opening.given {
			s.hellos.leaving--
		}
		if p, is := err.(*secure.Panicked); is { // no callback's, so nothing else counts it
			s.count.Panics.Add(1)
			s.env.panic(fmt.Sprintf("in a TLS handshake: %v\n%s", p.Value, p.Stack))
		}
	}
	if len(out) > 0 && c.state == stateHandshake {
		s.put(c, t.conn, out)
	}
	if done {
		if c.state == stateHandshake {
			s.shaken(c, t, err)
		} else {
			t.cipher = nil
		}
		s.beginHellos()
	}
	s.culprit = was // not deferred: who is to be closed for a panic must be known behind it
}

// shaken goes on with a client whose TLS handshake is done.
func (s *shard) shaken(c *client, t *tunnel, err error) {
	s.dropInput(c)
	if err != nil {
		s.endHello(t, tlsFailed)
		count(&s.count.Handshakes, handshakeBad)
		s.explain(c, 400, "the TLS handshake has failed: "+helloFailure(err))
		s.closing(c) // the alert is on its way: the peer ends its side when it has it, or the deadline does
		s.settle(c)
		return
	}
	s.endHello(t, tlsOK)
	t.opening = nil
	s.count.TLSClients.Add(1)
	if t.cipher.IsOther() { // it wanted to see the certificate, and no more (RFC 8737 §3)
		s.closing(c)
		s.settle(c)
		return
	}
	s.decrypt(c, t, nil)
}

// helloFailure is why a TLS handshake has failed, with what that mostly means where the words of crypto/tls do not say it: a client that
// does not trust the certificate says so in an alert, or, under TLS 1.3, in one that is not readable yet.
func helloFailure(err error) string {
	text := err.Error()
	for _, of := range []struct{ words, hint string }{
		{"bad record MAC", "mostly a client that does not trust the certificate"},
		{"remote error: tls: unknown certificate", "the client does not trust the certificate"},
		{"remote error: tls: bad certificate", "the client does not trust the certificate"},
		{"no certificates configured", "there is no certificate yet: ringcast status says why"},
	} {
		if strings.Contains(text, of.words) {
			return text + " (" + of.hint + ")"
		}
	}
	return text
}

// giveUpHello is called when a connection is gone whose tunnel was not open.
func (s *shard) giveUpHello(c *client, t *tunnel) {
	s.endHello(t, tlsGone)
	switch o := t.opening; {
	case o.waits:
		o.waits = false
		s.hellos.left()
	case o.shakes:
		s.abort(t)
	}
}

// left notes that one of those that wait has gone. They may all go at once, so the list is not searched for each.
func (h *hellos) left() {
	if h.gone++; 2*h.gone > len(h.waiting) {
		h.waiting = slices.DeleteFunc(h.waiting, func(c *client) bool { return !c.tunnel().opening.waits })
		h.gone = 0
	}
}

// abort gives up a handshake that runs. Its goroutine has yet to end, so it still counts.
func (s *shard) abort(t *tunnel) {
	if !t.opening.given {
		t.opening.given = true
		s.hellos.leaving++
		t.cipher.Abort()
	}
}
