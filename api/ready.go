package api

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"ringcast/loop"
)

// readiness answers whether new clients should be sent to this server. Any goroutine.
type readiness struct {
	hub  Hub
	more func() string   // another reason, as in Config.Trouble; nil: there is none
	note func() []string // what an operator should see where it is ready, as in Config.Notes; nil: nothing
	now  func() time.Time
	off  atomic.Pointer[string] // why it was set unready
}

// acceptTrouble is how long a server is not ready after a failed accept. Accept is tried several times in that time, so the
// state ends once one succeeds; and a load balancer that asks every few seconds notices it.
const acceptTrouble = 10 * time.Second

// ServeHTTP answers 200, with what an operator should see soon, or 503 with the reason.
func (d *readiness) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if why := d.trouble(); why != "" {
		plain(w, http.StatusServiceUnavailable, "not ready: "+why+"\n")
		return
	}
	text := "ready\n"
	if d.note != nil {
		for _, note := range d.note() {
			text += "WARNING: " + note + "\n"
		}
	}
	plain(w, http.StatusOK, text)
}

// trouble is why the server should get no new clients, empty when it should.
func (d *readiness) trouble() string {
	if why := d.off.Load(); why != nil {
		return *why
	}
	snap := d.hub.Snapshot()
	for _, reason := range []func(loop.Snapshot, time.Time) string{stopping, full, cannotAccept, shortOfMemory} {
		if why := reason(snap, d.now()); why != "" {
			return why
		}
	}
	if d.more != nil {
		return d.more()
	}
	return ""
}

func stopping(s loop.Snapshot, _ time.Time) string {
	if s.Stopping {
		return "the server is stopping"
	}
	return ""
}

func full(s loop.Snapshot, _ time.Time) string {
	t := s.Total()
	if n := t.Clients + t.Pending + s.Departed; n >= int64(s.ClientsMax) {
		return fmt.Sprintf("connections: %d of at most %d", n, s.ClientsMax)
	}
	return ""
}

func cannotAccept(s loop.Snapshot, now time.Time) string {
	if !s.AcceptFailed.IsZero() && now.Sub(s.AcceptFailed) < acceptTrouble {
		return fmt.Sprintf("connections could not be accepted at %s; check the limit of open files",
			s.AcceptFailed.Format(time.TimeOnly))
	}
	return ""
}

func shortOfMemory(s loop.Snapshot, _ time.Time) string {
	if s.MemoryPressure != "" && s.MemoryPressure != "none" {
		return fmt.Sprintf("memory is short: %d bytes count against the limit of %d", s.MemoryUsed, s.MemoryLimit)
	}
	return ""
}
