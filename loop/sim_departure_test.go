package loop

import (
	"bytes"
	"fmt"
	"strings"
)

// simDepartures are the connections of a world that have left their loops. Some peers speak plain HTTP; an HTTP server has their
// connections for a while, reads nothing more, and closes them.
type simDepartures struct {
	open    []*departed
	left    uint64
	refused uint64 // for want of a descriptor
	gone    uint64 // by their peers, before they were handed over
}

// plain has a peer that has just connected speak plain HTTP, with a second request, or a part of it, behind the first.
func (a *actor) plainHTTP() {
	a.toServer = bytes.Replace(a.toServer, []byte("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"), nil, 1)
	more := fmt.Sprintf("POST /%d HTTP/1.1\r\nHost: sim\r\nContent-Length: 40\r\n\r\n%s", a.index, strings.Repeat("b", 40))
	a.toServer = append(a.toServer, more[:a.w.rng.IntN(len(more)+1)]...)
	a.plainText = bytes.Clone(a.toServer[bytes.Index(a.toServer, []byte("GET ")):])
	a.said = true // it hears nothing, and says nothing more
}

// hand hands a connection over, or says that no descriptor is free for it.
func (w *world) hand(c conn, what departure) bool {
	sock := c.(*socket)
	w.must(sock.shard.callback.running(), "a connection is handed over outside of a callback")
	w.must(len(sock.outbound) == 0 && len(sock.kernel) == 0, "a connection was handed over to which something was sent")
	if w.chance(10) {
		w.departures.refused++
		return false
	}
	for _, a := range w.actors {
		if a.sock == sock {
			w.must(bytes.HasPrefix(a.plainText, what.read) && bytes.Contains(what.read, []byte("\r\n\r\n")) && len(a.toServer)+len(what.read) == len(a.plainText),
				"actor %d has sent %q, and has yet to send %q: handed over were %q", a.index, a.plainText, a.toServer, what.read)
		}
	}
	d := newDeparted(w.hub, what)
	d.Conn = noSocket{}
	w.departures.open, w.departures.left = append(w.departures.open, d), w.departures.left+1
	sock.close()
	return true
}

// endDeparted has the HTTP server close some connections, or all.
func (w *world) endDeparted(percent int) {
	kept := w.departures.open[:0]
	for _, d := range w.departures.open {
		if !w.chance(percent) {
			kept = append(kept, d)
			continue
		}
		d.Close()
		if w.chance(50) {
			d.Close()
		}
	}
	w.departures.open = kept
	w.must(w.hub.departed.Load() == int64(len(kept)), "departed: %d are counted, want %d", w.hub.departed.Load(), len(kept))
}
