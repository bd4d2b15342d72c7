package loop

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"ringcast/dialect"
	"ringcast/loop/door"
	"ringcast/wsproto"
)

// This file is the end of a server. Stop goes through these steps:
//
//	refuse   stopping is set. New connections are answered 503, when they connect (admission.go) or when their request is
//	         complete (handshake.go); publishes get error stopping, or close 1001 without an id; a port's caller gets
//	         ErrStopping, and offers that a port had begun are finished
//	settle   what was accepted is sent, until lanes, backlogs and passes are empty, for at most half of the time
//	close    every client is closed with 1001, or in the handshake answered 503, some in each turn. The last that goes puts a
//	         token into drained; clients that have not taken their last bytes when the time is over are cut with the engine
//	deafen   no loop is woken any more, as gnet closes the descriptors for that before it says so
//	end      the engine is told to end. gnet.Run returns to Server.ended, which closes descriptors and the channel ended:
//	         callers that wait for a loop get ErrStopping
//
// An engine that ends by itself begins at the last step. When Stop's time is over the steps are gone through without waiting.

// ending is which of these steps a hub has reached.
//
// Owner: any goroutine (atomic).
type ending struct {
	stopping atomic.Bool
	drained  chan struct{} // gets a token when the last connection has gone
	deaf     atomic.Bool   // no loop is woken any more
	ended    chan struct{} // closed when no loop runs any more
}

func newEnding() ending { return ending{drained: make(chan struct{}, 1), ended: make(chan struct{})} }

// Stop ends the server: nothing is accepted any more, what was accepted is sent, every client is closed with 1001 and has
// until ctx is done to take its last bytes, then the engine ends. A second call waits for the first. The error is ctx's if
// clients had to be cut. Any goroutine that is no loop.
func (s *Server) Stop(ctx context.Context, told func()) error {
	var err error
	s.stop.Do(func() {
		s.hub.refuseAll()
		patience, cancel := halfOf(ctx)
		_ = s.hub.settleDown(patience) // an error only if loops are overloaded; clients are closed all the same
		cancel()
		if err = s.hub.closeAll(ctx, func() { s.closeDoors(); told() }); s.hub.connections.Load() == 0 {
			err = nil // all have gone, even if ctx has ended since
		}
		s.hub.deaf.Store(true) // gnet closes its eventfds before it says so; they must not be written then
		s.handler.engineStop()
	})
	<-s.done
	return err
}

// halfOf is a context that ends after half of the time that ctx has left.
func halfOf(ctx context.Context) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithTimeout(ctx, time.Until(deadline)/2)
	}
	return context.WithCancel(ctx)
}

// errEnded is Server.Err's error for an engine that ends without an error and without Stop.
var errEnded = errors.New("the event engine ended by itself")

// ended is called when gnet.Run has returned: it frees what is left, and tells all that wait.
func (s *Server) ended(err error) {
	if err == nil && !s.hub.stopping.Load() {
		err = errEnded
	}
	if s.hub.stopping.Load() {
		err = nil
	}
	s.err = err
	s.hub.deaf.Store(true)
	s.handler.loops.close()
	s.listener.close()
	s.closeDoors()
	close(s.hub.ended)
	close(s.done)
}

// refuseAll begins a stop: no connection and no publish is accepted any more. When it returns that is so for every port; a
// loop may still be in a callback that began before.
func (h *Hub) refuseAll() {
	h.stopping.Store(true)
	h.homes.Quiesce() // an offer of a port that is under way may have begun before the store above
}

// settleDown waits until everything that was accepted has been sent: lanes and backlogs are empty, nothing is gathered, and
// nothing has moved between two looks. New publishes must be refused by now. The error is ctx's, or ErrStopping.
func (h *Hub) settleDown(ctx context.Context) error {
	var before uint64
	for quietLooks := 0; quietLooks < 2; {
		var busy, moved atomic.Uint64
		err := h.each(ctx, func(s *shard) {
			busy.Add(uint64(s.backlog.bytes + s.passes.gathered + len(s.passes.queue)))
			moved.Add(h.homes.Home(s.index).Published() + s.count.Passes.Load())
		})
		if err != nil {
			return err
		}
		for _, r := range h.Snapshot().Loops {
			busy.Add(uint64(r.LaneDepth))
		}
		if busy.Load() == 0 && moved.Load() == before {
			quietLooks++
		} else {
			quietLooks = 0
		}
		before = moved.Load()
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// closeAll closes every client because the server stops, and waits until the last has gone. The error is ctx's, or ErrStopping.
func (h *Hub) closeAll(ctx context.Context, told func()) error {
	err := h.each(ctx, (*shard).beginStop)
	for begun := err == nil; begun; {
		var left atomic.Int64
		if err = h.each(ctx, func(s *shard) { left.Add(int64(s.stop.left)) }); err != nil || left.Load() == 0 {
			break
		}
	}
	told()
	for err == nil && h.connections.Load() > 0 {
		select {
		case <-h.drained:
		case <-ctx.Done():
			err = ctx.Err()
		case <-h.ended:
			err = ErrStopping
		}
	}
	return err
}

// shardStop is how far a shard has come with closing its clients.
//
// Owner: the loop.
type shardStop struct {
	begun bool
	left  int // clients in slots below this one are still to be closed
}

// beginStop has turns close all present clients; new connections are refused already.
func (s *shard) beginStop() { s.stop = shardStop{begun: true, left: len(s.clients)} }

// closeSlice closes the next closesPerTurn clients of a server that stops, so that the loop can send between the slices.
func (s *shard) closeSlice() {
	for n := 0; n < closesPerTurn && s.stop.left > 0; n++ {
		s.stop.left--
		if s.stop.left >= len(s.clients) {
			continue
		}
		switch c := s.clients[s.stop.left]; c.state {
		case stateOpen:
			s.close(c, dialect.CauseStopping)
		case stateHandshake:
			// It is not waited for: what it has sent was read, and a browser's spare connection never sends anything.
			s.answerHTTP(c, wsproto.RejectStopping.After(door.RetryAfter()).AppendTo(nil))
			s.doom(c)
		}
	}
	if s.stop.left > 0 {
		s.kick()
	}
}
