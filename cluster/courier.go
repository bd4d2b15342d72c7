package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// The courier of a partition takes what homes have offered to the stream, and sees to it that each offer is answered.
//
// It publishes in a batch of JetStream's fast ingest (ADR-50, "gap: fail"): the leader takes message n of a batch only behind message n-1, and
// ends the batch at a gap. So what this node has offered is put in order as it was offered, with up to flightMax messages on their way, also when some
// of them are lost: publishes that are acknowledged one by one are then sent again behind later ones. When a batch has ended, or nothing has come back
// for a while, the way is broken: the oldest that has not come back is sent alone, as an ordinary publish, under the same id, which the stream knows for two minutes or more,
// with pauses between the tries. Once the leader has it all others that have not come back go into another batch. So what may become unknown is bounded.
//
// An offer has made it when the reader meets it in its order, and not when the leader says so: then everybody has the same order. The leader's
// words are heeded for what will not come back: the end of a batch, and a repeat of a key that was said before. In a batch a repeat is passed over without a word,
// so that also breaks the way: sent alone, it is answered with the offset of the first.

// way is the state of the way to the leader. Guarded by the partition's mutex; only the courier sends.
type way struct {
	numbers  uint64 // the last number given to a message
	batch    uint64 // the current batch; 0: none was begun
	inBatch  uint64 // messages sent in it; 0: the next message begins it
	broken   bool   // the last batch has ended, or is believed to: only the oldest is sent, alone, which counts as a batch
	probing  bool   // of broken: it was sent, and is waited for
	tryAt    uint64 // of broken: the tick from which it may be sent
	backoff  uint64 // ticks between two tries
	movedAt  uint64 // the tick at which something last came back, a leader said that it goes on, or something was first sent
	usedAt   uint64 // the tick at which something was last sent in the batch
	lastWord string // the last error that a leader has said
}

// Bounds of waiting, in ticks.
const (
	silentTicks  = 10 // without anything coming back, before the batch is believed to have ended
	probeTicks   = 5  // the same, for the first message of a batch after one that broke
	repeatTicks  = 2  // the same, where the oldest has a key: it may be a repeat
	backoffTicks = 5  // the longest time between two tries
	heardTicks   = 5  // since a leader was last heard of, beyond which what was not sent is not sent, as it would only become unknown
	idleTicks    = 25 // without anything sent, after which a batch is left: the leader forgets it after 10 s
)

// carry is the courier. It ends with the cluster.
func (p *partition) carry() {
	for {
		select {
		case <-p.c.ctx.Done():
			return
		case m := <-p.words:
			p.heed(m)
		case <-p.ticks:
			p.passTime()
		case <-p.kick:
		}
		p.send()
	}
}

// send sends what may be sent.
func (p *partition) send() {
	for _, it := range p.takeFast() {
		p.sendFast(it)
	}
	for p.c.ctx.Err() == nil {
		it, reply, again := p.next()
		if it == nil {
			return
		}
		m := p.encode(fmt.Sprintf("rc.%d.%s", p.number, groupToken(it.offer.Message.Group)), it)
		m.Reply = reply
		if again {
			p.c.counters.resends.Add(1)
		}
		err := nats.ErrMaxPayload
		if headerBytes(m.Header) <= headerMax {
			err = p.c.conn.PublishMsg(m)
		}
		switch {
		case err == nil:
		case errors.Is(err, nats.ErrMaxPayload):
			p.refuse(it, errTooLarge)
			p.c.log.Warn("a message is larger than the servers of the log take", "group", it.offer.Message.Group, "bytes_max", p.c.conn.MaxPayload())
			p.mu.Lock()
			p.breakBatch(0) // its place in the batch was not taken
			p.mu.Unlock()
		default:
			p.mu.Lock()
			p.way.lastWord = err.Error()
			p.breakBatch(p.longer())
			p.mu.Unlock()
		}
	}
}

// next is what is to be sent next, and where words on it are to come; nil: nothing. again: it was sent before.
func (p *partition) next() (it *item, reply string, again bool) {
	now := p.c.now.Load()
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &p.way
	if w.broken && (w.probing || now < w.tryAt || len(p.flight) == 0 && p.unheard(now) > heardTicks) {
		return nil, "", false
	}
	if w.inBatch > 0 && now-w.usedAt > idleTicks {
		w.inBatch = 0
	}
	if w.inBatch == 0 { // it begins with the next message; what was sent in earlier ones and has not come back goes into it
		w.batch++
	}
	for _, sent := range p.flight {
		if sent.batch != w.batch && sent.stored == 0 && !p.forgotten(sent) {
			it = sent
			break
		}
	}
	if again = it != nil; !again {
		if len(p.flight) >= flightMax {
			w.unbegin()
			return nil, "", false
		}
		if it = p.queue.pop(); it == nil {
			w.unbegin()
			return nil, "", false
		}
		w.numbers++
		it.number, it.began = w.numbers, time.Now()
		if len(p.flight) == 0 {
			w.movedAt = now
		}
		p.flight = append(p.flight, it)
	}
	if w.inBatch == 0 {
		p.c.counters.batches.Add(1)
	}
	w.inBatch++
	w.usedAt = now
	it.batch, it.place, it.sentAt = w.batch, w.inBatch, now
	if w.broken {
		w.probing, w.movedAt = true, now
		return it, p.batchName(w.batch) + ".alone", again
	}
	return it, p.reply(w.batch, w.inBatch), again
}

// forgotten says whether the log may not know an offer any more that was sent, so that it would take it for a new one. Ticks do not count while the
// process is stopped, and this does.
func (p *partition) forgotten(it *item) bool {
	return time.Since(it.began) > p.c.duplicates()-duplicatesSpare
}

// unbegin takes back a batch of which nothing was sent.
func (w *way) unbegin() {
	if w.inBatch == 0 {
		w.batch--
	}
}

// reply is where words on a message of a batch are to come. Its form is that of ADR-50: the batch's name, how many messages a word at most is about, what
// happens at a gap, the place in the batch, and what is to be done: begin it (0) or append to it (1).
func (p *partition) reply(batch, place uint64) string {
	what := "1"
	if place == 1 {
		what = "0"
	}
	return p.batchName(batch) + "." + strconv.Itoa(flightMax/2) + ".fail." + strconv.FormatUint(place, 10) + "." + what + ".$FI"
}

func (p *partition) batchName(batch uint64) string {
	return p.inbox + "." + p.c.boot + "_" + strconv.FormatUint(batch, 10)
}

// breakBatch ends the batch on this side. The oldest that has not come back may be sent after so many ticks. The mutex is held.
func (p *partition) breakBatch(ticks uint64) {
	w := &p.way
	w.broken, w.probing, w.inBatch = true, false, 0
	w.backoff = ticks
	w.tryAt = p.c.now.Load() + ticks
}

// longer is the time to the next try: double that to the last one, within bounds. The mutex is held.
func (p *partition) longer() uint64 { return min(max(1, 2*p.way.backoff), backoffTicks) }

// mended says that the leader has taken something. The mutex is held.
func (p *partition) mended() {
	w := &p.way
	w.broken, w.probing, w.inBatch, w.backoff = false, false, 0, 0
	w.movedAt = p.c.now.Load()
}

// heed takes a word of a leader.
func (p *partition) heed(m *nats.Msg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &p.way
	if w.inBatch == 0 || !strings.HasPrefix(m.Subject, p.batchName(w.batch)+".") {
		return // on a batch that was left
	}
	if first(m.Header, headerStatus) != "" { // nobody takes messages of this stream
		w.lastWord = "no leader"
		p.breakBatch(p.longer())
		return
	}
	var word struct {
		Type   string           `json:"type"`
		Error  *server.ApiError `json:"error"`
		Offset uint64           `json:"seq"`
	}
	if json.Unmarshal(m.Data, &word) != nil {
		return
	}
	switch {
	case word.Error != nil:
		w.lastWord = word.Error.Description
		if isFull(word.Error) {
			p.fullAt.Store(max(1, p.c.now.Load()))
		}
		if server.ErrorIdentifier(word.Error.ErrCode) == server.JSBatchPublishUnknownBatchIDErr {
			p.breakBatch(0) // it has ended; another one begins with any message
		} else {
			p.breakBatch(p.longer())
		}
	case word.Type == "ack":
		w.movedAt = p.c.now.Load()
	case w.probing: // the stream has what was sent alone, or what has the same key: if it is not met up to that offset, the latter
		for _, it := range p.flight {
			if it.batch == w.batch {
				it.stored = word.Offset
			}
		}
		p.mended()
	default: // a gap, or the end that follows one
		w.lastWord = "a gap in the batch"
		p.breakBatch(p.longer())
	}
}

// isFull says whether the store takes no more.
func isFull(err *server.ApiError) bool {
	switch server.ErrorIdentifier(err.ErrCode) {
	case server.JSInsufficientResourcesErr, server.JSStorageResourcesExceededErr, server.JSAccountResourcesExceededErr, server.JSStreamStoreFailedF:
		return true
	}
	return false
}

// passTime answers what has waited for too long, and finds out whether the batch is still alive.
func (p *partition) passTime() {
	tip := p.tip.Load()
	var late, repeats []*item
	var why []error
	p.mu.Lock()
	now := p.c.now.Load() // not before what the reader has noted last
	for _, it := range p.flight {
		switch {
		case it.stored != 0 && it.stored <= tip: // it was read, and was not it
			repeats = append(repeats, it)
		case it.due <= now, p.forgotten(it):
			late, why = append(late, it), append(why, errUnconfirmed)
		}
	}
	reason := errBusy
	if p.way.broken || p.unheard(now) > heardTicks {
		reason = errUnavailable
	}
	p.queue.each(func(it *item) {
		if it.due <= now {
			late, why = append(late, it), append(why, reason)
		}
	})
	p.checkBatch(now, tip)
	p.mu.Unlock()
	for _, it := range repeats {
		p.repeat(it, it.stored)
	}
	for i, it := range late {
		p.refuse(it, why[i])
	}
}

// checkBatch breaks a batch from which nothing comes back. The mutex is held.
func (p *partition) checkBatch(now, tip uint64) {
	w := &p.way
	if w.broken && !w.probing || p.claimed.Load() > tip { // of the second: what was sent may have come to the log, and we are behind in reading
		return
	}
	at := slices.IndexFunc(p.flight, func(it *item) bool { return it.stored == 0 })
	if at < 0 || w.probing && p.flight[at].batch != w.batch {
		if w.probing { // what was sent alone has been answered otherwise
			p.breakBatch(w.backoff)
		}
		return
	}
	oldest, silent := p.flight[at], now-w.movedAt
	switch {
	case w.probing && silent >= probeTicks, silent >= silentTicks:
		w.lastWord = "no word from a leader"
		p.breakBatch(p.longer())
	case oldest.id != "" && !w.broken && silent >= repeatTicks && now-oldest.sentAt >= repeatTicks:
		p.breakBatch(0)
	}
}

// landed takes an offer of this process out of what waits, as it was read in its order. nil: none waits under this number. others have the same key, and are repeats.
func (p *partition) landed(s *said) (it *item, others []*item) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.boot == p.c.boot {
		if at := slices.IndexFunc(p.flight, func(it *item) bool { return it.number == s.number }); at >= 0 {
			it = p.flight[at]
			p.end(it)
			p.moved(it)
		}
	}
	if s.Key != "" {
		others = slices.Clone(p.keyed[s.id])
	}
	return it, others
}

// moved notes that an offer has come back. The mutex is held.
func (p *partition) moved(it *item) {
	w := &p.way
	w.movedAt = p.c.now.Load()
	if it.batch != w.batch || w.inBatch == 0 {
		return
	}
	if w.broken {
		p.mended()
	}
	// What was sent before it in the same batch and has not come back was passed over, as the stream has its key. Only the first message of a batch
	// hears where.
	if len(p.flight) > 0 && p.flight[0].batch == w.batch && p.flight[0].number < it.number && p.flight[0].stored == 0 {
		p.breakBatch(0)
	}
}

// refuse answers an offer that did not get into the order.
func (p *partition) refuse(it *item, why error) {
	p.mu.Lock()
	is := p.end(it)
	p.mu.Unlock()
	if !is {
		return
	}
	switch why {
	case errBusy:
		p.c.counters.busy.Add(1)
	case errUnavailable:
		p.c.counters.unavailable.Add(1)
	case errUnconfirmed:
		p.c.counters.unconfirmed.Add(1)
	case errTooLarge:
		p.c.counters.tooLarge.Add(1)
	}
	p.told(p.c.in.Refused(p.c.ctx, it.home, it.offer.Token, why))
}

// repeat answers an offer whose key was said before, at that offset.
func (p *partition) repeat(it *item, offset uint64) {
	p.mu.Lock()
	is := p.end(it)
	p.mu.Unlock()
	if !is {
		return
	}
	p.c.counters.repeated.Add(1)
	p.told(p.c.in.Repeated(p.c.ctx, it.home, it.offer.Token, offset))
}

// told takes what the inlet has said: it refuses only when the server stops.
func (p *partition) told(err error) {
	if err != nil && p.c.ctx.Err() == nil {
		p.c.log.Debug("the homes take no more", "partition", p.number, "error", err)
	}
}
