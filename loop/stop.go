package loop

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"ringcast/wsproto"
)

// This file is the end of a server. Stop goes through these steps:
//
//	refuse   stopping is set. New connections are answered 503, when they connect (admission.go) or when their request is
//	         complete (handshake.go); publishes and joins get error stopping, or close 1001 without an id; a port's caller
//	         gets ErrStopping, and offers that a port had begun are finished
//	settle   in a cluster: publishes that were offered are waited for, then nothing of other nodes is taken any more. What was
//	         accepted is sent, until lanes, backlogs and passes are empty. All that for at most half of the time
//	tell     every client is closed with 1001, or in the handshake answered 503, some in each turn
//	give up  the listening sockets are closed, the files of unix sockets removed. Who waits for the addresses is told: from here
//	         on another server can have them. Connections that were accepted and not yet opened are opened, and answered 503
//	drain    the last client that goes puts a token into drained; one whose Close frame has left is cut 1 s later, and those that
//	         have not taken their last bytes when the time is over are cut with the engine
//	end      the engine is told to end. Before it closes the descriptors by which loops are woken it calls OnShutdown, from
//	         which on nobody uses them. gnet.Run returns to Server.ended, which closes the channel ended: callers that wait
//	         for a loop get ErrStopping
//
// An engine that ends by itself begins at the last step. When Stop's time is over the steps are gone through without waiting.
//
// Listening sockets that were handed in go on listening at whoever handed them in, so nobody need be refused: newcomers wait for
// the next server in the kernel's queue. They are given up first. Whoever was accepted before is served as if it had come a moment
// earlier: its request is answered 101, and a Close frame with 1001 follows. Who has sent none 1 s later is answered 503: a service
// manager starts the next server when this one has ended, and a browser's spare connection may be silent for minutes.

// ending is which of these steps a hub has reached.
//
// Owner: any goroutine (atomic).
type ending struct {
	stopping atomic.Bool
	untold   atomic.Int64  // loops that have clients to tell
	told     chan struct{} // closed when untold has become 0
	drained  chan struct{} // gets a token when the last connection has gone
	ended    chan struct{} // closed when no loop runs any more
}

func newEnding() ending {
	return ending{told: make(chan struct{}), drained: make(chan struct{}, 1), ended: make(chan struct{})}
}

// Stop ends the server: nothing is accepted any more, what was accepted is sent, every client is closed with 1001 and has
// until ctx is done to take its last bytes, then the engine ends. told, if it is not nil, is called once, when every client has
// been told and the addresses are free for another server; ctx may be over by then. A second call waits for the first, and then
// calls its own told. The error is ctx's if clients had to be cut. Any goroutine that is no loop.
func (s *Server) Stop(ctx context.Context, told func()) error {
	if told == nil {
		told = func() {}
	}
	var err error
	first := false
	s.stop.Do(func() {
		first = true
		s.hub.refuseAll()
		patience, cancel := halfOf(ctx)
		if s.hub.handedIn {
			s.acceptNoMore(patience)
		}
		_ = s.hub.settleDown(patience) // an error only if loops are overloaded; clients are closed all the same
		cancel()
		err = s.hub.tellAll(ctx)
		s.berths.giveUp(false)
		told()
		if err == nil {
			_ = s.openAccepted(ctx) // who came in at the last moment gets its answer; gnet would forget the socket
			err = s.hub.drain(ctx)
		}
		if s.hub.connections.Load() == 0 {
			err = nil // all have gone, even if ctx has ended since
		}
		s.handler.engineStop()
	})
	if !first {
		told()
	}
	<-s.done
	return err
}

// acceptNoMore gives up the listening sockets that were handed in, and returns when every connection that was accepted from them is a
// client's.
func (s *Server) acceptNoMore(ctx context.Context) {
	s.berths.giveUp(true)
	_ = s.openAccepted(ctx) // an error only if it takes too long, or no descriptor is left to strike the gong with
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
	s.handler.OnShutdown(s.handler.engine) // again, if gnet got so far
	s.handler.loops.close()
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
	h.awaitOrder(ctx)
	h.homes.Seal() // else other nodes would keep this one busy
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

// awaitOrder waits, for half of the time that is left, until no publish of this server waits for the word of a cluster.
func (h *Hub) awaitOrder(ctx context.Context) {
	patience, cancel := halfOf(ctx)
	defer cancel()
	for {
		var backlog atomic.Int64
		err := h.each(patience, func(s *shard) { backlog.Add(int64(s.backlog.bytes)) })
		// A request goes from a backlog to a lane, then to who waits: looked at in this order none is missed.
		if err != nil || backlog.Load() == 0 && h.homes.Unserved() == 0 && h.homes.Unordered().Offered == 0 {
			return
		}
		select {
		case <-time.After(time.Millisecond):
		case <-patience.Done():
			return
		}
	}
}

// tellAll closes every client because the server stops, and waits until the last has been told: its Close frame, or an HTTP
// answer, is sent or waits in its outbox. The error is ctx's, or ErrStopping.
func (h *Hub) tellAll(ctx context.Context) error {
	h.untold.Store(int64(len(h.shards)))
	if err := h.each(ctx, (*shard).beginStop); err != nil {
		return err
	}
	select {
	case <-h.told:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-h.ended:
		return ErrStopping
	}
}

// drain waits until the last client has gone. The error is ctx's, or ErrStopping.
func (h *Hub) drain(ctx context.Context) error {
	for h.connections.Load() > 0 {
		select {
		case <-h.drained:
		case <-ctx.Done():
			return ctx.Err()
		case <-h.ended:
			return ErrStopping
		}
	}
	return nil
}

// shardStop is how far a shard has come with closing its clients.
//
// Owner: the loop.
type shardStop struct {
	begun bool
	told  bool // all that were there when it began have been told
	left  int  // clients in slots below this one are still to be closed
}

// beginStop has turns close all present clients, and those soon that are closing already, or that are yet to send a request; new
// connections are refused already.
func (s *shard) beginStop() {
	s.stop = shardStop{begun: true, left: len(s.clients)}
	for i := range s.deadlines.list {
		s.deadlines.list[i].sooner(s.tick + stopCloseTicks)
	}
}

// handshakeTicks is how long a handshake may take.
func (s *shard) handshakeTicks() uint32 {
	if s.stop.begun { // it was accepted before
		return min(s.bounds.handshakeTicks, stopCloseTicks)
	}
	return s.bounds.handshakeTicks
}

// closeTicks is how long a closing client may take. While the server stops that is counted from its last bytes on (settleLate).
func (s *shard) closeTicks() uint32 {
	if s.stop.begun {
		return min(s.bounds.closeTicks, stopCloseTicks)
	}
	return s.bounds.closeTicks
}

// stopCloseTicks is enough for the answer to a Close frame from any place on earth, or for a request whose connection was accepted
// from a socket that was handed in, and little for an operator who waits.
const stopCloseTicks = 5

// closeSlice closes the next closesPerTurn clients of a server that stops, so that the loop can send between the slices.
func (s *shard) closeSlice() {
	for n := 0; n < closesPerTurn && s.stop.left > 0; n++ {
		s.stop.left--
		if s.stop.left >= len(s.clients) {
			continue
		}
		switch c := s.clients[s.stop.left]; c.state {
		case stateOpen:
			s.close(c, s.stopCause(c))
		case stateHandshake:
			if !s.hub.handedIn {
				s.giveUpHandshake(c)
			}
		}
	}
	if s.stop.left > 0 {
		s.kick()
	} else if !s.stop.told {
		s.stop.told = true
		if s.hub.untold.Add(-1) == 0 {
			close(s.hub.told)
		}
	}
}

// giveUpHandshake answers a client of a server that stops, and does not wait for its end: what it has sent was read, and a browser's
// spare connection never sends anything.
func (s *shard) giveUpHandshake(c *client) {
	s.turnAway(c, awayStopping, wsproto.RejectStopping)
	s.doom(c)
}
