package bus

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"ringcast/loop"
)

// peer is a Channel client as the server sees it.
type peer struct {
	server *server
	conn   net.Conn
	where  string
	out    *outbox
	ctx    context.Context // ends when the peer is closed
	cancel context.CancelFunc
	failed atomic.Bool
	began  time.Time
	ending atomic.Pointer[string] // why the connection ends; the first reason counts
	unsent atomic.Int64           // bytes that waited for it when it was cut
	parts  atomic.Int32           // of its two goroutines, those that have ended

	clock   sync.Mutex // of what follows, and of the connection's deadline
	leaving bool       // reading has ended
	timed   bool       // the deadline is that of its frame

	// The reading goroutine's.
	large    int  // bytes that its frame has acquired of the server's frames
	late     bool // its frame has been given extra time
	bytesIn  int
	eventsIn int

	// Under the server's lock.
	subscribed map[string]struct{}
	watched    map[string]*queue
	inFlight   int           // events on their way through the groups
	flying     int           // their bytes
	wave       int           // only events of this wave count: earlier ones are waited for no longer
	landed     chan struct{} // closed when none is left; nil: nobody waits for that
	receives   bool          // it has subscribed or watched, as a worker does. A page that only publishes does not
	eventsOut  int
	jobsOut    int
}

// bridged is the token of a peer's message on its way through the groups: the event for the subscribers.
type bridged struct {
	from  *peer
	frame []byte
	wave  int
}

func newPeer(s *server, conn net.Conn) *peer {
	p := &peer{server: s, conn: conn, began: time.Now(), where: addrText(conn.RemoteAddr()), out: newOutbox(s.cfg.OutboundBytesMax, &s.outbounds),
		subscribed: map[string]struct{}{}, watched: map[string]*queue{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// read acts on the peer's frames until the connection ends, and then removes the peer everywhere.
func (p *peer) read() {
	defer p.server.serving.Done()
	defer p.part()
	err := p.readFrames()
	p.release()
	p.server.forget(p)
	if errors.Is(err, os.ErrDeadlineExceeded) && !p.failed.Load() {
		if p.isLeaving() { // what waits is still written
			p.out.end(false)
			return
		}
		p.fail(closedFrameTimeout, "its frame was not complete in time")
	}
	if bad := (badFrame{}); errors.As(err, &bad) {
		p.fail(closedBadFrame, bad.text)
	}
	p.endsFor(readEnd(err))
	p.cut()
}

// bodyKeptMax is the largest buffer that a peer keeps between two frames. Longer frames are large: they share the
// server's frames.
const bodyKeptMax = 64 << 10

func (p *peer) readFrames() error {
	in := bufio.NewReaderSize(patient{p}, 8<<10)
	var buf []byte
	for {
		body, err := readFrame(in, buf, p.server.cfg.FrameBytesMax, func(bodyBytes int) error {
			if bodyBytes <= in.Buffered() {
				return nil
			}
			return p.await(bodyBytes)
		})
		if err != nil {
			return err
		}
		p.arrived()
		p.server.count.bytesIn.Add(uint64(frameHeadBytes + len(body)))
		p.bytesIn += frameHeadBytes + len(body)
		if err := p.frame(body); err != nil {
			return err
		}
		if buf = body; cap(buf) > bodyKeptMax {
			buf = nil
		}
		p.release()
	}
}

// await waits until the rest of a frame may be read, and sets the deadline for reading it. All of a large frame is counted
// from its header on, so that a frame which has begun can always be completed, and until it has been acted on.
func (p *peer) await(bodyBytes int) error {
	s := p.server
	until := time.Now().Add(s.cfg.FrameTimeout)
	p.late = false
	if bodyBytes > bodyKeptMax {
		if !s.frames.TryAcquire(int64(bodyBytes)) {
			s.count.frameWaits.Add(1)
			ctx, cancel := context.WithDeadline(p.ctx, until)
			defer cancel()
			if err := s.frames.Acquire(ctx, int64(bodyBytes)); err != nil {
				if p.ctx.Err() != nil {
					return io.ErrClosedPipe
				}
				return os.ErrDeadlineExceeded
			}
		}
		p.large = bodyBytes
	}
	p.clock.Lock()
	defer p.clock.Unlock()
	if !p.leaving {
		p.timed = true
		_ = p.conn.SetReadDeadline(until) // if it fails, so will the read
	}
	return nil
}

// patient reads a peer's connection. A frame whose time is over is given extra time once: its bytes may be in the kernel
// already, because this process was stopped for a while, or got no CPU.
type patient struct{ *peer }

func (p patient) Read(b []byte) (int, error) {
	n, err := p.conn.Read(b)
	if n > 0 || p.late || !errors.Is(err, os.ErrDeadlineExceeded) || !p.prolong() {
		return n, err
	}
	return p.conn.Read(b)
}

// lateMax is that extra time.
const lateMax = time.Second

// prolong gives the extra time, unless the peer is leaving.
func (p *peer) prolong() bool {
	p.clock.Lock()
	defer p.clock.Unlock()
	if p.leaving {
		return false
	}
	p.late = true
	return p.conn.SetReadDeadline(time.Now().Add(lateMax)) == nil
}

// arrived removes the deadline that await has set.
func (p *peer) arrived() {
	p.clock.Lock()
	defer p.clock.Unlock()
	if p.timed && !p.leaving {
		_ = p.conn.SetReadDeadline(time.Time{})
	}
	p.timed = false
}

// release returns what await has acquired of the server's frames.
func (p *peer) release() {
	if p.large > 0 { // otherwise leave the semaphore's lock to the others
		p.server.frames.Release(int64(p.large))
		p.large = 0
	}
}

func (p *peer) isLeaving() bool {
	p.clock.Lock()
	defer p.clock.Unlock()
	return p.leaving
}

// frame does what one frame asks for. Unknown verbs are ignored, as in the original.
func (p *peer) frame(body []byte) (err error) {
	s := p.server
	defer s.count.survive(s.log, func() {
		p.fail(closedPanic, "an internal error of the server")
		err = io.ErrClosedPipe
	})
	if len(body) == 0 {
		return nil // a ping
	}
	m, err := readMessage(body, s.cfg.SubscriptionsMax)
	if err != nil {
		return err
	}
	switch needs := needs[m.verb]; {
	case !needs.known:
		s.count.refuse(s.log, refusedUnknown, 1, "remote", p.where, "type", shown(m.said))
		return nil
	case needs.channels && m.channels == nil || needs.data && m.data.raw == nil:
		return badFramef("%s without channels or data", m.verb)
	case m.verb == verbPublish:
		return p.publish(&m)
	}
	if err := p.settle(); err != nil {
		return err
	}
	return s.do(p, &m)
}

// needs has the known verbs of clients and the fields that each must have.
var needs = map[string]struct{ known, channels, data bool }{
	verbSubscribe: {true, true, false}, verbUnsubscribe: {true, true, false},
	verbPublish: {true, true, true}, verbPublishLoop: {true, true, true},
	verbWatch: {true, true, false}, verbUnwatch: {true, true, false}, verbEnqueue: {true, true, true},
	verbReserve: {true, false, false},
}

// publish gives events of the bridge's channel to the groups, from which they come back in the groups' order, and all others
// to their subscribers at once.
func (p *peer) publish(m *message) error {
	s := p.server
	data, ok := p.carried(m)
	if !ok {
		return nil
	}
	for i, n := range m.channels {
		if p.ctx.Err() != nil {
			p.refuse(refusedCutOff, len(m.channels)-i, n, data)
			return io.ErrClosedPipe
		}
		p.eventIn()
		if string(n.key) == s.cfg.Bridge {
			done, err := p.toGroup(m, n, data)
			if done || err != nil {
				if err != nil {
					return err
				}
				continue
			}
		}
		if err := p.settle(); err != nil {
			return err
		}
		s.publishNow(n, data)
	}
	return nil
}

func (s *server) publishNow(n name, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.channels[string(n.key)] != nil {
		s.publish(n.key, eventFrame(verbEvent, n, data))
	}
}

// carried is m's data, if it can be carried. References may become longer, and a frame over the bound would end the links of
// all its receivers.
func (p *peer) carried(m *message) (data []byte, ok bool) {
	s := p.server
	if data, ok = m.carried(); !ok {
		p.refuse(refusedReferences, len(m.channels), m.first(), m.data.raw)
		return nil, false
	}
	if len(data) > len(m.data.raw) && len(data)+eventBytesMax > s.cfg.FrameBytesMax {
		p.refuse(refusedTooBig, len(m.channels), m.first(), data)
		return nil, false
	}
	return data, true
}

// eventBytesMax bounds what an event has beside its data.
const eventBytesMax = nameBytesMax + 100

// toGroup publishes an event to its group. done is false if it is not about a group, or if its group cannot exist.
func (p *peer) toGroup(m *message, n name, data []byte) (done bool, err error) {
	s := p.server
	g, is, wrong := readGroupMessage(m.data)
	refuse := func(why refusal, more ...any) {
		s.count.refuse(s.log, why, 1, append([]any{"remote", p.where, "channel", shown(n.key), "group", shown([]byte(g.group)),
			"bytes", len(data)}, more...)...)
	}
	if !is {
		if wrong != "" {
			refuse(refusedGroup, "why", wrong)
		}
		return false, nil
	}
	frame := eventFrame(verbEvent, n, data)
	s.mu.Lock()
	full := p.flying > 0 && p.flying+frameBytes(frame) > s.cfg.OutboundBytesMax
	s.mu.Unlock()
	if full { // lanes count the message alone, and its event may be much longer
		if err := p.settle(); err != nil {
			return false, err
		}
	}
	s.mu.Lock()
	p.inFlight++
	p.flying += frameBytes(frame)
	said := &bridged{p, frame, p.wave}
	s.mu.Unlock()
	err = s.groups.PublishWait(p.ctx, g.group, g.text, said)
	switch {
	case err == nil:
		s.count.published.Add(1)
		return true, nil
	case errors.Is(err, loop.ErrBadGroup) || errors.Is(err, loop.ErrBadMessage):
		said.settled()
		refuse(refusedGroup, "why", whyNoGroup(err, g.text))
		return false, nil
	case errors.Is(err, loop.ErrBusy): // it was delivered neither here nor there
		said.settled()
		refuse(refusedMemory)
		return true, nil
	case p.ctx.Err() != nil:
		said.settled()
		refuse(refusedCutOff)
		return false, io.ErrClosedPipe
	default: // the server stops: the peer's connection will be closed soon, and until then it may receive
		said.settled()
		refuse(refusedStopping)
		return true, nil
	}
}

// settled counts an event that has come back from the groups, or never went there.
func (said *bridged) settled() {
	p := said.from
	p.server.mu.Lock()
	defer p.server.mu.Unlock()
	if said.wave != p.wave {
		return // it is of an earlier wave and must not be counted in the current one
	}
	p.inFlight, p.flying = p.inFlight-1, p.flying-frameBytes(said.frame)
	if p.inFlight == 0 && p.landed != nil {
		close(p.landed)
		p.landed = nil
	}
}

// settle waits until the peer's earlier events have come back from the groups, so that its other commands do not overtake
// them.
func (p *peer) settle() error {
	s := p.server
	s.mu.Lock()
	if p.inFlight == 0 {
		s.mu.Unlock()
		return nil
	}
	landed := make(chan struct{})
	p.landed = landed
	s.mu.Unlock()
	select {
	case <-landed:
	case <-time.After(s.cfg.landMax): // a panic in a loop has dropped one; then the order cannot be kept
		s.mu.Lock()
		lost := p.inFlight
		p.inFlight, p.flying, p.landed, p.wave = 0, 0, nil, p.wave+1
		s.mu.Unlock()
		if lost > 0 {
			s.log.Warn("events of a Channel client have not come back from their groups; what it says next is no longer in order with them",
				"remote", p.where, "events", lost)
		}
	case <-p.ctx.Done():
		return io.ErrClosedPipe
	}
	return nil
}

// do does everything but publish.
func (s *server) do(p *peer, m *message) error {
	data, ok := p.carried(m)
	if !ok {
		return nil
	}
	if m.verb == verbReserve {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.reserve(p)
		return nil
	}
	for i, n := range m.channels {
		if p.ctx.Err() != nil {
			if needs[m.verb].data {
				p.refuse(refusedCutOff, len(m.channels)-i, n, data)
			}
			return io.ErrClosedPipe
		}
		if err := s.doOne(p, m.verb, n, data); err != nil {
			return err
		}
	}
	return nil
}

// doOne is do for one name. The lock is not held from one to the next: a frame can name thousands and have megabytes for
// each, and hear must not wait for all of them, because every publish waits for it.
func (s *server) doOne(p *peer, verb string, n name, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ok := true
	switch verb {
	case verbSubscribe:
		if ok = s.subscribe(p, n); ok {
			p.receiving("channel", n)
		}
	case verbUnsubscribe:
		s.unsubscribe(p, string(n.key))
	case verbWatch:
		if ok = s.watch(p, n); ok {
			p.receiving("queue", n)
		}
	case verbUnwatch:
		s.unwatch(p, string(n.key))
	case verbPublishLoop:
		p.eventIn()
		if s.channels[string(n.key)] != nil {
			s.publishLoop(n.key, eventFrame(verbEvent, n, data))
		}
	case verbEnqueue:
		if !s.enqueue(n, data) {
			p.refuse(refusedQueue, 1, n, data)
			p.fail(closedQueue, "the queue is full")
			return io.ErrClosedPipe
		}
	}
	if !ok {
		p.fail(closedSubscriptions, "too many subscriptions")
		return io.ErrClosedPipe
	}
	return nil
}

// forget removes a peer from all channels and queues.
func (s *server) forget(p *peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range p.subscribed {
		s.unsubscribe(p, key)
	}
	for key := range p.watched {
		s.unwatch(p, key)
	}
}

// event and job put a frame into the peer's outbox. A peer whose outbox has no room is closed, so that it does not lose
// events without noticing.
func (p *peer) event(x *parcel) bool {
	if !p.put(x) {
		return false
	}
	p.server.count.eventsOut.Add(1)
	p.eventsOut++
	return true
}

func (p *peer) job(x *parcel) bool {
	if !p.put(x) {
		return false
	}
	p.server.count.jobsOut.Add(1)
	p.jobsOut++
	return true
}

func (p *peer) put(x *parcel) bool {
	would := p.out.would(x)
	if would == placedIn {
		p.server.relieve(x)
		would = p.out.put(x) // relieve may have closed this very peer
	}
	if would == placedFull {
		p.fail(closedOutbound, "too slow: --channel-outbound-max is reached")
	}
	return would == placedIn
}

// write writes what is put into the outbox, until the outbox is ended.
func (p *peer) write() {
	s := p.server
	defer s.serving.Done()
	defer p.part()
	defer func() {
		p.cut()
		s.mu.Lock()
		delete(s.peers, p)
		s.mu.Unlock()
	}()
	for range p.out.ready {
		err := p.out.flush(p.conn, nil)
		if err != nil {
			p.endsFor("writing to it failed: " + errorText(err))
		}
		if err != nil || p.out.over() {
			return
		}
	}
}

// fail closes a peer for a reason, once.
func (p *peer) fail(why closing, text string) {
	if p.failed.Swap(true) {
		return
	}
	p.endsFor(text)
	p.cut()
	p.server.count.closed[why].Add(1)
	p.server.log.Warn("a Channel client was closed", "remote", p.where, "why", text)
}

// cut closes the connection and drops what waits for it. It does not block.
func (p *peer) cut() {
	p.cancel()
	p.unsent.Add(int64(p.out.end(true)))
	p.conn.Close()
}

// leave makes the peer stop reading; what waits for it is still written.
func (p *peer) leave() {
	p.clock.Lock()
	defer p.clock.Unlock()
	p.leaving = true
	p.endsFor("the server stops")
	_ = p.conn.SetReadDeadline(time.Now()) // if it fails the connection is closed, which ends reading too
}

// refuse counts and logs events or jobs of the peer, the first of which names a channel or queue.
func (p *peer) refuse(why refusal, events int, n name, data []byte) {
	p.server.count.refuse(p.server.log, why, events, "remote", p.where, "channel", shown(n.key), "bytes", len(data), "events", events)
}

// eventIn counts an event. The reading goroutine.
func (p *peer) eventIn() {
	p.server.count.eventsIn.Add(1)
	p.eventsIn++
}

// first is the first channel that a message names.
func (m *message) first() (n name) {
	if len(m.channels) > 0 {
		n = m.channels[0]
	}
	return n
}
