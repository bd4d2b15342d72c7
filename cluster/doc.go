// Package cluster makes one ringcast of several: groups have members on all nodes, and one order on all of them.
//
// The engine is NATS: its JetStream streams are the log in which the messages of each partition stand in their order, replicated by raft.
// This package writes no consensus, no membership and no storage. It is the Orderer of package order: it takes what homes offer, has the
// log put it in order, and brings what the log has put in order to the homes of this node, as all other nodes do.
package cluster
