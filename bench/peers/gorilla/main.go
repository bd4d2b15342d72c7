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
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

func main() {
	port, batch := options()
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, os.Interrupt, syscall.SIGTERM)

	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	server := http.Server{
		Handler:           &handler{registry: registry{groups: map[string]*group{}}, batch: batch},
		ReadHeaderTimeout: 10 * time.Second,
	}
	go server.Serve(listener)
	fmt.Printf("listening 127.0.0.1:%d\n", port)
	<-ended
}

type handler struct {
	registry registry
	batch    bool
}

var upgrader = websocket.Upgrader{ReadBufferSize: 1 << 10, WriteBufferSize: 1 << 10, WriteBufferPool: &sync.Pool{}}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has answered
	}
	conn.SetReadLimit(messageMax)
	c := &client{conn: conn, groups: map[string]*group{}}
	if h.batch {
		c.wake = make(chan struct{}, 1)
		conn.SetPingHandler(func(data string) error { // by the writer, since WriteControl would set another deadline
			c.push(frame(opPong, data))
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
		cmd, err := parse(text)
		if err == nil {
			h.do(c, cmd)
		}
		if text := cmd.answer(err); text == nil {
			continue
		} else if h.batch {
			c.push(frame(opText, text))
		} else {
			c.messages <- prepare(text)
		}
	}
	for _, g := range c.groups {
		h.registry.leave(g, c)
	}
	c.close() // nobody else can queue anything for it now
}

func (h *handler) do(c *client, cmd command) {
	g := c.groups[cmd.Group]
	switch {
	case cmd.Cmd == "add_group" && g == nil:
		c.groups[cmd.Group] = h.registry.join(cmd.Group, c)
	case cmd.Cmd == "leave_group" && g != nil:
		h.registry.leave(g, c)
		delete(c.groups, cmd.Group)
	case cmd.Cmd == "send_to_group":
		if g = h.registry.find(cmd.Group); g == nil {
			return
		}
		if h.batch {
			g.send(frame(opText, *cmd.Message))
		} else {
			g.broadcast(prepare([]byte(*cmd.Message)))
		}
	}
}

// broadcast is the usual form. Queueing under the group's lock makes the one order.
func (g *group) broadcast(m *websocket.PreparedMessage) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.members {
		c.messages <- m
	}
}

func prepare(text []byte) *websocket.PreparedMessage {
	m, err := websocket.NewPreparedMessage(websocket.TextMessage, text)
	if err != nil {
		panic(err) // the type is a right one
	}
	return m
}
