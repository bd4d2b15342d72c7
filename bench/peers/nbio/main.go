// Command nbio is a peer of ringcast in its bench: the same groups over github.com/lesismal/nbio v1.6.12, as a user who
// knows that library would write them.
//
// It is an nbhttp.Engine with IOModNonBlocking, the mode for many connections (README, "Different IOMod"): no goroutine
// per client, pollers read, a pool runs the callbacks, and a write that would block is kept by the connection and
// finished by its poller. So a broadcast may write to all members in a loop, and one that does not read delays nobody.
// Other than the defaults: frames as long as messages, so that a message stays one frame; no keepalive, which would cut
// off members that only listen; a poller per core.
//
//   - usual: WriteMessage to each member, the call by which websocket/server of nbio-examples and the README's server
//     answer. nbio has no prepared messages.
//   - batch: frames are made once and gather per client. A few writers, one per core, each with its share of the
//     clients, write all that a client has with one Conn.Write.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"
)

// never is for deadlines that must not come.
const never = 365 * 24 * time.Hour

func main() {
	port, batch := options()
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, os.Interrupt, syscall.SIGTERM)
	logging.Output = os.Stderr
	logging.SetLevel(logging.LevelError)

	h := handler{registry: registry{groups: map[string]*group{}}}
	if batch {
		h.writers = startWriters(runtime.GOMAXPROCS(0))
	}
	upgrader := h.upgrader()
	// Bound here and not by the engine, which does not always come back from Start when the port is taken.
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	engine := nbhttp.NewEngine(nbhttp.Config{
		Network:                      "tcp",
		Addrs:                        []string{listener.Addr().String()},
		Listen:                       func(string, string) (net.Listener, error) { return listener, nil },
		IOMod:                        nbhttp.IOModNonBlocking,
		NPoller:                      runtime.GOMAXPROCS(0),
		KeepaliveTime:                never, // the engine may set it after the upgrade has cleared it, and cut clients off
		MaxWriteBufferSize:           queueMax,
		MaxWebsocketFramePayloadSize: messageMax,
		ReleaseWebsocketPayload:      true, // callbacks keep nothing of a message's bytes
		SupportServerOnly:            true,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			upgrader.Upgrade(w, r, nil) // answers itself when it refuses
		}),
	})
	if err := engine.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("listening 127.0.0.1:%d\n", port)
	<-ended
}

// handler has the callbacks of nbio, which runs those of one connection one after another.
type handler struct {
	registry registry
	writers  []*writer // nil in the usual form
}

func (h *handler) upgrader() *websocket.Upgrader {
	u := websocket.NewUpgrader()
	u.KeepaliveTime = 0
	u.MessageLengthLimit = messageMax
	u.OnOpen(func(conn *websocket.Conn) { conn.SetSession(h.newClient(conn)) })
	u.OnMessage(func(conn *websocket.Conn, _ websocket.MessageType, text []byte) {
		h.onMessage(conn.Session().(*client), text)
	})
	u.OnClose(func(conn *websocket.Conn, _ error) {
		c, _ := conn.Session().(*client)
		if c == nil {
			return
		}
		for _, g := range c.groups {
			h.registry.leave(g, c)
		}
	})
	return u
}

func (h *handler) onMessage(c *client, text []byte) {
	cmd, err := parse(text)
	if err == nil {
		h.do(c, cmd)
	}
	if text := cmd.answer(err); text != nil {
		c.conn.WriteMessage(websocket.TextMessage, text)
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
		if h.writers != nil {
			g.send(frame(opText, *cmd.Message))
		} else {
			g.broadcast([]byte(*cmd.Message))
		}
	}
}

// broadcast is the usual form. Writing under the group's lock makes the one order; no write blocks.
func (g *group) broadcast(text []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.members {
		c.conn.WriteMessage(websocket.TextMessage, text)
	}
}
