package main

import (
	"net"
	"sync"

	"github.com/lxzan/gws"

	"ringcast/bench/peers/common"
)

// client is a connection and its groups.
type client struct {
	socket *gws.Conn
	groups common.Groups[*client] // owner: the reading goroutine

	// Batch form.
	mu     sync.Mutex
	chunks [][]byte // whole frames, not written yet
	spare  [][]byte // the slice of the last flush, for reuse; owner: the write queue
	bytes  int
}

func clientOf(socket *gws.Conn) *client {
	c, _ := socket.Session().Load(sessionClient)
	return c.(*client)
}

// Push queues whole frames. The first one since the last flush queues the flush that will take all.
func (c *client) Push(frames []byte) {
	c.mu.Lock()
	c.chunks = append(c.chunks, frames)
	c.bytes += len(frames)
	first, full := len(c.chunks) == 1, c.bytes > common.QueueMax
	c.mu.Unlock()
	if full {
		c.socket.NetConn().Close() // ends ReadLoop, and with it the membership
	} else if first {
		c.socket.Async(c.flush)
	}
}

// flush writes all that waits at once. It runs in the connection's write queue, so never twice at a time. Pongs and
// answers of the reading goroutine cannot come between, because both sides write whole frames in one Write, and net.Conn
// lets one Write at a time through.
func (c *client) flush() {
	c.mu.Lock()
	chunks := c.chunks
	c.chunks, c.spare, c.bytes = c.spare[:0], chunks, 0
	c.mu.Unlock()
	var err error
	if len(chunks) == 1 {
		_, err = c.socket.NetConn().Write(chunks[0])
	} else {
		several := net.Buffers(chunks)
		_, err = several.WriteTo(c.socket.NetConn())
	}
	clear(chunks)
	if err != nil {
		c.socket.NetConn().Close()
	}
}
