package cluster

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// watchEvery is how often, in ticks, the leader of a partition is asked how far its log goes. What was republished and lost at the end of all
// messages is noticed by that.
const watchEvery = 2

// watch asks the leaders of all partitions for what they have, and renews markers. It ends with the cluster.
func (c *Cluster) watch() {
	answers := make(chan *nats.Msg, 4*len(c.parts))
	inbox := nats.NewInbox()
	if _, err := c.conn.ChanSubscribe(inbox+".*", answers); err != nil {
		if c.ctx.Err() == nil {
			c.log.Error("partitions are not watched", "error", err)
		}
		return
	}
	ticker := time.NewTicker(c.config.tick)
	defer ticker.Stop()
	for turn := 0; ; {
		select {
		case <-c.ctx.Done():
			return
		case m := <-answers:
			c.watched(m, len(inbox)+1)
		case <-ticker.C:
			turn++
			for _, p := range c.parts {
				if (p.number+turn)%watchEvery == 0 {
					p.asked.Store(p.tip.Load())
					_ = c.conn.PublishRequest("$JS.API.STREAM.INFO."+p.stream, fmt.Sprintf("%s.%d", inbox, p.number), nil)
				}
				if (p.number+turn)%markerEvery == 0 {
					c.run(p.renewMarker)
				}
			}
		}
	}
}

// watched takes what a leader says of its stream. skip is where the partition's number begins in the subject.
func (c *Cluster) watched(m *nats.Msg, skip int) {
	n, err := strconv.Atoi(m.Subject[skip:])
	if err != nil || n < 0 || n >= len(c.parts) {
		return
	}
	p := c.parts[n]
	var info server.StreamInfo
	err = answer(m, &info)
	var refused *server.ApiError
	gone := errors.As(err, &refused) && refused.ErrCode == uint16(server.JSStreamNotFoundErr)
	if !gone && (err != nil || info.Config.Name != p.stream) {
		return
	}
	if !gone && info.State.LastSeq >= p.asked.Load() {
		p.back.Store(0)
	} else if p.back.Add(1) >= backMax { // not one leader that was behind for a moment: the log has lost what it had
		p.renew.Store(true)
	}
	if gone {
		return
	}
	if info.Created.UnixNano() != p.created.Load() {
		p.renew.Store(true)
	}
	p.noted(&info)
	if p.needsMarker() && !p.renew.Load() {
		c.run(p.renewMarker)
	}
}

// backMax is how often in turn a log must not be there, or go less far than this node has read, before it is taken for another one: 10 s.
const backMax = 25

// noted keeps what a leader says.
func (p *partition) noted(info *server.StreamInfo) {
	leader := p.c.config.Node
	if info.Cluster != nil {
		leader = info.Cluster.Leader
	}
	if leader == "" {
		return
	}
	if was := p.leader.Load(); was == nil || *was != leader {
		p.leader.Store(&leader)
	}
	p.heard.Store(p.c.now.Load())
	p.bytes.Store(info.State.Bytes)
	p.oldest.Store(info.State.FirstSeq)
	p.claimed.Store(info.State.LastSeq)
}
