package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// The reader of a partition brings what the log has put in order to the homes: each message once, in the order of the offsets.
//
// The leader of the stream republishes each message once it is committed. That may get lost on its way: when it does, the next message has an
// offset that is too high, or, if there is no next one, the leader says by and by that its log goes further (watch). What is missing is
// fetched from the log, be it from its leader or from a replica. So a republished message that is lost costs time and nothing else, no node has a place in the log that it could lose, and when a
// leader is gone messages wait for the next one and for nothing more.
//
// While the reader waits for a home, messages wait for it, up to readPendingMax; what is beyond is missed, and fetched.

// tailEvery is how long the reader waits for a message before it looks whether the log goes further.
const tailEvery = 500 * time.Millisecond

// read is the reader. It ends with the cluster.
func (p *partition) read() {
	for p.c.ctx.Err() == nil {
		m, err := p.log.NextMsg(tailEvery)
		if p.renew.Load() {
			p.beginAnew()
			continue
		}
		switch {
		case err == nil:
			if p.c.lose == nil || !p.c.lose(p.number, number(m.Header, headerOffset)) {
				p.hear(m)
			}
		case errors.Is(err, nats.ErrTimeout):
			if claimed := p.claimed.Load(); claimed > p.tip.Load() {
				p.fill(claimed)
			}
		case errors.Is(err, nats.ErrSlowConsumer): // some was dropped, which the next one shows
		default:
			if !pause(p.c.ctx, tick) {
				return
			}
		}
	}
}

// hear takes a republished message.
func (p *partition) hear(m *nats.Msg) {
	offset := number(m.Header, headerOffset)
	if offset <= p.tip.Load() { // it was fetched
		return
	}
	if offset > p.tip.Load()+1 {
		p.fill(offset - 1)
	}
	if offset != p.tip.Load()+1 {
		return // it was fetched along, or the log is another one
	}
	p.heard.Store(p.c.now.Load())
	prev := number(m.Header, headerPrev)
	if prev == 0 && p.oldest.Load() > 1 {
		prev = offset - 1 // there may have been one that the log has no more: nothing of the group lies between the two, and no more is said
	}
	p.deliver(m.Subject, m, offset, prev)
}

// deliver brings a message to its home, and moves the tip.
func (p *partition) deliver(subject string, m *nats.Msg, offset, prev uint64) {
	defer p.tip.Store(offset)
	if isMarker(subject) {
		p.readMarker(m, offset)
		return
	}
	if p.unmarked += int64(len(m.Data) + headerBytes(m.Header) + len(subject)); p.unmarked > p.c.partitionBytes()/markerPart {
		p.unmarked = 0
		p.c.run(func() { p.writeMarker(true) })
	}
	s, err := p.c.decode(subject, m)
	if err != nil {
		p.c.counters.strange.Add(1)
		p.passOver(offset)
		return
	}
	s.Partition, s.Offset, s.Prev = p.number, offset, prev
	it, others := p.landed(&s)
	if it != nil {
		s.Token, s.Message, s.Key = it.offer.Token, it.offer.Message, it.offer.Key
	}
	p.c.counters.ordered.Add(1)
	p.told(p.c.in.Ordered(p.c.ctx, s.ordered))
	for _, other := range others {
		p.repeat(other, offset)
	}
	if it != nil {
		select { // there is room for another one on the way
		case p.kick <- struct{}{}:
		default:
		}
	}
}

// readMarker notices another epoch, or that the old one goes on.
func (p *partition) readMarker(m *nats.Msg, offset uint64) {
	is, err := markerEpoch(m.Data)
	if err != nil {
		p.c.counters.strange.Add(1)
		return
	}
	p.markAt.Store(offset)
	p.unmarked = 0
	p.mark.Store(uint64(is))
	p.passOver(offset)
}

// passOver tells the home that the partition has come to an offset that is no message: a node that starts behind it begins there, and tells its clients
// so, who must not seem to be ahead of this one.
func (p *partition) passOver(offset uint64) {
	p.told(p.c.in.Epoch(p.c.ctx, p.number, p.epoch(), offset))
}

// fill fetches from the log what is missing here up to an offset, until it has it, the log is another one, or the cluster is closed. Offsets that the log
// has no more are passed over. If any of them may have had a message, members here have missed it for good: then positions end, so that clients
// know.
func (p *partition) fill(upto uint64) {
	p.c.counters.holesFilled.Add(1)
	lost := uint64(0)
	for wait := tick / 100; p.tip.Load() < upto && p.c.ctx.Err() == nil && !p.renew.Load(); {
		before := p.tip.Load()
		got, err := p.missing(before+1, upto)
		for _, m := range got {
			offset := number(m.Header, headerOffset)
			if offset <= p.tip.Load() {
				continue
			}
			if offset > upto {
				lost += upto - p.tip.Load()
				p.tip.Store(upto) // the rest of it is gone
				break
			}
			lost += offset - p.tip.Load() - 1
			p.c.counters.holeMessages.Add(1)
			p.deliver(first(m.Header, headerSubject), m, offset, offset-1)
		}
		if err != nil || p.tip.Load() == before { // no replica that answers has it yet
			if !pause(p.c.ctx, wait) {
				break
			}
			wait = min(2*wait, tick)
		}
	}
	if lost > 0 {
		p.lostSome(lost)
	}
}

// missing fetches some of what is missing here. A replica is asked first, which is the one beside this node if there is one: it gives many messages at a time, but
// learns that the newest are committed only with the ones that follow, or by and by. The leader knows, and is asked for the first of what the replica does
// not have.
func (p *partition) missing(from, upto uint64) ([]*nats.Msg, error) {
	many := int(min(upto-from+1, fetchMax))
	got, err := p.fetcher.fetch(p.c.ctx, p.stream, server.JSApiMsgGetRequest{Seq: from, Batch: many, MaxBytes: fetchBytesMax})
	if len(got) > 0 {
		return got, nil
	}
	m, err2 := p.c.nextOf(p.c.ctx, p.stream, fmt.Sprintf("rc.%d.*", p.number), from)
	if m == nil {
		return nil, errors.Join(err, err2)
	}
	return []*nats.Msg{m}, nil
}

// lostSome ends all positions of the partition.
func (p *partition) lostSome(lost uint64) {
	p.c.counters.holeLost.Add(lost)
	p.c.log.Warn("messages were missed that the log has no more", "partition", p.number, "offsets", lost)
	p.told(p.c.in.Epoch(p.c.ctx, p.number, newEpoch(), p.tip.Load()))
	p.told(p.c.in.Epoch(p.c.ctx, p.number, p.epoch(), p.tip.Load()))
}

// beginAnew is for a log that was taken away and made anew while this node runs, or has lost what it had said. What its marker says is the epoch; if
// that is the old one though the log goes less far than before, whoever finds that first writes another one.
func (p *partition) beginAnew() {
	was, tip := p.epoch(), p.tip.Load()
	err := p.c.haveStream(p.c.ctx, p.c.partitionStream(p))
	if err == nil {
		err = p.learn(p.c.ctx, false)
	}
	if err == nil && p.epoch() == was {
		if p.tip.Load() < tip {
			err = p.learn(p.c.ctx, true)
		} else {
			p.tip.Store(tip) // it is the same log: what is behind that has yet to be read
		}
	}
	if err != nil {
		p.tip.Store(tip)
		pause(p.c.ctx, tick)
		return
	}
	p.back.Store(0)
	p.renew.Store(false)
	if p.epoch() != was {
		p.c.log.Warn("the log of a partition is another one than before: positions end", "partition", p.number)
		p.told(p.c.in.Epoch(p.c.ctx, p.number, p.epoch(), p.tip.Load()))
	}
}

// Bounds of one fetch.
const (
	fetchMax      = 256     // messages
	fetchBytesMax = 4 << 20 // bytes, and one message
	fetchTimeout  = time.Second
)

// fetcher reads messages from the log, from whichever replica answers (Direct Get). One goroutine at a time.
type fetcher struct {
	c     *Cluster
	sub   *nats.Subscription
	inbox string
	asked uint64 // of the last request: answers to others are dropped
}

func newFetcher(c *Cluster) (*fetcher, error) {
	f := &fetcher{c: c, inbox: nats.NewInbox()}
	var err error
	if f.sub, err = c.conn.SubscribeSync(f.inbox + ".*"); err != nil {
		return nil, fmt.Errorf("subscribing to messages of the log: %w", err)
	}
	return f, f.sub.SetPendingLimits(4*fetchMax, 4*fetchBytesMax)
}

// errNotThere is that the replica has no such message, or not yet.
var errNotThere = errors.New("no such message")

// fetch asks for messages and returns what came, in order, until the answer's end. An error says why it has come no further.
func (f *fetcher) fetch(ctx context.Context, stream string, ask server.JSApiMsgGetRequest) (got []*nats.Msg, err error) {
	f.asked++
	reply := f.inbox + "." + strconv.FormatUint(f.asked, 10)
	body, err := json.Marshal(ask)
	if err != nil {
		return nil, err
	}
	if err := f.c.conn.PublishRequest("$JS.API.DIRECT.GET."+stream, reply, body); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	last := uint64(0)
	for {
		m, err := f.sub.NextMsgWithContext(ctx)
		if err != nil {
			return got, err
		}
		if m.Subject != reply {
			continue
		}
		switch first(m.Header, headerStatus) {
		case "":
		case "204": // the end
			return got, nil
		case "404":
			return got, errNotThere
		default:
			return got, fmt.Errorf("the log answers %s %s", first(m.Header, headerStatus), first(m.Header, "Description"))
		}
		if number(m.Header, headerPrev) != last { // one before it was dropped
			return got, errors.New("an answer of the log has a hole")
		}
		last = number(m.Header, headerOffset)
		got = append(got, m)
	}
}
