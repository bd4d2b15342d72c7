// Command gws is a peer of ringcast in its bench: the same groups over github.com/lxzan/gws v1.8.9, as a user who
// knows that library would write them.
//
// It is a gws.Server, which upgrades accepted connections without net/http (README, "Quick Start"), and one goroutine
// per client in ReadLoop. Writers are not parked: gws starts a goroutine for a connection's write queue when there is
// something in it and ends it when the queue is empty.
//
//   - usual: a gws.Broadcaster per message, as in examples/push and in the README under "Broadcast". The frame is made
//     once and one write of it queued for each member.
//   - batch: gws has no call that writes several messages at once, but Conn.Async runs a job in the connection's write
//     queue. So frames gather per client, and one job writes all that is there when its turn comes: one system call
//     instead of one for each message.
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/lxzan/gws"
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
	server := gws.NewServer(&handler{registry: registry{groups: map[string]*group{}}, batch: batch}, &gws.ServerOption{
		ReadBufferSize:     1 << 10, // commands are small and clients many
		ReadMaxPayloadSize: messageMax,
		CheckUtf8Enabled:   true,
	})
	server.OnError = func(conn net.Conn, err error) {
		if conn == nil { // accept failed: out of descriptors
			time.Sleep(10 * time.Millisecond)
			return
		}
		conn.Close() // the server leaves it open when the request was no HTTP
	}
	go server.RunListener(listener)
	fmt.Printf("listening 127.0.0.1:%d\n", port)
	<-ended
}

// handler has the callbacks of gws. All callbacks of a connection run in its one reading goroutine.
type handler struct {
	gws.BuiltinEventHandler
	registry registry
	batch    bool
}

const sessionClient = "client"

func (h *handler) OnOpen(socket *gws.Conn) {
	socket.Session().Store(sessionClient, &client{socket: socket, groups: map[string]*group{}})
}

func (h *handler) OnClose(socket *gws.Conn, _ error) {
	c := clientOf(socket)
	for _, g := range c.groups {
		h.registry.leave(g, c)
	}
}

func (h *handler) OnPing(socket *gws.Conn, payload []byte) { socket.WritePong(payload) }

func (h *handler) OnMessage(socket *gws.Conn, message *gws.Message) {
	defer message.Close()
	c := clientOf(socket)
	cmd, err := parse(message.Bytes())
	if err == nil {
		h.do(c, cmd)
	}
	if text := cmd.answer(err); text != nil {
		socket.WriteMessage(gws.OpcodeText, text)
	}
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
			g.broadcast([]byte(*cmd.Message))
		}
	}
}

// broadcast is the usual form. Queueing under the group's lock makes the one order; the writes themselves follow
// outside of it.
func (g *group) broadcast(text []byte) {
	b := gws.NewBroadcaster(gws.OpcodeText, text)
	defer b.Close()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.members {
		b.Broadcast(c.socket)
	}
}
