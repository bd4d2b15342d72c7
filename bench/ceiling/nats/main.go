// Command nats is the yardstick of the bench's verb cluster: the bare engine under ringcast's cluster, and nothing of ringcast. One
// process is one node: an embedded NATS server with JetStream, and in the same process a publisher that sends messages of a size to the
// streams of all partitions and waits for their acknowledgements.
//
// What it does not do: there are no clients and no sockets of theirs, no WebSocket, no JSON, no keys and no window of duplicates; no
// message is brought back from the streams, so nobody hears it and nothing is put in order for anybody; nothing is sent again, so what is
// not acknowledged in time is counted and forgotten. With --read the servers republish each message when it is committed, and each node
// reads all of them and counts, which is the least that a node must do to know the order.
//
// The bench starts it and speaks with it by JSON lines on stdin and stdout, see Job and Result.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

// Job is what the bench wants of a node: publish for a time.
type Job struct {
	Rate   float64       `json:"rate"`   // messages a second of this node; 0: closed loop
	Window int           `json:"window"` // closed loop: messages in flight of this node
	Time   time.Duration `json:"time_ns"`
	Size   int           `json:"size"`
	Groups int           `json:"groups"` // subjects, which are dealt to the partitions in turn
	First  int           `json:"first"`  // the group of the first message
}

// Result is what came of it. Times are nanoseconds from the due time, in a closed loop from the publish.
type Result struct {
	Sent     uint64        `json:"sent"`
	Acked    uint64        `json:"acked"`
	Refused  uint64        `json:"refused"`
	Lost     uint64        `json:"lost"` // without an answer in time
	Read     uint64        `json:"read"` // with --read
	Ack      string        `json:"ack"`  // histogram: HdrHistogram's compressed form
	Lateness string        `json:"lateness"`
	Seconds  float64       `json:"seconds"`
	User     time.Duration `json:"user_ns"`
	System   time.Duration `json:"system_ns"`
	RSS      int64         `json:"rss_bytes"`
	Waited   int64         `json:"waited_ns"`
	Error    string        `json:"error,omitempty"`
}

func main() {
	var n node
	peers := ""
	flag.StringVar(&n.name, "name", "n1", "of this node")
	flag.StringVar(&n.listen, "listen", "", "where other nodes connect; empty: there are none")
	flag.StringVar(&peers, "peers", "", "where all nodes are, separated by commas")
	flag.StringVar(&n.token, "token", "", "what nodes show to each other")
	flag.StringVar(&n.store, "store", "", "directory of the streams")
	flag.IntVar(&n.partitions, "partitions", 16, "streams")
	flag.IntVar(&n.replicas, "replicas", 3, "of each stream")
	flag.BoolVar(&n.sync, "sync", false, "write each message to the disk before it is acknowledged")
	flag.BoolVar(&n.read, "read", false, "republish what is committed, and read it at each node")
	flag.Parse()
	if peers != "" {
		n.peers = strings.Split(peers, ",")
	}
	if err := n.start(); err != nil {
		fmt.Fprintln(os.Stderr, "ceiling:", err)
		os.Exit(1)
	}
	defer n.stop()
	fmt.Println(`{"ready":true}`)
	in := bufio.NewScanner(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() { // the bench ends it by closing stdin
		var j Job
		if err := json.Unmarshal(in.Bytes(), &j); err != nil {
			fmt.Fprintln(os.Stderr, "ceiling: what was asked cannot be read:", err)
			os.Exit(1)
		}
		if err := out.Encode(n.publish(j)); err != nil {
			return
		}
	}
}
