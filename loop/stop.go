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
//	refuse   stopping is set. Newcomers are answered 503 when they connect (admission.go) or when their request is complete
//	         (handshake.go); publishes get error stopping, or close 1001 without an id; a port's caller gets ErrStopping,
//	         and what a port had begun is finished
//	settle   what was accepted goes out: until lanes, backlogs and passes are empty, for half of the time that there is
//	close    every client is told, 1001 or in the handshake 503, a slice per turn, and the last to go leaves a token in
//	         drained; who has not taken its last bytes when the time is over is cut with the engine
//	deafen   no loop is woken any more, as gnet closes what wakes them before it says so
//	end      the engine is told to end. Its goroutine comes back to Server.ended, which closes descriptors and ended: who
//	         waits for a loop gets ErrStopping
//
// An engine that ends by itself begins at the last step. A stop that is late only shortens what it waits for.

// ending is how far the end of a hub has come; see above.
//
// Owner: any goroutine.
type ending struct {
	stopping atomic.Bool
	drained  chan struct{} // gets a token when the last connection goes
	deaf     atomic.Bool
	ended    chan struct{} // closed when no loop runs any more
}

func newEnding() ending { return ending{drained: make(chan struct{}, 1), ended: make(chan struct{})} }

// Stop ends the server in good order: nothing new is accepted, what was accepted goes out, every client is closed with
// 1001 and given until ctx is done to take its last bytes, then the engine ends. A second call waits for the first. The
// error is ctx's when clients had to be cut.
func (s *Server) Stop(ctx context.Context) error {
	var err error
	s.stop.Do(func() {
		s.hub.refuseAll()
		patience, cancel := halfOf(ctx)
		_ = s.hub.settleDown(patience) // in vain only if loops are overloaded; clients are told all the same
		cancel()
		if err = s.hub.closeAll(ctx); s.hub.connections.Load() == 0 {
			err = nil // all had gone, whatever became of ctx
		}
		s.hub.deaf.Store(true) // gnet closes its eventfds before it says so; nobody may write to them then
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

// errEnded is what there is to say of an engine that ends without an error and without having been asked.
var errEnded = errors.New("the event engine ended by itself")

// ended notes that gnet.Run has returned, which nobody may miss.
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
	close(s.hub.ended)
	close(s.done)
}

// refuseAll begins a stop: no connection and no publish is accepted any more. When it returns that holds for every port;
// a loop may still be in a callback that had begun.
func (h *Hub) refuseAll() {
	h.stopping.Store(true)
	h.homes.Quiesce() // whoever publishes now began before the store above
}

// settleDown waits until everything that was accepted has gone out to sockets: nothing in lanes, no backlog,
// nothing gathered, and nothing moved between two looks. New publishes must be refused by now.
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

// closeAll tells every client that the server stops, and waits until the last has gone.
func (h *Hub) closeAll(ctx context.Context) error {
	err := h.each(ctx, (*shard).beginStop)
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

// shardStop is how far a shard is with closing its clients.
//
// Owner: the loop.
type shardStop struct {
	begun bool
	left  int // clients below this place are still to be closed
}

// beginStop has all clients closed that the shard has now; newcomers are refused already.
func (s *shard) beginStop() { s.stop = shardStop{begun: true, left: len(s.clients)} }

// closeSlice closes the next clients of a server that stops: not all at once, so that what is accepted can still go
// out between the slices.
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
			// No waiting for its end: what it has sent was read, and a browser's spare connection never says a word.
			s.answerHTTP(c, wsproto.RejectStopping.After(door.RetryAfter()).AppendTo(nil))
			s.doom(c)
		}
	}
	if s.stop.left > 0 {
		s.kick()
	}
}
