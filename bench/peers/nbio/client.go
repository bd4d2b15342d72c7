package main

import (
	"sync"

	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"

	"ringcast/bench/peers/common"
)

// client is a connection and its groups.
type client struct {
	conn   *websocket.Conn
	groups common.Groups[*client] // owner: the connection's callbacks

	// Batch form.
	socket *nbio.Conn // conn's connection; Write of conn itself is refused
	writer *writer
	mu     sync.Mutex
	chunks [][]byte // whole frames, not written yet
}

func (h *handler) newClient(conn *websocket.Conn) *client {
	c := &client{conn: conn, groups: common.Groups[*client]{}}
	if h.writers != nil {
		c.socket = conn.UnderlayerConn().(*nbhttp.Conn).Conn.(*nbio.Conn)
		c.writer = h.writers[c.socket.Hash()%len(h.writers)]
	}
	return c
}

// Push queues whole frames. The first one since the last flush queues the client for its writer.
func (c *client) Push(frames []byte) {
	c.mu.Lock()
	c.chunks = append(c.chunks, frames)
	first := len(c.chunks) == 1
	c.mu.Unlock()
	if first {
		c.writer.add(c)
	}
}

// writer writes for its share of the clients.
type writer struct {
	wake chan struct{}
	mu   sync.Mutex
	due  []*client // those with something to write
}

func startWriters(n int) []*writer {
	writers := make([]*writer, n)
	for i := range writers {
		writers[i] = &writer{wake: make(chan struct{}, 1)}
		go writers[i].run()
	}
	return writers
}

func (w *writer) add(c *client) {
	w.mu.Lock()
	w.due = append(w.due, c)
	first := len(w.due) == 1
	w.mu.Unlock()
	if first {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// run writes all that a client has when its turn comes, with one call: chunks are joined, because Conn.Writev of this
// version loses what the socket did not accept. What Write itself cannot write stays with the connection, and
// frames of WriteMessage cannot come between whole frames.
func (w *writer) run() {
	var turn []*client
	var joined []byte
	for range w.wake {
		w.mu.Lock()
		turn, w.due = w.due, turn[:0]
		w.mu.Unlock()
		for _, c := range turn {
			c.mu.Lock()
			frames := c.chunks[0]
			if len(c.chunks) > 1 {
				joined = joined[:0]
				for _, chunk := range c.chunks {
					joined = append(joined, chunk...)
				}
				frames = joined
			}
			clear(c.chunks)
			c.chunks = c.chunks[:0]
			c.mu.Unlock()
			c.socket.Write(frames)
		}
		clear(turn)
	}
}
