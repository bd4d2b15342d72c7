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
	"net"
	"net/http"
	"os"
	"runtime"
	"time"

	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"

	"ringcast/bench/peers/common"
)

// never is for deadlines that must not come.
const never = 365 * 24 * time.Hour

func main() {
	port, batch := common.Options()
	logging.Output = os.Stderr
	logging.SetLevel(logging.LevelError)

	h := handler{registry: common.NewRegistry[*client]()}
	if batch {
		h.writers = startWriters(runtime.GOMAXPROCS(0))
	}
	upgrader := h.upgrader()
	// Bound here and not by the engine, which does not always return from Start when the port is in use.
	listener := common.Listen(port)
	engine := nbhttp.NewEngine(nbhttp.Config{
		Network:                      "tcp",
		Addrs:                        []string{listener.Addr().String()},
		Listen:                       func(string, string) (net.Listener, error) { return listener, nil },
		IOMod:                        nbhttp.IOModNonBlocking,
		NPoller:                      runtime.GOMAXPROCS(0),
		KeepaliveTime:                never, // the engine may set it after the upgrade has cleared it, and close clients
		MaxWriteBufferSize:           common.QueueMax,
		MaxWebsocketFramePayloadSize: common.MessageMax,
		ReleaseWebsocketPayload:      true, // callbacks keep nothing of a message's bytes
		SupportServerOnly:            true,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			upgrader.Upgrade(w, r, nil) // answers itself when it refuses
		}),
	})
	if err := engine.Start(); err != nil {
		common.Fail(err)
	}
	common.Serve(port)
}

// handler has the callbacks of nbio, which runs those of one connection one after another.
type handler struct {
	registry *common.Registry[*client]
	writers  []*writer // nil in the usual form
}

func (h *handler) upgrader() *websocket.Upgrader {
	u := websocket.NewUpgrader()
	u.KeepaliveTime = 0
	u.MessageLengthLimit = common.MessageMax
	u.OnOpen(func(conn *websocket.Conn) { conn.SetSession(h.newClient(conn)) })
	u.OnMessage(func(conn *websocket.Conn, _ websocket.MessageType, text []byte) {
		h.onMessage(conn.Session().(*client), text)
	})
	u.OnClose(func(conn *websocket.Conn, _ error) {
		c, _ := conn.Session().(*client)
		if c == nil {
			return
		}
		h.registry.LeaveAll(c, c.groups)
	})
	return u
}

func (h *handler) onMessage(c *client, text []byte) {
	to, message, answer := h.registry.Do(c, c.groups, text)
	switch {
	case to == nil:
	case h.writers != nil:
		to.Send(common.Frame(common.OpText, message))
	default:
		broadcast(to, []byte(message))
	}
	if answer != nil {
		c.conn.WriteMessage(websocket.TextMessage, answer)
	}
}

// broadcast is the usual form. Writing under the group's lock gives all members the same order; no write blocks.
func broadcast(to *common.Group[*client], text []byte) {
	to.Each(func(c *client) { c.conn.WriteMessage(websocket.TextMessage, text) })
}
