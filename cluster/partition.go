package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// partition is one of the parts into which groups fall, as this node sees it: what waits to be put in order, and up to where it has been read.
type partition struct {
	// Immutable.
	c       *Cluster
	number  int
	stream  string
	kick    chan struct{} // to the courier: there is something for it
	ticks   chan struct{} // to the courier: a tick has passed
	log     *nats.Subscription
	words   chan *nats.Msg // to the courier: what the stream's leader says of what was sent
	inbox   string         // where these words come to, with a batch behind it
	fetcher *fetcher       // the reader's

	unmarked int64 // the reader's: bytes read since the marker, about

	// Any goroutine (atomic).
	tip     atomic.Uint64 // everything up to here has been read
	mark    atomic.Uint64 // the epoch
	heard   atomic.Uint64 // the tick at which a leader was last heard of
	fullAt  atomic.Uint64 // the tick at which the store last refused to take more; 0: never
	claimed atomic.Uint64 // the offset up to which the log goes, as its leader last said
	oldest  atomic.Uint64 // the first offset that it has, as its leader last said
	bytes   atomic.Uint64
	created atomic.Int64 // when the stream was made, as nanoseconds
	leader  atomic.Pointer[string]
	asked   atomic.Uint64 // the tip when the leader was last asked how far its log goes
	back    atomic.Uint64 // how often in turn the log has gone less far than that
	markAt  atomic.Uint64 // the offset of the marker, as far as it is known here
	marking atomic.Bool   // the marker is being written again
	renew   atomic.Bool   // the stream is another one than before: the reader is to begin anew

	mu        sync.Mutex         // held for a few steps, never while something waits
	queue     queue              // offers that were not sent
	fast      []*item            // messages of fast groups, which are not waited for, and
	fastBytes int                // what they count
	flight    []*item            // offers that were sent, the oldest first
	keyed     map[string][]*item // offers with a key, by the id under which the log knows it
	way       way
}

// item is an offer on its way. Guarded by its partition's mutex, but for what is immutable.
type item struct {
	offer offer  // immutable
	home  int    // immutable
	id    string // immutable: by which the log knows a repeat of its key; empty: it has no key
	bytes int    // immutable: what it counts in the queue
	due   uint64 // immutable: the tick at which it is answered that nothing is known of it

	number uint64    // which message of this process in this partition it is, from 1; 0: it was not sent
	batch  uint64    // in which it was last sent
	place  uint64    // its place in that, from 1
	sentAt uint64    // tick
	began  time.Time // when it was first sent
	stored uint64    // the offset that it has, or the one that has its key, as the leader has said; 0: nothing was said
	over   bool      // it has been answered
}

// Bounds of a partition.
const (
	queueMax      = 4096      // offers that wait; beyond: refused full
	queueBytesAll = 128 << 20 // bytes that wait in all partitions together, but
	queueBytesMin = 1 << 20   // in each at least so many
	fastMax       = 4096      // messages of fast groups that wait; beyond: lost for other nodes,
	fastBytesAll  = 32 << 20  // and so many bytes of them in all partitions together, but one message in each
	flightMax     = 64        // offers that were sent and have not come back: what may become unknown at most
	wordsMax      = 1024      // words of leaders that wait; one that is lost costs time only
	queueSlack    = 64        // places of offers that have left, beside as many as there are offers that wait
	itemBytes     = 256       // what an offer costs beside its message
)

func newPartition(c *Cluster, number int) *partition {
	return &partition{
		c: c, number: number,
		stream: fmt.Sprintf("RC%d", number),
		kick:   make(chan struct{}, 1),
		ticks:  make(chan struct{}, 1),
		words:  make(chan *nats.Msg, wordsMax),
		keyed:  map[string][]*item{},
		queue:  queue{bytesMax: max(queueBytesMin, queueBytesAll/c.config.Partitions)},
	}
}

func (p *partition) epoch() epoch { return epoch(p.mark.Load()) }

// unheard is for how many ticks no leader was heard of. Who hears of one may have looked at the clock later than the caller.
func (p *partition) unheard(now uint64) uint64 { return now - min(now, p.heard.Load()) }

// Offer takes a publish. See loop.Orderer.
func (c *Cluster) Offer(home int, o offer) bool {
	return c.parts[o.Partition].offer(home, o)
}

func (p *partition) offer(home int, o offer) bool {
	it := &item{offer: o, home: home, bytes: itemBytes + len(o.Message.Group) + len(o.Message.Wire) + len(o.Key)}
	if more := o.Message.More; more != nil {
		it.bytes += len(more.Tags)
	}
	wait := p.c.waitTicks
	if o.Soon {
		wait = min(wait, uint64(soon/tick))
	}
	it.due = p.c.now.Load() + wait
	if o.Key != "" {
		it.id = keyID(o.Message.Group, o.Key)
	}
	if !p.take(it) {
		return false
	}
	select {
	case p.kick <- struct{}{}:
	default:
	}
	return true
}

// take puts an offer into its queue.
func (p *partition) take(it *item) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if it.offer.Fast {
		if len(p.fast) >= fastMax || len(p.fast) > 0 && p.fastBytes+it.bytes > fastBytesAll/p.c.config.Partitions {
			p.c.counters.fastLost.Add(1)
			return false
		}
		p.fast, p.fastBytes = append(p.fast, it), p.fastBytes+it.bytes
		return true
	}
	if !p.queue.push(it) {
		p.c.counters.full.Add(1)
		return false
	}
	if it.id != "" {
		p.keyed[it.id] = append(p.keyed[it.id], it)
	}
	p.c.counters.offered.Add(1)
	return true
}

// end takes an offer out of everything that waits: it is about to be answered. False: it has been. The mutex is held.
func (p *partition) end(it *item) bool {
	if it.over {
		return false
	}
	it.over = true
	if it.id != "" {
		same := without(p.keyed[it.id], it)
		if len(same) == 0 {
			delete(p.keyed, it.id)
		} else {
			p.keyed[it.id] = same
		}
	}
	if it.number == 0 {
		p.queue.leave(it)
	} else {
		p.flight = without(p.flight, it)
	}
	return true
}

// without is a list without one of its items. It is changed in its place.
func without(list []*item, it *item) []*item {
	for i, is := range list {
		if is == it {
			copy(list[i:], list[i+1:])
			list[len(list)-1] = nil
			return list[:len(list)-1]
		}
	}
	return list
}

// status is what Status says of the partition, and the bytes of its log.
func (p *partition) status() (s PartitionStatus, bytes uint64) {
	s.Tip, s.Epoch = p.tip.Load(), p.mark.Load()
	if claimed := p.claimed.Load(); claimed > s.Tip {
		s.Lag = claimed - s.Tip
	}
	if leader := p.leader.Load(); leader != nil {
		s.Leader = *leader
	}
	p.mu.Lock()
	s.Queued, s.Flying = p.queue.len(), len(p.flight)
	p.mu.Unlock()
	return s, p.bytes.Load()
}

// stepDown has another node lead the partition. It returns when that is so, or after a second.
func (p *partition) stepDown(ctx context.Context) {
	if err := p.c.request(ctx, "$JS.API.STREAM.LEADER.STEPDOWN."+p.stream, nil, nil); err != nil {
		p.c.log.Warn("the lead of a partition was not handed over", "partition", p.number, "error", err)
	}
}

// queue is a bounded first-in first-out list of offers, from which any may leave. Guarded by the partition's mutex.
type queue struct {
	items    []*item // nil: it has left
	first    int     // index of the oldest
	live     int
	bytes    int
	bytesMax int
}

func (q *queue) len() int { return q.live }

// push says whether there was room. One offer has room always, however large.
func (q *queue) push(it *item) bool {
	if q.live > 0 && (q.live >= queueMax || q.bytes+it.bytes > q.bytesMax) {
		return false
	}
	if len(q.items) >= 2*q.live+queueSlack { // half of it has gone; nobody may pop for hours, while no leader can be reached
		q.items = slices.DeleteFunc(q.items, func(it *item) bool { return it == nil || it.over })
		q.first = 0
	}
	q.items = append(q.items, it)
	q.live++
	q.bytes += it.bytes
	return true
}

// pop takes the oldest; nil: there is none.
func (q *queue) pop() *item {
	for q.first < len(q.items) {
		it := q.items[q.first]
		q.items[q.first] = nil
		q.first++
		if it != nil && !it.over {
			q.live--
			q.bytes -= it.bytes
			return it
		}
	}
	return nil
}

// leave takes out an offer that is marked as over; its place is dropped when it comes to the front, or by push.
func (q *queue) leave(it *item) {
	q.live--
	q.bytes -= it.bytes
}

// each calls do for all that wait, the oldest first.
func (q *queue) each(do func(*item)) {
	for _, it := range q.items[q.first:] {
		if it != nil && !it.over {
			do(it)
		}
	}
}

// begin learns the partition's epoch and tip, and subscribes to what its log says. anew: positions from before are good no more.
func (p *partition) begin(ctx context.Context, anew bool) (err error) {
	c := p.c
	if p.log, err = c.conn.SubscribeSync(fmt.Sprintf("rl.%d.*", p.number)); err != nil {
		return fmt.Errorf("reading partition %d: %w", p.number, err)
	}
	if err = p.log.SetPendingLimits(readPendingMax, readPendingBytesMax); err != nil {
		return err
	}
	p.inbox = nats.NewInbox()
	if _, err = c.conn.ChanSubscribe(p.inbox+".>", p.words); err != nil {
		return fmt.Errorf("subscribing to the words of partition %d: %w", p.number, err)
	}
	if p.fetcher, err = newFetcher(c); err != nil {
		return err
	}
	stop := c.waiting(func() string { return "the leader of partition " + p.stream })
	defer stop()
	for flushed := false; ; {
		if !flushed {
			err = c.conn.FlushTimeout(askTimeout) // from then on everything comes
			flushed = err == nil
		}
		if flushed {
			if err = p.learn(ctx, anew); err == nil {
				return nil
			}
		}
		if !pause(ctx, tick/4) {
			return fmt.Errorf("learning where partition %d is: %w", p.number, err)
		}
	}
}

// learn asks the leader for the epoch, or begins one, and for the tip.
func (p *partition) learn(ctx context.Context, anew bool) error {
	mark, err := p.learnEpoch(ctx, anew)
	if err != nil {
		return err
	}
	info, err := p.c.streamInfo(ctx, p.stream)
	if err != nil {
		return err
	}
	p.mark.Store(uint64(mark))
	p.noted(&info)
	p.created.Store(info.Created.UnixNano())
	p.tip.Store(info.State.LastSeq)
	return nil
}
