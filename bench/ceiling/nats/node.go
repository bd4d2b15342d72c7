package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// node is a server and the connection to it.
type node struct {
	name, listen, token, store string
	peers                      []string
	partitions, replicas       int
	sync, read                 bool

	server *server.Server
	conn   *nats.Conn
	seen   atomic.Uint64 // messages that were read
}

const (
	startTime     = 80 * time.Second // until all streams have leaders
	askAgainAfter = 200 * time.Millisecond
	keptPerGroup  = 4097 // messages, as ringcast has it for kinds with less
	storeMax      = 10 << 30
	windowOfIDs   = 30 * time.Second
)

func (n *node) start() error {
	o := &server.Options{ServerName: n.name, Host: "127.0.0.1", Port: server.RANDOM_PORT, DontListen: n.listen == "", Authorization: n.token + "-of-clients", NoSigs: true, NoLog: true,
		MaxPending: 256 << 20, JetStream: true, StoreDir: n.store, JetStreamMaxStore: storeMax, JetStreamMaxMemory: 64 << 20, SyncAlways: n.sync, DisableJetStreamBanner: true}
	if n.listen != "" {
		host, text, err := net.SplitHostPort(n.listen)
		if err != nil {
			return fmt.Errorf("-listen: %w", err)
		}
		port, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("-listen: %w", err)
		}
		o.Cluster = server.ClusterOpts{Name: "ceiling", Host: host, Port: port, Username: "ceiling", Password: n.token, NoAdvertise: true,
			Compression: server.CompressionOpts{Mode: server.CompressionOff}}
		for _, peer := range n.peers {
			if peer != n.listen {
				o.Routes = append(o.Routes, &url.URL{Scheme: "nats-route", Host: peer, User: url.UserPassword("ceiling", n.token)})
			}
		}
	}
	s, err := server.NewServer(o)
	if err != nil {
		return fmt.Errorf("server: %w", err)
	}
	n.server = s
	s.Start()
	if !s.ReadyForConnections(startTime) {
		return errors.New("the server is not ready")
	}
	if n.conn, err = nats.Connect("", nats.InProcessServer(s), nats.Token(n.token+"-of-clients")); err != nil {
		return fmt.Errorf("connection: %w", err)
	}
	return n.streams()
}

func (n *node) stop() {
	n.conn.Close()
	n.server.Shutdown()
}

// streams makes those that are not there, and returns when all have a leader. All nodes do so at once, which is the same as if one did.
func (n *node) streams() error {
	js, err := n.conn.JetStream(nats.MaxWait(2 * time.Second))
	if err != nil {
		return err
	}
	deadline := time.Now().Add(startTime)
	for p := range n.partitions {
		config := &nats.StreamConfig{Name: fmt.Sprintf("C%d", p), Subjects: []string{fmt.Sprintf("c.%d.*", p)}, Storage: nats.FileStorage, Replicas: n.replicas,
			MaxMsgsPerSubject: keptPerGroup, MaxMsgs: -1, MaxBytes: storeMax / int64(2*n.partitions), MaxMsgSize: -1, MaxConsumers: -1, MaxAge: 24 * time.Hour,
			Discard: nats.DiscardOld, Duplicates: windowOfIDs, AllowDirect: true, DenyDelete: true}
		if n.read {
			config.RePublish = &nats.RePublish{Source: fmt.Sprintf("c.%d.*", p), Destination: fmt.Sprintf("l.%d.{{wildcard(1)}}", p)}
		}
		for {
			info, err := js.StreamInfo(config.Name)
			if errors.Is(err, nats.ErrStreamNotFound) {
				info, err = js.AddStream(config)
			}
			if err == nil && (info.Cluster == nil || info.Cluster.Leader != "") {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("stream %s: no leader in %v: %w", config.Name, startTime, err)
			}
			time.Sleep(askAgainAfter)
		}
	}
	if !n.read {
		return nil
	}
	_, err = n.conn.Subscribe("l.>", func(*nats.Msg) { n.seen.Add(1) })
	return errors.Join(err, n.conn.Flush())
}
