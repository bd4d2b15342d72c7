package main

import (
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"ringcast/bench/peers/common"
)

const (
	messagesMax = 256              // in a client's channel, as in the chat example
	writeWait   = 10 * time.Second // for a client that does not read, as in the chat example
)

// client is a connection and its groups.
type client struct {
	conn   *websocket.Conn
	groups common.Groups[*client] // owner: the reading goroutine

	messages chan *websocket.PreparedMessage // usual form

	// Batch form.
	wake   chan struct{} // something waits
	mu     sync.Mutex
	chunks [][]byte // whole frames, not written yet
	bytes  int
}

// close ends the writing goroutine.
func (c *client) close() {
	c.conn.Close()
	if c.messages != nil {
		close(c.messages)
	} else {
		close(c.wake)
	}
}

// writeMessages is the usual form's writing goroutine. It goes on receiving messages after a failed write, so that no sender
// waits for the channel of a client that is gone.
func (c *client) writeMessages() {
	for m := range c.messages {
		c.conn.SetWriteDeadline(time.Now().Add(writeWait))
		if c.conn.WritePreparedMessage(m) != nil {
			c.conn.Close() // ends the reading goroutine, which closes the channel
		}
	}
}

// Push queues whole frames and wakes the writer if it may have nothing to do.
func (c *client) Push(frames []byte) {
	c.mu.Lock()
	c.chunks = append(c.chunks, frames)
	c.bytes += len(frames)
	first, full := len(c.chunks) == 1, c.bytes > common.QueueMax
	c.mu.Unlock()
	if full {
		c.conn.Close()
	} else if first {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// writeBatches is the batch form's writing goroutine. The documentation warns that writing to NetConn can corrupt the
// connection. Here it does not: each call writes whole frames, and the library itself writes only the close frame.
func (c *client) writeBatches() {
	var chunks [][]byte
	conn := c.conn.NetConn()
	for range c.wake {
		c.mu.Lock()
		chunks, c.chunks, c.bytes = c.chunks, chunks[:0], 0
		c.mu.Unlock()
		if len(chunks) == 0 {
			continue
		}
		conn.SetWriteDeadline(time.Now().Add(writeWait))
		var err error
		if len(chunks) == 1 {
			_, err = conn.Write(chunks[0])
		} else {
			several := net.Buffers(chunks)
			_, err = several.WriteTo(conn)
		}
		clear(chunks)
		if err != nil {
			conn.Close()
		}
	}
}
