package bus

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"ringcast/loop"
)

// remote is the client of another Channel server. Messages of groups here are sent there as events of the bridge's channel,
// and events from there are published to the groups here.
//
// A Channel server sends an event to all subscribers, its publisher among them. So each event carries a mark, and an
// event that comes back with our own mark is not published again: it only says that the server has distributed it. When the
// connection breaks, those that have not come back may be lost. They are counted and not sent again, for they may also have
// arrived, and nothing is to be delivered twice. Events of other publishers have another mark or none, so any number of
// ringcasts may use one Channel server.
type remote struct {
	// Immutable.
	cfg    Config
	bridge name
	mark   string
	groups Groups
	count  *counters
	log    *slog.Logger
	out    *outbox // what waits for the server, also while it is disconnected
	stop   context.CancelFunc
	done   chan struct{} // closed when run has ended

	// Any goroutine.
	connected atomic.Bool
	unechoed  atomic.Int64 // events written that have not come back
	full      atomic.Bool  // events are being refused, and that has been logged
}

func newRemote(cfg Config, groups Groups, count *counters) *remote {
	var mark [8]byte
	_, _ = rand.Read(mark[:]) // never fails
	r := &remote{cfg: cfg, bridge: stringName(cfg.Bridge), mark: hex.EncodeToString(mark[:]), groups: groups, count: count,
		log: cfg.Log, out: newOutbox(cfg.BufferBytesMax, new(atomic.Int64)), done: make(chan struct{})}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go r.run(ctx)
	return r
}

func (r *remote) addr() string { return r.cfg.Connect }

// hear sends a message that was published to a group to the server, unless it came from there.
func (r *remote) hear(p *loop.Publication) {
	if p.Token != nil {
		return
	}
	frame := publishFrame(r.bridge, groupData(p.Group, p.Message, r.mark))
	if len(frame) > r.cfg.FrameBytesMax {
		r.count.refuse(r.log, refusedTooBig, 1, "group", shown([]byte(p.Group)), "bytes", len(p.Message))
		return
	}
	if r.out.put(&parcel{frame: frame}) == placedIn {
		r.full.Store(false)
		return
	}
	r.count.refused[refusedBuffer].Add(1)
	if !r.full.Swap(true) {
		r.log.Warn("events for the Channel server are refused: the buffer is full", "bytes", r.out.waiting(), "connected", r.connected.Load())
	}
}

// Pauses between two attempts to connect. With the longest, a server that is up again receives events within 2 s.
const (
	pauseMin = 100 * time.Millisecond
	pauseMax = 1500 * time.Millisecond
)

// run connects, and reconnects whenever the connection ends.
func (r *remote) run(ctx context.Context) {
	defer close(r.done)
	pause, away, before := pauseMin, false, false
	for ctx.Err() == nil {
		began := time.Now()
		err := r.connect(ctx, func() {
			r.log.Info("connected to the Channel server", "addr", r.cfg.Connect)
			if before {
				r.count.reconnects.Add(1)
			}
			before, away = true, false
		})
		if ctx.Err() != nil {
			return
		}
		if !away {
			away = true
			r.log.Warn("no connection to the Channel server; trying again", "addr", r.cfg.Connect, "err", err)
		} else {
			r.log.Debug("still no connection to the Channel server", "addr", r.cfg.Connect, "err", err)
		}
		if time.Since(began) > pauseMax {
			pause = pauseMin
		}
		select {
		case <-time.After(pause/2 + mathrand.N(pause/2)): // otherwise all clients of a restarted server would connect at once
		case <-ctx.Done():
		}
		pause = min(2*pause, pauseMax)
	}
}

const (
	dialTimeout = 5 * time.Second
	untakenMax  = 30 * time.Second // longer than a working Channel server is ever busy
)

func (r *remote) dial(ctx context.Context) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout, Control: setUntaken,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}}
	kind, where := network(r.cfg.Connect)
	return dialer.DialContext(ctx, kind, where)
}

// connect serves one connection until it ends; the error says why.
func (r *remote) connect(ctx context.Context, ready func()) error {
	conn, err := r.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })() // nothing else ends a blocked read or write
	if _, err := conn.Write(subscribeFrame(r.bridge)); err != nil {
		return err
	}
	r.connected.Store(true)
	ready()
	defer r.connected.Store(false)

	ctx, stop := context.WithCancel(ctx)
	var writer sync.WaitGroup
	writer.Go(func() { r.write(ctx, conn) })
	err = r.read(ctx, conn)
	stop()
	conn.Close()
	writer.Wait()
	if lost := r.unechoed.Swap(0); lost > 0 {
		r.count.lost.Add(uint64(lost))
		r.log.Warn("events may have been lost with the connection to the Channel server", "events", lost)
	}
	return err
}

// pingPeriod is that of PHP's client. A ping is not answered; it keeps firewalls in between from dropping an idle connection.
const pingPeriod = 55 * time.Second

// write writes what is put into the outbox, until ctx is done. A failure closes the connection, which ends read.
func (r *remote) write(ctx context.Context, conn net.Conn) {
	ticker := time.NewTicker(pingPeriod)
	defer ticker.Stop()
	for {
		err := r.out.flush(conn, func(events int) {
			r.count.eventsOut.Add(uint64(events))
			r.unechoed.Add(int64(events))
		})
		if err != nil {
			conn.Close()
			return
		}
		select {
		case <-r.out.ready:
		case <-ticker.C:
			if _, err := conn.Write(ping); err != nil {
				conn.Close()
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func (r *remote) read(ctx context.Context, conn net.Conn) error {
	in := bufio.NewReaderSize(conn, 64<<10)
	var buf []byte
	for {
		body, err := readFrame(in, buf, r.cfg.FrameBytesMax, nil)
		if err != nil {
			return err
		}
		r.count.bytesIn.Add(uint64(frameHeadBytes + len(body)))
		if err := r.frame(ctx, body); err != nil {
			return err
		}
		if buf = body; cap(buf) > bodyKeptMax {
			buf = nil
		}
	}
}

// frame publishes one event to its group. By the token hear knows that it came from the server.
func (r *remote) frame(ctx context.Context, body []byte) (err error) {
	defer r.count.survive(r.log, func() { err = io.ErrClosedPipe })
	if len(body) == 0 {
		return nil
	}
	m, err := readMessage(body, r.cfg.SubscriptionsMax)
	if err != nil {
		return fmt.Errorf("it sent an invalid frame: %w", err)
	}
	if m.verb != verbEvent || string(m.channel.key) != r.cfg.Bridge {
		r.count.refuse(r.log, refusedUnknown, 1, "type", shown(m.said), "channel", shown(m.channel.key))
		return nil
	}
	g, is, wrong := readGroupMessage(m.data)
	refuse := func(why refusal, more ...any) {
		r.count.refuse(r.log, why, 1, append([]any{"channel", r.cfg.Bridge, "group", shown([]byte(g.group)), "bytes", len(m.data.raw)}, more...)...)
	}
	if is && g.mark == r.mark {
		r.unechoed.Add(-1)
		return nil
	}
	r.count.eventsIn.Add(1)
	if is {
		err = r.groups.PublishWait(ctx, g.group, g.text, r)
	}
	switch {
	case !is && wrong == "": // PHP's processes may say other things to each other
		r.count.refused[refusedGroup].Add(1)
	case !is:
		refuse(refusedGroup, "why", wrong)
	case errors.Is(err, loop.ErrBadGroup) || errors.Is(err, loop.ErrBadMessage):
		refuse(refusedGroup, "why", whyNoGroup(err, g.text))
	case errors.Is(err, loop.ErrBusy):
		refuse(refusedMemory)
	case err != nil:
		refuse(refusedStopping)
		return ctx.Err() // nil while the server stops: the echoes of its own events still count
	default:
		r.count.published.Add(1)
	}
	return nil
}

func (r *remote) stats() Stats {
	st := r.count.read()
	st.Mode, st.Bridge, st.Connected, st.WaitingBytes = "client", r.cfg.Bridge, r.connected.Load(), r.out.waiting()
	return st
}

// echoWaitDefault bounds how long close waits for the server to distribute what was written last.
const echoWaitDefault = time.Second

// await polls a condition every millisecond, until it holds, or the connection or ctx ends. Only close waits like this: the
// goroutines that count what it waits for should not spend time on notifying it.
func (r *remote) await(ctx context.Context, so func() bool) {
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for r.connected.Load() && !so() {
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

// withdraw does nothing: a client has no address that another could want.
func (r *remote) withdraw() {}

// close writes what waits, if there is a connection to write it to, and ends.
func (r *remote) close(ctx context.Context) error {
	r.out.end(false)
	r.await(ctx, r.out.over)
	echoes, cancel := context.WithTimeout(ctx, r.cfg.echoWait)
	r.await(echoes, func() bool { return r.unechoed.Load() <= 0 })
	cancel()
	left := r.out.waiting()
	r.stop()
	<-r.done
	if left > 0 {
		return fmt.Errorf("%d bytes of events did not reach the Channel server", left)
	}
	return nil
}
