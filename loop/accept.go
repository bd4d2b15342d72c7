package loop

import (
	"errors"
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
// keepAccepting has the poller report it again.
//
//	accept fails ──► handler.Errorf ──► acceptFailures ──► keepAccepting, in 50 ms: berths.again ──► gnet looks at its queues
//	      ▲                                                                                                │
//	      └────────────────────────────────────── still no descriptor ◄────────────────────────────────────┘
func init() { gneterrors.ErrAcceptSocket = acceptError{} }

type acceptError struct{ _ []struct{} }

func (acceptError) Error() string { return "accept failed" }

// isAcceptFailure tells failed accepts from everything else that gnet logs as an error. gnet shows them in no other way.
func isAcceptFailure(format string) bool { return strings.HasPrefix(format, "Accept() failed") }

// isGivenUp says whether an accept failed because its listener had just been given up: no listening socket fails in this way.
func isGivenUp(args []any) bool {
	for _, arg := range args {
		if err, ok := arg.(error); ok && errors.Is(err, unix.EINVAL) {
			return true
		}
	}
	return false
}

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

// keepAccepting has gnet look at its queues again after a failed accept.
func (s *Server) keepAccepting() {
	for {
		select {
		case <-s.hub.failedAccepts.retry:
		case <-s.done:
			return
		}
		select {
		case <-time.After(acceptRetry):
			s.berths.again()
		case <-s.done:
			return
		}
	}
}

// acceptRetry is long enough for the loops to close what admission refused, and short for clients that wait in the accept queue.
const acceptRetry = 50 * time.Millisecond
