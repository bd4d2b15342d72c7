// Command gorilla is a peer of ringcast in its bench: the same groups over github.com/gorilla/websocket v1.5.3, as a
// user who knows that library would write them.
//
// As in the library's chat example (examples/chat), each client has a reading and a writing goroutine, the writer alone
// writes data, writes have a deadline, and the handler returns so that what net/http holds can be freed. Buffers follow
// the "Buffers" part of the package's documentation: a small read buffer, a pool for write buffers.
//
//   - usual: one PreparedMessage per message, which the documentation names for sending one message to many
//     connections, and a channel per client. The writer writes each message by itself. Unlike the chat, a full channel
//     is waited for, so that no client that reads loses anything or is cut off.
//   - batch: the chat's writer also takes what else is in its channel and sends it as one message, joined by newlines.
//     Here messages must stay messages, and the library flushes each frame of its own. So the writer takes the frames
//     that wait, made once for all members, and writes them to NetConn with one system call.
package main

import (
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"ringcast/bench/peers/common"
)

func main() {
	port, batch := common.Options()
	listener := common.Listen(port)
	server := http.Server{
		Handler:           &handler{registry: common.NewRegistry[*client](), batch: batch},
		ReadHeaderTimeout: 10 * time.Second,
	}
	go server.Serve(listener)
	common.Serve(port)
}

type handler struct {
	registry *common.Registry[*client]
	batch    bool
}

var upgrader = websocket.Upgrader{ReadBufferSize: 1 << 10, WriteBufferSize: 1 << 10, WriteBufferPool: &sync.Pool{}}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has answered
	}
	conn.SetReadLimit(common.MessageMax)
	c := &client{conn: conn, groups: common.Groups[*client]{}}
	if h.batch {
		c.wake = make(chan struct{}, 1)
		conn.SetPingHandler(func(data string) error { // by the writer, since WriteControl would set another deadline
			c.Push(common.Frame(common.OpPong, data))
			return nil
		})
		go c.writeBatches()
	} else {
		c.messages = make(chan *websocket.PreparedMessage, messagesMax)
		go c.writeMessages()
	}
	go h.read(c)
}

// read is the reading goroutine of a client.
func (h *handler) read(c *client) {
	for {
		_, text, err := c.conn.ReadMessage()
		if err != nil {
			break
		}
		to, message, answer := h.registry.Do(c, c.groups, text)
		switch {
		case to == nil:
		case h.batch:
			to.Send(common.Frame(common.OpText, message))
		default:
			broadcast(to, prepare([]byte(message)))
		}
		switch {
		case answer == nil:
		case h.batch:
			c.Push(common.Frame(common.OpText, answer))
		default:
			c.messages <- prepare(answer)
		}
	}
	h.registry.LeaveAll(c, c.groups)
	c.close() // nothing else can be queued for it now
}

// broadcast is the usual form. Queueing under the group's lock gives all members the same order.
func broadcast(to *common.Group[*client], m *websocket.PreparedMessage) {
	to.Each(func(c *client) { c.messages <- m })
}

func prepare(text []byte) *websocket.PreparedMessage {
	m, err := websocket.NewPreparedMessage(websocket.TextMessage, text)
	if err != nil {
		panic(err) // cannot fail: the type is valid
	}
	return m
}
