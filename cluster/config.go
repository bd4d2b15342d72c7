package cluster

import (
	"log/slog"
	"time"
)

// Config is what a node needs to be one of a cluster. New checks nothing of it: who reads settings does.
type Config struct {
	Name    string // of the cluster, the same on all nodes: [A-Za-z0-9_-]+
	Node    string // of this node: unique in the cluster, and the same after a restart
	Version string // of this program, which other nodes are told; may be empty

	// The embedded server. With NATS set it is not started, and these have no meaning.
	Listen   string   // host:port where the other nodes connect; empty: a cluster of one node, which listens nowhere
	Peers    []string // host:port of all nodes, this one too; empty: a cluster of one node
	Token    string   // what nodes show to each other; empty: nothing
	TLS      TLS
	StoreDir string // where the log lies
	Sync     bool   // what was acknowledged is on the disk (fsync), and not only with the operating system

	NATS string // URL of NATS servers with JetStream that others operate; empty: the embedded one

	Replicas   int           // 1, 3 or 5 machines have each message
	Partitions int           // as the cluster was born with
	StoreMax   int64         // bytes of the log on this node
	Wait       time.Duration // for which a publish waits for its place in the order, then its sender is told

	// What the log keeps of each group: the most that any kind of groups has. Homes keep to what each kind says.
	HistoryMax int           // messages
	TTLMax     time.Duration // but at least 24 h

	MessageMax int // the largest message that is to be put in order, bytes; 0: it is not known

	Log *slog.Logger

	recallBytes int           // of messages in one recall; 0: recallBytesMax
	tick        time.Duration // 0: the usual; tests have a slower one where nothing is to hang on time
}

// TLS is what nodes show to each other, and by what they judge each other; the zero value: none.
type TLS struct{ Cert, Key, CA string } // files

// Bounds of Config that settings check.
const (
	PartitionsDefault = 16
	PartitionsMax     = 256
	WaitMin, WaitMax  = time.Second, 5 * time.Minute
	StoreMin          = 64 << 20 // bytes
)
