package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// This file sends what happens to clients as it happens, by Server-Sent Events (HTML Living Standard §9.2). The browser connects again
// by itself.

const (
	tailEvery      = 150 * time.Millisecond // what has come meanwhile goes out in one write
	tailSigns      = 5 * time.Second        // without anything to tell: a sign of life, and how much was left out
	tailWriteLimit = 10 * time.Second       // for a write to somebody who does not read
)

func (c *console) tail(w http.ResponseWriter, r *http.Request) {
	f, err := filter(r)
	if err != nil {
		c.fail(w, err)
		return
	}
	t, err := c.hub.NewTail(r.Context(), f)
	if err != nil {
		c.fail(w, err)
		return
	}
	defer t.Close()
	out := http.NewResponseController(w)
	// The server's own deadlines are for requests that end. Without one for reading the end of the connection is still noticed.
	if err := errors.Join(out.SetReadDeadline(time.Time{}), out.SetWriteDeadline(time.Now().Add(tailWriteLimit))); err != nil {
		busy(w, "this connection cannot stream")
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, "retry: 2000\n\n")
	ticks := time.NewTicker(tailEvery)
	defer ticks.Stop()
	said, told := time.Time{}, uint64(0)
	for {
		select {
		case <-r.Context().Done():
			return
		case <-c.over:
			return
		case <-ticks.C:
		}
		some := false
		for more := true; more; {
			select {
			case x := <-t.Next():
				writeEvent(w, "trace", x)
				some = true
			default:
				more = false
			}
		}
		if left := t.Left(); some || left != told || time.Since(said) >= tailSigns {
			writeEvent(w, "left", left)
			told, said = left, time.Now()
			_ = out.SetWriteDeadline(said.Add(tailWriteLimit))
			if out.Flush() != nil {
				return
			}
		}
	}
}

// writeEvent writes one event. JSON has no line breaks of its own.
func writeEvent(w http.ResponseWriter, name string, data any) {
	text, err := json.Marshal(data)
	if err == nil {
		fmt.Fprintf(w, "event: %s\ndata: %s\n\n", name, text)
	}
}
