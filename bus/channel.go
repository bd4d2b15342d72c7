package bus

import "slices"

// channel is a name with subscribers. Under the server's lock.
type channel struct {
	subscribers []*peer // in the order of their subscriptions
	next        int     // whose turn it is in publishLoop
}

// subscribe is idempotent: on its first connection PHP's client sends it twice. false: the client has reached its bound.
func (s *server) subscribe(p *peer, n name) bool {
	if _, already := p.subscribed[string(n.key)]; already {
		return true
	}
	if len(p.subscribed)+len(p.watched) >= s.cfg.SubscriptionsMax {
		return false
	}
	key := string(n.key)
	c := s.channels[key]
	if c == nil {
		c = &channel{}
		s.channels[key] = c
	}
	c.subscribers = append(c.subscribers, p)
	p.subscribed[key] = struct{}{}
	s.subscriptions++
	return true
}

func (s *server) unsubscribe(p *peer, key string) {
	if _, is := p.subscribed[key]; !is {
		return
	}
	delete(p.subscribed, key)
	s.subscriptions--
	c := s.channels[key]
	at := slices.Index(c.subscribers, p)
	c.subscribers = slices.Delete(c.subscribers, at, at+1)
	if at < c.next {
		c.next--
	}
	if len(c.subscribers) == 0 {
		delete(s.channels, key)
	}
}

// publish gives an event to every subscriber. A channel without subscribers does not exist: the event is dropped.
func (s *server) publish(key, frame []byte) {
	if c := s.channels[string(key)]; c != nil {
		x := &parcel{frame: frame}
		for _, p := range c.subscribers {
			p.event(x)
		}
	}
}

// publishLoop gives an event to one subscriber, to each in turn. A subscriber that is closed is skipped.
func (s *server) publishLoop(key, frame []byte) {
	c := s.channels[string(key)]
	if c == nil {
		return
	}
	x := &parcel{frame: frame}
	for range c.subscribers {
		if c.next >= len(c.subscribers) {
			c.next = 0
		}
		p := c.subscribers[c.next]
		c.next++
		if p.event(x) {
			return
		}
	}
}
