package loop

import (
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	gneterrors "github.com/panjf2000/gnet/v2/pkg/errors"
	"golang.org/x/sys/unix"
)

// This file handles failed accepts. They must not end the server, and in gnet they do: its poller ends on an error that is
// errors.Is-equal to gnet's ErrAcceptSocket, as accept errors are, of which EMFILE is the common one. An error whose type cannot
// be compared equals nothing, not even itself, so with this one in its place the poller goes on. Admission cannot prevent
// EMFILE: the accepting goroutine takes a whole burst before any loop sees the first connection of it.
//
// gnet's listener is edge-triggered, so what is left in the accept queue is taken only when another connection arrives.
// keepAccepting makes one. And none can arrive in a full queue: then one is accepted here, and refused.
//
//	accept fails ──► handler.Errorf ──► acceptFailures ──► keepAccepting ──► dialSelf: gnet looks at its queue again
//	                                                            └─ failed ─► refuseOne, and again in 50 ms
func init() { gneterrors.ErrAcceptSocket = acceptError{} }

type acceptError struct{ _ []struct{} }

func (acceptError) Error() string { return "accept failed" }

// isAcceptFailure tells failed accepts from everything else that gnet logs as an error. gnet shows them in no other way.
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

// note counts a failed accept. Where descriptors are short many fail at one moment, so one a second is logged.
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

// keepAccepting dials the server's own listener after a failed accept, until a connection is made. That fails while the queue is
// full or no descriptor is free.
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

// acceptRetry is long enough for the loops to close what admission refused, and short for clients that wait in the accept queue.
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
