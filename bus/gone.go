package bus

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"time"
)

// part is the end of one of the peer's goroutines; with the second the peer is gone, and the log says how it was. Workers are
// few and their ends matter. Pages that connect for each request and only publish are many: they are seen at level debug.
func (p *peer) part() {
	if p.parts.Add(1) < 2 {
		return
	}
	s := p.server
	s.mu.Lock()
	receives, eventsOut, jobsOut := p.receives, p.eventsOut, p.jobsOut
	s.mu.Unlock()
	level := slog.LevelDebug
	if receives {
		level = slog.LevelInfo
	}
	s.log.Log(context.Background(), level, "a Channel client has gone", "remote", p.where, "why", *p.ending.Load(),
		"after", time.Since(p.began).Round(time.Millisecond).String(), "bytes_in", p.bytesIn, "events_in", p.eventsIn,
		"events_out", eventsOut, "jobs_out", jobsOut, "unsent_bytes", p.unsent.Load())
}

// endsFor notes why the connection ends.
func (p *peer) endsFor(why string) { p.ending.CompareAndSwap(nil, &why) }

// readEnd is why reading has ended.
func readEnd(err error) string {
	if errors.Is(err, io.EOF) {
		return "it has ended the connection"
	}
	return errorText(err)
}

// errorText is an error of a connection without the addresses, which the log has beside it.
func errorText(err error) string {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}

// receiving notes that the peer has subscribed or watched. Under the server's lock.
func (p *peer) receiving(verb string, n name) {
	if !p.receives {
		p.receives = true
		p.server.log.Info("a Channel client receives", "remote", p.where, verb, shown(n.key))
	}
}
