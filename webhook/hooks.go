package webhook

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ringcast/dialect"
	"ringcast/loop"
	"ringcast/loop/door"
)

// Hub is what of a loop.Hub is needed.
type Hub interface {
	SetObserver(o loop.Observer)
	SocketID(client uint64) string
}

// Config is what Hooks are made of.
type Config struct {
	Hub Hub
	Log *slog.Logger

	// Tells says whether this node of a cluster tells of a group of which all nodes know; nil: it does. Any goroutine, it must not block.
	Tells func(group string) bool
	Begin func() // called once, before Tells is for the first time: by the first Apply of an app that has a webhook. nil: nothing is to be done

	Transport http.RoundTripper // nil: a real one
}

// Hooks tell the backends of apps.
//
// Owner: any goroutine. One goroutine collects what homes have told, and one for each app that has something to tell makes its requests.
type Hooks struct {
	// Immutable.
	hub   Hub
	log   *slog.Logger
	tells func(group string) bool
	http  *http.Client

	config  atomic.Pointer[config]
	inboxes [inboxesMax]inbox
	wake    chan struct{} // capacity 1
	hurried chan struct{} // closed when nobody is expected back
	closing chan struct{} // closed when what waits is to be told at once
	hurries sync.Once
	applies sync.Mutex      // held by Apply, and by Close as it begins
	begin   func()          // who holds applies; nil: nothing is to be done, or it was
	over    context.Context // done when nothing is told any more
	end     context.CancelFunc

	collector, tellers sync.WaitGroup

	bytes                             atomic.Int64 // of all events that wait
	told, lost, dropped, done, failed atomic.Uint64
}

// config is whose backends are told. Immutable.
type config struct {
	apps    *door.Apps
	targets map[string]*target // by the app's id: those that are to be told something
}

const inboxesMax = 64 // homes that there may be

// inbox is what a home has told.
type inbox struct {
	mu     sync.Mutex // held by the home's holder and the collector, each for less than a microsecond
	events []event
	_      [64]byte
}

// New makes Hooks that tell nobody until Apply. The caller closes them.
func New(c Config) *Hooks {
	h := &Hooks{hub: c.Hub, log: c.Log, tells: c.Tells, begin: c.Begin, http: newClient(c.Transport), wake: make(chan struct{}, 1), hurried: make(chan struct{}), closing: make(chan struct{})}
	h.config.Store(&config{})
	h.over, h.end = context.WithCancel(context.Background())
	h.collector.Go(h.collect)
	return h
}

// Apply has the backends of these apps be told from now on, and no others. What waits for an app that is told nothing any more is dropped;
// what waits for another is told to where it is told now. After Close it does nothing.
func (h *Hooks) Apply(apps *door.Apps) {
	h.applies.Lock()
	defer h.applies.Unlock()
	if h.isClosing() {
		return
	}
	was, is := h.config.Load(), &config{apps: apps, targets: make(map[string]*target)}
	for _, id := range apps.IDs() {
		app := apps.ByID(id)
		if app.Webhook == "" {
			continue
		}
		t := was.targets[id]
		if t == nil {
			t = &target{id: id, hooks: h, changed: make(chan struct{}, 1)}
		}
		t.wishes.Store(uint32(wishesOf(app)))
		t.app.Store(app)
		is.targets[id] = t
	}
	if len(is.targets) > 0 && h.begin != nil {
		h.begin()
		h.begin = nil
	}
	h.config.Store(is)
	for id, t := range was.targets {
		if is.targets[id] == nil {
			t.app.Store(nil)
		}
		select {
		case t.changed <- struct{}{}: // it need not wait for the end of a pause
		default:
		}
	}
	if len(is.targets) > 0 {
		h.hub.SetObserver(h)
	} else {
		h.hub.SetObserver(nil)
	}
}

// Observe is part of loop.Observer.
func (h *Hooks) Observe(home int, o loop.Observation) {
	c := h.config.Load()
	app, channel := c.apps.OfGroup(o.Group)
	if app == nil {
		return
	}
	t, e := c.targets[app.ID], event{what: ofObserved[o.What], channel: channel, user: o.User}
	switch {
	case t == nil || !wishes(t.wishes.Load()).held(e.what):
		return
	case !dialect.IsChannel(channel, door.AppChannelBytesMax) || dialect.ChannelOf(channel).User: // clients of other protocols may have other groups
		return
	case (e.what == memberAdded || e.what == memberRemoved) && !dialect.ChannelOf(channel).Presence: // other groups may have presence too
		return
	case o.Everywhere && h.tells != nil && !h.tells(o.Group):
		return
	}
	e.to, e.channel, e.user = t, strings.Clone(channel), strings.Clone(o.User)
	if o.What == loop.ClientSaid {
		e.said(o.Message, h.hub.SocketID)
	}
	if !t.book(&e) {
		return
	}
	in := &h.inboxes[home]
	in.mu.Lock()
	in.events = append(in.events, e)
	in.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// collect takes what homes have told, holds back what may not be so for long, and gives the rest to the targets, until Close.
func (h *Hooks) collect() {
	back, timer := newHold(), time.NewTimer(0)
	defer timer.Stop()
	var batch []event
	hurried := h.hurried
	for last := false; !last; {
		select {
		case <-h.wake:
		case <-hurried:
			hurried = nil
		case <-timer.C:
		case <-h.closing:
			last = true // what is told from here on nobody takes
		}
		now := time.Now()
		for i := range h.inboxes {
			in := &h.inboxes[i]
			in.mu.Lock()
			batch, in.events = in.events, batch[:0]
			in.mu.Unlock()
			for j := range batch {
				if e := &batch[j]; back.take(*e, now) {
					e.to.put(*e)
				}
			}
			if clear(batch); cap(batch) > 1024 {
				batch = nil
			}
		}
		all := last || hurried == nil
		for e, any := back.over(now, all); any; e, any = back.over(now, all) {
			e.to.put(e)
		}
		if until, any := back.next(); any {
			timer.Reset(time.Until(until))
		}
	}
}

// Hurry tells from now on at once who has gone, and nothing waits for more to be told with it: the server closes its clients, and they come back to
// another one.
func (h *Hooks) Hurry() { h.hurries.Do(func() { close(h.hurried) }) }

func (h *Hooks) isClosing() bool {
	select {
	case <-h.closing:
		return true
	default:
		return false
	}
}

// Close tells what waits, without waiting longer for who has gone, and whatever fails once is lost. When ctx is done the rest is dropped. A
// second call does nothing.
func (h *Hooks) Close(ctx context.Context) {
	h.applies.Lock()
	if h.isClosing() {
		h.applies.Unlock()
		return
	}
	h.hub.SetObserver(nil)
	close(h.closing)
	h.applies.Unlock()
	h.Hurry()
	defer h.end()
	defer context.AfterFunc(ctx, h.end)()
	h.collector.Wait()
	h.tellers.Wait()
}
