package cluster

import (
	"fmt"

	"github.com/nats-io/nats.go"
)

// Messages of fast groups go to the other nodes past the log: each is sent once, and not waited for. Those of one node come in its order; nothing else is
// promised. What there is no room for is lost, and counted.

// takeFast is what waits to be sent so.
func (p *partition) takeFast() []*item {
	p.mu.Lock()
	defer p.mu.Unlock()
	waiting := p.fast
	p.fast, p.fastBytes = nil, 0
	return waiting
}

func (p *partition) sendFast(it *item) {
	m := p.encode(fmt.Sprintf("rf.%d.%s", p.number, groupToken(it.offer.Message.Group)), it)
	if err := p.c.conn.PublishMsg(m); err != nil {
		p.c.counters.fastLost.Add(1)
		return
	}
	p.c.counters.fastSent.Add(1)
}

// hearFast takes what other nodes send so.
func (c *Cluster) hearFast() error {
	sub, err := c.conn.Subscribe("rf.*.*", func(m *nats.Msg) {
		var n int
		s, err := c.decode(m.Subject, m)
		if err == nil {
			_, err = fmt.Sscanf(m.Subject, "rf.%d.", &n)
		}
		if err != nil || n < 0 || n >= len(c.parts) {
			c.counters.strange.Add(1)
			return
		}
		if s.boot == c.boot {
			return // its home has sent it already
		}
		c.counters.fastHeard.Add(1)
		c.parts[n].told(c.in.Ordered(c.ctx, ordered{Partition: n, Message: s.Message, Fast: true}))
	})
	if err != nil {
		return fmt.Errorf("subscribing to fast groups: %w", err)
	}
	return sub.SetPendingLimits(readPendingMax, readPendingBytesMax)
}
