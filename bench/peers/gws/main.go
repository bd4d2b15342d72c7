// Command gws is a peer of ringcast in its bench: the same groups over github.com/lxzan/gws v1.8.9, as a user who
// knows that library would write them.
//
// It is a gws.Server, which upgrades accepted connections without net/http (README, "Quick Start"), and one goroutine
// per client in ReadLoop. There are no idle writers: gws starts a goroutine for a connection's write queue when there is
// something in it and ends it when the queue is empty.
//
//   - usual: a gws.Broadcaster per message, as in examples/push and in the README under "Broadcast". The frame is made
//     once and one write of it queued for each member.
//   - batch: gws has no call that writes several messages at once, but Conn.Async runs a job in the connection's write
//     queue. So frames gather per client, and one job writes all that is there when its turn comes: one system call
//     instead of one for each message.
//
// With --compression the Broadcaster compresses once for all members. The form batch makes its frames itself, so it has none.
package main

import (
	"flag"
	"net"
	"time"

	"github.com/lxzan/gws"

	"ringcast/bench/peers/common"
)

func main() {
	compression := flag.Bool("compression", false, "permessage-deflate without context takeover, in the form usual")
	port, batch := common.Options()
	listener := common.Listen(port)
	server := gws.NewServer(&handler{registry: common.NewRegistry[*client](), batch: batch}, &gws.ServerOption{
		ReadBufferSize:     1 << 10, // commands are small and clients many
		ReadMaxPayloadSize: common.MessageMax,
		CheckUtf8Enabled:   true,
		PermessageDeflate:  gws.PermessageDeflate{Enabled: *compression, Threshold: common.CompressionMin},
	})
	server.OnError = func(conn net.Conn, err error) {
		if conn == nil { // accept failed: out of descriptors
			time.Sleep(10 * time.Millisecond)
			return
		}
		conn.Close() // the server leaves it open when the request was no HTTP
	}
	go server.RunListener(listener)
	common.Serve(port)
}

// handler has the callbacks of gws. All callbacks of a connection run in its one reading goroutine.
type handler struct {
	gws.BuiltinEventHandler
	registry *common.Registry[*client]
	batch    bool
}

const sessionClient = "client"

func (h *handler) OnOpen(socket *gws.Conn) {
	socket.Session().Store(sessionClient, &client{socket: socket, groups: common.Groups[*client]{}})
}

func (h *handler) OnClose(socket *gws.Conn, _ error) {
	c := clientOf(socket)
	h.registry.LeaveAll(c, c.groups)
}

func (h *handler) OnPing(socket *gws.Conn, payload []byte) { socket.WritePong(payload) }

func (h *handler) OnMessage(socket *gws.Conn, message *gws.Message) {
	defer message.Close()
	c := clientOf(socket)
	to, text, answer := h.registry.Do(c, c.groups, message.Bytes())
	switch {
	case to == nil:
	case h.batch:
		to.Send(common.Frame(common.OpText, text))
	default:
		broadcast(to, []byte(text))
	}
	if answer != nil {
		socket.WriteMessage(gws.OpcodeText, answer)
	}
}

// broadcast is the usual form. Queueing under the group's lock gives all members the same order; the writes
// themselves follow outside of it.
func broadcast(to *common.Group[*client], text []byte) {
	b := gws.NewBroadcaster(gws.OpcodeText, text)
	defer b.Close()
	to.Each(func(c *client) { b.Broadcast(c.socket) })
}
