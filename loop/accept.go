package loop

import (
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	gneterrors "github.com/panjf2000/gnet/v2/pkg/errors"
	"golang.org/x/sys/unix"
)

// This file is what becomes of a failed accept. It must not end the server, and in gnet it does: accept errors, of which
// EMFILE is the common one, end the poller by being errors.Is-equal to gnet's ErrAcceptSocket. An error whose type cannot
// be compared equals nothing, not even itself, so with this one in its place the poller goes on. Admission alone cannot
// keep EMFILE away: the accepting goroutine takes a whole burst before any loop sees the first of it.
//
// gnet's listener is edge-triggered, so what was left in the accept queue is taken only when something new arrives;
// keepAccepting sees to that. And nothing arrives in a queue that is full: then one must be taken out by hand.
//
//	accept fails ──► handler.Errorf ──► acceptFailures ──► keepAccepting ──► dialSelf: gnet looks at its queue again
//	                                                            └─ in vain ─► refuseOne, and again in 50 ms
func init() { gneterrors.ErrAcceptSocket = acceptError{} }

type acceptError struct{ _ []struct{} }

func (acceptError) Error() string { return "accept failed" }

// isAcceptFailure tells failed accepts from all else that gnet logs as an error, by the format: the only sign of them that
// gnet gives.
func isAcceptFailure(format string) bool { return strings.HasPrefix(format, "Accept() failed") }

// acceptFailures counts failed accepts and asks for another try after each.
//
// Owner: any goroutine.
type acceptFailures struct {
	total  atomic.Uint64
	lastAt atomic.Int64  // when the last one was, Unix seconds; 0: never
	retry  chan struct{} // a token after each
}

func newAcceptFailures() acceptFailures { return acceptFailures{retry: make(chan struct{}, 1)} }

// note takes note of a failed accept. Where descriptors are short many fail in a moment, so one a second is logged.
func (f *acceptFailures) note(log *slog.Logger, reason string) {
	total := f.total.Add(1)
	select {
	case f.retry <- struct{}{}:
	default:
	}
	if now := time.Now().Unix(); f.lastAt.Swap(now) != now {
		log.Warn("accept failed and will be tried again; raise the limit of open files if this goes on",
			"reason", reason, "failed", total)
	}
}

// last is when the last one was, to a second; zero: never.
func (f *acceptFailures) last() (at time.Time) {
	if seconds := f.lastAt.Load(); seconds != 0 {
		at = time.Unix(seconds, 0)
	}
	return at
}

// keepAccepting dials the own listener after a failed accept, until a connection gets through. One that does not finds the
// queue full, or no descriptor free.
func (s *Server) keepAccepting() {
	for {
		select {
		case <-s.hub.failedAccepts.retry:
		case <-s.done:
			return
		}
		for through := false; !through; {
			select {
			case <-time.After(acceptRetry):
				if through = s.dialSelf() == nil; !through {
					s.refuseOne()
				}
			case <-s.done:
				return
			}
		}
	}
}

// acceptRetry is long enough for the loops to close what admission refused, short for who waits in the backlog.
const acceptRetry = 50 * time.Millisecond

// refuseOne takes one connection off the kernel's accept queue, tells it 503 and closes it.
func (s *Server) refuseOne() {
	fd, err := s.listener.accept()
	if err != nil {
		return
	}
	count(&s.hub.shards[0].count.RefusedClientsBy, awayClients)
	_, _ = unix.Write(fd, awayClients.answers().any())
	_ = unix.Close(fd)
}
