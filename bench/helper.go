package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"ringcast/bench/check"
	"ringcast/bench/client"
	"ringcast/bench/report"
)

// helperVerb is a further process of a run: it holds a share of the members for the bench that started it, and reports what
// they received. See talk for the messages between the two.
type helperVerb struct{}

// helper is the state of a further process itself; team is its counterpart in the process that started it. Owner: the verb's
// goroutine; while it listens, its threads read the atomics.
type helper struct {
	errand  *errand
	fleet   *fleet
	crews   []*crew       // none without a load
	later   []client.Seat // of a crowd: clients that connect after the others
	speaker *speaker
	lines   <-chan told
	ctx     context.Context

	// Set while the generators listen.
	start   atomic.Int64             // of publishing; 0 until it is known
	sent    atomic.Pointer[[]uint32] // by stream; nil while publishing goes on
	enough  atomic.Bool              // the listening is over
	waiting atomic.Int32             // crews that still wait for deliveries
	uses    []report.Thread          // by crew; each its thread's until nobody waits
}

// Run is called by kong.
func (v *helperVerb) Run(e *env) error {
	ctx, end := context.WithCancel(e.ctx)
	defer end()
	lines := make(chan told)
	go func() {
		defer end() // the bench has ended, or has finished with this helper
		in := json.NewDecoder(os.Stdin)
		for {
			var t told
			if in.Decode(&t) != nil {
				return
			}
			select {
			case lines <- t:
			case <-ctx.Done():
				return
			}
		}
	}()
	h := &helper{speaker: newSpeaker(e.stdout), lines: lines, ctx: ctx}
	first, err := h.next(doErrand)
	if err != nil {
		return err
	}
	if first.Errand == nil || first.Errand.Load == nil && first.Errand.Crowd == nil {
		return errors.New("an errand without clients")
	}
	h.errand = first.Errand
	return h.run()
}

func (h *helper) next(do string) (told, error) {
	select {
	case t := <-h.lines:
		if t.Do != do {
			return t, fmt.Errorf("it was told to %s where it expected to %s", t.Do, do)
		}
		return t, nil
	case <-h.ctx.Done():
		return told{}, errInterrupted
	}
}

func (h *helper) run() error {
	if err := h.sit(); err != nil {
		return err
	}
	defer h.fleet.close()
	h.speaker.say(func() any { return said{Do: doReady} })
	go h.tell()
	uses, err := h.open()
	if err != nil {
		return err
	}
	if h.errand.Crowd != nil {
		h.opened(uses)
		h.fleet.here.Seat(h.later)
		if uses, err = h.open(); err != nil {
			return err
		}
	}
	if l := h.errand.Load; l != nil {
		s := session{run: h.errand.Run, target: h.errand.Target}
		h.crews = l.crews(h.fleet, s.groupName, h.errand.Threads)
		for _, c := range h.crews {
			c.help()
			c.receivedBefore = c.g.Received()
		}
	}
	h.opened(uses)
	settle, err := h.listen()
	if err != nil {
		return err
	}
	h.speaker.say(func() any { return said{Do: doSeen, Seen: h.seen(settle.Streams)} })
	last, err := h.next(doClose)
	if err != nil {
		return err
	}
	if l := h.errand.Load; l != nil && len(last.Sent) != l.streams() {
		return fmt.Errorf("it was told how much %d of %d streams had", len(last.Sent), l.streams())
	}
	found := h.close(last.Sent)
	h.speaker.say(func() any { return said{Do: doBooks, Tally: h.tally(), Books: found} })
	<-h.ctx.Done() // the connections stay until all processes are done
	return nil
}

// sit makes a fleet of this process's share.
func (h *helper) sit() error {
	a := h.errand
	client.SetEpoch(a.Epoch)
	share := a.crowding().share(a.Processes, a.Process)
	if err := client.NeedDescriptors(share.descriptors()); err != nil {
		return err
	}
	s := &session{run: a.Run, target: a.Target}
	var seats []client.Seat
	var r client.Roster
	if a.Load != nil {
		seats, r = share.seats(a.Load.seats(a.Threads)), a.Load.roster(s, a.Proof, a.Threads)
	} else {
		seats, r = share.seats(a.Crowd.seats(a.Threads)), a.Crowd.roster(s, a.Proof)
		seats, h.later = seats[:a.Crowd.From], seats[a.Crowd.From:]
	}
	fleet, err := newFleet(h.ctx, a.Target, a.Threads, seats, r)
	if err != nil {
		return err
	}
	h.fleet = fleet
	return h.fleet.join(share)
}

// open waits until it is told to, and connects the clients that have a seat.
func (h *helper) open() ([]report.Thread, error) {
	if _, err := h.next(doOpen); err != nil {
		return nil, err
	}
	return h.fleet.open()
}

func (h *helper) opened(uses []report.Thread) {
	h.speaker.say(func() any {
		first, last := h.fleet.here.OpeningSpan()
		secured, resumed, _ := h.fleet.here.Handshakes()
		return said{Do: doOpened, Tally: h.tally(), Opening: &helperOpening{first, last, h.fleet.causes(), secured, resumed}, Threads: uses}
	})
}

// tell reports the progress of this process, until it ends.
func (h *helper) tell() {
	ticker := time.NewTicker(tallyEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			h.speaker.say(func() any { return said{Do: doTally, Tally: h.tally()} })
		case <-h.ctx.Done():
			return
		}
	}
}

func (h *helper) tally() *helperTally {
	f := h.fleet
	return &helperTally{f.joined(), f.failed(), f.delivered(), f.p99()}
}

// listen receives messages for the members, and what the bench says about publishing, until the bench sends settle.
func (h *helper) listen() (told, error) {
	h.uses = make([]report.Thread, len(h.crews))
	h.waiting.Store(int32(len(h.crews)))
	steps := map[*client.Generator]client.Step{}
	for i, c := range h.crews {
		steps[c.g] = h.follow(i, c)
	}
	settle := make(chan told, 1)
	go func() {
		for {
			select {
			case t := <-h.lines:
				switch t.Do {
				case doPublish:
					h.start.Store(t.Start)
				case doPublished:
					h.sent.Store(&t.Sent)
				default:
					settle <- t
					h.enough.Store(true)
				}
				h.fleet.here.Ring()
				if h.enough.Load() {
					return
				}
			case <-h.ctx.Done():
				return
			}
		}
	}()
	_, err := h.fleet.phase(func(g *client.Generator) client.Step {
		if s := steps[g]; s != nil {
			return s
		}
		return func(now int64) (int64, bool) { return now + int64(client.TurnMax), h.enough.Load() }
	})
	if err != nil {
		return told{}, err
	}
	t := <-settle // enough says that it has arrived
	if t.Do != doSettle {
		return t, fmt.Errorf("it was told to %s where it expected to %s", t.Do, doSettle)
	}
	return t, nil
}

// follow returns the step of a crew that publishes nothing.
func (h *helper) follow(at int, c *crew) client.Step {
	var before report.Thread
	var cutSaid, expecting, over bool
	return func(now int64) (int64, bool) {
		wake, start := now+int64(client.TurnMax), h.start.Load() // the bell rings for changes
		if h.enough.Load() || start == 0 {
			return wake, h.enough.Load()
		}
		if c.started == 0 {
			before = readThread()
			c.started, c.schedule.start = start, start
		}
		c.show(now)
		if cut := c.closing && !expecting && !cutSaid; cut || len(c.todo) > 0 {
			cutSaid = cutSaid || cut
			h.speaker.say(func() any { return said{Do: doAcks, At: at, SaidAt: client.Clock(), Floors: c.moved(), Cut: cut} })
		}
		if sent := h.sent.Load(); sent != nil && !expecting {
			expecting = true
			c.expect(*sent)
		}
		if expecting && !over && c.over(now, start+int64(c.plan.Time)) {
			over = true
			h.uses[at] = readThread().Since(before)
			if h.waiting.Add(-1) == 0 {
				h.speaker.say(func() any { return said{Do: doDrained, Threads: h.uses} })
			}
		}
		return wake, false
	}
}

// help makes c the crew of a process that publishes nothing: the number of messages is known only roughly until the end,
// and exactly then. See early and expect.
func (c *crew) help() {
	c.helps = true
	for _, p := range c.schedule.own {
		p.sequence = check.SequenceMax
		if c.plan.Window > 0 {
			p.openWindow(c.plan.Window, c.ledgers[p.group].Present())
		}
	}
}

// early says that a message cannot have been sent yet: before it is due, or beyond the window of what all members here
// have, which are no fewer messages than all members everywhere have.
func (c *crew) early(p *publisher, sequence uint32, now int64) bool {
	if c.plan.Window > 0 {
		return sequence >= p.allowed
	}
	return c.started > 0 && c.schedule.due(p.number, sequence) > now
}

// expect sets how many messages there were of each stream: from here on c waits for the rest of them.
func (c *crew) expect(sent []uint32) {
	c.closing, c.active = true, c.g.Vigil()
	for _, p := range c.schedule.own {
		c.expected += uint64(sent[p.number]) * uint64(c.ledgers[p.group].Present())
	}
}

// moved returns the streams of which all members here have more than at its last call.
func (c *crew) moved() []ack {
	acks := make([]ack, len(c.todo))
	for i, p := range c.todo {
		p.queued = false
		acks[i] = ack{p.number, p.floor}
	}
	c.todo = c.todo[:0]
	return acks
}

// seen is how much of each stream a member here got.
func (h *helper) seen(streams []int) []uint32 {
	all := make([]uint32, len(streams))
	for i, stream := range streams {
		for _, c := range h.crews {
			if p := c.publishers[stream]; c.ledgers[p.group] != nil {
				all[i] = c.ledgers[p.group].Seen(p.place)
			}
		}
	}
	return all
}

// close ends the check of the crews, with how many messages of each stream count.
func (h *helper) close(sent []uint32) *books {
	b := &books{Pings: h.fleet.pings(), Causes: h.fleet.causes()}
	latency := newHistogram()
	var wrong check.Faults
	for _, c := range h.crews {
		for _, p := range c.schedule.own {
			p.sequence = sent[p.number]
		}
		b.MissedByCut += c.finish()
		b.Delivered += c.delivered
		b.Received += c.g.Received() - c.receivedBefore
		b.Ended = max(b.Ended, c.ended)
		b.Digests = append(b.Digests, c.digests()...)
		latency.Merge(c.latency)
		wrong.Merge(&c.faults)
	}
	b.Latency = encodeHistogram(latency)
	b.Counts, b.Examples, b.Notes = wrong.Counts[:], wrong.Examples[:], wrong.Notes
	return b
}

// read adds b to other results.
func (b *books) read(latency *hdrhistogram.Histogram, wrong *check.Faults) error {
	more, err := hdrhistogram.Decode([]byte(b.Latency))
	if err != nil || len(b.Counts) != int(check.Kinds) || len(b.Examples) != int(check.Kinds) {
		return fmt.Errorf("a helper's books cannot be read: %w", err)
	}
	latency.Merge(more)
	theirs := check.Faults{Counts: [check.Kinds]uint64(b.Counts), Examples: [check.Kinds][]string(b.Examples), Notes: b.Notes}
	wrong.Merge(&theirs)
	return nil
}
