package order

import (
	"errors"
	"time"
)

// This file is how publishes are put in order where homes do not do that: over many machines, by package cluster. A home then offers each
// publish to the orderer, and numbers nothing. What the orderer has put in order comes back through an inlet, with its offset, on every
// machine in the same order; only then is it kept, sent to loops, and its sender answered. So who is a member on the sender's machine never sees
// another order than who is one elsewhere, and nobody hears what is refused later.
//
//	loop ─up lane─► home ─Offer─► orderer ··· put in order ··· inlet ─up lane─► home ─down lanes─► loops
//
// Groups fall into partitions, and each partition belongs to one home of each machine (Homes.Of). Offsets are those of the partition: in a
// group they ascend and are the same on all machines, but are not dense. Any offset that the partition has reached is a position of each of its groups.

// Orderer puts publishes in order in place of homes. Every method is called by who holds the home, and must neither block nor call
// anything of this package.
type Orderer interface {
	// Offer takes a publish. Its answer comes through the inlet, once and in time: Ordered with its Token, or Refused. What one home offers of
	// one group is put in order as it was offered. False: there is no room for more of that partition, and nothing was taken.
	Offer(home int, o Offer) bool

	// Recall asks for all that the log keeps of a group. It is answered by Recalled with the Group, in 4 s at most. A home asks for a group
	// once at a time. False: too many are asked for, and nothing was taken.
	Recall(home int, group string) bool
}

// Offer is a publish that is to be put in order.
type Offer struct {
	Partition int
	Message   *Message // nobody writes it any more but its home, when it has come back
	Key       string   // under which it may be repeated; empty: it is never a repeat
	Token     uint64   // by which the home knows who has said it; never 0
	Soon      bool     // its sender does not wait for longer than 4 s
	Fast      bool     // its home has sent it already, and it goes to other machines as it can: unordered, unkept, without an answer. Token is 0
	Forgets   bool     // it is no message: what the log keeps of Message.Group is to be dropped at its place in the order
}

// Ordered is what has been put in order. Of each partition they come in the order of their offsets, each once.
type Ordered struct {
	Partition int
	Offset    uint64   // from 1; ascends within the partition
	Prev      uint64   // the offset before it in the same group that the log has had, or one behind which it has had none; 0: there was none
	Message   *Message // without an offset, and not shared; of an offer of this machine that still waits it may be nil, as its home has it
	Key       string   // as in the Offer
	Token     uint64   // of the Offer of this machine; 0: another machine's, or its sender has been refused since
	Fast      bool     // it was offered so on another machine; Partition and Message are all that is set
	Forgets   bool     // as in the Offer
}

// Recalled is what the log keeps of a group.
type Recalled struct {
	Group    string
	Messages []*Message // ascending, with their offsets; nobody else has them
	Floor    uint64     // everything of the group that is behind this offset is here, up to Upto. What is at it or before may be lost
	Upto     uint64     // the offset of the group's last message when the log was asked; what is behind it comes, or has come, as Ordered
	Failed   bool       // the log could not be asked in time: the rest is zero

	Epoch Epoch           // of the partition when the log was asked; 0: that which its home knows
	Ages  []time.Duration // of the Messages: how long ago each was put in order; nil: all just now
}

// Errors of a publish that was offered to an orderer.
var (
	ErrUnavailable = errors.New("unavailable: too few machines of the cluster can be reached, and nothing was sent; try again")
	ErrTooLarge    = errors.New("too large: the cluster's log does not take a message of this size, however often it is sent")
	ErrUnconfirmed = errors.New("unknown: the publish was sent and no word came in time; it may still be heard, once. Repeat it with the same key, and it is not heard twice")
)
