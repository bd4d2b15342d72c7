package cluster

import (
	"sync/atomic"
	"time"
)

// Status is what an operator sees of the cluster from this node.
type Status struct {
	Name       string            `json:"name"`  // of the cluster
	Node       string            `json:"node"`  // this one
	Ready      bool              `json:"ready"` // there is no Trouble
	Trouble    string            `json:"trouble,omitempty"`
	Nodes      []NodeStatus      `json:"nodes"`
	Partitions []PartitionStatus `json:"partitions"`

	// Counted since this node has started.
	Offered       uint64            `json:"offered"`         // publishes that homes of this node have offered, and were taken
	Ordered       uint64            `json:"ordered"`         // messages that have come back in their order, of all nodes
	Refused       map[string]uint64 `json:"refused"`         // offers, by cause: see the names below
	Repeated      uint64            `json:"repeated"`        // offers whose key had been said before
	HolesFilled   uint64            `json:"holes_filled"`    // times that messages were missing here, and were fetched from the log
	HoleMessages  uint64            `json:"hole_messages"`   // messages fetched so
	HoleLost      uint64            `json:"hole_lost"`       // messages missing here that the log had no more; the positions of their partition ended
	Recalls       uint64            `json:"recalls"`         // of a group, from the log
	RecallsFailed uint64            `json:"recalls_failed"`  // the log could not be asked in time
	RecallsBusy   uint64            `json:"recalls_refused"` // too many were waiting
	Resends       uint64            `json:"resends"`         // messages sent to the log again
	Batches       uint64            `json:"batches"`         // begun; more than one a partition says how often the way to the log broke
	FastSent      uint64            `json:"fast_sent"`       // messages of fast groups
	FastHeard     uint64            `json:"fast_heard"`      // the same, of other nodes
	FastLost      uint64            `json:"fast_lost"`       // the same, for which there was no room here
	SlowReads     uint64            `json:"slow_reads"`      // times that this node took what the log says too slowly, so that some was missed and fetched
	Strange       uint64            `json:"strange"`         // messages in the log that no ringcast has written
	StoreBytes    uint64            `json:"store_bytes"`     // of the log, on each of its replicas
}

// NodeStatus is what this node knows of one of the cluster.
type NodeStatus struct {
	Name string    `json:"name"`
	Up   bool      `json:"up"`   // heard of within the last 3 s
	Seen time.Time `json:"seen"` // when it was last heard of
}

// PartitionStatus is what this node knows of a partition.
type PartitionStatus struct {
	Leader string `json:"leader"` // the node that puts its messages in order; empty: none is known
	Tip    uint64 `json:"tip"`    // the offset up to which this node has everything
	Lag    uint64 `json:"lag"`    // how many offsets the log was ahead of that when it was last asked
	Epoch  uint64 `json:"epoch"`
	Queued int    `json:"queued"` // offers of this node that wait to be sent
	Flying int    `json:"flying"` // offers of this node that were sent and have not come back
}

// Causes in Status.Refused.
const (
	refusedFull        = "full"        // the queue of the partition was full; nothing was taken
	refusedBusy        = "busy"        // it waited for its turn for too long; nothing was sent
	refusedUnavailable = "unavailable" // no majority; nothing was sent
	refusedUnconfirmed = "unknown"     // it was sent, and did not come back in time
	refusedTooLarge    = "too_large"   // larger than the servers of the log take, or 64 KiB go with it
)

// counters are the figures of Status. Any goroutine (atomic).
type counters struct {
	offered, ordered, repeated                            atomic.Uint64
	full, busy, unavailable, unconfirmed, tooLarge        atomic.Uint64
	holesFilled, holeMessages, holeLost                   atomic.Uint64
	recalls, recallsFailed, recallsBusy                   atomic.Uint64
	resends, batches, fastSent, fastHeard, fastLost, slow atomic.Uint64
	strange                                               atomic.Uint64
}

func (n *counters) refused() map[string]uint64 {
	return map[string]uint64{
		refusedFull:        n.full.Load(),
		refusedBusy:        n.busy.Load(),
		refusedUnavailable: n.unavailable.Load(),
		refusedUnconfirmed: n.unconfirmed.Load(),
		refusedTooLarge:    n.tooLarge.Load(),
	}
}
