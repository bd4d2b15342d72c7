// Command centrifuge is a peer of ringcast in its bench, in the dialect centrifuge: a server with
// github.com/centrifugal/centrifuge v0.40.1 (MIT), the library that Centrifugo is made of, as the tutorial in its README has it.
//
// So anonymous clients may connect, subscribe to every channel and publish to it, nothing is kept unless --history says how many
// messages of each channel, which clients may then recover from the library's memory, and every default of the library stays: queues of 1 MiB, up to 16 messages in a frame, a ping every 25 s. Two things are left out: the lines that the
// tutorial logs for every command, which would cost more than the command, and its page of files.
//
// As in the tutorial, a publication does not name its client, so that a push is shorter here than ringcast's.
//
// There is one form. The writer of each client joins what waits for it by itself.
package main

import (
	"flag"
	"net/http"
	"time"

	"github.com/centrifugal/centrifuge"

	"ringcast/bench/peers/common"
)

// historyTTL is ringcast's default. Without a size it means nothing.
const historyTTL = 5 * time.Minute

func main() {
	history := flag.Int("history", 0, "`messages` of each channel that are kept for historyTTL, for clients that come back; 0: none")
	port, _ := common.Options()
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		common.Fail(err)
	}
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnSubscribe(func(_ centrifuge.SubscribeEvent, answer centrifuge.SubscribeCallback) {
			answer(centrifuge.SubscribeReply{Options: centrifuge.SubscribeOptions{EnableRecovery: *history > 0}}, nil)
		})
		client.OnPublish(func(_ centrifuge.PublishEvent, answer centrifuge.PublishCallback) {
			answer(centrifuge.PublishReply{Options: centrifuge.PublishOptions{HistorySize: *history, HistoryTTL: historyTTL}}, nil)
		})
	})
	if err := node.Run(); err != nil {
		common.Fail(err)
	}
	routes := http.NewServeMux()
	routes.Handle("/connection/websocket", anonymous(centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{})))
	server := http.Server{Handler: routes, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(common.Listen(port))
	common.Serve(port)
}

// anonymous lets everybody in, as a user without a name.
func anonymous(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in := centrifuge.SetCredentials(r.Context(), &centrifuge.Credentials{UserID: ""})
		next.ServeHTTP(w, r.WithContext(in))
	})
}
